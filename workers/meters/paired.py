"""Two meters on one device: the first one's energies, with the second one's total beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from workers.meters.base import Energy, Meter, Recording, Span


class PairedMeter:
    """So that a paper-style number has its precise twin. Both must live by the same clock."""

    def __init__(self, first: Meter, second: Meter) -> None:
        self.name = first.name
        self.flags = first.flags
        self.clock = first.clock
        self.device = first.device
        self.shortest_seconds = max(first.shortest_seconds, second.shortest_seconds)
        self._first, self._second = first, second

    def start(self) -> None:
        self._second.start()
        self._first.start()

    def stop(self) -> None:
        self._first.stop()
        self._second.stop()

    def edge(self) -> float:
        self._second.edge()
        return self._first.edge()

    def steady(self) -> bool:
        return self._first.steady()

    def recording(self) -> Recording:
        return self._first.recording()

    def energy(self, spans: Sequence[Span]) -> Energy:
        first, second = self._first.energy(spans), self._second.energy(spans)
        beside = {"joules": second.total_joules, "std_joules": second.total_std_joules, "idle_watts": second.idle_watts}
        return replace(first, notes={**first.notes, self._second.name: beside})

    def environment(self) -> Mapping[str, Any]:
        return {**self._second.environment(), **self._first.environment()}

    def close(self) -> None:
        self._first.close()
        self._second.close()
