"""CodeCarbon's trackers, read as cumulative energy.

Offline: no network, no files. Energy is all that is read, so the country is a formality; it is still set, as CodeCarbon
takes Quebec where it finds none. Its pitfalls end in a MeterError here: where it cannot read it says 0 J.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Mapping, Sequence
from contextlib import closing
from importlib.metadata import version
from typing import Any, Final

import numpy as np

from farm.domain import MeterError
from farm.domain.units import JOULES_PER_KWH
from workers.device.board import Device
from workers.meters.base import Energy, Probe, Recording, Span
from workers.meters.clock import Clock, SystemClock
from workers.meters.energy.by_label import energy_from, unknown
from workers.meters.energy.cumulative import CumulativeEnergy

COUNTRY: Final = "FRA"  # stated, not looked up
CHECK_SECONDS: Final = 1.0  # within which any GPU that can be read shows some energy
SMALLEST_STEP_SECONDS: Final = 0.2  # edges closer than this share a reading: CPU time comes in steps of 10 ms
NEVER_SECONDS: Final = 1e6  # between samples of its own; more than any measurement takes
FRESH_SECONDS: Final = 0.06  # asked again within 50 ms, CodeCarbon repeats what it said before
TICK_SECONDS: Final = 0.1  # the longest that counters of GPUs stand still
POWER_SECONDS: Final = 1.0  # between CodeCarbon's looks at the power of a GPU without a counter
STILL_SECONDS: Final = 0.5  # a GPU that draws nothing for so long is not read any more


class _Total:
    """An output of CodeCarbon's that keeps the last total it was handed."""

    def __init__(self, field: str) -> None:
        self._field = field
        self.joules: float | None = None

    def out(self, total: Any, _delta: Any) -> None:
        self.joules = float(getattr(total, self._field)) * JOULES_PER_KWH

    def live_out(self, _total: Any, _delta: Any) -> None:
        """Ignore the totals that come every few samples."""

    def task_out(self, _data: Any, _experiment_name: str) -> None:
        """Ignore tasks, of which there are none."""

    def exit(self) -> None:
        """Do nothing: no file or connection is open."""


def _unconfigured_tracker() -> Any:
    """CodeCarbon's offline tracker, less what the folder, the home or the environment of the user sets for it.

    A ``.codecarbon.config`` there, of another project maybe, would set the power that it assumes (``force_cpu_power``),
    or keep it from starting.
    """
    from codecarbon import OfflineEmissionsTracker

    class Unconfigured(OfflineEmissionsTracker):  # type: ignore[misc]
        @property
        def _external_conf(self) -> dict[str, Any]:
            return {}

        @_external_conf.setter
        def _external_conf(self, value: dict[str, Any]) -> None: ...

    return Unconfigured


class _Tracker:
    """An offline CodeCarbon tracker, read as a cumulative energy.

    By flushing one long run, since every task begins with a new reading and loses what was drawn since the last task
    (1 ms of it on an idle host). Its own samples, which have no effect on the sum, would race with ours and are not
    taken; the energy of a GPU without a counter is still averaged from its power, by CodeCarbon, once a second.
    """

    def __init__(self, field: str, **arguments: Any) -> None:
        make = _unconfigured_tracker()
        logging.getLogger("codecarbon").setLevel(logging.ERROR)  # after its import, which sets it too
        self._total = _Total(field)
        with warnings.catch_warnings():
            # Named one by one; deprecated in favour of a list that older versions do not know.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._tracker = make(
                country_iso_code=COUNTRY,
                save_to_file=False,
                save_to_api=False,
                save_to_logger=False,
                save_to_prometheus=False,
                save_to_logfire=False,
                log_level="error",
                measure_power_secs=NEVER_SECONDS,
                allow_multiple_runs=True,
                output_handlers=[self._total],
                **arguments,
            )
        try:  # its constructor and start() log what goes wrong and go on; only here does it come to light
            self.detected: Mapping[str, Any] = dict(self._tracker.get_detected_hardware())
            self._tracker.start()
        except Exception as error:
            raise MeterError(
                f"CodeCarbon {_version()} did not start ({error}): run it with log_level='debug'"
            ) from error

    def read(self) -> float:
        """Joules since it was opened. MeterError where CodeCarbon does not say."""
        self._total.joules = None
        self._tracker.flush()  # logs what goes wrong, and returns without having handed over anything
        if self._total.joules is None:
            raise MeterError(f"CodeCarbon {_version()} stopped reading: run it with log_level='debug'")
        return self._total.joules

    def close(self) -> None:
        self._tracker.stop()


