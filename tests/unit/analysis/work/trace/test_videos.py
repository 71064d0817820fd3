"""Tables of video models against their traces, at sizes and lengths that they were not made from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from analysis.work.format import parse
from analysis.work.trace.compact import tabulate
from analysis.work.trace.phases import Tracer
from analysis.work.trace.pipeline import from_folder
from tests.unit.analysis.work.trace.cases import VIDEOS, Case, folder

UNEVEN = ("CogVideoXPipeline", "HunyuanVideoPipeline")  # whose decoders' stretches are not alike at every length


@pytest.mark.filterwarnings("ignore::FutureWarning:diffusers")
@pytest.mark.parametrize("case", VIDEOS[1:], ids=lambda case: case.cls)
def test_a_table_of_a_video_model_counts_any_number_of_frames(tmp_path: Path, case: Case) -> None:
    """Sizes and lengths that it was not made from. CogVideoX decodes two latent frames at once, of an odd number
    three first; HunyuanVideo more than four in stretches that overlap."""
    torch.set_num_threads(1)
    pipeline = from_folder(folder(tmp_path / "pipeline", case))
    work = parse(tabulate(pipeline, ("fp32",)))
    assert work.video is not None
    for frames in (1, 25, 41):
        counted = Tracer(pipeline, "fp32", frames)
        for phase in ("text", "denoise", "decode"):
            ops = counted.phase(phase, 320, 448)
            found = work.totals(phase, 320, 448, precision="fp32", frames=frames)
            uneven = phase == "decode" and case.cls in UNEVEN and frames > 1
            moved = sum(op.read_bytes + op.weight_bytes + op.write_bytes for op in ops)
            assert found.flops == pytest.approx(sum(op.flops for op in ops), rel=0.05 if uneven else 1e-9), phase
            assert found.moved_bytes == pytest.approx(moved, rel=0.05), (phase, frames)
            assert found.dispatches == pytest.approx(len(ops), rel=0.15 if uneven else 0.01), (phase, frames)
