"""Measurements: filtered, sorted and paged in SQL; one with all that is known of it; all of them as a file."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse
from markupsafe import Markup
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException

from farm.domain import Configuration, RequestError
from farm.domain.words import significant
from farm.files.table import write_columns, write_csv
from farm.measurements import LIMIT, NEWEST, Measurements, parse
from farm.measurements import Query as Wanted
from farm.results import Results
from farm.web import power_log
from farm.web.asking import refusal_status
from farm.web.predicted import Predicted, predicted
from farm.web.site import Here, Page, Site, as_json, shared_json

ROWS: Final = 50  # on a page
KEEP_SECONDS: Final = 60.0  # pages and predictions of rows that are the same still
CHOICES_SECONDS: Final = 5.0  # what a filter can be set to, of all rows: it changes less than they do
# Columns of the list: what they are sorted by, and their heading; the largest first where people look for that.
COLUMNS: Final = (
    ("model", "model", False), ("gpu", "GPU type", False), ("resolution", "pixels", False), ("steps", "steps", False),
    ("precision", "precision", False), ("cfg", "CFG", False), ("prompts", "images", False),
    ("energy_joules_per_image", "energy an image", True), ("duration_seconds", "time of all", True),
)  # fmt: skip
PARAMETERS: Final = (
    "Filters are the keys of a configuration (`model`, `gpu`, `resolution`, `steps`, `precision`, `cfg`, ...), "
    "`dataset`, `origin`, `flag` (a `-` before it: without), `spoiled`, `min_joules` and `max_joules` (of an image); "
    "several values are separated by commas. `sort` is a column, with `-` before it the largest first."
)
# Of a measurement; imported rows know less.
MAYBE: Final = (
    "phases", "repeats", "stop_reason", "forwards", "systematic_percent", "idle_watts_std", "cold_idle_watts",
    "environment", "device_name", "includes_idle",
)  # fmt: skip

router = APIRouter()


@router.get("/api/measurements", description=f"Rows as `farm results list --json` prints them. {PARAMETERS}")
def api_measurements(
    request: Request,
    site: Here,
    limit: Annotated[str, Query(description="rows, 1 to 1000")] = str(LIMIT),
    offset: Annotated[str, Query(description="rows before the first")] = "0",
    model: Annotated[str | None, Query(description="catalog names")] = None,
    gpu: Annotated[str | None, Query(description="catalog names")] = None,
    sort: Annotated[str, Query()] = NEWEST,
) -> Response:
    """The parameters are checked together, as text: see farm.measurements.parse."""
    query = parse(request.query_params.multi_items())
    mark = _mark(site)
    return shared_json(
        request,
        site,
        ("documents", mark, repr(query)),
        lambda: Measurements(site.store()).documents(query),
        seconds=KEEP_SECONDS,
    )


@router.get("/api/measurements.{suffix}", description=f"All rows as `farm results export` writes them. {PARAMETERS}")
def api_table(request: Request, site: Here, suffix: Literal["csv", "parquet"]) -> Response:
    """Written to disk first, whole, so that a slow reader holds no transaction."""
    query = parse(request.query_params.multi_items())
    measurements = Measurements(site.store())
    with tempfile.NamedTemporaryFile(prefix="joulefarm-", suffix=f".{suffix}", delete=False) as file:
        path = Path(file.name)
    try:
        names = measurements.columns(query)
        documents = (row.to_dict() for row in measurements.rows(query))
        if suffix == "csv":
            write_csv(path, names, documents)
        else:
            columns: dict[str, list[Any]] = {name: [] for name in names}
            for document in documents:
                for name, values in columns.items():
                    values.append(document.get(name))
            write_columns(path, columns, "file")
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    media_type = "text/csv; charset=utf-8" if suffix == "csv" else "application/vnd.apache.parquet"
    done = BackgroundTask(path.unlink, missing_ok=True)
    return FileResponse(path, media_type=media_type, filename=f"measurements.{suffix}", background=done)


@router.get("/api/measurements/{measurement_id:path}")
def api_measurement(request: Request, site: Here, measurement_id: str, dataset: str | None = None) -> Response:
    """One measurement as `farm measure --json` prints it, its job's attempts, and the law's prediction beside it."""
    document = _one(site, measurement_id, dataset)
    (forecast,) = predicted(site, [Configuration.from_mapping(document)])
    return as_json(request, {**document, "prediction": None if forecast is None else forecast.prediction.to_dict()})


@router.get("/measurements", include_in_schema=False)
def measurements(request: Request, site: Here) -> Response:
    """The list."""
    given = {name: text for name, text in request.query_params.items() if text}
    refused, query = None, Wanted(limit=ROWS)
    try:
        query = parse({"limit": str(ROWS), **given}.items())
    except RequestError as error:
        refused = error
    mark = _mark(site)
    listing = site.recent(("list", mark, repr(query)), lambda: _listing(site, query), seconds=KEEP_SECONDS)
    choices = site.recent("choices", lambda: Measurements(site.store()).choices(), seconds=CHOICES_SECONDS)
    return site.page(
        request,
        "measurements.html.j2",
        status=200 if refused is None else refusal_status(request),
        given=given,
        refused=refused,
        query=query,
        listing=listing,
        choices=choices,
        columns=[_column(given, query, *column) for column in COLUMNS],
        address=lambda **changed: _address(given, **changed),
        download=lambda suffix: f"/api/measurements.{suffix}?{_filters(given)}",
    )


@router.get("/measurements/{measurement_id:path}", include_in_schema=False)
def measurement(request: Request, site: Here, measurement_id: str, dataset: str | None = None) -> Response:
    """One: its power log, phases, interval, flags, environment, attempts, and the prediction beside it."""
    document = _one(site, measurement_id, dataset)
    configuration = Configuration.from_mapping(document)
    (forecast,) = predicted(site, [configuration])
    log = site.recent(("log", measurement_id), lambda: _log(site, document), seconds=KEEP_SECONDS)
    return site.page(
        request,
        "measurement.html.j2",
        measured={**dict.fromkeys(MAYBE), **document},
        configuration=configuration,
        prediction=None if forecast is None else forecast.prediction,
        log=log,
        environment=_flat(document.get("environment") or {}),
    )


def _mark(site: Site) -> tuple[Any, ...]:
    """Another value when rows came or went: what was made of them stands until then."""
    return site.recent("rows", lambda: Measurements(site.store()).mark())


def _one(site: Site, measurement_id: str, dataset: str | None) -> dict[str, Any]:
    try:
        return Measurements(site.store()).one(measurement_id, dataset)
    except RequestError as error:
        if error.field != "measurement":
            raise
        raise HTTPException(404, str(error)) from None


def _log(site: Site, document: Mapping[str, Any]) -> Markup | None:
    if not document["has_samples"]:
        return None
    data = Results(site.store()).samples(document["measurement_id"])
    try:
        return power_log.drawing(data, document.get("idle_watts"))
    except ValueError:  # written by another version: `farm results samples` says which
        return None


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the list."""

    row: Mapping[str, Any]
    configuration: Configuration
    expected: float | None  # joules an image by the law, where the row lies outside what it allows


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of rows."""

    total: int
    lines: Sequence[Line]


def _listing(site: Site, query: Wanted) -> Listing:
    page = Measurements(site.store()).page(query)
    keys = Configuration.__dataclass_fields__
    configurations = [Configuration(**{name: row[name] for name in keys}) for row in page.rows]
    places = [place for place, row in enumerate(page.rows) if _is_comparable(row)]
    forecasts = dict(zip(places, predicted(site, [configurations[place] for place in places]), strict=True))
    lines = [Line(row, configurations[i], _expected(row, forecasts.get(i))) for i, row in enumerate(page.rows)]
    return Listing(page.total, lines)


def _is_comparable(row: Mapping[str, Any]) -> bool:
    """Whether the law predicts what a row says: energy above idle that was really measured."""
    return row["energy_joules"] is not None and row["origin"] == "measured" and not row["includes_idle"]


def _expected(row: Mapping[str, Any], forecast: Predicted | None) -> float | None:
    """Joules an image that the law expects, of a row that lies outside what it allows."""
    outside = forecast is not None and not forecast.allows(row["energy_joules"])
    return forecast.joules / float(row["prompts"]) if forecast is not None and outside else None


def _column(given: Mapping[str, str], query: Wanted, name: str, heading: str, largest: bool) -> dict[str, Any]:
    sorted_ = query.column == name
    descending = not query.descending if sorted_ else largest
    return {
        "name": name,
        "heading": heading,
        "href": _address(given, sort=("-" if descending else "") + name, offset=None),
        "sorted": ("descending" if query.descending else "ascending") if sorted_ else None,
        "number": name not in ("model", "gpu", "precision", "cfg"),
    }


def _address(given: Mapping[str, str], **changed: Any) -> str:
    """This list with other parameters; None takes one away."""
    parameters = {**given, **changed}
    return "?" + urlencode({name: value for name, value in parameters.items() if value not in (None, "")})


def _filters(given: Mapping[str, str]) -> str:
    return urlencode({name: value for name, value in given.items() if name not in ("limit", "offset")})


def _flat(document: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    """Names and values of a nested document, a line each."""
    lines: list[tuple[str, str]] = []
    for name, value in document.items():
        if isinstance(value, dict):
            lines += _flat(value, f"{before}{name}.")
        elif value not in (None, [], ""):
            lines.append((f"{before}{name}", significant(value, 4) if isinstance(value, float) else str(value)))
    return lines


PAGE: Final = Page("Measurements", "/measurements", 5, router)
