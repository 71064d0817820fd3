"""What a model takes is said in the catalog, in one place; every command that is asked refuses in the same words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from farm import catalog
from farm.catalog.memory import objection
from farm.catalog.rules import Forwards, largest_side
from farm.domain import Configuration, RequestError


def configuration(model: str = "sd35", **changes: Any) -> Configuration:
    usual: dict[str, Any] = {
        "gpu": "h200", "width": 512, "height": 512, "steps": 10, "precision": "fp16", "cfg": True, "prompts": 4,
    }  # fmt: skip
    return Configuration(**{"model": model, **usual, **changes})


@pytest.mark.parametrize(
    ("model", "changes", "words"),
    [
        ("flux", {"height": 520}, "height: 520: flux takes multiples of 16"),
        ("sd35", {"width": 3088}, "width: 3088: sd35 takes at most 3072 pixels"),
        ("sd3-medium", {"height": 4096}, "height: 4096: sd3-medium takes at most 3072 pixels"),
        ("sd35-medium", {"width": 6160}, "width: 6160: sd35-medium takes at most 6144 pixels"),
        ("sd35-medium", {"width": 3088, "size": "nano"}, "width: 3088: sd35-medium takes at most 3072 pixels"),
        ("qwen", {"steps": 1}, "steps: 1: qwen takes at least 2"),
        ("hunyuandit-1.2", {"size": "nano"}, "size: nano: full: hunyuandit-1.2 has no nano size"),
    ],
)
def test_a_model_refuses_what_it_cannot_make(model: str, changes: dict[str, Any], words: str) -> None:
    wanted = configuration(model, **changes)
    with pytest.raises(RequestError) as refused:
        catalog.model(model).check(wanted)
    assert str(refused.value) == words
    assert objection(wanted) == refused.value.remedy


@pytest.mark.parametrize(
    ("model", "changes"),
    [
        ("sd35", {"width": 3072, "height": 16}),
        ("sd35-medium", {"width": 6144}),
        ("sd2", {"width": 8192, "steps": 1}),  # its positions are computed, its schedule takes one step
        ("qwen", {"steps": 2}),
        ("hunyuandit-1.2", {"cfg": False, "batch": 4}),
    ],
)
def test_a_model_takes_what_it_can_make(model: str, changes: dict[str, Any]) -> None:
    catalog.model(model).check(configuration(model, **changes))


def test_a_model_without_guidance_takes_none_of_it() -> None:
    bare = replace(catalog.model("sd2"), name="bare", guidance="none")
    bare.check(configuration("bare", cfg=False))
    assert bare.forwards(False, 3) == Forwards(calls=1, samples=3)
    for ask in (lambda: bare.check(configuration("bare")), lambda: bare.forwards(True, 3)):
        with pytest.raises(RequestError, match="cfg: True: bare has no classifier-free guidance"):
            ask()


@pytest.mark.parametrize(
    ("model", "cfg", "expected"),
    [
        ("sd2", False, Forwards(calls=1, samples=5)),
        ("sd2", True, Forwards(calls=1, samples=10)),
        ("flux", False, Forwards(calls=1, samples=5)),
        ("flux", True, Forwards(calls=2, samples=5)),
    ],
)
def test_guidance_doubles_the_samples_or_the_calls(model: str, cfg: bool, expected: Forwards) -> None:
    found = catalog.model(model).forwards(cfg, 5)
    assert found == expected
    assert found.total == 5 * 2**cfg


def test_a_table_of_positions_covers_as_many_pixels_as_its_patches_and_latents_have() -> None:
    table = {"pos_embed_max_size": 64, "patch_size": 2}
    eight, four = {"block_out_channels": [1, 2, 3, 4]}, {"block_out_channels": [1, 2, 3]}
    assert largest_side("transformer", "SD3Transformer2DModel", table, eight) == 1024
    assert largest_side("transformer", "SD3Transformer2DModel", table, four) == 512
    assert largest_side("transformer", "AuraFlowTransformer2DModel", table, {}) == 128  # a table of 8 x 8 patches
    assert largest_side("transformer", "FluxTransformer2DModel", table, eight) is None
    with pytest.raises(RequestError, match="transformer config patch_size: two: a whole number"):
        largest_side("transformer", "SD3Transformer2DModel", {**table, "patch_size": "two"}, eight)


WANTED = ["--gpu", "h200", "--resolution", "4096", "--steps", "10", "--precision", "fp16"]
SWEEP = """\
models: [sd35]
gpus: [h200]
resolutions: [4096]
steps: [10]
precisions: [fp16]
cfg: [false]
prompts: [1]
"""
ROWS = """\
model,gpu,resolution,steps,precision,cfg,prompts
sd35,h200,512,10,fp16,0,1
sd35,h200,4096,10,fp16,0,1
"""


@pytest.fixture
def asked(tmp_path: Path) -> dict[str, list[str]]:
    """How each command is asked for an image of a side that the model's table of positions does not cover."""
    sweep, rows = tmp_path / "sweep.yaml", tmp_path / "rows.csv"
    sweep.write_text(SWEEP)
    rows.write_text(ROWS)
    return {
        "predict": ["predict", "--model", "sd35", *WANTED],
        "plan": ["plan", "--model", "sd35", "--gpu", "h200", "--budget", "1", "--candidates", str(rows)],
        "submit": ["sweep", "submit", str(sweep), "--dry-run"],
        "measure": ["measure", "--model", "sd35", *WANTED, "--prompts", "1", "--simulate"],
        "flops": ["flops", "sd35", "--resolution", "4096"],
    }


@pytest.mark.parametrize("command", ["predict", "plan", "submit", "measure", "flops"])
def test_every_command_refuses_in_the_same_words(
    farm: Callable[..., Any], asked: dict[str, list[str]], command: str
) -> None:
    done = farm(*asked[command], "--json")
    assert (done.code, done.out) == (2, "")
    assert done.err == "farm: width: 4096: sd35 takes at most 3072 pixels\n"
