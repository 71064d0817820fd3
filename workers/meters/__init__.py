"""Ways of reading energy: one module or package each, known by what it exports.

A module or package in this folder that exports ``METER``, a :class:`workers.meters.base.MeterType`, is a meter under
the name of its file, which is what ``--meter`` and ``FARM_METER`` say. One in another distribution is a meter by an
entry point of the group ``joulefarm.meters``, whose name is the meter's and whose value is a module that exports
``METER``. Nothing else is to be registered.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache
from types import ModuleType
from typing import Final

from farm import catalog
from farm.domain import Configuration, RequestError
from farm.registry import collect
from workers.meters.base import Meter, MeterType, Target
from workers.workload import Workload

GROUP: Final = "joulefarm.meters"  # of entry points
PARTS: Final = ("base", "clock", "energy", "samples")  # of this folder, what meters are made of; all others are meters
AUTO: Final = "auto"  # the meter that is the default for what is to be read


def names() -> tuple[str, ...]:
    """Return the names that may be asked for: auto, then the meters. OperationError where a module here is none."""
    return (AUTO, *sorted(_registered()))


def check_meter(name: str, gpu: str | None, *, simulate: bool = False, asked_by: str = "--meter") -> None:
    """Raise RequestError, naming who asked, where that meter cannot read that catalog GPU, whatever the host."""
    _type_for(name, _target(gpu, simulate=simulate), asked_by)


def check_host(name: str, gpu: str | None) -> None:
    """Raise MeterError where the host lacks what that meter needs of it besides the device."""
    target = _target(gpu)
    _type_for(name, target).check_host(target)


def open_meter(
    gpu: str | None,
    device: int | str | None = None,
    *,
    name: str = AUTO,
    simulate: bool = False,
    speed: float | None = None,
) -> Meter:
    """Open the meter of that name on a device of a catalog GPU type (None: a board that the catalog lacks).

    ``device`` is an NVML index or UUID. ``speed`` is the simulated seconds in a real one (None: as fast as it goes).
    RequestError for what cannot be, as ``check_meter``; MeterError or DeviceLost where the meter cannot start.
    """
    target = _target(gpu, device, simulate=simulate, speed=speed)
    return _type_for(name, target).open(target)


def simulated_workload(
    configuration: Configuration, meter: Meter, *, replicate: int = 0, attempt: int = 1, law: str = "paper"
) -> Workload:
    """Make a workload that draws from a simulated meter by Eq. 3, or (``law`` "traced") by the traced work."""
    from workers.meters.simulated.meter import SimulatedMeter, SimulatedWorkload

    if not isinstance(meter, SimulatedMeter):
        raise TypeError(f"a simulated workload needs a simulated meter, not {meter.name}")
    return SimulatedWorkload(configuration, meter, replicate=replicate, attempt=attempt, law=law)


def simulated_watts(meter: Meter | None, gpu: str) -> float:
    """What a simulated device draws now: its idle power while no meter is open."""
    from workers.meters.simulated.meter import SimulatedMeter

    return meter.present_watts if isinstance(meter, SimulatedMeter) else catalog.gpu(gpu).idle_watts


def _target(
    gpu: str | None, device: int | str | None = None, *, simulate: bool = False, speed: float | None = None
) -> Target:
    entry = None if gpu is None else catalog.gpu(gpu)
    return Target(gpu=entry, device=device, simulate=simulate, speed=speed)


def _type_for(name: str, target: Target, asked_by: str = "--meter") -> MeterType:
    """The meter of that name. RequestError where there is none, or where it cannot read the target."""
    types = _registered()
    if name == AUTO:
        return next(types[each] for each in sorted(types) if types[each].is_default(target))
    if name not in types:
        raise RequestError(asked_by, name, f"one of {', '.join(names())}")
    if objection := types[name].objection(target):
        raise RequestError(asked_by, name, objection)
    return types[name]


@cache
def _registered() -> Mapping[str, MeterType]:
    """Every meter by its name."""
    return collect(
        "meter", package=__name__, folders=__path__, parts=PARTS, load=_load, exported=_exported, group=GROUP
    )


def _load(name: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{name}")


def _exported(module: ModuleType) -> MeterType:
    """The METER of a module. TypeError where it exports none."""
    meter = getattr(module, "METER", None)
    if not isinstance(meter, MeterType):
        raise TypeError("it exports no METER, a workers.meters.base.MeterType")
    return meter
