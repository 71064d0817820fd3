"""One document of what is known: the answer first, then figures, coverage, quality, laws, and how to reproduce it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from analysis import laws, validation
from analysis.carbon import Electricity, electricity
from analysis.fitted import fit_once
from analysis.laws.base import LEVEL, Law
from analysis.report import figures, inventory
from analysis.report.document import Block, Folded, Grid, Heading, Illustration, Link, Paragraph
from analysis.table import Table
from analysis.validation import Validation
from farm import catalog
from farm.catalog import memory
from farm.domain import Configuration
from farm.domain.errors import RequestError
from farm.domain.units import grams_co2e
from farm.domain.words import joules_text, significant, with_prefix
from farm.version import __version__

TITLE: Final = "Energy of image generation"
LIKE: Final[Mapping[str, Any]] = {"steps": 28, "precision": "fp16", "cfg": False, "prompts": 1}  # the common question
LIKE_SIDES: Final = (1024, 768, 512, 256)  # the largest that every model takes
LIKE_WORDS: Final = "28 steps, fp16, without guidance"
FACTORS: Final = ("model", "gpu", "dataset", "pixels", "steps", "precision", "cfg", "batch")


def grids(countries: Sequence[str]) -> list[Electricity]:
    """The electricity of countries. RequestError for one that no figure is known of."""
    return [electricity(country) for country in countries]


def content(table: Table, *, source: str, countries: Sequence[str] = (), rows_file: str = "") -> Sequence[Block]:
    """The document.

    Args:
        table: every row there is; rows of different origin are reported apart.
        source: where the rows came from, in words.
        countries: carbon of an image is given for their electricity.
        rows_file: name of the file of all rows beside the document, to link to.

    Raises:
        RequestError: an unknown country.
    """
    supplies = grids(countries)
    blocks: list[Block] = [Heading(TITLE, level=1), Paragraph(inventory.summary(table, source))]
    coefficients: list[Block] = []
    for origin in sorted(set(table.origin.tolist()), key=lambda name: (name != "measured", name)):
        rows = table.where(origin=origin)
        blocks += _answers(rows, origin, supplies)
        blocks += _pictures(rows, origin)
        blocks += _laws(rows, origin)
        coefficients += _coefficients(rows, origin)
    blocks += [
        Heading("What was measured"),
        inventory.datasets(table),
        Paragraph("Rows of each model on each GPU type:"),
    ]
    blocks += [inventory.coverage(table), Heading("Quality of the rows"), *inventory.quality(table)]
    blocks += [Heading("Where they were measured"), inventory.environment(table)]
    blocks += [Heading("How to reproduce and cite"), *_reproduce(table, source, rows_file)]
    if coefficients:
        blocks.append(Folded("Coefficients of the laws", coefficients))
    return blocks


def _answers(rows: Table, origin: str, supplies: Sequence[Electricity]) -> Iterable[Block]:
    """What an image costs at settings alike for every model, so that models can be compared."""
    yield Heading(f"What an image costs{_marked(origin)}")
    try:
        law = fit_once(laws.DEFAULT, rows)
    except RequestError as refusal:
        yield Paragraph(f"No law can say: {refusal}.")
        return
    pairs = _pairs(rows)
    sides = [side for side in LIKE_SIDES if any(_taken(model, gpu, side) for model, gpu in pairs)]
    if not sides:
        yield Paragraph("No model of these rows is in the catalog, so none can be predicted at settings alike.")
        return
    side = max(sides, key=lambda value: sum(_taken(model, gpu, value) for model, gpu in pairs))
    configurations = [_like(model, gpu, side) for model, gpu in pairs if _taken(model, gpu, side)]
    answer = law.forecast(Table.of(configurations))
    order = np.argsort(answer.joules)
    lines = []
    for i in order.tolist():
        c, joules = configurations[i], float(answer.joules[i])
        seconds = "unknown" if answer.seconds is None else f"{significant(float(answer.seconds[i]))} s"
        interval = f"{with_prefix(float(answer.low[i]), 'J')} to {with_prefix(float(answer.high[i]), 'J')}"
        grams = [with_prefix(grams_co2e(joules, grid.grams_per_kwh), "g") for grid in supplies]
        lines.append([catalog.model(c.model).title, c.gpu, joules_text(joules), interval, seconds, *grams])
    heads = [f"CO2e, {grid.name}" for grid in supplies]
    figures_of = ", ".join(f"{grid.name} {_intensity(grid)}" for grid in supplies)
    carbon = f" Electricity: {figures_of}." if supplies else ""
    yield Paragraph(
        f"Predicted by the law {law.name} for one image of {side}x{side}, {LIKE_WORDS}, on the GPUs that have rows "
        f"of the model; {LEVEL:.0%} intervals of one run. {_held_out_words(rows)}{carbon}"
    )
    yield Grid(["model", "GPU", "energy", f"{LEVEL:.0%} interval", "time", *heads], lines)


def _intensity(grid: Electricity) -> str:
    return f"{grid.grams_per_kwh:.0f} g/kWh{f' in {grid.year}' if grid.year else ''}"


def _held_out_words(rows: Table) -> str:
    outcome = _leave_models_out(laws.get(laws.DEFAULT)(), rows)
    if outcome is None:
        return ""
    error = _percent(outcome.metrics["mape_percent"])
    return (
        f"On models that it was not fitted to, the law is off by {error} on average, and "
        f"{_coverage_of(outcome)} of the rows lie inside their intervals."
    )


def _pictures(rows: Table, origin: str) -> Iterable[Block]:
    outcome = _leave_models_out(laws.get(laws.DEFAULT)(), rows)
    how = "each model predicted by a fit to the others"
    if outcome is None:
        try:
            outcome, how = validation.in_sample(laws.get(laws.DEFAULT)(), rows), "the rows that were fitted"
        except RequestError:
            return
    yield Heading(f"Measured and predicted{_marked(origin)}")
    if not len(outcome.table):
        yield Paragraph("No row that a law can use states its energy.")
        return
    yield Illustration(f"Actual against predicted energy: {how}.", figures.actual_against_predicted(outcome))
    yield Paragraph("Mean error by factor, of the same predictions: above 0 where the law says too much.")
    yield Grid(["factor", "value", "rows", "bias", "mean error"], list(by_factor(outcome)))
    fullest = _fullest(rows)
    if fullest is not None:
        picture = figures.relative_energy(fullest)
        yield Illustration(f"How energy grows with the settings. {picture.caption}", picture)


def by_factor(outcome: Validation) -> Iterable[list[str]]:
    """Factor, value, rows, bias and mean error of each value of the factors in which rows differ, as text."""
    residual = 100 * (outcome.predicted_joules / outcome.measured_joules - 1)
    for factor in FACTORS:
        values = np.asarray(getattr(outcome.table, factor))
        distinct = np.unique(values)
        if len(distinct) < 2:
            continue
        for value in distinct:
            mask = values == value
            name = f"{round(float(value) ** 0.5)}² pixels" if factor == "pixels" else _value(value)
            bias = f"{residual[mask].mean():+z.1f}%"
            yield [factor, name, str(int(mask.sum())), bias, f"{np.abs(residual[mask]).mean():.1f}%"]


def _laws(rows: Table, origin: str) -> Iterable[Block]:
    """The laws beside each other: how they follow the rows, and how they do on rows that they were not fitted to."""
    yield Heading(f"The laws beside each other{_marked(origin)}")
    lines, remarks = [], []
    for name in laws.names():
        try:
            inside = validation.in_sample(laws.get(name)(), rows)
        except RequestError as refusal:
            remarks.append(Paragraph(f"Law {name}, not fitted: {refusal}."))
            continue
        lines.append([name, "fitted to these rows", str(len(inside.table)), *_numbers(inside)])
        if len(inside.table) >= 2 * validation.FOLDS:
            folds = validation.within(laws.get(name)(), rows, validation.FOLDS)
            lines.append([name, f"{validation.FOLDS} folds", str(len(folds.table)), *_numbers(folds)])
        outside = _leave_models_out(laws.get(name)(), rows)
        if outside is not None:
            lines.append([name, "each model held out", str(len(outside.table)), *_numbers(outside)])
    yield Grid(["law", "judged on", "rows", "mean error", "R² of ln E", "Spearman", "inside 90%"], lines)
    yield from remarks


def _numbers(outcome: Validation) -> list[str]:
    numbers = outcome.metrics
    texts = ["unknown" if numbers[name] is None else f"{numbers[name]:.3f}" for name in ("r2_log", "spearman")]
    return [_percent(numbers["mape_percent"]), *texts, _coverage_of(outcome)]


def _coverage_of(outcome: Validation) -> str:
    """The part of the rows that lie inside their intervals."""
    coverage = outcome.interval["coverage"]
    return "unknown" if coverage is None else f"{coverage:.0%}"


def _leave_models_out(law: Law, rows: Table) -> Validation | None:
    """Each model predicted by a fit to the others; None where there is one model or no fit is possible."""
    try:
        return validation.leave_out(law, rows, "model").joined()
    except RequestError:
        return None


def _coefficients(rows: Table, origin: str) -> Iterable[Block]:
    for name in laws.names():
        try:
            fitted = fit_once(name, rows)
        except RequestError:
            continue
        yield Heading(f"{name}{_marked(origin)}", level=3)
        yield coefficient_grid(fitted.params_, fitted.params_std_)
        for entry in fitted.left_out_:
            yield Paragraph("Left out: {count} {what}, {name}: {why}.".format_map(entry))


def coefficient_grid(params: Mapping[str, object], std: Mapping[str, object]) -> Grid:
    """Coefficients of a fit with their standard errors."""
    lines = []
    for name, value in params.items():
        values = value if isinstance(value, Mapping) else {"": value}
        errors = std.get(name)
        errors = errors if isinstance(errors, Mapping) else {"": errors}
        for key, number in values.items():
            error = errors.get(key)
            lines.append([f"{name} {key}".strip(), f"{number:.4g}", "" if error is None else f"{error:.2g}"])
    return Grid(["coefficient", "value", "standard error"], lines)


def _reproduce(table: Table, source: str, rows_file: str) -> Iterable[Block]:
    yield Paragraph(
        f"Made by joulefarm {__version__} from {len(table)} rows of {source} (digest {table.digest()[:16]}). Laws and "
        "figures come from these rows alone: farm report --data FILE makes this document of any file of them, farm "
        "reproduce the figures of arXiv 2511.17031."
    )
    if rows_file:
        yield Link("Every row behind these numbers", rows_file)
    yield Paragraph(
        "Cite the paper that the method follows, arXiv 2511.17031, and the data sets named above; sources and licences "
        "of those that ship are in analysis/data/README.md."
    )


def _fullest(rows: Table) -> Table | None:
    """The rows of the model, GPU and number of prompts that have most; None where a picture would show under ten."""
    usable = rows.take(~rows.spoiled & (rows.energy_joules > 0) & (rows.batch == 1))
    best: Table | None = None
    for model, gpu in _pairs(usable):
        for prompts in np.unique(usable.where(model=model, gpu=gpu).prompts):
            part = usable.where(model=model, gpu=gpu, prompts=int(prompts))
            if len(part) >= 10 and (best is None or len(part) > len(best)):
                best = part
    return best


def _pairs(rows: Table) -> list[tuple[str, str]]:
    return sorted(set(zip(rows.model.tolist(), rows.gpu.tolist(), strict=True)))


def _like(model: str, gpu: str, side: int) -> Configuration:
    return Configuration(model=model, gpu=gpu, width=side, height=side, **LIKE)


def _taken(model: str, gpu: str, side: int) -> bool:
    """Whether the settings alike are ones that the model takes and the board holds."""
    if model not in catalog.models() or gpu not in catalog.gpus():
        return False
    try:
        c = _like(model, gpu, side)
        catalog.check(c)
    except RequestError:
        return False
    return memory.explain(c) is None


def _marked(origin: str) -> str:
    return "" if origin == "measured" else f" ({origin})"


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{significant(value, 2)}%"


def _value(value: NDArray[Any] | Any) -> str:
    return {True: "yes", False: "no"}[bool(value)] if isinstance(value, np.bool_) else str(value) or "unnamed"
