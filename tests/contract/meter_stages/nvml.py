from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.contract.meter_stages import Stage, drawing
from tests.fake_nvml import fake
from tests.fake_nvml.board import Device, Noise
from workers.meters.nvml.meter import NvmlMeter


def nvml() -> Iterator[Stage]:
    device = Device(name="NVIDIA RTX A6000", noise=Noise(white=1.0))
    with tempfile.TemporaryDirectory() as folder, fake.load(Path(folder), device) as gpu:
        yield Stage(NvmlMeter(0, clock=gpu.clock), drawing(gpu, 250.0))


STAGES = [nvml]
