"""``farm weights fetch`` against a hub on this machine: what it says and fetches, and what a worker then finds without
a network."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch

from farm import catalog
from farm.domain import Configuration
from farm.domain.words import with_prefix
from tests.conftest import ROOT
from tests.hub import Hub, Repository
from tests.processes import wait_until
from workers import pipelines

REVISIONS = {"lab-one": "1" * 40, "lab-two": "2" * 40}
# What repositories keep beside what is read.
BESIDE = (
    "unet/diffusion_pytorch_model.fp16.safetensors", "unet/diffusion_pytorch_model.bin",
    "safety_checker/model.safetensors", "768-v-ema.safetensors", "README.md", "unet/run_me.py",
)  # fmt: skip


def entry(model: str) -> str:
    """A model of the lab's own, as small as the shipped one of nano size, with weights on the lab's hub."""
    text = (ROOT / "farm" / "catalog" / "models" / "sd2.toml").read_text()
    text = re.sub(r"\[components\.(\w+)\.config\]\n(?:(?!\[).*\n)*", "", text)  # the nano ones take their place
    text = re.sub(r"\[components\.(\w+)\.nano\]", r"[components.\1.config]", text)
    for key, value in {"repository": f"lab/{model}", "revision": REVISIONS[model], "title": model}.items():
        text = re.sub(rf"^{key} = .*$", f'{key} = "{value}"', text, count=1, flags=re.M)
    return re.sub(r"^aliases = .*$", "aliases = []", text, count=1, flags=re.M)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A nano pipeline as diffusers saves it, with what repositories have beside it."""
    folder = tmp_path_factory.mktemp("pipeline")
    drawn = pipelines.load(configuration("sd2", size="nano", weights="random"), "cpu")
    drawn.pipe.save_pretrained(folder, safe_serialization=True)
    for name in BESIDE:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * 1000)
    return folder


def configuration(model: str, **more: Any) -> Configuration:
    return Configuration(
        model=model, gpu="cpu", width=64, height=64, steps=1, precision="fp32", cfg=False, prompts=1, **more
    )


@pytest.fixture
def hub(pipeline: Path, home: Path, tmp_path: Path) -> Iterator[Hub]:
    """The hub, with a repository of each of two models that the lab's catalog has."""
    repositories = {}
    for model, revision in REVISIONS.items():
        shutil.copytree(pipeline, tmp_path / model)
        repositories[f"lab/{model}"] = Repository(tmp_path / model, revision)
        path = home / "catalog" / "models" / f"{model}.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(entry(model))
    served = Hub(repositories)
    yield served
    served.close()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "hf" / "hub"


