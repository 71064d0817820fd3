"""The paper's figures and tables, from rows at hand, beside what the paper prints.

Every part says which rows it wants; where some are missing it says which, and the rest is made without them.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from analysis import laws, validation
from analysis.fitted import fit_once
from analysis.report.figures import Panel, Picture, compute_split, relative_energy, scatters
from analysis.table import Table
from analysis.validation import Validation
from farm.domain.errors import RequestError

PRINTED: Final = Path(__file__).with_name("printed.toml")
PAPER: Final = "arXiv 2511.17031v2"
LAW: Final = "paper"  # figures show Eq. 3, as the paper's do
ENERGY_MODELS: Final = {6: "flux", 7: "sd35", 8: "sd2", 9: "qwen"}
SIMULATED_GPUS: Final = ("a4000", "a6000")
NOISE: Final = 0.05  # standard deviation of ln E of a simulated row
SIMULATED: Final = "simulated"  # flag and data set of such rows
WITHOUT_50: Final = 50  # the paper's cross-GPU parts leave out the runs of 50 prompts
TITLES: Final = {"flux": "FLUX", "sd35": "SD 3.5", "qwen": "Qwen-Image", "sd2": "SD 2"}


@dataclass(frozen=True, slots=True)
class Choice:
    """Which rows a panel shows, in columns and values: of those that no flag spoils and that state an energy."""

    models: tuple[str, ...]
    gpus: tuple[str, ...] = ("a100",)
    precision: str | None = None
    cfg: bool | None = None
    without_50: bool = False

    def of(self, table: Table) -> Table:
        wanted: dict[str, Any] = {"model": list(self.models), "gpu": list(self.gpus)}
        wanted |= {"precision": self.precision} if self.precision else {}
        wanted |= {"cfg": self.cfg} if self.cfg is not None else {}
        rows = _with_energy(table.where(**wanted))
        return rows.take(rows.prompts != WITHOUT_50) if self.without_50 else rows

    def missing(self, table: Table) -> list[str]:
        """The model and GPU pairs without a row."""
        rows = self.of(table)
        return [
            f"{model} on {gpu}{self._settings()}"
            for model in self.models
            for gpu in self.gpus
            if not ((rows.model == model) & (rows.gpu == gpu)).any()
        ]

    def _settings(self) -> str:
        words = [self.precision or "", {None: "", True: "with guidance", False: "without guidance"}[self.cfg]]
        said = ", ".join(filter(None, words))
        return f" ({said})" if said else ""


def _with_energy(rows: Table) -> Table:
    """The rows that no flag spoils and that state an energy."""
    return rows.take(~rows.spoiled & np.isfinite(rows.energy_joules))


@dataclass(frozen=True, slots=True)
class Part:
    """One scatter of the paper: fitted to ``train``, tested on ``test``, or on the same rows."""

    letter: str
    train: Choice
    test: Choice | None = None  # None: the rows that were fitted


@dataclass(frozen=True, slots=True)
class Made:
    """One figure or table: its picture, its rows, and the rows that were not there."""

    rows: Sequence[Mapping[str, Any]]
    picture: Picture | None
    missing: str | None  # None: nothing is


Parts = Mapping[int, Callable[[Table], Made]]

_BOTH = ("a100", "a6000")
_FLUX_BOTH = Choice(("flux",), _BOTH, "fp16", False, True)
_SD35_BOTH = Choice(("sd35",), _BOTH, "fp16", True, True)

SCATTERS: Final[Mapping[int, tuple[str, tuple[Part, ...]]]] = {
    2: (
        "One model at a time, A100",
        tuple(Part(f"({letter})", Choice((model,))) for letter, model in (("a", "flux"), ("b", "sd35"), ("c", "qwen"))),
    ),
    3: ("A100 and A6000 together", (Part("(a)", _FLUX_BOTH), Part("(b)", _SD35_BOTH))),
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
            Part(f"({letter})", Choice(train, _BOTH), Choice(test, _BOTH))
            for letter, train, test in (
                ("a", ("sd35", "sd2"), ("flux",)),
                ("b", ("sd35", "flux"), ("sd2",)),
                ("c", ("flux", "sd2"), ("sd35",)),
            )
        ),
    ),
}  # fmt: skip


def figure(number: int, table: Table) -> Made:
    """Figure 1 to 8 of the paper. RequestError for another number."""
    return chosen("figure", FIGURES, [number])[number](table)


def table(number: int, rows: Table) -> Made:
    """Table 1, 2 or 6 to 9 of the paper. RequestError for another number."""
    return chosen("table", TABLES, [number])[number](rows)


def with_simulated(table: Table, seed: int = 0) -> Table:
    """The rows, and the paper's grid on the GPUs that it measured and did not publish, simulated.

    A simulated row is what the law ``work``, fitted to the rows that are there, says of it, times noise of 5 %. It
    carries the flag ``simulated``: what is drawn from it shows how a figure is made, not how a GPU behaves.
    """
    shown = table.where(gpu="a100", dataset="paper") if "paper" in table.names("dataset") else table.where(gpu="a100")
    law = fit_once(laws.DEFAULT, table)
    generator = np.random.default_rng(seed)
    configurations = [
        replace(c, gpu=gpu)
        for gpu in SIMULATED_GPUS
        if gpu not in table.names("gpu")
        for c in shown.configurations()
        if c.model != "qwen"  # does not fit these boards
    ]
    if not configurations:
        return table
    joules = law.forecast(Table.of(configurations)).joules * np.exp(
        NOISE * generator.standard_normal(len(configurations))
    )
    rows = [
        {**c.to_dict(), "energy_joules": float(value), "flags": SIMULATED, "dataset": SIMULATED}
        for c, value in zip(configurations, joules, strict=True)
    ]
    return Table.joined([table, Table.from_rows(rows)])


@cache
def printed() -> Mapping[str, Any]:
    """What the paper prints, by table and model."""
    return tomllib.loads(PRINTED.read_text(encoding="utf-8"))


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
    outcome = _outcome(part.train.of(rows), shown.of(rows), in_sample=shown is part.train)
    names = " + ".join(TITLES.get(model, model) for model in shown.models)
    trained = " + ".join(TITLES.get(model, model) for model in part.train.models)
    how = "" if part.test is None else " fitted" if shown is part.train else f" from {trained}"
    return Panel(f"{part.letter} {names}{how}, R² {_r2(outcome)}", outcome, simulated_datasets=(SIMULATED,))


def _outcome(train: Table, test: Table, *, in_sample: bool) -> Validation:
    """Fitted to one, tested on the other; one fit takes measured and simulated rows together."""
    law = laws.get(LAW)()
    fitted, tested = _unflagged(train), _unflagged(test)
    if in_sample:
        return validation.in_sample(law, fitted)
    both = Table.joined([fitted, tested])
    return validation.held_out(law, both, train=fitted.names("model"), test=tested.names("model"))


def _unflagged(table: Table) -> Table:
    """The rows without the flag ``simulated``: no law fits rows of both kinds together.

    They keep their data set's name, by which figures and tables mark them.
    """
    if SIMULATED not in table.origin:
        return table
    flags = [" ".join(name for name in text.split() if name != SIMULATED) for text in table.flags.tolist()]
    return Table.from_rows(
        {**c.to_dict(), "energy_joules": float(joules), "dataset": str(dataset), "flags": left}
        for c, joules, dataset, left in zip(
            table.configurations(), table.energy_joules, table.dataset, flags, strict=True
        )
    )


def _r2(outcome: Validation) -> str:
    value = outcome.metrics["r2_log"]
    return "unknown" if value is None else f"{value:.3f}"


def _figure1(rows: Table) -> Made:
    picture = compute_split(["flux", "qwen", "sd35"])
    return Made(picture.rows, picture, None)


def _figure6(rows: Table) -> Made:
    shown = _with_energy(rows.where(model="flux", gpu="a100", prompts=100))
    if not len(shown):
        return Made((), None, "rows of flux on a100 with 100 prompts")
    picture = relative_energy(shown)
    return Made(picture.rows, picture, None)


def _coefficients(number: int, choices: Mapping[str, Choice], names: Mapping[str, str], rows: Table) -> Made:
    lines: list[dict[str, Any]] = []
    missing: list[str] = []
    for model, choice in choices.items():
        ours: dict[str, float | None] = {}
        if lacking := choice.missing(rows):
            missing += lacking
        else:
            fitted = fit_once(LAW, _unflagged(choice.of(rows)))
            ours = _flat(fitted.params_)
            outcome = _outcome(choice.of(rows), choice.of(rows), in_sample=True)
            ours["r2_log"] = outcome.metrics["r2_log"]
        origins = sorted(set(choice.of(rows).origin.tolist()))
        for name in [*names, "r2_log"]:
            says = printed()[f"table{number}"][model].get(name)
            value = ours.get(name)
            if says is None and value is None:
                continue
            difference = None if value is None or says is None else value - says
            lines.append(
                {"model": model, "coefficient": names.get(name, "R² of ln E"), "paper": says, "here": value,
                 "difference": difference, "rows": len(choice.of(rows)), "origin": " and ".join(origins)}
            )  # fmt: skip
    return Made(lines, None, f"rows of {', '.join(missing)}" if missing else None)


def _flat(params: Mapping[str, Any]) -> dict[str, float | None]:
    """The coefficients by one name each, ``beta_gpu {"a6000": x}`` as ``beta_a6000``."""
    flat: dict[str, float | None] = {}
    for name, value in params.items():
        if isinstance(value, Mapping):
            flat |= {f"{name.removesuffix('_gpu')}_{key}": float(number) for key, number in value.items()}
        else:
            flat[name] = float(value)
    return flat


_NAMES = {"ln_a": "ln A", "alpha": "alpha", "beta_fp32": "beta_dtype", "beta_res": "beta_res"}
_TABLE1 = {model: Choice((model,)) for model in ("flux", "sd35", "qwen")}
_TABLE2 = {"flux": _FLUX_BOTH, "sd35": _SD35_BOTH}


def _energies(model: str, rows: Table) -> Made:
    """The paper's energies of one model beside the rows at hand and what ``work`` says that never saw the model."""
    from analysis.shipped import shipped_rows

    paper = shipped_rows("paper").where(model=model)
    others = rows.take(rows.model != model)
    law = laws.get(laws.DEFAULT)().fit(others) if len(others) else None
    forecast = law.forecast(paper) if law is not None else None
    here = _with_energy(rows.where(model=model, gpu="a100", origin="measured"))
    here = here.take(~here.includes_idle)  # the paper's energies are above idle
    here = here.take(np.argsort(here.dataset != "paper", kind="stable"))  # where there are both, one's own counts
    per_image = dict(zip(map(_setting, here.configurations()), here.energy_joules / here.prompts, strict=True))
    lines = []
    for i, c in enumerate(paper.configurations()):
        joules = float(paper.energy_joules[i])
        joules_here = per_image.get(_setting(c))
        lines.append(
            {
                "resolution": f"{c.width}x{c.height}",
                "steps": c.steps,
                "precision": c.precision,
                "cfg": c.cfg,
                "paper_joules": joules,
                "measured_joules": None if joules_here is None else float(joules_here) * c.prompts,
                "predicted_joules": None if forecast is None else float(forecast.joules[i]),
                "low_joules": None if forecast is None else float(forecast.low[i]),
                "high_joules": None if forecast is None else float(forecast.high[i]),
                "off_percent": None if forecast is None else 100 * (float(forecast.joules[i]) / joules - 1),
            }
        )
    lacking = sum(line["measured_joules"] is None for line in lines)
    missing = f"rows of {model} on a100: {lacking} of {len(lines)} settings" if lacking else None
    return Made(lines, None, missing)


def _setting(c: Any) -> tuple[object, ...]:
    return (c.width, c.height, c.steps, c.precision, c.cfg, c.batch)


FIGURES: Final[Parts] = {
    1: _figure1,
    6: _figure6,
    **{number: partial(_scatter_figure, number) for number in SCATTERS},
}
TABLES: Final[Parts] = {
    1: partial(_coefficients, 1, _TABLE1, _NAMES),
    2: partial(_coefficients, 2, _TABLE2, {**_NAMES, "beta_a6000": "beta_A6000"}),
    **{number: partial(_energies, model) for number, model in ENERGY_MODELS.items()},
}


def chosen(what: str, parts: Parts, numbers: Iterable[int] | None) -> Parts:
    """The parts of these numbers, all of them for None. RequestError for a number that the paper does not have."""
    wanted = sorted(parts if numbers is None else set(numbers))
    for number in wanted:
        if number not in parts:
            raise RequestError(what, number, f"one of {', '.join(map(str, sorted(parts)))}")
    return {number: parts[number] for number in wanted}
