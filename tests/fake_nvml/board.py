"""A board as libnvidia-ml.c plays it: its sensors, their noise, and what can go wrong with it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from enum import IntEnum

ARCHITECTURES = {"Volta": 5, "Turing": 6, "Ampere": 7, "Ada": 8, "Hopper": 9, "Blackwell": 10}


class Fault(IntEnum):
    """What can go wrong; ``value`` where one is named."""

    NO_COUNTER = 1  # energy counter: not supported
    RESET = 2  # the counter starts again from 0
    FREEZE = 3  # the counter stands still, then catches up when the fault ends
    JUMP = 4  # the counter is off by value joules
    LOST = 5  # every call answers "GPU is lost"
    THROTTLE = 6  # value: mask of clock event reasons
    PROCESS = 7  # value: a process id on the device
    MIG = 8
    TEMPERATURE = 9  # value: degrees Celsius
    POWER_LIMIT = 10  # value: watts
    SM_CLOCK = 11  # value: MHz
    STUCK_POWER = 12  # power readings stand still


class Throttle(IntEnum):
    """Masks for Fault.THROTTLE."""

    POWER_CAP = 0x04
    HARDWARE = 0x08
    THERMAL_SOFTWARE = 0x20
    THERMAL_HARDWARE = 0x40
    POWER_BRAKE = 0x80


class Code(IntEnum):
    """NVML's return codes, for ``errors``."""

    NOT_SUPPORTED = 3
    NO_PERMISSION = 4
    DRIVER_NOT_LOADED = 9
    FUNCTION_NOT_FOUND = 13
    GPU_IS_LOST = 15
    RESET_REQUIRED = 16
    VERSION_MISMATCH = 18
    UNKNOWN = 999


@dataclass(frozen=True, kw_only=True, slots=True)
class Noise:
    """White plus AR(1) noise, standard deviations in watts over one step of ``noise_step`` seconds."""

    white: float = 0.0
    correlated: float = 0.0
    correlation_seconds: float = 0.0
    seed: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """One board and its sensors. Seconds, watts, joules, bytes, degrees Celsius."""

    name: str = "NVIDIA A100-SXM4-80GB"
    uuid: str = ""  # default: one of its own
    bus_id: str = ""
    serial: str = ""
    hidden: bool = False  # there, but not visible here, as in a container or under Slurm
    architecture: str = "Ampere"
    capability: tuple[int, int] = (8, 0)
    persistence: bool = True
    compute_mode: int = 0
    memory_bytes: float = 80 * 2**30
    memory_used: float = 2**30
    power_limit: float = 400.0
    temperature: float = 45.0
    application_clock: int = 1275  # of the multiprocessors, MHz; boards come with 1275 and run up to 1410
    customer_clock: int = 1410

    idle: float = 60.0
    drift: float = 0.0  # of the idle power, watts per second
    noise: Noise = field(default_factory=Noise)  # in the true power
    sensor_noise: Noise = field(default_factory=Noise)  # in what the sensor sees, not in the truth
    sensor_period: float = 0.1
    sensor_window: float = math.inf  # 0.025 of 0.1 s: the part-time sensor of A100 and H100
    sensor_scale: float = 1.0  # gain error of the sensor: counter and power alike

    counter_start: float = 123456.0
    counter_scale: float = 1.0  # of the counter alone: disagrees with the power
    counter_period: float = 0.1
    counter_phase: float = 0.0
    counter_latency: float = 0.0  # a tick can be read so long after the time it stands for
    counter_jitter: float = 0.0  # and up to so much later
    quantum_mj: int = 1
    blind: float = 0.0  # the counter misses so many seconds after every look at it

    field_instant: bool = True  # field 186 is supported
    field_average: bool = True  # field 185 is supported
    usage_is_average: bool = False  # nvmlDeviceGetPowerUsage: the average (most since Ampere) or instant (A100)
    power_period: float = 0.02
    power_phase: float = 0.0
    average_window: float = 1.0

    def lines(self, index: int, mark: str) -> Iterable[str]:
        """This device in the configuration file of libnvidia-ml.c. ``mark``: eight hex digits, unlike any other fake's,
        as devices are locked by UUID across the host."""
        values = asdict(self)
        values["uuid"] = self.uuid or f"GPU-{mark}-fa4e-4fa4-8fa4-{0xFA4E0000 + index:012x}"
        values["bus_id"] = self.bus_id or f"00000000:{index + 1:02X}:00.0"
        values["serial"] = self.serial or f"165022{index:07d}"
        values["architecture"] = ARCHITECTURES[self.architecture]
        values["capability_major"], values["capability_minor"] = values.pop("capability")
        for noise in ("noise", "sensor_noise"):
            values |= {f"{noise}.{key}": value for key, value in values.pop(noise).items()}
        yield f"device {index}"
        for key, value in values.items():
            yield f"{key} {int(value) if isinstance(value, bool) else value}"
