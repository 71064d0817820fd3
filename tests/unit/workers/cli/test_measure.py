"""``farm measure`` and ``farm weights fetch``: what they print and how they refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

NANO = {"model": "sd2", "gpu": "cpu", "resolution": "64", "steps": "2", "precision": "fp32", "prompts": "3"}
AGREED = {
    "model", "gpu", "width", "height", "steps", "precision", "cfg", "prompts", "batch", "weights", "size", "seed",
    "energy_joules", "energy_std_joules", "idle_watts", "duration_seconds", "phases", "forwards", "repeats", "meter",
    "flags", "environment",
}  # fmt: skip


def options(**changes: Any) -> list[str]:
    row = {**NANO, **{k.replace("_", "-"): v for k, v in changes.items()}}
    return [part for name, value in row.items() if value is not None for part in (f"--{name}", str(value))]


def test_a_nano_image_on_the_cpu(farm: Callable[..., Any], tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a cat\na dog\n")
    argv = options(batch=2, size="nano", idle_seconds=0.4, seed=5, prompts_file=prompts, resolution="64x96")
    done = farm("measure", *argv, "--cfg", "--json")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert document.keys() >= AGREED
    assert (document["width"], document["height"], document["cfg"], document["seed"]) == (64, 96, True, 5)
    assert set(document["phases"]) == {"text", "denoise", "decode"}
    assert all(phase["seconds"] > 0 for phase in document["phases"].values())
    assert document["duration_seconds"] == pytest.approx(sum(p["seconds"] for p in document["phases"].values()))
    assert (document["forwards"], document["forward_batch"]) == (4, 4)  # 2 batches of 2 steps; 2 images, twice for CFG
    assert document["meter"] == "codecarbon"
    assert "estimated" in document["flags"]
    assert document["environment"]["weights"] == "random"
    assert len(document["environment"]["prompts_sha256"]) == 64


def test_a_simulated_gpu_in_words(farm: Callable[..., Any]) -> None:
    done = farm("measure", *options(gpu="a100", resolution=512, precision="fp16"), "--simulate")
    assert done.code == 0, done.err
    assert done.out.startswith("a100 sd2 512x512 T2 fp16 N3\nenergy ")
    assert "flags: simulated" in done.out
    assert len(done.out.splitlines()) == 8


def test_a_log_that_cannot_be_written_is_refused_before_anything_is_measured(
    farm: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.cli.measure._measure", lambda *_: pytest.fail("measured"))
    argv = options(gpu="a100", resolution=512, precision="fp16", samples=tmp_path / "nowhere" / "log")
    done = farm("measure", *argv, "--simulate")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("farm: --samples: ")


def test_the_idle_power_before_anything_is_loaded_is_kept_too(farm: Callable[..., Any]) -> None:
    done = farm("measure", *options(gpu="a100", resolution=512, precision="fp16"), "--simulate", "--json")
    found = json.loads(done.out)
    assert found["cold_idle_watts"] == pytest.approx(found["idle_watts"], rel=0.05)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"model": "sd9"}, "model: sd9: "),
        ({"gpu": "a101"}, "gpu: a101: did you mean a100?"),
        ({"gpu": "a100"}, "gpu: a100: no such device here"),
        ({"resolution": "60"}, "width: 60: sd2 takes multiples of 8"),
        ({"resolution": "64x"}, "resolution: None: required"),
        ({"resolution": "64x60"}, "height: 60: sd2 takes multiples of 8"),
        ({"resolution": "big"}, "width: big: a whole number"),
        ({"steps": "0"}, "steps: 0: a whole number from 1"),
        ({"steps": "2.5"}, "steps: 2.5: a whole number"),
        ({"precision": "fp8"}, "precision: fp8: one of fp16, bf16, fp32"),
        ({"prompts": "-1"}, "prompts: -1: a whole number from 1"),
        ({"batch": "4"}, "batch: 4: at most prompts (3)"),
        ({"weights": "mine"}, "weights: mine: one of random, pretrained"),
        ({"size": "huge"}, "size: huge: one of full, nano"),
        ({"prompts_file": "/no/such/file"}, "prompts_file: /no/such/file: a file that can be read"),
        ({"model": "qwen", "gpu": "a4000", "precision": "fp16"}, "on a4000: needs an estimated"),
        ({"steps": None}, "Missing option '--steps'"),
        ({"idle_seconds": "-1"}, "--idle-seconds"),
    ],
)  # fmt: skip
def test_a_wrong_request_is_one_line_and_exit_2(
    changes: dict[str, Any], complaint: str, farm: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARM_NVML_LIBRARY", "/no/such/library")
    done = farm("measure", *options(**changes), "--json")
    assert done.code == 2
    assert done.out == ""
    assert complaint in done.err
    assert len(done.err.splitlines()) == 1


def test_pretrained_weights_that_are_not_here_are_one_line(farm: Callable[..., Any]) -> None:
    done = farm("measure", *options(size="nano", weights="pretrained"))
    assert done.code == 1
    assert done.err == (
        "farm: sd2: no pretrained weights of size nano are published: weights random, or a folder sd2-nano in "
        "FARM_WEIGHTS_DIR\n"
    )


def test_fetch_says_what_is_here(farm: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "snapshots" / "1234"
    (folder / "unet").mkdir(parents=True)
    (folder / "unet" / "config.json").write_bytes(b"{}" * 500)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(folder))
    document = json.loads(farm("weights", "fetch", "sd2", "--json").out)
    assert document["bytes"] == 1000
    assert document["folder"] == str(folder)
    assert document["revision"] == "1234"


def test_fetch_offline_is_one_line(farm: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    done = farm("weights", "fetch", "flux")
    assert (done.code, done.out) == (1, "")
    assert "HF_HUB_OFFLINE is set: farm weights fetch flux while online" in done.err
    assert len(done.err.splitlines()) == 1
    assert farm("weights", "fetch", "no-such-model").code == 2
