"""What every pipeline family promises, tested on real diffusers at nano size. A new family subclasses the contract and
says what its one-shot call looks like; that call is written out here on purpose, not taken from the code under test."""

from __future__ import annotations

import contextlib
import gc
import importlib
import weakref
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
import torch

from farm import catalog
from farm.domain import Configuration, Infeasible, OperationError, RequestError
from workers import pipelines
from workers.pipelines.base import Pipeline

PROMPTS = ["a cat on a red chair", "two dogs playing with a frisbee in the green grass, seen from above"]
STEPS = 2
SEED = 7


@contextlib.contextmanager
def unmeasured(_label: str) -> Iterator[None]:
    yield


@contextlib.contextmanager
def kept(pipeline: Pipeline) -> Iterator[list[torch.Tensor]]:
    """The pixels of every batch that ``run`` makes inside."""
    seen: list[torch.Tensor] = []
    decode = pipeline.decode

    def watched(latents: torch.Tensor) -> torch.Tensor:
        seen.append(decode(latents))
        return seen[-1]

    pipeline.decode = watched  # type: ignore[method-assign]
    try:
        yield seen
    finally:
        del pipeline.decode


@pytest.fixture(scope="module", autouse=True)
def quick_collections() -> Iterator[None]:
    """Everything that importing torch and its friends made is left out of the collections that ``close`` makes."""
    torch.set_num_threads(1)
    importlib.import_module("workers.pipelines.build")
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


