"""workers.meters: a meter is one module that exports METER, here or in another distribution."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from farm.domain import OperationError, RequestError
from workers import meters

# What docs/add-a-meter.md asks for, and nothing more: a wattmeter that always reads the same.
STEADY = """
import numpy as np
from workers.device.board import Device
from workers.meters.base import MeterType, Recording
from workers.meters.clock import SystemClock
from workers.meters.energy.by_label import energy_from
from workers.meters.energy.cumulative import CumulativeEnergy


class SteadyMeter:
    name = "steady"
    flags = ("estimated",)
    shortest_seconds = shortest_idle_seconds = 0.0

    def __init__(self, target):
        self.clock = SystemClock()
        self.device = Device(index=target.device, name="a wattmeter", uuid=None)
        self._readings = []

    def start(self):
        self._readings = []

    def stop(self):
        pass

    def edge(self):
        now = self.clock.now()
        self._readings.append((now, now, 100.0 * now))
        return now

    def steady(self):
        return True

    def recording(self):
        return Recording(counter=tuple(self._readings))

    def energy(self, spans):
        readings = np.array(self._readings)
        levels = CumulativeEnergy(times=readings[:, 1], joules=readings[:, 2], time_std=np.zeros(len(readings)))
        return energy_from(levels, spans, flags=self.flags)

    def environment(self):
        return {"device_name": self.device.name}

    def close(self):
        pass


class SteadyType(MeterType):
    def open(self, target):
        return SteadyMeter(target)


METER = SteadyType()
"""


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers is forgotten after it."""
    meters._registered.cache_clear()
    yield
    monkeypatch.undo()
    for name in ("workers.meters.steady", "lab_meter"):
        sys.modules.pop(name, None)
    if hasattr(meters, "steady"):
        del meters.steady
    importlib.invalidate_caches()
    meters._registered.cache_clear()


def in_the_folder(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file steady.py in workers/meters, as good as there: its folder is one more place of the package."""
    (folder / "steady.py").write_text(text)
    monkeypatch.setattr(meters, "__path__", [*meters.__path__, str(folder)])


def test_one_file_is_a_meter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_the_folder(tmp_path, STEADY, monkeypatch)
    assert meters.names() == ("auto", "both", "codecarbon", "nvml", "simulated", "steady")
    assert meters.open_meter("a100", 3, name="steady").device.index == 3
    with pytest.raises(RequestError, match="--meter: steady: a simulated device has a meter of its own"):
        meters.check_meter("steady", "a100", simulate=True)
    assert meters.open_meter("a100", simulate=True).name == "simulated"  # auto never means it


def test_a_file_here_that_exports_no_meter_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_the_folder(tmp_path, "METER = 3", monkeypatch)
    with pytest.raises(OperationError, match="workers/meters/steady is no meter: it exports no METER"):
        meters.names()


def test_a_meter_of_others_that_cannot_be_used_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "lab_meter.py").write_text("import no_such_module")
    information = tmp_path / "lab_meters-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-meters\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[joulefarm.meters]\nlab = lab_meter\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert meters.names() == ("auto", "both", "codecarbon", "nvml", "simulated")
    assert "meter lab of lab-meters is left out: No module named 'no_such_module'" in caplog.text
