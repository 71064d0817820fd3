"""One document of what is known: data sets, fits and their scatter, actual against predicted, carbon."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from analysis import laws, validation
from analysis.metrics import metrics
from analysis.report.document import Block, Grid, Heading, Paragraph, Picture
from analysis.table import Table
from farm.domain.errors import RequestError
from farm.domain.units import grams_co2e

TITLE: Final = "Energy of image generation"
INTENSITIES: Final = Path(__file__).resolve().parents[1] / "data" / "carbon_intensity.csv"


@dataclass(frozen=True, slots=True)
class Electricity:
    """Of a country's grid."""

    country: str  # ISO 3166 alpha-3
    name: str
    grams_per_kwh: float
    year: int


def grids(countries: Sequence[str]) -> list[Electricity]:
    """The electricity of countries by their three letters. RequestError for one that the table does not have."""
    with INTENSITIES.open(newline="", encoding="utf-8") as file:
        known = {
            row["country"]: Electricity(row["country"], row["name"], float(row["grams_per_kwh"]), int(row["year"]))
            for row in csv.DictReader(file)
        }
    chosen = []
    for country in countries:
        if country.upper() not in known:
            raise RequestError("country", country, "three letters of ISO 3166, such as FRA, that Ember has figures of")
        chosen.append(known[country.upper()])
    return chosen


def content(
    table: Table, *, source: str, countries: Sequence[str] = (), figure: bytes | None = None
) -> Sequence[Block]:
    """The document.

    Args:
        table: every row there is; rows of different origin are reported apart.
        source: where the rows came from, in words.
        countries: carbon of an image is given for their electricity.
        figure: actual against predicted energy, as PNG.

    Raises:
        RequestError: an unknown country.
    """
    electricity = grids(countries)
    blocks: list[Block] = [Heading(TITLE, level=1)]
    blocks += [Paragraph(f"From {source}. Energies are of the GPU, above idle.")]
    blocks += [Heading("Data sets"), _datasets(table)]
    for origin in sorted(set(table.origin.tolist())):
        rows = table.where(origin=origin)
        blocks += [Heading(f"Laws, {origin} rows"), *_laws(rows)]
        blocks += [Heading(f"Actual against predicted, {origin} rows"), _cells(rows)]
        if electricity:
            blocks += [Heading(f"Carbon of an image, {origin} rows"), _carbon(rows, electricity)]
    if figure is not None:
        blocks.append(Picture("Actual against predicted energy", figure))
    return blocks


def _datasets(table: Table) -> Grid:
    lines = []
    for origin in sorted(set(table.origin.tolist())):
        for dataset in table.where(origin=origin).names("dataset"):
            rows = table.where(origin=origin, dataset=dataset)
            spoiled = int(rows.spoiled.sum())
            names = [", ".join(rows.names(column)) for column in ("model", "gpu", "precision")]
            lines.append([dataset or "unnamed", origin, str(len(rows)), str(spoiled), *names])
    return Grid(["data set", "origin", "rows", "spoiled", "models", "GPUs", "precisions"], lines)


def _laws(rows: Table) -> Iterable[Block]:
    """For each law its coefficients, how far rows scatter about it, and how it does in two folds."""
    for name in laws.names():
        yield Heading(name, level=3)
        try:
            outcome = validation.in_sample(laws.get(name)(), rows)
            fitted = laws.get(name)().fit(rows)
        except RequestError as refusal:
            yield Paragraph(f"Not fitted: {refusal}.")
            continue
        yield _coefficients(fitted.params_, fitted.params_std_)
        numbers = [["fit", str(fitted.n_), *_numbers(outcome)]]
        if fitted.n_ >= 2 * validation.FOLDS:
            try:
                folds = validation.within(laws.get(name)(), rows, validation.FOLDS)
                numbers.append([f"{validation.FOLDS} folds", str(len(folds.table)), *_numbers(folds)])
            except RequestError as refusal:
                yield Paragraph(f"No folds: {refusal}.")
        scatter = f"{outcome.scatter_percent:.2g}%"
        yield Paragraph(f"Rows scatter by {scatter} about the law (standard deviation of ln E).")
        yield Grid(["", "rows", "R² (ln E)", "mean error", "Spearman", "Pearson"], numbers)
        for entry in fitted.left_out_:
            yield Paragraph("Left out: {count} {what}, {name}: {why}.".format_map(entry))


def _cells(rows: Table) -> Block:
    """Measured and predicted joules an image, for each model on each GPU."""
    try:
        outcome = validation.in_sample(laws.get(laws.DEFAULT)(), rows)
    except RequestError as refusal:
        return Paragraph(f"Not fitted: {refusal}.")
    lines = []
    for model in outcome.table.names("model"):
        for gpu in outcome.table.names("gpu"):
            mask = (outcome.table.model == model) & (outcome.table.gpu == gpu)
            if not mask.any():
                continue
            measured = outcome.measured_joules[mask] / outcome.table.prompts[mask]
            predicted = outcome.predicted_joules[mask] / outcome.table.prompts[mask]
            error = metrics(measured, predicted)["mape_percent"]
            span = [f"{values.min():.4g} to {values.max():.4g}" for values in (measured, predicted)]
            lines.append([model, gpu, str(int(mask.sum())), *span, f"{error:.2f}%"])
    return Grid(["model", "GPU", "rows", "measured, J an image", "predicted, J an image", "mean error"], lines)


def _carbon(rows: Table, electricity: Sequence[Electricity]) -> Grid:
    """Grams of CO2 equivalent of an image, median over the rows of each model on each GPU."""
    known = rows.take(~rows.spoiled & (rows.energy_joules > 0))
    lines = []
    for model in known.names("model"):
        for gpu in known.where(model=model).names("gpu"):
            cell = known.where(model=model, gpu=gpu)
            joules = float(np.median(cell.energy_joules / cell.prompts))
            grams = [f"{grams_co2e(joules, grid.grams_per_kwh):.3g}" for grid in electricity]
            lines.append([model, gpu, f"{joules:.4g}", *grams])
    heads = [f"{grid.name}, g ({grid.grams_per_kwh:.0f} g/kWh, {grid.year})" for grid in electricity]
    return Grid(["model", "GPU", "median J an image", *heads], lines)


def _coefficients(params: Mapping[str, object], std: Mapping[str, object]) -> Grid:
    lines = []
    for name, value in params.items():
        values = value if isinstance(value, Mapping) else {"": value}
        errors = std.get(name)
        errors = errors if isinstance(errors, Mapping) else {"": errors}
        for key, number in values.items():
            error = errors.get(key)
            lines.append([f"{name} {key}".strip(), f"{number:.4g}", "" if error is None else f"{error:.2g}"])
    return Grid(["coefficient", "value", "standard error"], lines)


def _numbers(outcome: validation.Validation) -> list[str]:
    numbers = metrics(outcome.measured_joules, outcome.predicted_joules)
    values = [numbers[name] for name in ("r2_log", "mape_percent", "spearman", "pearson")]
    texts = ["unknown" if value is None else f"{value:.4g}" for value in values]
    return [texts[0], f"{texts[1]}%", *texts[2:]]
