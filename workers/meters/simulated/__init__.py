"""The meter of a device that is not there, and the stated truth that it draws from."""

from __future__ import annotations

from farm.domain import RequestError
from workers.meters.base import Meter, MeterType, Target


class SimulatedType(MeterType):
    """The meter of every simulated device, and of no other."""

    def objection(self, target: Target) -> str:
        return "" if target.simulate else "reads what --simulate simulates, and no device of a host"

    def is_default(self, target: Target) -> bool:
        return target.simulate

    def open(self, target: Target) -> Meter:
        from workers.meters.simulated.meter import SimulatedMeter

        if target.gpu is None:
            raise RequestError("gpu", target.gpu, "a type of the catalog, to be simulated")
        return SimulatedMeter(target.gpu, int(target.device or 0), speed=target.speed)


METER = SimulatedType()
