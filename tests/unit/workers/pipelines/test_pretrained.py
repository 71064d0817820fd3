"""Pretrained weights without a network: a saved nano pipeline read back, and every way in which they can be missing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import httpx2 as httpx
import huggingface_hub
import pytest
import torch
from huggingface_hub import errors

from farm import catalog
from farm.domain import Configuration, Infeasible
from workers import pipelines
from workers.pipelines import pretrained

MODELS = ["sd2", "sd35", "flux", "qwen"]


def configuration(model: str, weights: str, precision: str = "fp32") -> Configuration:
    return Configuration(
        model=model, gpu="cpu", width=64, height=64, steps=2, precision=precision, cfg=True, prompts=1,
        weights=weights, size="nano",
    )  # fmt: skip


def weights_of(pipeline: pipelines.Pipeline) -> dict[str, torch.Tensor]:
    parts = catalog.model(pipeline.configuration.model).components
    return {
        f"{name}.{key}": tensor for name in parts for key, tensor in getattr(pipeline.pipe, name).state_dict().items()
    }


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a nano pipeline of every model, as ``save_pretrained`` leaves it."""
    folder = tmp_path_factory.mktemp("weights")
    for model in MODELS:
        pipeline = pipelines.load(configuration(model, "random"), "cpu")
        pipeline.pipe.save_pretrained(folder / f"{model}-nano", safe_serialization=True)
    return folder


@pytest.fixture
def weights_dir(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it that a test may spoil, as FARM_WEIGHTS_DIR."""
    folder = tmp_path / "weights"
    shutil.copytree(saved, folder)
    monkeypatch.setenv("FARM_WEIGHTS_DIR", str(folder))
    return folder


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_saved_pipeline_is_read_back_as_it_was(model: str, precision: str, weights_dir: Path) -> None:
    drawn = pipelines.load(configuration(model, "random"), "cpu")
    read = pipelines.load(configuration(model, "pretrained", precision), "cpu")
    types = weights_of(pipelines.load(configuration(model, "random", precision), "cpu"))
    ours, theirs = weights_of(drawn), weights_of(read)
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert torch.equal(tensor, ours[name].to(tensor.dtype)), name
        if not name.endswith("pos_embed.pos_embed"):  # a table: kept single when built, narrowed when read
            assert tensor.dtype == types[name].dtype, name
    images = []
    for pipeline in (drawn, read):
        with torch.no_grad():
            embeddings = pipeline.encode(["a cat"])
            images.append(pipeline.decode(pipeline.denoise(embeddings, 0, 1)))
    if precision == "fp32":
        torch.testing.assert_close(*images)  # not bit for bit: read weights lie at other addresses in memory
    environment = read.environment()
    assert environment["weights"] == "pretrained"
    assert environment["revision"] == "local"
    assert not any(
        p.requires_grad for name in catalog.model(model).components for p in getattr(read.pipe, name).parameters()
    )


def refused(model: str, words: str) -> None:
    with pytest.raises(Infeasible, match=words) as caught:
        pipelines.load(configuration(model, "pretrained"), "cpu")
    assert "\n" not in str(caught.value)
    assert not caught.value.retry


def to_pickle(folder: Path) -> None:
    module = folder / "unet"
    (module / "diffusion_pytorch_model.safetensors").unlink()
    torch.save({}, module / "diffusion_pytorch_model.bin")


def to_other_depth(folder: Path) -> None:
    config = folder / "unet" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"cross_attention_dim": 24}))


def to_another_encoder(folder: Path) -> None:
    config = folder / "text_encoder" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"intermediate_size": 24}))


def to_no_words(folder: Path) -> None:
    for path in (folder / "tokenizer").iterdir():
        path.write_text("{")


def to_own_code(folder: Path) -> None:
    index = folder / "model_index.json"
    (folder / "scheduler" / "mine.py").write_text("raise SystemExit('code of a repository was run')")
    index.write_text(json.dumps(json.loads(index.read_text()) | {"scheduler": ["mine", "Mine"]}))


def to_half(folder: Path) -> None:
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def to_none(folder: Path) -> None:
    shutil.rmtree(folder / "vae")


@pytest.mark.parametrize(
    "spoil", [to_pickle, to_other_depth, to_another_encoder, to_no_words, to_own_code, to_half, to_none]
)
def test_a_folder_that_is_not_what_the_catalog_says_is_infeasible(
    spoil: Callable[[Path], None], weights_dir: Path
) -> None:
    spoil(weights_dir / "sd2-nano")
    refused("sd2", "sd2: weights in .* cannot be read")


def test_no_nano_weights_are_published() -> None:
    refused("sd2", "no pretrained weights of size nano are published")


def test_offline_and_not_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(Infeasible, match="HF_HUB_OFFLINE is set: farm weights fetch flux while online"):
        pretrained.fetch(catalog.model("flux"))


def hub_error(kind: type[errors.HfHubHTTPError], status: int) -> errors.HfHubHTTPError:
    request = httpx.Request("GET", "https://huggingface.co/api")
    return kind("refused", response=httpx.Response(status, request=request))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (hub_error(errors.GatedRepoError, 403), "gated: accept the licence at https://huggingface.co/black-forest"),
        (hub_error(errors.RepositoryNotFoundError, 401), "no such repository, or it is private"),
        (hub_error(errors.RevisionNotFoundError, 404), "no revision 3de623fc"),
        (hub_error(errors.HfHubHTTPError, 500), "could not be fetched: refused"),
        (errors.LocalEntryNotFoundError("no connection"), "the hub was not reached"),
        (OSError(28, "No space left on device"), "No space left on device"),
    ],
)
def test_what_the_hub_refuses_is_said_in_one_line(
    error: Exception, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(Infeasible, match=words):
        pretrained.fetch(catalog.model("flux"))


def test_what_is_fetched_is_pinned_and_no_more_than_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: dict[str, object] = {}

    def snapshot(repository: str, **arguments: object) -> str:
        asked.update(arguments, repository=repository)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    assert pretrained.fetch(catalog.model("sd2")) == tmp_path
    assert asked["repository"] == "stabilityai/stable-diffusion-2"
    assert asked["revision"] == catalog.model("sd2").revision
    published = {
        "model_index.json": True,
        "scheduler/scheduler_config.json": True,
        "tokenizer/merges.txt": True,
        "unet/config.json": True,
        "unet/diffusion_pytorch_model.safetensors": True,
        "unet/diffusion_pytorch_model.fp16.safetensors": False,
        "unet/diffusion_pytorch_model.bin": False,
        "text_encoder/model-00001-of-00002.safetensors": True,
        "text_encoder/model.fp16-00001-of-00002.safetensors": False,
        "safety_checker/model.safetensors": False,
        "768-v-ema.safetensors": False,
        "unet/run_me.py": False,
    }
    wanted = huggingface_hub.utils.filter_repo_objects(
        published, allow_patterns=asked["allow_patterns"], ignore_patterns=asked["ignore_patterns"]
    )
    assert list(wanted) == [name for name, read in published.items() if read]


def test_every_revision_is_a_commit() -> None:
    for name in MODELS:
        revision = catalog.model(name).revision
        assert len(revision) == 40
        assert int(revision, 16)
