"""Traces the three phases of a pipeline: text, one denoising step's forward, decode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch

from analysis.work.trace.build import DTYPES, build, quiet, summary
from analysis.work.trace.decoders import decoder as decoder_of
from analysis.work.trace.inputs import Request, denoiser_inputs
from analysis.work.trace.pipeline import Pipeline
from analysis.work.trace.recorder import FusedAttention, KnownData, Op, Recorder
from farm.domain import PHASES
from farm.domain.errors import FarmError, RequestError

Counts = dict[str, dict[str, float | None]]


def count(pipeline: Pipeline, width: int, height: int, cfg: bool) -> Counts:
    """FLOPs, bytes and kernels by phase, fp16, of one image and one denoising step with both passes of CFG.

    None where the folder lacks what a phase needs.
    """
    tracer = Tracer(pipeline, "fp16")
    result: Counts = {}
    for phase in PHASES:
        if phase == "text" and pipeline.missing:
            result[phase] = dict.fromkeys(("flops", "moved_bytes", "kernels"))
            continue
        passes = pipeline.forwards(phase, cfg)
        ops = [op for op in tracer.phase(phase, width, height, passes.samples) if op.kind != "view"]
        moved = sum(op.read_bytes + op.weight_bytes + op.write_bytes for op in ops)
        flops = sum(op.flops for op in ops)
        result[phase] = {
            "flops": passes.calls * flops,
            "moved_bytes": passes.calls * moved,
            "kernels": passes.calls * len(ops),
        }
    return result


class Tracer:
    """The components of one pipeline on the meta device at one precision; each phase can be traced many times."""

    def __init__(self, pipeline: Pipeline, precision: str) -> None:
        self.pipeline = pipeline
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

    def _text(self, width: int, height: int, batch: int) -> list[Op]:
        ops: list[Op] = []
        for name, text in self.pipeline.convention.text.items():
            if name in self.pipeline.components:
                inputs = {"input_ids": torch.empty(batch, text.tokens, dtype=torch.int64, device="meta")}
                if text.mask:
                    inputs["attention_mask"] = torch.empty_like(inputs["input_ids"])
                if self.pipeline.components[name].cls == "ChatGLMModel":
                    inputs["position_ids"] = torch.empty_like(inputs["input_ids"])
                ops += self._record(self._build(name), inputs)
        return ops

    def _request(self, width: int, height: int, batch: int) -> Request:
        decoder = self._build(self.pipeline.decoder)
        with self._refusing(decoder):
            cell = decoder_of(type(decoder).__name__).cell(decoder.config)
        return Request(width, height, batch, DTYPES[self.precision], self.pipeline.convention, cell)

    def _denoise(self, width: int, height: int, batch: int) -> list[Op]:
        denoiser, request = self._build(self.pipeline.denoiser), self._request(width, height, batch)
        with self._refusing(denoiser):
            inputs = denoiser_inputs(denoiser, request)
        return self._record(denoiser, inputs)

    def _decode(self, width: int, height: int, batch: int) -> list[Op]:
        decoder = self._build(self.pipeline.decoder)
        how = decoder_of(type(decoder).__name__)
        request = self._request(width, height, batch)
        with self._refusing(decoder):
            shape = (batch, decoder.config[how.channels], *((1,) if how.frames else ()), *request.cells)
            latent = torch.empty(shape, dtype=next(decoder.parameters()).dtype, device="meta")
        return self._record(decoder, {how.argument: latent, **how.options}, method="decode")

    def _build_component(self, name: str) -> torch.nn.Module:
        precision = self.precision
        component = self.pipeline.components[name]
        if name == self.pipeline.decoder and self.pipeline.decodes_in_fp32 and precision == "fp16":
            precision = "fp32"
        return build(component, precision)

    def _record(self, module: torch.nn.Module, inputs: dict[str, Any], method: str = "__call__") -> list[Op]:
        weights = [*module.parameters(), *module.buffers()]
        recorder = Recorder(DTYPES[self.precision], weights)
        known = KnownData(self.pipeline.convention.unpadded, getattr(module.config, "num_routed_experts", 0))
        with torch.no_grad(), known, FusedAttention(), recorder, self._refusing(module):
            getattr(module, method)(**inputs)
        ops: list[Op] = recorder.ops
        return ops

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
