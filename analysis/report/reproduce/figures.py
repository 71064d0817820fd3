"""The figures of the paper: scatters of measured against predicted energy, work by phase, energy by setting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from analysis.report.figures import Panel, compute_split, relative_energy, scatters
from analysis.report.reproduce.rows import (
    BOTH,
    FLUX_ON_BOTH,
    SD35_ON_BOTH,
    SIMULATED,
    Choice,
    Made,
    Parts,
    predicted,
    with_energy,
)
from analysis.table import Table
from analysis.validation import Validation

PAPER: Final = "arXiv 2511.17031v2"
TITLES: Final = {"flux": "FLUX", "sd35": "SD 3.5", "qwen": "Qwen-Image", "sd2": "SD 2"}


@dataclass(frozen=True, slots=True)
class Part:
    """One scatter of the paper: fitted to ``train``, tested on ``test``, or on the same rows."""

    letter: str
    train: Choice
    test: Choice | None = None  # None: the rows that were fitted


SCATTERS: Final[Mapping[int, tuple[str, tuple[Part, ...]]]] = {
    2: (
        "One model at a time, A100",
        tuple(Part(f"({letter})", Choice((model,))) for letter, model in (("a", "flux"), ("b", "sd35"), ("c", "qwen"))),
    ),
    3: ("A100 and A6000 together", (Part("(a)", FLUX_ON_BOTH), Part("(b)", SD35_ON_BOTH))),
    4: (
        "Two models fitted, the third predicted, A100",
        tuple(
            Part(f"({letter})", Choice(train), Choice(test))
            for letter, train, test in (
                ("a", ("qwen", "sd35"), ("flux",)),
                ("b", ("flux", "sd35"), ("qwen",)),
                ("c", ("flux", "qwen"), ("sd35",)),
            )
        ),
    ),
    5: (
        "Stable Diffusion 2, one GPU and three",
        (
            Part("(a)", Choice(("sd2",))),
            Part("(b)", Choice(("sd2",), ("a100", "a4000", "a6000"), "fp16", True, True)),
        ),
    ),
    7: (
        "U-Net and transformers, A100",
        tuple(
            Part(f"({letter})", Choice(train), Choice(test))
            for letter, train, test in (
                ("a", ("qwen", "sd2"), ("flux", "sd35")),
                ("b", ("flux", "qwen", "sd35"), ("sd2",)),
                ("c", ("sd35", "flux"), ("sd2", "qwen")),
            )
        ),
    ),
    8: (
        "U-Net and transformers, A100 and A6000",
        tuple(
            Part(f"({letter})", Choice(train, BOTH), Choice(test, BOTH))
            for letter, train, test in (
                ("a", ("sd35", "sd2"), ("flux",)),
                ("b", ("sd35", "flux"), ("sd2",)),
                ("c", ("flux", "sd2"), ("sd35",)),
            )
        ),
    ),
}  # fmt: skip


def _scatter_figure(number: int, rows: Table) -> Made:
    title, parts = SCATTERS[number]
    missing = list(dict.fromkeys(name for part in parts for name in _missing(part, rows)))
    drawn = [part for part in parts if not _missing(part, rows)]
    if not drawn:
        return Made((), None, f"rows of {', '.join(missing)}")
    tested = any(part.test for part in drawn)
    fitted = [_panel(part, rows, part.train) for part in drawn]
    panels = [*fitted, *(_panel(part, rows, part.test) for part in drawn if part.test)] if tested else fitted
    caption = f"As Figure {number} of {PAPER}, from rows at hand: Eq. 3, natural logarithms, bars of 90 %."
    if tested:
        caption += "\nTop: the rows that were fitted. Bottom: the rows that were not."
    picture = scatters(panels, title=title, caption=caption, columns=len(drawn))
    return Made(picture.rows, picture, f"rows of {', '.join(missing)}" if missing else None)


def _missing(part: Part, rows: Table) -> list[str]:
    return [*part.train.missing(rows), *(part.test.missing(rows) if part.test else [])]


def _panel(part: Part, rows: Table, shown: Choice) -> Panel:
    outcome = predicted(part.train.of(rows), shown.of(rows), in_sample=shown is part.train)
    names = " + ".join(TITLES.get(model, model) for model in shown.models)
    trained = " + ".join(TITLES.get(model, model) for model in part.train.models)
    how = "" if part.test is None else " fitted" if shown is part.train else f" from {trained}"
    return Panel(f"{part.letter} {names}{how}, R² {_r2(outcome)}", outcome, simulated_datasets=(SIMULATED,))


def _r2(outcome: Validation) -> str:
    value = outcome.metrics["r2_log"]
    return "unknown" if value is None else f"{value:.3f}"


def _figure1(rows: Table) -> Made:
    picture = compute_split(["flux", "qwen", "sd35"])
    return Made(picture.rows, picture, None)


def _figure6(rows: Table) -> Made:
    shown = with_energy(rows.where(model="flux", gpu="a100", prompts=100))
    if not len(shown):
        return Made((), None, "rows of flux on a100 with 100 prompts")
    picture = relative_energy(shown)
    return Made(picture.rows, picture, None)


FIGURES: Final[Parts] = {
    1: _figure1,
    6: _figure6,
    **{number: partial(_scatter_figure, number) for number in SCATTERS},
}
