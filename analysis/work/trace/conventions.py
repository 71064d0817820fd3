"""What a pipeline class does with its components that no config.json says: text lengths, CFG, upcasting."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final


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
    # Kept out of repr, from which the digests of shipped tables were made; see ``further``.
    denoiser: str = field(default="UNet2DConditionModel", repr=False)  # its class, whose inputs inputs.py knows
    needed: tuple[str, ...] = field(default=(), repr=False)  # text encoders that published folders leave out
    unpadded: int = field(default=0, repr=False)  # of ``context``, what a mask keeps; 0: nothing is padded
    # An image that the denoiser attends to beside the one that is made: "same", as large as that one, or "megapixel".
    reference: str = field(default="", repr=False)
    shown_pixels: int = field(default=0, repr=False)  # of that image as the text encoder sees it
    video: bool = field(default=False, repr=False)  # makes as many frames as it is asked for
    token_times: bool = field(default=False, repr=False)  # each token has a time of its own: Wan 2.2 of 5B
    control: bool = field(default=False, repr=False)  # a ControlNet runs beside the denoiser
    latent_scale: float = field(default=0.0, repr=False)  # Stable Cascade: cells of a latent to one of the prior's
    negative: bool = field(default=True, repr=False)  # guidance encodes a negative prompt; else it is zeros
    zeros_option: bool = field(default=False, repr=False)  # model_index.json says so: force_zeros_for_empty_prompt

    @property
    def further(self) -> dict[str, str]:
        """What repr leaves out and the components do not say, where it is not the default."""
        hidden = (f for f in fields(self) if not f.repr and f.name not in ("denoiser", "needed", "zeros_option"))
        return {f.name: repr(getattr(self, f.name)) for f in hidden if getattr(self, f.name) != f.default}


PROMPT_TOKENS: Final = 12  # a typical caption of COCO 2017, where the pipeline does not pad
QWEN_TEMPLATE_TOKENS: Final = 34  # QwenImagePipeline.prompt_template_encode_start_idx; cut off after encoding
SANA_INSTRUCTION_TOKENS: Final = 205  # SanaPipeline's complex_human_instruction: words and marks, its tokenizer unseen
SANA_PROMPT_TOKENS: Final = 300  # what the denoiser sees
COGVIEW_TOKENS: Final = 16  # CogView4Pipeline pads prompts to a multiple of 16
QWEN_SUFFIX_TOKENS: Final = 5  # <|im_end|>, newline, <|im_start|>, assistant, newline

QWEN_EDIT_TEMPLATE_TOKENS: Final = 64 + 2  # prompt_template_encode_start_idx, cut off, and the marks of the image
HUNYUAN_TEMPLATE_TOKENS: Final = 95  # crop_start of HunyuanVideoPipeline's template, cut off after encoding
LUMINA_SYSTEM_TOKENS: Final = 32  # Lumina2Pipeline's system_prompt and its mark: words and marks, tokenizer unseen
CHAT_TOKENS: Final = 8  # <|im_start|>user, newline, <|im_end|>, newline, <|im_start|>assistant, newline
KANDINSKY_TEMPLATE_TOKENS: Final = 40  # Kandinsky5T2IPipeline.prompt_template_encode_start_idx

_CLIP: Final = Text(77)
_SD: Final = Convention("batch", 8, {"text_encoder": _CLIP}, context=77)
_SDXL: Final = Convention(
    "batch",
    8,
    {"text_encoder": _CLIP, "text_encoder_2": _CLIP},
    context=77,
    upcast_decode=True,
    negative=False,
    zeros_option=True,
)
_FLUX: Final = Convention(
    "two_pass",
    16,
    {"text_encoder": _CLIP, "text_encoder_2": Text(512)},
    context=512,
    denoiser="FluxTransformer2DModel",
)
_PIXART: Final = Convention(
    "batch", 16, {"text_encoder": Text(300, mask=True)}, context=300, denoiser="PixArtTransformer2DModel"
)
_SANA: Final = Convention(
    "batch",
    32,
    {"text_encoder": Text(SANA_INSTRUCTION_TOKENS + SANA_PROMPT_TOKENS - 2, mask=True)},
    context=SANA_PROMPT_TOKENS,
    denoiser="SanaTransformer2DModel",
)

_SD3: Final = Convention(
    "batch",
    16,
    {"text_encoder": _CLIP, "text_encoder_2": _CLIP, "text_encoder_3": Text(256)},
    context=77 + 256,
    denoiser="SD3Transformer2DModel",
)
_QWEN_EDIT: Final = Convention(
    "two_pass",
    16,
    {"text_encoder": Text(QWEN_EDIT_TEMPLATE_TOKENS + PROMPT_TOKENS + QWEN_SUFFIX_TOKENS, mask=True)},
    context=PROMPT_TOKENS + QWEN_SUFFIX_TOKENS + 2,  # <|vision_start|> and <|vision_end|>; the image's come on top
    denoiser="QwenImageTransformer2DModel",
    reference="megapixel",
)
_LUMINA2: Final = Convention(
    "two_pass",
    16,
    {"text_encoder": Text(256, mask=True)},
    context=256,
    denoiser="Lumina2Transformer2DModel",
    unpadded=LUMINA_SYSTEM_TOKENS + PROMPT_TOKENS,
)
_FLUX2: Final = Convention(
    "two_pass", 16, {"text_encoder": Text(512, mask=True)}, context=512, denoiser="Flux2Transformer2DModel"
)

CONVENTIONS: Final[Mapping[str, Convention]] = {
    "StableDiffusionPipeline": _SD,
    "StableDiffusionXLPipeline": _SDXL,
    "StableDiffusion3Pipeline": _SD3,
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
        denoiser="QwenImageTransformer2DModel",
    ),
    "PixArtAlphaPipeline": replace(_PIXART, text={"text_encoder": Text(120, mask=True)}, context=120),
    "PixArtSigmaPipeline": _PIXART,
    "HunyuanDiTPipeline": Convention(
        "batch",
        16,
        {"text_encoder": Text(77, mask=True), "text_encoder_2": Text(256, mask=True)},
        context=77 + 256,
        denoiser="HunyuanDiT2DModel",
    ),
    "SanaPipeline": _SANA,
    "AuraFlowPipeline": Convention(
        "batch",
        16,
        {"text_encoder": Text(256, mask=True)},
        context=256,
        upcast_decode=True,
        denoiser="AuraFlowTransformer2DModel",
    ),
    "ChromaPipeline": Convention(
        "two_pass", 16, {"text_encoder": Text(512, mask=True)}, context=512, denoiser="ChromaTransformer2DModel"
    ),
    "CogView4Pipeline": Convention(
        "two_pass",
        16,
        {"text_encoder": Text(COGVIEW_TOKENS)},
        context=COGVIEW_TOKENS,
        denoiser="CogView4Transformer2DModel",
    ),
    "KandinskyV22Pipeline": Convention("batch", 64),  # the decoder of the two; the prior is a pipeline of its own
    "Kandinsky3Pipeline": Convention(
        "batch",
        64,
        {"text_encoder": Text(128, mask=True)},
        context=PROMPT_TOKENS + 1,  # cut behind the longest prompt
        denoiser="Kandinsky3UNet",
        negative=False,
    ),
    "Kandinsky5T2IPipeline": Convention(
        "two_pass",
        16,
        {"text_encoder": Text(KANDINSKY_TEMPLATE_TOKENS + PROMPT_TOKENS + 1), "text_encoder_2": Text(77, mask=True)},
        context=PROMPT_TOKENS + 1,  # <|im_end|>
        denoiser="Kandinsky5Transformer3DModel",
    ),
    "KolorsPipeline": Convention(
        "batch", 8, {"text_encoder": Text(256, mask=True)}, context=256, upcast_decode=True, zeros_option=True
    ),
    # Sizes are those of the image that is made, four times as wide as the one that is given.
    "StableDiffusionUpscalePipeline": replace(_SD, multiple=16, upcast_decode=True),
    "StableCascadeDecoderPipeline": Convention(  # the second of the two; the prior is a pipeline of its own
        "batch", 128, {"text_encoder": Text(77, mask=True)}, denoiser="StableCascadeUNet", latent_scale=10.67
    ),
    "Lumina2Pipeline": _LUMINA2,
    "Lumina2Text2ImgPipeline": _LUMINA2,  # its earlier name
    "ZImagePipeline": Convention(
        "batch",
        16,
        {"text_encoder": Text(512, mask=True)},
        context=PROMPT_TOKENS + CHAT_TOKENS,
        denoiser="ZImageTransformer2DModel",
    ),
    "HiDreamImagePipeline": Convention(
        "batch",
        16,
        {
            "text_encoder": Text(128),
            "text_encoder_2": Text(128),
            "text_encoder_3": Text(128, mask=True),
            "text_encoder_4": Text(128, mask=True),
        },
        context=128,
        denoiser="HiDreamImageTransformer2DModel",
        needed=("text_encoder_4",),  # Llama 3.1, which is loaded from a repository of its own
    ),
    "WanPipeline": Convention(
        "two_pass",
        16,
        {"text_encoder": Text(512, mask=True)},
        context=512,
        denoiser="WanTransformer3DModel",
        video=True,
    ),
    "CogVideoXPipeline": Convention(
        "batch", 16, {"text_encoder": Text(226)}, context=226, denoiser="CogVideoXTransformer3DModel", video=True
    ),
    "LTXPipeline": Convention(
        "batch",
        32,
        {"text_encoder": Text(128, mask=True)},
        context=128,
        denoiser="LTXVideoTransformer3DModel",
        video=True,
    ),
    "HunyuanVideoPipeline": Convention(
        "two_pass",
        16,
        {"text_encoder": Text(HUNYUAN_TEMPLATE_TOKENS + 256, mask=True), "text_encoder_2": _CLIP},
        context=256,
        denoiser="HunyuanVideoTransformer3DModel",
        video=True,
    ),
    "QwenImageEditPipeline": replace(_QWEN_EDIT, shown_pixels=1024**2),
    "QwenImageEditPlusPipeline": replace(_QWEN_EDIT, shown_pixels=384**2),  # of one image
    "StableDiffusionControlNetPipeline": replace(_SD, control=True),
    "StableDiffusionXLControlNetPipeline": replace(_SDXL, control=True),
    "StableDiffusion3ControlNetPipeline": replace(_SD3, control=True),
    "StableDiffusion3ControlNetInpaintingPipeline": replace(_SD3, control=True),
    "FluxControlNetPipeline": replace(_FLUX, control=True),
    "FluxKontextPipeline": replace(_FLUX, reference="same"),
    "Flux2Pipeline": replace(_FLUX2, cfg="none"),  # guidance is an input of the denoiser
    "Flux2KleinPipeline": _FLUX2,
}

# Denoisers that folders hold under another pipeline's name -> the convention of their own, and how any text encoder
# that comes with them is called.
_UNDER_ANOTHER_NAME: Final[Mapping[tuple[str, str], str]] = {
    ("FluxPipeline", "ChromaTransformer2DModel"): "ChromaPipeline",
}


def convention(cls: str) -> Convention | None:
    """Of a pipeline class; None for one that is not known.

    Pipelines that begin with an image (Img2Img, Inpaint) run the same encoders, the same forward of the denoiser, as
    wide as its configuration says, and the same decoder as those of their name without it. That they encode the image
    first is none of the three phases, and not counted.
    """
    return CONVENTIONS.get(re.sub(r"(Img2Img|Inpaint)(?=Pipeline$)", "", cls))


def as_configured(
    convention: Convention, index: Mapping[str, Any], configs: Mapping[str, Mapping[str, Any]]
) -> Convention:
    """What a folder's own files decide of a convention: ``index`` is its model_index.json, ``configs`` by component."""
    zeros = index.get("force_zeros_for_empty_prompt")
    if convention.zeros_option and isinstance(zeros, bool):
        convention = replace(convention, negative=not zeros)
    if convention.latent_scale and isinstance(index.get("latent_dim_scale"), (int, float)):
        convention = replace(convention, latent_scale=float(index["latent_dim_scale"]))
    if index.get("is_distilled") is True:  # FLUX.2 klein: one pass, whatever the guidance
        convention = replace(convention, cfg="none")
    if convention.video and index.get("expand_timesteps") is True:
        convention = replace(convention, token_times=True)
    unet = configs.get("unet", {})
    if convention.denoiser == "UNet2DConditionModel" and unet.get("time_cond_proj_dim") is not None:
        convention = replace(convention, cfg="none")  # a consistency model's U-Net takes guidance as a number
    return convention


def of_denoiser(pipeline: str, denoiser: str, known: Convention) -> Convention:
    """The convention of a pipeline class with a denoiser of that class: ``known``, or that of the denoiser's own
    pipeline, where folders hold the one under the name of the other."""
    name = _UNDER_ANOTHER_NAME.get((pipeline, denoiser))
    if name is None:
        return known
    text = dict.fromkeys(known.text, CONVENTIONS[name].text["text_encoder"])
    return replace(CONVENTIONS[name], text=text)