class PipelineContract:
    model: ClassVar[str]
    cfg_on: ClassVar[dict[str, Any]]  # arguments of a user's one-shot call, without the prompts
    cfg_off: ClassVar[dict[str, Any]]
    forwards_with_cfg: ClassVar[tuple[int, int]]  # calls a step, samples a prompt in each
    pixels_in_fp16: ClassVar[torch.dtype] = torch.float16

    def configuration(self, **changes: Any) -> Configuration:
        usual: dict[str, Any] = {"width": 64, "height": 64, "steps": STEPS, "precision": "fp32", "cfg": False}
        usual |= {"model": self.model, "gpu": "cpu", "prompts": 2, "batch": 2, "size": "nano"}
        return Configuration(**(usual | changes))

    @pytest.fixture
    def pipeline(self) -> Pipeline:
        return pipelines.load(self.configuration(), "cpu")

    def pixels(self, pipeline: Pipeline, prompts: list[str], seed: int = SEED) -> torch.Tensor:
        with kept(pipeline) as seen:
            assert pipeline.run(prompts, seed, unmeasured).finite
        return seen[0]

    @pytest.mark.parametrize("cfg", [False, True])
    @pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
    def test_three_phases_make_the_image_of_the_one_shot_call_bit_for_bit(self, precision: str, cfg: bool) -> None:
        wanted = self.configuration(precision=precision, cfg=cfg, height=96)
        pipeline = pipelines.load(wanted, "cpu")
        staged = self.pixels(pipeline, PROMPTS)
        call = self.cfg_on if cfg else self.cfg_off
        generators = [torch.Generator().manual_seed(SEED + i) for i in range(len(PROMPTS))]
        one_shot = pipeline.pipe(
            prompt=PROMPTS,
            width=64,
            height=96,
            num_inference_steps=STEPS,
            generator=generators,
            output_type="pt",
            **call,
        ).images
        assert staged.shape == (2, 3, 96, 64)
        assert staged.dtype == {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": self.pixels_in_fp16}[precision]
        assert torch.equal(pipeline.pipe.image_processor.postprocess(staged, output_type="pt"), one_shot)
        assert one_shot.float().std() > 0.01  # an image, not a constant

    @pytest.mark.parametrize("cfg", [False, True])
    @pytest.mark.parametrize("images", [1, 2])
    def test_cfg_is_what_the_denoiser_did(self, pipeline: Pipeline, cfg: bool, images: int) -> None:
        batches: list[int] = []
        model = catalog.model(self.model)
        denoiser = next(getattr(pipeline.pipe, n) for n, c in model.components.items() if c.phase == "denoise")
        denoiser.register_forward_hook(lambda _m, _a, out: batches.append(out[0].shape[0]))
        pipeline.bind(self.configuration(cfg=cfg))
        found = pipeline.run(PROMPTS[:images], SEED, unmeasured)
        calls, samples = self.forwards_with_cfg if cfg else (1, 1)
        assert batches == [samples * images] * (calls * STEPS)
        assert (found.forwards, found.forward_batch) == (calls * STEPS, samples * images)
        assert found.images == images

    def test_cfg_changes_the_image(self, pipeline: Pipeline) -> None:
        without = self.pixels(pipeline, PROMPTS)
        pipeline.bind(self.configuration(cfg=True))
        assert not torch.equal(without, self.pixels(pipeline, PROMPTS))

    def test_an_ignored_cfg_switch_is_found_out(self, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
        pipeline.bind(self.configuration(cfg=True))
        monkeypatch.setattr(pipeline, "guidance", lambda: self.off_switch)
        with pytest.raises(Infeasible, match="switches CFG otherwise"):
            pipeline.run(PROMPTS, SEED, unmeasured)

    @property
    def off_switch(self) -> dict[str, Any]:
        return {k: v for k, v in self.cfg_off.items() if not k.startswith("negative")}

    def test_every_part_works_in_its_own_phase_only(self, pipeline: Pipeline) -> None:
        opened: list[str] = []
        now: list[str] = []
        worked: set[tuple[str, str]] = set()

        @contextlib.contextmanager
        def phase(label: str) -> Iterator[None]:
            opened.append(label)
            now.append(label)
            yield
            now.pop()

        components = catalog.model(self.model).components
        for name, component in components.items():
            for module in getattr(pipeline.pipe, name).modules():
                module.register_forward_hook(
                    lambda *_, belongs=component.phase: worked.add((belongs, now[-1] if now else "outside"))
                )
        pipeline.bind(self.configuration(cfg=True))
        pipeline.run(PROMPTS, SEED, phase)
        assert opened == ["text", "denoise", "decode"]
        assert worked == {("text", "text"), ("denoise", "denoise"), ("decode", "decode")}

    def test_the_seed_decides_the_image_whatever_the_batch(self, pipeline: Pipeline) -> None:
        together = self.pixels(pipeline, [PROMPTS[0]] * 2)
        assert torch.equal(together, self.pixels(pipeline, [PROMPTS[0]] * 2))
        second = self.pixels(pipeline, [PROMPTS[0]], SEED + 1)
        torch.testing.assert_close(together[1:], second, rtol=1e-3, atol=1e-4)
        assert not torch.allclose(together[:1], second, rtol=1e-3, atol=1e-4)

    @pytest.mark.parametrize("side", [1, 3, 8])
    def test_any_size_that_the_catalog_allows(self, pipeline: Pipeline, side: int) -> None:
        multiple = catalog.model(self.model).multiple
        width, height = max(8, multiple * side), max(8, multiple * (side + 2))
        pipeline.bind(self.configuration(width=width, height=height))
        assert self.pixels(pipeline, PROMPTS).shape == (2, 3, height, width)

    def test_a_size_that_is_no_multiple_is_refused(self, pipeline: Pipeline) -> None:
        with pytest.raises(RequestError, match=r"width: 68: .*multiples of"):
            pipeline.bind(self.configuration(width=68))

    def test_stays_loaded_for_its_kind_only(self, pipeline: Pipeline) -> None:
        assert pipeline.bind(self.configuration(steps=3, cfg=True, width=128)) is pipeline
        assert pipeline.run(PROMPTS[:1], 0, unmeasured).finite
        with pytest.raises(ValueError, match="needs a load of its own"):
            pipeline.bind(self.configuration(precision="bf16"))

    def test_output_that_is_not_finite_is_told(self, pipeline: Pipeline) -> None:
        denoiser = next(c for c in ("unet", "transformer") if hasattr(pipeline.pipe, c))
        next(getattr(pipeline.pipe, denoiser).parameters()).fill_(float("nan"))
        assert not pipeline.run(PROMPTS, SEED, unmeasured).finite

    def test_close_leaves_nothing_behind(self) -> None:
        pipeline = pipelines.load(self.configuration(), "cpu")
        pipeline.run(PROMPTS, SEED, unmeasured)
        alive = [
            weakref.ref(p) for n in catalog.model(self.model).components for p in getattr(pipeline.pipe, n).parameters()
        ]
        pipeline.close()
        pipeline.close()
        gc.collect()
        assert alive
        assert not any(reference() is not None for reference in alive)

    def test_random_weights_are_the_same_every_time_and_in_the_wanted_type(self) -> None:
        state = torch.random.get_rng_state()
        first = pipelines.load(self.configuration(precision="bf16"), "cpu")
        assert torch.equal(state, torch.random.get_rng_state())
        torch.manual_seed(123)
        second = pipelines.load(self.configuration(precision="bf16"), "cpu")
        for name in catalog.model(self.model).components:
            ours, theirs = getattr(first.pipe, name), getattr(second.pipe, name)
            assert {p.dtype for p in ours.parameters()} == {torch.bfloat16}
            assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))

    def test_the_environment_says_how_it_was_computed(self, pipeline: Pipeline) -> None:
        found = pipeline.environment()
        assert found["weights"] == "random"
        assert (found["tf32_convolutions"], found["tf32_matmuls"]) == (True, False)
        assert found["deterministic_algorithms"] is False
        assert set(found["parameters"]) == set(catalog.model(self.model).components)  # type: ignore[call-overload]
        assert found["weight_bytes"] == 4 * sum(found["parameters"].values())  # type: ignore[attr-defined]
        assert found["peak_bytes"] > 0  # type: ignore[operator]


