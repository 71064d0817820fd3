"""The parts that all pipeline families share: tokenizers, numerics, memory, random weights."""

from __future__ import annotations

import gc
import hashlib
import importlib
import inspect
import json
import os
import subprocess
import sys
import weakref
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from farm import catalog
from farm.catalog import Model
from farm.domain import Configuration, DeviceLost, Infeasible, OutOfMemory, RequestError
from workers import pipelines
from workers.pipelines import memory, numerics
from workers.pipelines.build import keep_in_fp32, target
from workers.pipelines.tokenizers import TOKENIZERS

CPU = torch.device("cpu")
MODELS = ["sd2", "sd35", "flux", "qwen"]
ABSURD = 10**15  # bytes, or floats: more than any address space gives


def nano(model: str, **changes: Any) -> Configuration:
    usual = {"width": 64, "height": 64, "steps": 2, "precision": "fp32", "cfg": False, "prompts": 1, "size": "nano"}
    return Configuration(**({"model": model, "gpu": "cpu"} | usual | changes))


class Unmeasured:
    def __init__(self, _label: str) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


# Tokenizers


def digests() -> dict[str, str]:
    """What each kind of tokenizer makes, vocabulary and tokens, as one number."""
    found = {}
    for kind in sorted(TOKENIZERS):
        made = TOKENIZERS[kind](77)
        parts = [sorted(made.get_vocab().items()), made("A man riding a Zebra, 7 éclairs")["input_ids"]]
        found[kind] = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    return found


@pytest.fixture(scope="module")
def fresh() -> dict[str, Any]:
    """The same tokenizers, and torch's own flags, in a process that nothing was set in."""
    code = f"""
import hashlib, json, torch
flags = [torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32]
from workers.pipelines.tokenizers import TOKENIZERS
{inspect.getsource(digests)}
print(json.dumps(dict(digests=digests(), flags=flags)))
"""
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_tokenizers_are_the_same_in_every_process(fresh):
    assert digests() == fresh["digests"]
    assert set(fresh["digests"]) == {"clip", "t5", "qwen"}


def test_qwen_template_has_as_many_tokens_as_the_pipeline_cuts_off():
    from diffusers import QwenImagePipeline

    tokenizer = TOKENIZERS["qwen"](1024)
    pipe = QwenImagePipeline(scheduler=None, vae=None, text_encoder=None, tokenizer=tokenizer, transformer=None)
    before, _, after = pipe.prompt_template_encode.partition("{}")
    assert len(tokenizer(before)["input_ids"]) == pipe.prompt_template_encode_start_idx == 34
    assert len(tokenizer(after)["input_ids"]) == 5


def test_qwen_takes_everyday_words_as_one_token_each():
    tokenizer = TOKENIZERS["qwen"](1024)
    caption = "A man riding a wave on top of a surfboard"
    assert len(tokenizer(caption)["input_ids"]) == len(caption.split())
    assert tokenizer.decode(tokenizer("Zwölf éclairs, 7 €")["input_ids"]) == "Zwölf éclairs, 7 €"
    assert len(tokenizer) <= catalog.model("qwen").components["text_encoder"].nano["text_config"]["vocab_size"]


@pytest.mark.parametrize("kind", ["clip", "t5"])
def test_padded_tokenizers_give_the_wanted_length(kind):
    ids = TOKENIZERS[kind](77)("word " * 300, padding="max_length", truncation=True)["input_ids"]
    assert len(ids) == 77
    short = TOKENIZERS[kind](77)("a cat", padding="max_length", truncation=True)["input_ids"]
    assert len(short) == 77
    assert max(ids + short) < 1000  # the nano vocabulary


# Numerics


@pytest.fixture
def restored() -> Iterator[None]:
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32, torch.get_num_threads()
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before[:2]
    torch.set_num_threads(before[2])


@pytest.mark.parametrize(
    ("setting", "convolutions", "matmuls"), [("default", True, False), ("on", True, True), ("off", False, False)]
)
def test_tf32_is_pinned_by_the_setting_whatever_was_before(setting, convolutions, matmuls, restored, monkeypatch):
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = not convolutions, not matmuls
    monkeypatch.setenv("FARM_TF32", setting)
    environment = pipelines.load(nano("sd2"), "cpu").environment()
    assert (environment["tf32_convolutions"], environment["tf32_matmuls"]) == (convolutions, matmuls)


def test_torch_defaults_are_what_default_pins(fresh):
    assert tuple(fresh["flags"]) == numerics.TF32["default"]


