from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from tests.contract.meter_stages import Stage, drawing
from tests.fake_nvml import fake
from tests.fake_nvml.board import Device, Noise
from workers.meters import open_meter


def processor() -> Iterator[Stage]:
    def spin(seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            pass

    yield Stage(open_meter("cpu"), spin)


def gpu(name: str = "codecarbon", error: float = 0.1) -> Iterator[Stage]:
    """On a board whose counter jumps every 20 ms; CodeCarbon reads it between two jumps, and so sees less."""
    device = Device(name="NVIDIA RTX A6000", noise=Noise(white=1.0), counter_period=0.02)
    with (
        tempfile.TemporaryDirectory() as folder,
        fake.load(Path(folder), device, clock="real") as board,
        patch.dict(os.environ, PATH=board.environment()["PATH"]),  # where nvidia-smi is
    ):
        yield Stage(open_meter("a6000", 0, name=name), drawing(board, 250.0), error)


STAGES = [pytest.param(stage, marks=pytest.mark.alone) for stage in (processor, gpu)]