class TestStableDiffusion2(PipelineContract):
    model = "sd2"
    cfg_on: ClassVar = {"guidance_scale": 7.5}
    cfg_off: ClassVar = {"guidance_scale": 1.0}
    forwards_with_cfg = (1, 2)


class TestStableDiffusion35(PipelineContract):
    model = "sd35"
    cfg_on: ClassVar = {"guidance_scale": 7.0}
    cfg_off: ClassVar = {"guidance_scale": 1.0}
    forwards_with_cfg = (1, 2)


class TestFlux(PipelineContract):
    model = "flux"
    cfg_on: ClassVar = {"guidance_scale": 3.5, "true_cfg_scale": 4.0, "negative_prompt": ["", ""]}
    cfg_off: ClassVar = {"guidance_scale": 3.5, "true_cfg_scale": 1.0}
    forwards_with_cfg = (2, 1)


class TestQwenImage(PipelineContract):
    model = "qwen"
    cfg_on: ClassVar = {"true_cfg_scale": 4.0, "negative_prompt": [" ", " "]}
    cfg_off: ClassVar = {"true_cfg_scale": 1.0}
    forwards_with_cfg = (2, 1)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' own schedule
@pytest.mark.filterwarnings("ignore:`upcast_vae` is deprecated:FutureWarning")  # the one-shot call's own
class TestStableDiffusionXL(PipelineContract):
    model = "sdxl"
    cfg_on: ClassVar = {"guidance_scale": 5.0}
    cfg_off: ClassVar = {"guidance_scale": 1.0}
    forwards_with_cfg = (1, 2)
    pixels_in_fp16 = torch.float32  # the VAE is widened


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' own schedule
class TestPixArtSigma(PipelineContract):
    model = "pixart-sigma"
    cfg_on: ClassVar = {"guidance_scale": 4.5, "use_resolution_binning": False, "clean_caption": False}
    cfg_off: ClassVar = {"guidance_scale": 1.0, "use_resolution_binning": False, "clean_caption": False}
    forwards_with_cfg = (1, 2)


def test_a_family_module_that_exports_no_family_is_an_error(monkeypatch) -> None:
    monkeypatch.delattr("workers.pipelines.families.sd.FAMILY")
    nano = {"width": 64, "height": 64, "steps": 2, "precision": "fp32", "cfg": True, "prompts": 1, "size": "nano"}
    with pytest.raises(OperationError, match="families/sd is no pipeline family: it exports no FAMILY"):
        pipelines.load(Configuration(model="sd2", gpu="cpu", **nano), "cpu")