def test_a_setting_says_how_many_threads(restored, monkeypatch):
    assert pipelines.load(nano("sd2"), "cpu").environment()["cpu_threads"] == 1  # what suits nano
    monkeypatch.setenv("FARM_CPU_THREADS", "2")
    assert pipelines.load(nano("sd2"), "cpu").environment()["cpu_threads"] == 2


def test_a_tf32_setting_that_is_none_is_refused(monkeypatch):
    monkeypatch.setenv("FARM_TF32", "maybe")
    with pytest.raises(RequestError, match="FARM_TF32: maybe"):
        pipelines.load(nano("sd2"), "cpu")


# Memory


def test_a_real_allocation_failure_is_out_of_memory_with_the_peak():
    with pytest.raises(OutOfMemory, match="does not fit cpu") as caught:
        memory.guarded(CPU, lambda: torch.empty(ABSURD, dtype=torch.uint8))
    assert caught.value.peak_bytes is not None
    assert caught.value.peak_bytes > 10**7
    assert not caught.value.retry


def test_the_error_holds_no_tensor_of_the_failed_call():
    alive: list[weakref.ref[torch.Tensor]] = []

    def call() -> None:
        held = torch.zeros(1000)
        alive.append(weakref.ref(held))
        torch.empty(ABSURD, dtype=torch.uint8)

    with pytest.raises(OutOfMemory) as caught:
        memory.guarded(CPU, call)
    assert caught.value.__context__ is None
    assert alive[0]() is None


@pytest.mark.parametrize(
    ("error", "becomes"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), OutOfMemory),
        (RuntimeError("CUDA error: out of memory"), OutOfMemory),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"), OutOfMemory),
        (MemoryError(), OutOfMemory),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), DeviceLost),
        (RuntimeError("CUDA error: unspecified launch failure"), DeviceLost),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), RuntimeError),
        (ValueError("a mistake"), ValueError),
    ],
)
def test_what_torch_raises_becomes_what_the_farm_knows(error, becomes):
    def fail() -> None:
        raise error

    with pytest.raises(becomes) as caught:
        memory.guarded(CPU, fail)
    assert type(caught.value) is becomes


def test_a_pipeline_out_of_memory_is_fit_for_the_next_batch():
    pipeline = pipelines.load(nano("flux"), "cpu")
    hook = pipeline.pipe.transformer.register_forward_hook(lambda *_: torch.empty(ABSURD))
    with pytest.raises(OutOfMemory, match="does not fit"):
        pipeline.run(["a cat"], 0, Unmeasured)
    hook.remove()
    assert pipeline.run(["a cat"], 0, Unmeasured).finite


def modules_alive() -> int:
    gc.collect()
    return sum(issubclass(type(thing), torch.nn.Module) for thing in gc.get_objects())


def test_weights_that_do_not_fit_are_out_of_memory_and_leave_nothing():
    model = catalog.model("sd2")
    part = model.components["text_encoder"]
    huge = replace(
        model, components={**model.components, "text_encoder": replace(part, nano={**part.nano, "vocab_size": ABSURD})}
    )
    family = importlib.import_module("workers.pipelines.families.sd").FAMILY
    before = modules_alive()
    with pytest.raises(OutOfMemory):
        family.load(huge, nano("sd2"), "cpu")
    assert modules_alive() == before


# Random weights


def test_target_restores_type_device_and_random_state():
    state = torch.random.get_rng_state()
    with target(torch.device("meta"), torch.bfloat16):
        assert torch.rand(1).dtype == torch.bfloat16
        assert torch.rand(1).device.type == "meta"
    with pytest.raises(ZeroDivisionError), target(CPU, torch.float16):
        raise ZeroDivisionError
    assert torch.rand(1).dtype == torch.float32
    torch.random.set_rng_state(state)
    with target(CPU, torch.float16):
        torch.rand(10)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_random_weights_keep_in_single_precision_what_pretrained_ones_do():
    encoder = pipelines.load(nano("flux", precision="fp16"), "cpu").pipe.text_encoder_2
    wide = {name for name, p in encoder.named_parameters() if p.dtype == torch.float32}
    assert wide == {name for name, _ in encoder.named_parameters() if name.endswith(".wo.weight")}
    assert wide
    layer = torch.nn.Linear(2, 2, dtype=torch.bfloat16)
    keep_in_fp32(layer, torch.bfloat16)
    assert layer.weight.dtype == torch.bfloat16


DEPTHS = {"num_layers", "num_single_layers", "num_hidden_layers", "layers_per_block", "num_res_blocks"}


