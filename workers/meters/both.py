"""Two meters on one device: the first one's energies, and beside them the second one's total as its comparison."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

from farm.domain import AttemptError
from workers.meters.base import Energy, Meter, MeterType, Recording, Span, Target
from workers.meters.codecarbon import METER as CODECARBON
from workers.meters.nvml import METER as NVML

T = TypeVar("T")

logger = logging.getLogger(__name__)

COMPARISON: Final = "comparison"  # its key in the notes of an energy, hence in a measurement's environment
_SUMS: Final = ("dynamic_joules", "dynamic_joules_std", "gross_joules", "gross_seconds")  # over all passes


class PairedType(MeterType):
    """NVML's meter with CodeCarbon beside it."""

    def objection(self, target: Target) -> str:
        return NVML.objection(target) or CODECARBON.objection(target)

    def check_host(self, target: Target) -> None:
        NVML.check_host(target)
        CODECARBON.check_host(target)

    def open(self, target: Target) -> Meter:
        self.check_host(target)  # at once, as NVML is probed for seconds
        first = NVML.open(target)  # it probes what reading the counter does to it: nobody else may read then
        try:
            return PairedMeter(first, CODECARBON.open(target))
        except BaseException:
            first.close()
            raise


METER = PairedType()


class PairedMeter:
    """Two meters that log at once, so that the paper's way has a precise number beside it. They share a clock.

    What the second one fails at is said in the comparison's ``error``; the first one's numbers do not depend on it.
    """

    def __init__(self, first: Meter, second: Meter) -> None:
        self.name = first.name
        self.flags = first.flags
        self.clock = first.clock
        self.device = first.device
        self.shortest_seconds = max(first.shortest_seconds, second.shortest_seconds)
        self.shortest_idle_seconds = max(first.shortest_idle_seconds, second.shortest_idle_seconds)
        self._first, self._second = first, second
        self._error: str | None = None  # why the second one is silent, from then on until the next start

    def start(self) -> None:
        self._error = None
        self._try(self._second.start)
        self._first.start()

    def stop(self) -> None:
        self._first.stop()
        self._try(self._second.stop)

    def edge(self) -> float:
        self._try(self._second.edge)
        return self._first.edge()

    def steady(self) -> bool:
        return self._first.steady()

    def recording(self) -> Recording:
        return self._first.recording()

    def energy(self, spans: Sequence[Span]) -> Energy:
        first = self._first.energy(spans)
        return replace(first, notes={**first.notes, COMPARISON: self._comparison(spans)})

    def environment(self) -> Mapping[str, Any]:
        return {**self._second.environment(), **self._first.environment()}

    def close(self) -> None:
        try:
            self._first.close()
        finally:
            self._second.close()

    def _try(self, action: Callable[[], T]) -> T | None:
        """Ask the second meter; None once it has failed."""
        if self._error is not None:
            return None
        try:
            return action()
        except AttemptError as error:
            self._error = str(error)
            logger.warning("the comparison is lost, %s goes on: %s", self.name, error)
            return None

    def _comparison(self, spans: Sequence[Span]) -> dict[str, Any]:
        """The second one's numbers, null where they are not known.

        ``dynamic_joules`` is the total above idle, ``gross_joules`` what the second one itself says for the time from
        the first to the last work, nothing subtracted, as it is where nobody measures idle.
        """
        energy = self._try(lambda: self._second.energy(spans))
        gross = _reported(self._second.recording(), spans) if energy is not None else None
        return {
            "meter": self._second.name,
            "dynamic_joules": energy.total_joules if energy else None,
            "dynamic_joules_std": energy.total_std_joules if energy else None,
            "idle_watts": energy.idle_watts if energy else None,
            "idle_watts_std": energy.idle_watts_std if energy else None,
            "gross_joules": gross[0] if gross else None,
            "gross_seconds": gross[1] if gross else None,
            "flags": sorted(energy.flags) if energy else [],
            # Both read one counter; one that loses energy by being read gives this one too little, NVML has its power.
            "poll_sensitive": self._first.recording().probe.poll_sensitive,
            "error": self._error,
        }


def per_pass(notes: Mapping[str, Any], passes: int) -> dict[str, Any]:
    """Divide the comparison's energies in an energy's notes by the passes, as a measurement's are. Other notes stay."""
    comparison = notes.get(COMPARISON)
    if comparison is None:
        return dict(notes)
    return {
        **notes,
        COMPARISON: {**comparison, **{key: comparison[key] / passes for key in _SUMS if comparison[key] is not None}},
    }


def _reported(recording: Recording, spans: Sequence[Span]) -> tuple[float, float] | None:
    """Joules and seconds between the readings nearest to the first start and the last end of work."""
    work = [s for s in spans if s.counts]
    if not work or not recording.counter:
        return None
    first, last = (
        min(recording.counter, key=lambda reading: abs((reading[0] + reading[1]) / 2 - time))
        for time in (min(s.start for s in work), max(s.end for s in work))
    )
    seconds = (last[0] + last[1]) / 2 - (first[0] + first[1]) / 2
    return (last[2] - first[2], seconds) if seconds > 0 else None
