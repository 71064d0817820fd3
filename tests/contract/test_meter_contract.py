"""What every meter keeps, whichever way it reads. A meter brings its stage, a module of its name in
``tests/contract/meter_stages``: how to open it and how to draw power."""

from __future__ import annotations

import json
import pkgutil
from collections.abc import Iterator
from importlib import import_module

import pytest

from farm.domain import FLAGS
from tests.contract import meter_stages
from tests.contract.meter_stages import Stage
from workers import meters
from workers.meters.base import IDLE, PAD, Span
from workers.meters.samples import decode_samples, encode_samples

STAGED = [module.name for module in pkgutil.iter_modules(meter_stages.__path__)]
STAGES = [stage for name in STAGED for stage in import_module(f"{meter_stages.__name__}.{name}").STAGES]


def test_every_meter_brings_its_stage() -> None:
    assert {meters.AUTO, *STAGED} == set(meters.names())


@pytest.fixture(params=STAGES, ids=lambda stage: stage.__name__)
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    for one in request.param():
        yield one
        one.meter.close()
        one.meter.close()  # twice is allowed


def measure(stage: Stage, seconds: float) -> tuple[list[Span], float | None]:
    """Idle, work, idle: the spans, and the joules that the work drew above idle, where they are known."""
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
    joules = stage.draw(seconds)
    spans.append(Span(label="work", start=start, end=meter.edge()))
    rest(PAD, 0.3)
    rest(IDLE, 1.0)
    meter.stop()
    return spans, joules


def test_energy_of_a_window(stage: Stage) -> None:
    spans, joules = measure(stage, 2.2)
    energy = stage.meter.energy(spans)
    assert energy.complete
    assert set(energy.flags) == set(stage.meter.flags)
    assert set(energy.flags) <= FLAGS
    assert energy.total_joules == energy.dynamic_joules["work"] == pytest.approx(sum(energy.span_joules))
    assert energy.total_joules > 0
    assert energy.total_std_joules > 0
    assert energy.std_joules["work"] > 0
    (seconds,) = (span.end - span.start for span in spans if span.works)
    assert energy.gross_joules == pytest.approx(energy.total_joules + seconds * energy.idle_watts, rel=0.01)
    if joules is not None:
        assert energy.total_joules == pytest.approx(joules, rel=stage.error)
        assert abs(energy.total_joules - joules) < 4 * energy.total_std_joules


def test_what_it_carries_is_plain_and_known(stage: Stage) -> None:
    meter = stage.meter
    assert meter.name in meters.names()
    assert meter.device.name
    measure(stage, 0.1)
    assert json.dumps(meter.environment())
    assert meter.environment()["device_name"] == meter.device.name
    assert isinstance(meter.steady(), bool)


def test_the_log_can_be_kept(stage: Stage) -> None:
    spans, _ = measure(stage, 0.1)
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
    energy = meter.energy([Span(label=IDLE, start=start, end=end)])
    assert energy.total_joules is None
    assert energy.idle_watts is not None
    assert energy.idle_watts >= 0
    assert energy.dynamic_joules == {}
