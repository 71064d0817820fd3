"""How long and how often a configuration is measured, by what its meter can tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from workers.meters.base import Meter

ESTIMATE_IDLE_SECONDS: Final = 1.0  # baseline on each side for a meter that estimates, as on a processor


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """How long and how often one configuration is measured. The defaults are for a GPU read through NVML."""

    idle_seconds: float = 20.0  # baseline on each side
    settle_seconds: float = 60.0  # at most so long until temperature and power are steady
    pad_seconds: float = 0.5  # rest between warm-up or work and what surrounds it
    warmup_batches: int = 1
    halfwidth: float = 0.02  # wanted: 95 % half-width of the mean of repeats, relative
    short_seconds: float = 30.0  # a pass below it is repeated
    min_passes: int = 3
    max_passes: int = 30
    max_seconds: float = 600.0  # no further pass is begun after so long

    @classmethod
    def quick(cls, idle_seconds: float = ESTIMATE_IDLE_SECONDS) -> Options:
        """Return options of seconds, with wider intervals: for a demonstration, an estimating meter or a test."""
        return cls(
            idle_seconds=idle_seconds,
            settle_seconds=0.0,
            pad_seconds=0.1,
            min_passes=2,
            max_passes=200,
            max_seconds=3.0,
            halfwidth=0.05,
        )

    def suited(self, meter: Meter, idle_seconds: float | None = None) -> Options:
        """Return these options, or the quick ones for a meter that estimates: care makes no estimate a measurement.

        ``idle_seconds`` was asked for by name, whatever the meter; ``self.idle_seconds`` may be a default of GPUs.
        """
        if "estimated" in meter.flags:
            return self.quick(ESTIMATE_IDLE_SECONDS if idle_seconds is None else idle_seconds)
        return self
