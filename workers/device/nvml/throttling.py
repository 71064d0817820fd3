"""Why a board's clocks were held down, as flags of a measurement."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import pynvml as nvml

# Clock event reasons -> flag of a measurement. A hardware slowdown that names no cause is taken for the usual one.
THROTTLES: Final[dict[int, str]] = {
    nvml.nvmlClocksThrottleReasonSwThermalSlowdown: "throttled_thermal",
    nvml.nvmlClocksThrottleReasonHwThermalSlowdown: "throttled_thermal",
    nvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown: "throttled_brake",
    nvml.nvmlClocksThrottleReasonSwPowerCap: "throttled_power_cap",
}
_SLOWDOWN: Final = nvml.nvmlClocksThrottleReasonHwSlowdown
_SLOWDOWN_CAUSES: Final = (
    nvml.nvmlClocksThrottleReasonHwThermalSlowdown | nvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown
)


def throttle_flags(reasons: Iterable[int]) -> tuple[str, ...]:
    """Return the flags for masks of clock event reasons, each flag once."""
    flags: dict[str, None] = {}
    for mask in reasons:
        flags |= {flag: None for bit, flag in THROTTLES.items() if mask & bit}
        if mask & _SLOWDOWN and not mask & _SLOWDOWN_CAUSES:
            flags["throttled_thermal"] = None
    return tuple(flags)
