"""What the shell is offered for a word that was begun."""

from __future__ import annotations

import os
import subprocess

from tests.conftest import FARM


def offered(words: str, current: int) -> list[str]:
    """What bash completes the word of that number with."""
    asked = {"_FARM_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(current)}
    done = subprocess.run([FARM], env={**os.environ, **asked}, capture_output=True, text=True, timeout=60, check=True)
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_models_and_gpu_types_by_their_beginning_and_in_lists() -> None:
    assert "flux" in offered("farm predict --model fl", 3)
    assert offered("farm measure --gpu h200-", 3) == ["h200-nvl"]
    assert offered("farm plan --model flux,qw", 3) == ["flux,qwen"]
    assert "sd35,sd35-medium" in offered("farm predict --model sd35,sd35", 3)


def test_commands() -> None:
    assert {"models", "measure", "meter"} <= set(offered("farm m", 1))


def test_sweeps_of_the_farm_and_none_without_a_database(farm, tmp_path) -> None:
    assert offered("farm sweep status ", 3) == []
    spec = tmp_path / "sweep.yaml"
    spec.write_text("name: weekend\nmodels: [sd2]\ngpus: [a100]\nsteps: [10]\nresolutions: [512]\nprecisions: [fp16]\n")
    assert farm("sweep", "submit", spec).code == 0
    assert offered("farm sweep status ", 3) == ["1"]
