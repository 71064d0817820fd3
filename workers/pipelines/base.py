"""The interface of a pipeline family: encode, denoise, decode, as the one call a user would make, but in three steps.

A family says how its text is encoded, what switches its CFG, and how its latents are decoded. Everything else is here:
loading, the phase windows, one generator an image, counting what the denoiser really did, memory.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Self

import torch

from farm import settings
from farm.catalog import Model
from farm.domain import Configuration, Infeasible, RequestError
from workers.pipelines import memory, numerics
from workers.pipelines.forwards import ForwardCounter
from workers.workload import BatchResult, PhaseWindow

Embeddings = dict[str, torch.Tensor | None]  # arguments of the pipeline's call, as its encode_prompt gives them
# What encode_prompt returns where text goes in pooled, too, in its order.
POOLED: Final = (
    "prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds",
)  # fmt: skip


class Pipeline(ABC):
    """A diffusers pipeline on a device, bound to a configuration. Fulfils :class:`workers.workload.Workload`."""

    negative_prompt: ClassVar[str] = ""  # what CFG steers away from
    options: ClassVar[Mapping[str, Any]] = {}  # further arguments of the diffusers pipeline's constructor

    def __init__(
        self, pipe: Any, model: Model, configuration: Configuration, device: torch.device, origin: Mapping[str, object]
    ) -> None:
        self.pipe = pipe
        self.model = model
        self.configuration = configuration
        self.device = device
        self._origin = dict(origin)
        self._parts = {name: getattr(pipe, name) for name in model.components}
        denoiser = next(name for name, part in model.components.items() if part.phase == "denoise")
        self._forwards = ForwardCounter(self._parts[denoiser])

    # What a family says

    @abstractmethod
    def encode(self, prompts: list[str]) -> Embeddings:
        """The text phase: prompts, and negative prompts with CFG, as arguments of the pipeline's call."""

    @abstractmethod
    def guidance(self) -> dict[str, Any]:
        """The arguments of the pipeline's call that switch CFG on or off."""

    @abstractmethod
    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Pixels, shape (batch, 3, height, width), about -1 to 1, from the latents that the call returns."""

    # What all families share

    @classmethod
    def load(cls, model: Model, configuration: Configuration, device: str) -> Self:
        """Weights onto the device, random or pretrained. Errors as :func:`workers.pipelines.load` says."""
        where = torch_device(device)
        setting = settings.load()
        # Nano tensors are too small to share: further threads would only wait for one another.
        threads = setting.cpu_threads or (1 if configuration.size == "nano" else None)
        numerics.pin(setting.tf32, threads)
        memory.reset_peak(where)
        started = time.monotonic()
        dtype = numerics.DTYPES[configuration.precision]

        def make() -> tuple[Any, dict[str, object]]:
            # Imported here, since diffusers takes seconds that the errors above need not cost.
            if configuration.weights == "random":
                from workers.pipelines.build import WEIGHTS_SEED, build

                return build(model, configuration.size, dtype, where, cls.options), {"weights_seed": WEIGHTS_SEED}
            from workers.pipelines.pretrained import read

            return read(model, configuration.size, dtype, where, cls.options)

        _quiet()
        pipe, origin = memory.guarded(where, make)
        origin |= {"weights": configuration.weights, "load_seconds": time.monotonic() - started}
        loaded = cls(pipe, model, configuration, where, origin)
        try:
            return loaded.bind(configuration)
        except RequestError:
            loaded.close()
            raise

    def bind(self, configuration: Configuration) -> Self:
        """Take the loaded weights to another configuration of the same ``Configuration.pipeline``.

        Raises RequestError where the model cannot make its images.
        """
        if configuration.pipeline != self.configuration.pipeline:
            raise ValueError(f"{configuration.pipeline} needs a load of its own, {self.configuration.pipeline} is here")
        self.model.check(configuration)
        self.configuration = configuration
        memory.reset_peak(self.device)
        return self

    def run(self, prompts: Sequence[str], seed: int, phase: PhaseWindow) -> BatchResult:
        """One image a prompt in one batch; image ``i`` starts from the noise of ``seed + i``, whatever the batch.

        Raises OutOfMemory, DeviceLost, and Infeasible where the denoiser did not do what the configuration says.
        """
        finite = memory.guarded(self.device, lambda: self._phases(list(prompts), seed, phase))
        self._check_forwards(len(prompts))
        return BatchResult(
            images=len(prompts),
            forwards=self._forwards.count,
            forward_batch=self._forwards.batch,
            finite=finite,
        )

    def denoise(self, embeddings: Embeddings, seed: int, images: int) -> torch.Tensor:
        """The denoising phase: the pipeline's own call, from embeddings to latents."""
        here = self.configuration
        # Generators on the CPU: the same noise on every device.
        generators = [torch.Generator("cpu").manual_seed((seed + i) % 2**63) for i in range(images)]
        call = {**embeddings, **self.guidance(), "generator": generators, "output_type": "latent"}
        latents: torch.Tensor = self.pipe(
            **call, width=here.width, height=here.height, num_inference_steps=here.steps
        ).images
        return latents

    def synchronize(self) -> None:
        """Wait until the device has done all that it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def environment(self) -> dict[str, object]:
        """Versions, where the weights came from, numerics, sizes, the peak of memory since it was bound."""
        return {
            **numerics.describe(self.device),
            **self._origin,
            "pipeline": type(self.pipe).__name__,
            "precision": self.configuration.precision,
            "parameters": {name: sum(p.numel() for p in part.parameters()) for name, part in self._parts.items()},
            "weight_bytes": sum(t.numel() * t.element_size() for p in self._parts.values() for t in p.parameters()),
            "peak_bytes": memory.peak_bytes(self.device),
        }

    def close(self) -> None:
        """Let go of the weights and give their memory back. May be called twice; nothing else after it."""
        self._forwards.remove()
        self._parts = {}
        self.pipe = None
        memory.release(self.device)

    def _phases(self, prompts: list[str], seed: int, phase: PhaseWindow) -> bool:
        """The three phases of one batch; whether its pixels are finite, looked at outside of the windows."""
        with torch.no_grad():
            with phase("text"):
                embeddings = self.encode(prompts)
            self._forwards.reset()
            with phase("denoise"):
                latents = self.denoise(embeddings, seed, len(prompts))
            with phase("decode"):
                image = self.decode(latents)
            return bool(torch.isfinite(image).all())

    def _check_forwards(self, images: int) -> None:
        """CFG truly on or off: pipelines that ignore an argument in silence would be measured as something else."""
        here = self.configuration
        steps = len(self.pipe.scheduler.timesteps)
        each_step = self.model.forwards(here.cfg, images)
        expected = (steps * each_step.calls, each_step.samples)
        if (self._forwards.count, self._forwards.batch) != expected:
            raise Infeasible(
                f"{here.label()}: the denoiser ran {self._forwards.count} forwards of {self._forwards.batch}, "
                f"{expected[0]} of {expected[1]} were expected: this version of diffusers switches CFG otherwise"
            )


def torch_device(name: str) -> torch.device:
    """A torch device that is really there; Infeasible otherwise."""
    try:
        device = torch.device(name)
    except RuntimeError:
        raise RequestError("device", name, "cpu, cuda or cuda:N") from None
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise Infeasible(f"no CUDA device is visible to torch {torch.__version__}: check driver and torch's build")
        if (device.index or 0) >= torch.cuda.device_count():
            raise Infeasible(f"{name}: torch sees {torch.cuda.device_count()} CUDA devices")
    return device


def _quiet() -> None:
    """Notices of the two libraries (missing torchvision, truncated prompts) say nothing that is not recorded here."""
    import transformers  # first: diffusers makes it talk while it is imported

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    import diffusers

    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