class _CodeCarbonMeter:
    """What both have in common: readings at the edges of spans, attributed like any other cumulative energy."""

    name = "codecarbon"
    flags: tuple[str, ...] = ()
    shortest_idle_seconds = 0.0
    shortest_seconds = 2.0  # below it the steps of what CodeCarbon reads are a visible part
    stale_seconds = 0.0  # how old what it reads may be
    step_seconds = 0.0  # of the processor: what it reads comes in steps of so much work

    def __init__(self, device: Device, tracker: _Tracker) -> None:
        self.clock: Clock = SystemClock()
        self.device = device
        self._tracker: _Tracker | None = tracker
        self._readings: list[tuple[float, float, float]] = []
        self._last_read = self.clock.now()  # its tracker begins with a sample

    def start(self) -> None:
        self._readings = []
        self._read()

    def stop(self) -> None:
        if self._readings:
            self._read()

    def edge(self) -> float:
        now = self.clock.now()
        if not self._readings or now - self._readings[-1][1] >= SMALLEST_STEP_SECONDS:
            self._read()
            now = self.clock.now()
        return now

    def steady(self) -> bool:
        return True

    def recording(self) -> Recording:
        return Recording(counter=tuple(self._readings), probe=Probe(counter="codecarbon", codecarbon=_version()))

    def energy(self, spans: Sequence[Span]) -> Energy:
        readings = np.array(self._readings)
        if len(readings) < 2:
            return unknown(spans, flags=self.flags)
        asked, answered = readings[:, 0], readings[:, 1]
        levels = CumulativeEnergy(
            times=(asked + answered) / 2,
            joules=readings[:, 2],
            time_std=(answered - asked + self.stale_seconds) / math.sqrt(12),
            quantum=self.step_seconds * float((np.diff(readings[:, 2]) / np.diff(answered)).max()),
            unseen=math.sqrt(2) * self.stale_seconds,  # at each end, energy of up to so long falls outside the window
        )
        return energy_from(levels, spans, flags=self.flags, shortest_seconds=self.shortest_seconds)

    def environment(self) -> Mapping[str, Any]:
        return {
            "device_name": self.device.name,
            "device_uuid": self.device.uuid,
            "codecarbon": {"version": _version(), "country": COUNTRY},
        }

    def close(self) -> None:
        tracker, self._tracker = self._tracker, None
        if tracker is not None:
            tracker.close()

    def _read(self) -> None:
        if self._tracker is None:
            raise MeterError("the CodeCarbon meter is closed: open another")
        self.clock.sleep(max(0.0, self._last_read + FRESH_SECONDS - self.clock.now()))
        asked = self.clock.now()
        joules = self._tracker.read()
        self._last_read = self.clock.now()
        self._readings.append((asked, self._last_read, joules))


class CodeCarbonCpuMeter(_CodeCarbonMeter):
    """An estimate of this process's CPU energy: the processor's design power times the part of it that is used.

    Nothing is measured; everything is flagged ``estimated``. Of this process and its children alone, so that what else
    runs on the host does not matter; the idle power is what the process itself draws at rest.
    """

    flags: tuple[str, ...] = ("estimated",)
    step_seconds = 0.01  # else one that did nothing at rest would state no uncertainty at all

    def __init__(self) -> None:
        tracker = _Tracker("cpu_energy", tracking_mode="process", force_mode_cpu_load=True, gpu_ids=[])
        model = str(tracker.detected.get("cpu_model") or "CPU")
        super().__init__(Device(index=None, name=model, uuid=None), tracker)


class CodeCarbonGpuMeter(_CodeCarbonMeter):
    """The paper's meter: a GPU by CodeCarbon's offline tracker.

    Inside, CodeCarbon takes differences of the same NVML counter that ``NvmlMeter`` reads, at whatever point between
    two ticks it is asked; up to a tick of work is missed at each end, which is in the uncertainty. Of a GPU without a
    counter it averages the power, which is coarser.
    """

    shortest_idle_seconds = 4 * SMALLEST_STEP_SECONDS

    def __init__(self, device: int | str = 0) -> None:
        from workers.device.nvml.device import NvmlDevice

        with closing(NvmlDevice(device)) as nvml:
            identity, counts = nvml.identity, nvml.counter_joules() is not None
        if identity.index is None:
            raise MeterError(f"NVML does not tell the index of {identity.name}, by which CodeCarbon takes it: use nvml")
        self.stale_seconds = TICK_SECONDS if counts else POWER_SECONDS
        self.flags = () if counts else ("counter_unsupported",)
        # By its index: of a UUID, CodeCarbon 3.3 strips the G of "GPU-", finds no such device and says 0 J.
        tracker = _Tracker("gpu_energy", tracking_mode="machine", gpu_ids=[identity.index])
        super().__init__(identity, tracker)
        try:
            self._check(bool(tracker.detected.get("gpu_count")))
        except BaseException:
            self.close()
            raise

    def energy(self, spans: Sequence[Span]) -> Energy:
        if still := _still_seconds(self._readings):
            raise MeterError(
                f"CodeCarbon {_version()} read 0 J from {self.device.name} for {still:.1f} s: the device was lost, "
                "or its counter stopped"
            )
        return super().energy(spans)

    def _check(self, detected: bool) -> None:
        """MeterError where it does not find the device, or finds no energy in it."""
        if not detected:
            raise MeterError(f"CodeCarbon {_version()} does not find {self.device.name}, which NVML does")
        self._read()
        self.clock.sleep(CHECK_SECONDS)
        self._read()
        if _still_seconds(self._readings):
            raise MeterError(
                f"CodeCarbon {_version()} reads 0 J from {self.device.name} in {CHECK_SECONDS:g} s: use the NVML meter"
            )


def _still_seconds(readings: Sequence[tuple[float, float, float]]) -> float:
    """The longest time without energy, in seconds; 0 where none is too long to be true."""
    longest, since = 0.0, 0
    for number in range(1, len(readings)):
        if readings[number][2] > readings[since][2]:
            since = number
        longest = max(longest, readings[number][0] - readings[since][1])
    return longest if longest >= STILL_SECONDS else 0.0


def _version() -> str:
    return version("codecarbon")
