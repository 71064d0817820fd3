"""What every meter keeps, whichever way it reads. A new meter adds a stage: how to open it and how to draw power."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from farm.domain import FLAGS
from tests.fake_nvml import fake
from tests.fake_nvml.fake import Device, Noise
from workers.meters import open_meter
from workers.meters.base import IDLE, PAD, Meter, Span
from workers.meters.nvml.meter import NvmlMeter
from workers.meters.samples import decode_samples, encode_samples
from workers.meters.simulated.meter import SimulatedMeter


@dataclass(frozen=True)
class Stage:
    """A meter, and the means to make its device draw power."""

    meter: Meter
    draw: Callable[[float], None]  # draw, for so many seconds
    watts: float | None  # above idle, while drawing; None: not known beforehand


def simulated() -> Iterator[Stage]:
    meter = open_meter("a100", 0, simulate=True)
    assert isinstance(meter, SimulatedMeter)
    yield Stage(meter, lambda seconds: meter.draw(250.0, seconds), 250.0)


def nvml() -> Iterator[Stage]:
    device = Device(name="NVIDIA RTX A6000", noise=Noise(white=1.0))
    with tempfile.TemporaryDirectory() as folder, fake.load(Path(folder), device) as gpu:

        def draw(seconds: float) -> None:
            gpu.draw(250.0)
            gpu.clock.sleep(seconds)
            gpu.draw(0.0)

        yield Stage(NvmlMeter(0, clock=gpu.clock), draw, 250.0)


def codecarbon_cpu() -> Iterator[Stage]:
    def spin(seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            pass

    yield Stage(open_meter("cpu"), spin, None)


STAGES = [simulated, nvml, pytest.param(codecarbon_cpu, marks=pytest.mark.alone)]


@pytest.fixture(params=STAGES, ids=lambda stage: stage.__name__)
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    for one in request.param():
        yield one
        one.meter.close()
        one.meter.close()  # twice is allowed


def measure(stage: Stage, seconds: float) -> list[Span]:
    meter, spans = stage.meter, []

    def rest(label: str, length: float) -> None:
        start = meter.edge()
        for _ in range(4):
            meter.clock.sleep(length / 4)
            end = meter.edge()
        spans.append(Span(label=label, start=start, end=end))

    meter.start()
    rest(IDLE, 1.0)
    rest(PAD, 0.3)
    start = meter.edge()
    stage.draw(seconds)
    spans.append(Span(label="work", start=start, end=meter.edge()))
    rest(PAD, 0.3)
    rest(IDLE, 1.0)
    meter.stop()
    return spans


def test_energy_of_a_window(stage: Stage) -> None:
    spans = measure(stage, 2.2)
    found = stage.meter.energy(spans)
    assert found.complete
    assert set(found.flags) == set(stage.meter.flags)
    assert set(found.flags) <= FLAGS
    assert found.total_joules == found.dynamic_joules["work"] == pytest.approx(sum(found.span_joules))
    assert found.total_joules > 0
    assert found.total_std_joules > 0
    assert found.std_joules["work"] > 0
    assert found.gross_joules == pytest.approx(found.total_joules + 2.2 * found.idle_watts, rel=0.01)
    if stage.watts is not None:
        assert found.total_joules == pytest.approx(2.2 * stage.watts, rel=0.01)
        assert abs(found.total_joules - 2.2 * stage.watts) < 4 * found.total_std_joules


def test_what_it_carries_is_plain_and_known(stage: Stage) -> None:
    meter = stage.meter
    assert meter.name in ("nvml", "codecarbon", "simulated")
    assert meter.device.name
    measure(stage, 0.1)
    assert json.dumps(meter.environment())
    assert meter.environment()["device_name"] == meter.device.name
    assert isinstance(meter.steady(), bool)


def test_the_log_can_be_kept(stage: Stage) -> None:
    spans = measure(stage, 0.1)
    recording = stage.meter.recording()
    again, same = decode_samples(encode_samples(recording, spans))
    assert len(again.counter) == len(recording.counter) > 2
    assert [s.label for s in same] == [s.label for s in spans]


def test_a_new_log_forgets_the_old_one(stage: Stage) -> None:
    measure(stage, 0.1)
    before = len(stage.meter.recording().counter)
    stage.meter.start()
    stage.meter.stop()
    stage.meter.stop()  # twice is allowed
    assert len(stage.meter.recording().counter) < before


def test_idle_alone_has_no_energy_of_work(stage: Stage) -> None:
    meter = stage.meter
    meter.start()
    start = meter.edge()
    for _ in range(5):
        meter.clock.sleep(0.3)
        end = meter.edge()
    meter.stop()
    found = meter.energy([Span(label=IDLE, start=start, end=end)])
    assert found.total_joules is None
    assert found.idle_watts is not None
    assert found.idle_watts >= 0
    assert found.dynamic_joules == {}