def as_deep_as_published(nano_config: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """Nano width, full depth."""
    found = {}
    for key, value in nano_config.items():
        deeper = config.get(key, value) if key in DEPTHS else value
        found[key] = as_deep_as_published(value, config.get(key, {})) if isinstance(value, dict) else deeper
    return found


@pytest.mark.parametrize("name", MODELS)
def test_half_precision_stays_far_from_overflow_at_full_depth(name):
    """Widths do not matter here: initial weights shrink with the fan-in, so that variances do not depend on it."""
    model = catalog.model(name)
    deep = {k: replace(c, nano=as_deep_as_published(dict(c.nano), dict(c.config))) for k, c in model.components.items()}
    family = importlib.import_module(f"workers.pipelines.families.{model.family}").FAMILY
    pipeline = family.load(replace(model, components=deep), nano(name, precision="fp16"), "cpu")
    largest = [0.0]

    def watch(_module: torch.nn.Module, _arguments: Any, out: Any) -> None:
        for tensor in out if isinstance(out, tuple) else (out,):
            if isinstance(tensor, torch.Tensor) and tensor.is_floating_point() and tensor.numel():
                largest.append(float(tensor.abs().max()))

    for part in deep:
        for module in getattr(pipeline.pipe, part).modules():
            module.register_forward_hook(watch)
    assert pipeline.run(["a cat"], 0, Unmeasured).finite
    assert 1.0 < max(largest) < 65504 / 100


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' own schedules
@pytest.mark.parametrize("name", sorted(name for name in catalog.models() if pipelines.supported(name)))
def test_every_model_of_a_shipped_family_makes_an_image(name):
    configuration = nano(name, width=96, cfg=True, precision="bf16")
    pipeline = pipelines.load(configuration, "cpu")
    assert pipeline.run(["a cat"], 0, Unmeasured).finite
    twice = {"batch": (2, 2), "two_pass": (4, 1)}[catalog.model(name).guidance]
    found = pipeline.run(["a cat"], 0, Unmeasured)
    assert (found.forwards, found.forward_batch) == twice


# What cannot be loaded


def test_no_such_device_is_said_in_one_line():
    with pytest.raises(Infeasible, match="no CUDA device is visible"):
        pipelines.load(nano("sd2"), "cuda")
    with pytest.raises(RequestError, match="device: gpu0"):
        pipelines.load(nano("sd2"), "gpu0")


def test_which_models_have_a_pipeline():
    assert all(pipelines.supported(name) for name in MODELS)
    with pytest.raises(RequestError, match="known:"):
        pipelines.supported("no-such-model")


def lab_model(home: Any, name: str, *changes: tuple[str, str]) -> Model:
    folder = home / "catalog" / "models"
    folder.mkdir(parents=True)
    text = (catalog.SHIPPED / "models" / "sd2.toml").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / f"{name}.toml").write_text(text)
    return catalog.model(name)


def test_a_model_of_an_unknown_family_is_infeasible(home):
    lab_model(home, "lab", ('family = "sd"', 'family = "unheard_of"'), ("StableDiffusionPipeline", "UnheardOfPipeline"))
    assert not pipelines.supported("lab")
    with pytest.raises(Infeasible, match="no pipeline for the family unheard_of"):
        pipelines.load(nano("lab"), "cpu")


def test_a_class_that_diffusers_lacks_is_infeasible(home):
    lab_model(home, "lab2", ('class = "UNet2DConditionModel"', 'class = "UNet5DModel"'))
    with pytest.raises(Infeasible, match=r"diffusers [\d.]+ has no class UNet5DModel"):
        pipelines.load(nano("lab2"), "cpu")


def test_a_model_without_cfg_refuses_it(home):
    lab_model(home, "lab3", ('cfg = "batch"', 'cfg = "none"'))
    assert pipelines.load(nano("lab3"), "cpu").run(["a cat"], 0, Unmeasured).forwards == 2
    with pytest.raises(RequestError, match="cfg: True: lab3 has no classifier-free guidance"):
        pipelines.load(nano("lab3", cfg=True), "cpu")


def test_sizes_beyond_a_table_of_positions_are_refused():
    with pytest.raises(RequestError, match="width: 4096: sd35 takes at most 3072 pixels"):
        pipelines.load(nano("sd35", width=4096), "cpu")


def test_a_schedule_of_one_step_is_refused_where_it_would_divide_by_zero():
    with pytest.raises(RequestError, match="steps: 1: qwen takes at least 2"):
        pipelines.load(nano("qwen", steps=1), "cpu")


def test_the_package_is_imported_without_torch():
    code = "import sys; import workers.pipelines as p; p.supported('sd2'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.lower()) is False
