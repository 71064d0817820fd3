"""What a pipeline class does with its components that no config.json says: text lengths, CFG, upcasting."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final


@dataclass(frozen=True, slots=True)
class Text:
    """How one text encoder is called: tokens of a prompt, and whether an attention mask goes with them."""

    tokens: int
    mask: bool = False


@dataclass(frozen=True, slots=True)
class Convention:
    """A pipeline class as diffusers runs it with its default arguments."""

    cfg: str  # batch, two_pass or none, as in farm.catalog.Model
    multiple: int  # width and height are multiples of it
    text: Mapping[str, Text] = field(default_factory=dict)  # by component name
    context: int = 0  # text tokens that the denoiser attends to
    upcast_decode: bool = False  # a fp16 decoder with force_upcast runs in fp32


# Beginning of a pipeline class's name -> its denoiser, whose inputs inputs.py knows.
_DENOISER_OF: Final = {
    "AuraFlow": "AuraFlowTransformer2DModel",
    "Chroma": "ChromaTransformer2DModel",
    "CogView4": "CogView4Transformer2DModel",
    "Flux": "FluxTransformer2DModel",
    "HunyuanDiT": "HunyuanDiT2DModel",
    "Kandinsky": "UNet2DConditionModel",
    "LatentConsistency": "UNet2DConditionModel",
    "PixArt": "PixArtTransformer2DModel",
    "QwenImage": "QwenImageTransformer2DModel",
    "Sana": "SanaTransformer2DModel",
    "StableDiffusion3": "SD3Transformer2DModel",
    "StableDiffusion": "UNet2DConditionModel",
}
DENOISERS: Final = frozenset(_DENOISER_OF.values())

PROMPT_TOKENS: Final = 12  # a typical caption of COCO 2017, where the pipeline does not pad
QWEN_TEMPLATE_TOKENS: Final = 34  # QwenImagePipeline.prompt_template_encode_start_idx; cut off after encoding
SANA_INSTRUCTION_TOKENS: Final = 205  # SanaPipeline's complex_human_instruction: words and marks, its tokenizer unseen
SANA_PROMPT_TOKENS: Final = 300  # what the denoiser sees
COGVIEW_TOKENS: Final = 16  # CogView4Pipeline pads prompts to a multiple of 16
QWEN_SUFFIX_TOKENS: Final = 5  # <|im_end|>, newline, <|im_start|>, assistant, newline

_CLIP: Final = Text(77)
_SD: Final = Convention("batch", 8, {"text_encoder": _CLIP}, context=77)
_SDXL: Final = Convention("batch", 8, {"text_encoder": _CLIP, "text_encoder_2": _CLIP}, context=77, upcast_decode=True)

_FLUX: Final = Convention("two_pass", 16, {"text_encoder": _CLIP, "text_encoder_2": Text(512)}, context=512)
_SANA: Final = Convention(
    "batch",
    32,
    {"text_encoder": Text(SANA_INSTRUCTION_TOKENS + SANA_PROMPT_TOKENS - 2, mask=True)},
    context=SANA_PROMPT_TOKENS,
)

CONVENTIONS: Final[Mapping[str, Convention]] = {
    "StableDiffusionPipeline": _SD,
    "StableDiffusionXLPipeline": _SDXL,
    "StableDiffusion3Pipeline": Convention(
        "batch", 16, {"text_encoder": _CLIP, "text_encoder_2": _CLIP, "text_encoder_3": Text(256)}, context=77 + 256
    ),
    "FluxPipeline": _FLUX,
    # Guidance of these is an input of the denoiser, never a second pass.
    "FluxFillPipeline": replace(_FLUX, cfg="none"),
    "FluxControlPipeline": replace(_FLUX, cfg="none"),
    "LatentConsistencyModelPipeline": replace(_SD, cfg="none"),
    "SanaSprintPipeline": replace(_SANA, cfg="none"),
    "QwenImagePipeline": Convention(
        "two_pass",
        16,
        {"text_encoder": Text(QWEN_TEMPLATE_TOKENS + PROMPT_TOKENS + QWEN_SUFFIX_TOKENS)},
        context=PROMPT_TOKENS + QWEN_SUFFIX_TOKENS,
    ),
    "PixArtAlphaPipeline": Convention("batch", 16, {"text_encoder": Text(120, mask=True)}, context=120),
    "PixArtSigmaPipeline": Convention("batch", 16, {"text_encoder": Text(300, mask=True)}, context=300),
    "HunyuanDiTPipeline": Convention(
        "batch", 16, {"text_encoder": Text(77, mask=True), "text_encoder_2": Text(256, mask=True)}, context=77 + 256
    ),
    "SanaPipeline": _SANA,
    "AuraFlowPipeline": Convention(
        "batch", 16, {"text_encoder": Text(256, mask=True)}, context=256, upcast_decode=True
    ),
    "ChromaPipeline": Convention("two_pass", 16, {"text_encoder": Text(512, mask=True)}, context=512),
    "CogView4Pipeline": Convention("two_pass", 16, {"text_encoder": Text(COGVIEW_TOKENS)}, context=COGVIEW_TOKENS),
    "KandinskyV22Pipeline": Convention("batch", 64),  # the decoder of the two; the prior is a pipeline of its own
}


def convention(cls: str) -> Convention | None:
    """Of a pipeline class; None for one that is not known.

    Pipelines that begin with an image (Img2Img, Inpaint) run the same encoders, the same forward of the denoiser, as
    wide as its configuration says, and the same decoder as those of their name without it. That they encode the image
    first is none of the three phases, and not counted.
    """
    return CONVENTIONS.get(re.sub(r"(Img2Img|Inpaint)(?=Pipeline$)", "", cls))


def denoiser(cls: str) -> str:
    """The class of the denoiser of a pipeline class that is known."""
    return next(name for beginning, name in _DENOISER_OF.items() if cls.startswith(beginning))