@pytest.fixture
def online(hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command in this process asks the hub on this machine."""
    for name, value in (("ENDPOINT", hub.url), ("HF_HUB_CACHE", str(cache)), ("HF_HUB_OFFLINE", False)):
        monkeypatch.setattr(huggingface_hub.constants, name, value)


@pytest.fixture
def environment(hub: Hub, cache: Path) -> dict[str, str]:
    """A command of its own process does."""
    return {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(cache.parent), "HF_TOKEN": ""}


def sweep_file(folder: Path, **more: Any) -> Path:
    document = {
        "models": list(REVISIONS), "gpus": ["a100"], "resolutions": [64], "steps": [1], "precisions": ["fp32"],
        "cfg": [False], "prompts": [1], "weights": "pretrained", **more,
    }  # fmt: skip
    path = folder / "weekend.yaml"
    path.write_text(json.dumps(document))
    return path


def read_names(pipeline: Path) -> set[str]:
    """The files that a worker reads."""
    names = {path.relative_to(pipeline).as_posix() for path in pipeline.rglob("*") if path.is_file()}
    return names - set(BESIDE)


def size_of(pipeline: Path) -> int:
    return sum((pipeline / name).stat().st_size for name in read_names(pipeline))


def test_models_of_a_sweep_are_fetched_and_a_worker_without_a_network_finds_them(
    hub, pipeline, cache, environment, tmp_path, farm, farm_process, monkeypatch
) -> None:
    path = sweep_file(tmp_path)
    sweep = json.loads(farm("sweep", "submit", path, "--json").out)["sweep"]
    size = size_of(pipeline)
    before = farm_process("weights", "fetch", sweep, "--dry-run", "--json", **environment)
    assert before.code == 0, before.err
    told = json.loads(before.out)
    assert [(row["model"], row["bytes"], row["fetch_bytes"], row["folder"]) for row in told["models"]] == [
        (model, size, size, None) for model in REVISIONS
    ]
    assert told["fetch_bytes"] == 2 * size
    assert told["free_bytes"] == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.05)
    assert (hub.sent, cache.exists()) == ([], False)  # nothing was fetched, nothing made

    done = farm_process("weights", "fetch", path, **environment)
    assert done.code == 0, done.err
    assert [line.partition(" in ")[0] for line in done.out.splitlines()] == [
        f"{model}: lab/{model} at {revision}, {with_prefix(size, 'B')}" for model, revision in REVISIONS.items()
    ]
    assert sorted(hub.sent) == sorted([*read_names(pipeline)] * 2)
    hub.close()

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    assert huggingface_hub.constants.HF_HUB_OFFLINE
    saved = pipelines.load(configuration("sd2", size="nano", weights="random"), "cpu")
    for model, revision in REVISIONS.items():
        found = pipelines.load(configuration(model, weights="pretrained"), "cpu")
        assert found.environment()["revision"] == revision
        for name in catalog.model(model).components:
            ours, theirs = (getattr(each.pipe, name).state_dict() for each in (found, saved))
            assert all(torch.equal(tensor, theirs[key]) for key, tensor in ours.items())
    again = json.loads(farm("weights", "fetch", "lab-one", "lab-two", "--json").out)  # needs no hub any more
    assert [row["fetch_bytes"] for row in again["models"]] == [0, 0]


@pytest.mark.usefixtures("online")
def test_what_was_interrupted_is_resumed(hub, pipeline, cache, environment, farm, farm_process) -> None:
    repository = hub.repositories["lab/lab-one"]
    repository.held = "unet/diffusion_pytorch_model.safetensors"
    command = [sys.executable, "-m", "farm", "weights", "fetch", "lab-one", "--json"]
    process = subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    others = read_names(pipeline) - {repository.held}
    assert hub.held.wait(60)
    wait_until(lambda: others <= set(whole(cache)), 60, "all other files")
    process.kill()
    process.communicate()
    repository.release.set()
    hub.sent.clear()
    told = json.loads(farm("weights", "fetch", "lab-one", "--dry-run", "--json").out)
    assert told["fetch_bytes"] == (pipeline / repository.held).stat().st_size
    assert told["bytes"] == size_of(pipeline)
    done = farm_process("weights", "fetch", "lab-one", "--json", **environment)
    assert json.loads(done.out)["fetch_bytes"] == 0, done.err
    assert hub.sent == [repository.held]


def whole(cache: Path) -> list[str]:
    """The files of the first model that are in the cache."""
    snapshot = cache / "models--lab--lab-one" / "snapshots" / REVISIONS["lab-one"]
    return [path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*") if path.is_file()]


@pytest.mark.usefixtures("online")
def test_too_small_a_disk_is_refused_before_anything_is_fetched(hub, farm) -> None:
    hub.repositories["lab/lab-two"].says = lambda size: 10**18 + size
    for more in ([], ["--dry-run"]):
        done = farm("weights", "fetch", "lab-one", "lab-two", "--json", *more)
        assert done.code == 2
        assert re.fullmatch(
            r"farm: weights: \d{10,} GB to fetch: at most the \S+ [kMG]?B that are free in .*\n", done.err
        )
        assert bool(done.out) == bool(more)  # the sizes are shown where they were asked for
    assert hub.sent == []


@pytest.mark.usefixtures("online")
def test_a_size_that_the_hub_does_not_say_is_unknown(hub, farm) -> None:
    hub.repositories["lab/lab-two"].says = lambda _: None
    told = json.loads(farm("weights", "fetch", "lab-one", "lab-two", "--dry-run", "--json").out)
    assert [row["bytes"] is None for row in told["models"]] == [False, True]
    assert (told["bytes"], told["fetch_bytes"]) == (None, None)
    shown = farm("weights", "fetch", "lab-one", "lab-two", "--dry-run").out.splitlines()
    assert "lab-two: lab/lab-two, size unknown, size unknown to fetch" in shown
    assert shown[-1].startswith("at least ")


def gate(hub: Hub) -> None:
    hub.repositories["lab/lab-two"].gated = True


def move(hub: Hub) -> None:
    hub.repositories["lab/lab-two"].revision = "3" * 40


def remove(hub: Hub) -> None:
    del hub.repositories["lab/lab-two"]


def pickle(hub: Hub) -> None:
    unet = hub.repositories["lab/lab-two"].folder / "unet"
    (unet / "diffusion_pytorch_model.safetensors").unlink()


@pytest.mark.usefixtures("online")
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (gate, "lab-two: weights of lab/lab-two are gated: accept the licence at"),
        (move, f"lab-two: weights of lab/lab-two: the hub has no revision {REVISIONS['lab-two']}"),
        (remove, "lab-two: weights of lab/lab-two: no such repository, or it is private"),
        (pickle, f"lab-two: lab/lab-two has no safetensors of unet at {REVISIONS['lab-two']}"),
        (Hub.close, "the hub was not reached at http://127.0.0.1:"),
    ],
)
def test_what_cannot_be_had_is_one_line_and_the_others_are_fetched(
    spoil: Callable[[Hub], None], words: str, hub, environment, farm, farm_process
) -> None:
    spoil(hub)
    command = ("weights", "fetch", "lab-one", "lab-two", "--json")
    for dry in (True, False) if spoil is gate else (True,):
        done = farm(*command, "--dry-run") if dry else farm_process(*command, **environment)
        assert done.code == 1
        assert words in done.err.splitlines()[-1]
        (one, two) = json.loads(done.out)["models"]
        assert words in two["why"]
        assert two["folder"] is None
    assert bool(one["why"]) == (spoil is Hub.close)
    assert bool(one["folder"]) == (spoil is gate)


@pytest.mark.usefixtures("online")
def test_of_a_sweep_only_what_its_jobs_load_is_fetched(hub, tmp_path, farm, farm_process) -> None:
    some = {"exclude": [{"model": "lab-one"}], "models": ["lab-one", "lab-two", "qwen"], "gpus": ["a4000"]}
    path = sweep_file(tmp_path, **some, resolutions=[64], precisions=["fp16"])
    told = json.loads(farm("weights", "fetch", path, "--dry-run", "--json").out)
    assert [row["model"] for row in told["models"]] == ["lab-two"]  # qwen fits no A4000
    none = farm_process("weights", "fetch", sweep_file(tmp_path, weights="random"))
    assert (none.code, none.out) == (0, "")
    assert "all weights are random" in none.err


def test_weights_of_the_lab_s_own_folder_need_no_hub(pipeline, tmp_path, farm, monkeypatch) -> None:
    shutil.copytree(pipeline, tmp_path / "weights" / "sd2")
    monkeypatch.setenv("FARM_WEIGHTS_DIR", str(tmp_path / "weights"))
    told = json.loads(farm("weights", "fetch", "sd2", "--dry-run", "--json").out)
    assert (told["revision"], told["fetch_bytes"]) == ("local", 0)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("flx", "model, sweep file or sweep: flx: did you mean flux?"),
        ("7", "nothing was submitted yet"),
        ("nothing.yaml", "nothing.yaml: "),
    ],
)
def test_what_is_neither_a_model_nor_a_sweep_is_refused(word: str, said: str, farm) -> None:
    done = farm("weights", "fetch", word)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert len(done.err.splitlines()) == 1
