"""Traces the three phases of a pipeline: text, one denoising step's forward, decode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch

from analysis.work.trace.build import DTYPES, build, quiet, summary
from analysis.work.trace.control import control_inputs, controlled
from analysis.work.trace.decoders import decoder as decoder_of
from analysis.work.trace.inputs import denoiser_inputs
from analysis.work.trace.operations import Op
from analysis.work.trace.pipeline import CONTROL, Pipeline
from analysis.work.trace.recorder import FusedAttention, KnownData, Recorder
from analysis.work.trace.request import Request
from farm.domain import PHASES
from farm.domain.errors import FarmError, RequestError

Counts = dict[str, dict[str, float | None]]


def count(pipeline: Pipeline, width: int, height: int, cfg: bool, frames: int = 1) -> Counts:
    """FLOPs, bytes and kernels by phase, fp16, of one image or video and one denoising step with both passes of CFG.

    None where the folder lacks what a phase needs.
    """
    tracer = Tracer(pipeline, "fp16", frames)
    result: Counts = {}
    for phase in PHASES:
        if phase == "text" and pipeline.missing:
            result[phase] = dict.fromkeys(("flops", "moved_bytes", "kernels"))
            continue
        passes = pipeline.forwards(phase, cfg)
        each, once = tracer.phase(phase, width, height, passes.samples), []
        if phase == "denoise" and passes.calls > 1:  # both passes take the same from a ControlNet
            once = tracer.control(width, height, passes.samples)
        totals = [passes.calls * a - (passes.calls - 1) * b for a, b in zip(_totals(each), _totals(once), strict=True)]
        result[phase] = dict(zip(("flops", "moved_bytes", "kernels"), totals, strict=True))
    return result


def _totals(ops: list[Op]) -> tuple[int, int, int]:
    """FLOPs, bytes moved and kernels."""
    run = [op for op in ops if op.kind != "view"]
    return sum(op.flops for op in run), sum(op.read_bytes + op.weight_bytes + op.write_bytes for op in run), len(run)


class Tracer:
    """The components of one pipeline on the meta device at one precision; each phase can be traced many times."""

    def __init__(self, pipeline: Pipeline, precision: str, frames: int = 1) -> None:
        """``frames`` of a video; 1 for an image."""
        self.pipeline = pipeline
        self.frames = frames
        self.precision = precision
        self._build = lru_cache(maxsize=None)(self._build_component)
        # Once each: a second run at one size would find what the model itself keeps (tables of rotary positions).
        self._traced = lru_cache(maxsize=None)(self._trace)

    def phase(self, name: str, width: int, height: int, batch: int = 1) -> list[Op]:
        """Operations of one phase in order of execution, views included.

        ``text``: all encoders over ``batch`` prompts, one pass. ``denoise``: one forward of ``batch`` samples.
        ``decode``: latents of ``batch`` images to pixels.
        """
        return self._traced(name, width, height, batch)

    def _trace(self, name: str, width: int, height: int, batch: int) -> list[Op]:
        with quiet():
            return {"text": self._text, "denoise": self._denoise, "decode": self._decode}[name](width, height, batch)

    def of_time(self) -> tuple[int, int]:
        """Frames to one of the latent, but for the first, and latent frames that the denoiser takes together."""
        decoder, denoiser = self._build(self.pipeline.decoder), self._build(self.pipeline.denoiser)
        how = decoder_of(type(decoder).__name__)
        with self._refusing(decoder):
            compression = 1 if how.frames is None else how.frames(decoder.config)
        return compression, int(denoiser.config.get("patch_size_t") or 1)

    def control(self, width: int, height: int, batch: int = 1) -> list[Op]:
        """The part of ``denoise`` that a ControlNet does; nothing where there is none."""
        return self._control(self._denoiser_inputs(width, height, batch), width, height, batch)[0]

    def _text(self, width: int, height: int, batch: int) -> list[Op]:
        ops: list[Op] = []
        for name, text in self.pipeline.convention.text.items():
            if name in self.pipeline.components:
                of_image, tokens = self._see(name, width, height, batch)
                inputs = {"input_ids": torch.empty(batch, text.tokens + tokens, dtype=torch.int64, device="meta")}
                if text.mask:
                    inputs["attention_mask"] = torch.empty_like(inputs["input_ids"])
                if self.pipeline.components[name].cls == "ChatGLMModel":
                    inputs["position_ids"] = torch.empty_like(inputs["input_ids"])
                ops += of_image + self._record(self._build(name), inputs)[0]
        return ops

    def _see(self, name: str, width: int, height: int, batch: int) -> tuple[list[Op], int]:
        """What an encoder does to see the image that is given, and how many tokens that image becomes."""
        if not self.pipeline.convention.shown_pixels:
            return [], 0
        encoder, size = self._build(name), self._request(width, height, batch).shown_size
        with self._refusing(encoder):
            c = encoder.config.vision_config
            merged = c.patch_size * c.spatial_merge_size
            columns, rows = (round(pixels / merged) * c.spatial_merge_size for pixels in size)
            taps = c.in_channels * c.temporal_patch_size * c.patch_size**2
            patches = torch.empty(batch * rows * columns, taps, dtype=DTYPES[self.precision], device="meta")
            grid = torch.tensor([[1, rows, columns]] * batch)
            tower = encoder.model.visual
        ops, _ = self._record(tower, {"hidden_states": patches, "grid_thw": grid})
        return ops, rows * columns // c.spatial_merge_size**2

    def _request(self, width: int, height: int, batch: int) -> Request:
        decoder = self._build(self.pipeline.decoder)
        how = decoder_of(type(decoder).__name__)
        with self._refusing(decoder):
            cell = how.cell(decoder.config)
            frames = 1 if how.frames is None else (self.frames - 1) // how.frames(decoder.config) + 1
        return Request(width, height, batch, DTYPES[self.precision], self.pipeline.convention, cell, frames)

    def _denoiser_inputs(self, width: int, height: int, batch: int) -> dict[str, Any]:
        denoiser, request = self._build(self.pipeline.denoiser), self._request(width, height, batch)
        for name in self.pipeline.convention.text if self.pipeline.convention.shown_pixels else ():
            request = replace(request, image_tokens=self._see(name, width, height, batch)[1])
        with self._refusing(denoiser):
            return denoiser_inputs(denoiser, request)

    def _denoise(self, width: int, height: int, batch: int) -> list[Op]:
        inputs = self._denoiser_inputs(width, height, batch)
        ops, added = self._control(inputs, width, height, batch)
        return ops + self._record(self._build(self.pipeline.denoiser), inputs | added)[0]

    def _control(self, inputs: dict[str, Any], width: int, height: int, batch: int) -> tuple[list[Op], dict[str, Any]]:
        """What a ControlNet does beside a denoiser that takes ``inputs``, and what it adds to those."""
        if CONTROL not in self.pipeline.components:
            return [], {}
        control, request = self._build(CONTROL), self._request(width, height, batch)
        if getattr(control, "pos_embed", inputs) is None:  # that of SD 3.5 Large shares the denoiser's positions
            control.pos_embed = self._build(self.pipeline.denoiser).pos_embed
        with self._refusing(control):
            taken = control_inputs(control, request, inputs)
        ops, output = self._record(control, taken)
        return ops, controlled(control, output)

    def _decode(self, width: int, height: int, batch: int) -> list[Op]:
        decoder = self._build(self.pipeline.decoder)
        how = decoder_of(type(decoder).__name__)
        request = self._request(width, height, batch)
        with self._refusing(decoder):
            shape = (batch, decoder.config[how.channels], *((request.frames,) if how.frames else ()), *request.cells)
            timed = how.timed and decoder.config.get("timestep_conditioning")
            latent = torch.empty(shape, dtype=next(decoder.parameters()).dtype, device="meta")
        times = {"temb": latent.new_empty(batch)} if timed else {}
        return self._record(decoder, {how.argument: latent, **times, **how.options}, method="decode")[0]

    def _build_component(self, name: str) -> torch.nn.Module:
        precision = self.precision
        component = self.pipeline.components[name]
        if name == self.pipeline.decoder and self.pipeline.decodes_in_fp32 and precision == "fp16":
            precision = "fp32"
        return build(component, precision)

    def _record(
        self, module: torch.nn.Module, inputs: dict[str, Any], method: str = "__call__"
    ) -> tuple[list[Op], Any]:
        """The operations of a call, and what it returns."""
        weights = [*module.parameters(), *module.buffers()]
        recorder = Recorder(DTYPES[self.precision], weights)
        known = KnownData(self.pipeline.convention.unpadded, getattr(module.config, "num_routed_experts", 0))
        with torch.no_grad(), known, FusedAttention(), recorder, self._refusing(module):
            output = getattr(module, method)(**inputs)
        return recorder.ops, output

    @contextmanager
    def _refusing(self, module: torch.nn.Module) -> Iterator[None]:
        """Whatever a model's code makes of an odd configuration, as one RequestError."""
        try:
            yield
        except FarmError:
            raise
        except Exception as error:
            raise RequestError(
                type(module).__name__, self.pipeline.name, f"a configuration that runs ({summary(error)})"
            ) from error
