"""The NVML meter: a GPU by its energy counter, with its power log as cross-check and fallback."""

from __future__ import annotations

from workers.meters.base import Meter, MeterType, Target


class NvmlType(MeterType):
    """The most exact meter that a GPU has."""

    def objection(self, target: Target) -> str:
        if target.gpu is not None and target.is_processor and not target.simulate:
            return f"{target.gpu.name} has no NVML: auto or codecarbon, which estimate, or another --gpu"
        return super().objection(target)

    def is_default(self, target: Target) -> bool:
        return not target.is_processor and not target.simulate

    def open(self, target: Target) -> Meter:
        from workers.meters.nvml.meter import NvmlMeter

        return NvmlMeter(target.device or 0, gpu=target.gpu)


METER = NvmlType()
