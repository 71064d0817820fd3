"""Every command takes a model and a GPU by whatever name people have for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.outcomes import document

HEADER = "model,gpu,resolution,steps,precision,cfg,prompts,energy_joules"
Farm = Callable[..., Any]


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A table of rows as another tool names models and GPUs."""
    path = tmp_path / "foreign.csv"
    path.write_text(
        f"{HEADER}\nblack-forest-labs/FLUX.1-dev,NVIDIA A100-SXM4-80GB,512,20,fp16,0,10,7000\n"
        "Flux, A100 ,1024,20,fp16,0,10,20000\n"
    )
    return path


def test_rows_of_other_names_are_fitted_and_planned_with(farm: Farm, foreign: Path) -> None:
    fitted = document(farm("law", "fit", "--data", foreign, "--where", "gpu=A100", "--json"))
    assert (fitted["n"], fitted["left_out"]) == (2, [])
    planned = farm("plan", "--model", "FLUX.1-dev", "--gpu", "A100", "--budget", 1, "--data", foreign, "--json")
    (pick,) = document(planned)["configurations"]
    assert (pick["model"], pick["gpu"]) == ("flux", "a100")
    assert (pick["resolution"], pick["steps"], pick["precision"], pick["cfg"]) != (512, 20, "fp16", 0)


def test_rows_of_other_names_are_imported_under_the_catalogs(farm: Farm, foreign: Path, home: Path) -> None:
    assert document(farm("results", "import", foreign, "--json"))["imported"] == 2
    listed = document(farm("results", "list", "--model", "FLUX", "--gpu", "A100-SXM4-80GB", "--json"))
    assert [(row["model"], row["gpu"]) for row in listed["results"]] == [("flux", "a100")] * 2


def test_work_is_counted_by_other_names(farm: Farm) -> None:
    plain = document(farm("flops", "sd35", "--resolution", 512, "--json"))
    assert document(farm("flops", "SD3.5 Large", "--resolution", 512, "--json")) == plain


def test_a_sweep_takes_other_names(farm: Farm, tmp_path: Path) -> None:
    sweep = tmp_path / "sweep.yaml"
    text = (
        "models: [{}]\ngpus: [{}]\nresolutions: [512]\nsteps: [20]\nprecisions: [fp16]\ncfg: [false]\nprompts: [10]\n"
    )
    sweep.write_text(text.format("FLUX.1-dev, flux", "NVIDIA A100-SXM4-80GB, A100"))
    assert document(farm("sweep", "submit", sweep, "--dry-run", "--json"))["configurations"] == 1
    sweep.write_text(text.format("fluxx", "a100"))
    refused = farm("sweep", "submit", sweep, "--dry-run", "--json")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "models: fluxx: did you mean flux?" in refused.err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (("plan", "--model", "flux", "--gpu", "a1000", "--budget", 1), "gpu: a1000: did you mean a100"),
        (("results", "list", "--model", "fluxx"), "model: fluxx: did you mean flux"),
        (("law", "fit", "--where", "gpu=a1000"), "gpu: a1000: did you mean a100"),
        (("worker", "--gpu", "a1000", "--device", 0), "gpu: a1000: did you mean a100"),
        (("up", "--simulate", "a100,a1000"), "gpu: a1000: did you mean a100"),
    ],
)
def test_a_slip_is_refused_with_the_near_one(farm: Farm, line: tuple[Any, ...], words: str) -> None:
    outcome = farm(*line)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert words in outcome.err
