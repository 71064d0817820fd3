from __future__ import annotations

from collections.abc import Iterator

from tests.contract.meter_stages import Stage
from workers.meters import open_meter
from workers.meters.simulated.meter import SimulatedMeter


def simulated() -> Iterator[Stage]:
    meter = open_meter("a100", 0, simulate=True)
    assert isinstance(meter, SimulatedMeter)

    def draw(seconds: float) -> float:
        meter.draw(250.0, seconds)
        return 250.0 * seconds

    yield Stage(meter, draw)


STAGES = [simulated]
