"""How page, report and figures look: the colours that mean something, and the style sheet that documents share.

Colours are those of Okabe and Ito (Color Universal Design, 2008), which people with any colour vision tell apart; their
yellow, unreadable on white, is left out. A model has its colour by its catalog name, so it is the same everywhere.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
PAPER_MODELS: Final = ("flux", "sd35", "qwen", "sd2")  # they share most pictures, so each has a colour of its own
SHAPES: Final = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right")
PAPER_GPUS: Final = ("a100", "a6000", "a4000")
PHASE_COLOURS: Final = {"text": "#E69F00", "denoise": "#0072B2", "decode": "#009E73"}
UNMEASURED: Final = "#BDBDBD"  # fill of simulated and estimated points
GUIDE: Final = "#8C8C8C"  # identity, zero and bands, on either ground

FONT: Final = "system-ui, Segoe UI, Roboto, Helvetica Neue, Arial, sans-serif"
LIGHT: Final = {"ink": "#1A1A1A", "quiet": "#6B6B6B", "hairline": "#E4E4E4", "ground": "#FFFFFF", "accent": "#0060A8"}
DARK: Final = {"ink": "#EDEDED", "quiet": "#A5A5A5", "hairline": "#333333", "ground": "#141414", "accent": "#6DB8F2"}


def colour(model: str) -> str:
    """The colour of a model, the same in every figure."""
    if model in PAPER_MODELS:
        return COLOURS[PAPER_MODELS.index(model)]
    return COLOURS[zlib.crc32(model.encode()) % len(COLOURS)]


def shape(gpu: str) -> str:
    """The shape of a GPU type's points, the same in every figure."""
    if gpu in PAPER_GPUS:
        return SHAPES[PAPER_GPUS.index(gpu)]
    others = SHAPES[len(PAPER_GPUS) :]
    return others[zlib.crc32(gpu.encode()) % len(others)]


@cache
def sheet() -> str:
    """The style sheet of a document: custom properties for a light and a dark ground, then type, tables and paper.

    The ground is the reader's system's, unless ``data-scheme`` of the root element says ``light`` or ``dark``.
    """
    light, dark = _properties(LIGHT), _properties(DARK)
    properties = (
        f":root {{ color-scheme: light dark; --font: {FONT}; {light} }}\n"
        f"@media screen {{ :root[data-scheme=light] {{ color-scheme: light; }} }}\n"
        f"@media screen {{ :root[data-scheme=dark] {{ color-scheme: dark; {dark} }} }}\n"
        f"@media screen and (prefers-color-scheme: dark) {{ :root:not([data-scheme=light]) {{ {dark} }} }}\n"
    )
    return properties + (Path(__file__).parent / "base.css").read_text(encoding="utf-8")


def _properties(colours: Mapping[str, str]) -> str:
    return " ".join(f"--{name}: {value};" for name, value in colours.items())
