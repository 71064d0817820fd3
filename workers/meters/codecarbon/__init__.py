"""CodeCarbon: the paper's way of reading a GPU, and an estimate for hosts that have none."""

from __future__ import annotations

import shutil

from farm.domain import MeterError
from workers.meters.base import Meter, MeterType, Target


class CodeCarbonType(MeterType):
    """On a GPU as the paper did; on a processor an estimate, which is all there is there."""

    def is_default(self, target: Target) -> bool:
        return target.is_processor and not target.simulate

    def check_host(self, target: Target) -> None:
        if not target.is_processor and shutil.which("nvidia-smi") is None:
            raise MeterError(
                "CodeCarbon finds no GPU, and says 0 J, without nvidia-smi on PATH: add its folder to PATH, "
                "or use the NVML meter alone"
            )

    def open(self, target: Target) -> Meter:
        from workers.meters.codecarbon.meter import CodeCarbonCpuMeter, CodeCarbonGpuMeter

        self.check_host(target)
        return CodeCarbonCpuMeter() if target.is_processor else CodeCarbonGpuMeter(target.device or 0)


METER = CodeCarbonType()
