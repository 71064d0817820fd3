"""How much carbon a kWh of electricity stands for: by country, and by region of the USA and Canada.

The figures are CodeCarbon's where it is installed, so that both say the same, else those that ship with joulefarm,
which were CodeCarbon's once (analysis/data/README.md).
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from farm.domain.errors import RequestError

DATA: Final = Path(__file__).resolve().parent / "data"
SHIPPED_SOURCE: Final = "Ember, Our World in Data, EPA eGRID and Canada Energy Regulator, as shipped with joulefarm"
GRAMS_PER_KWH_OF_POUNDS_PER_MWH: Final = 0.45359237
# What CodeCarbon takes a kWh of a Canadian province's fossil sources to emit, grams; the others count as none.
GRAMS_BY_SOURCE: Final = {"coal": 995.725971, "petroleum": 816.6885263, "naturalGas": 743.8415916}
_ALIASES: Final = {"UK": "GBR", "EL": "GRC"}  # in wide use, though not ISO 3166


@dataclass(frozen=True, slots=True)
class Electricity:
    """Of the grid of a country or region, grams of CO2 equivalent a kWh, mean of a year."""

    country: str  # ISO 3166 alpha-3, of a region with its two letters behind: USA-CA
    name: str
    grams_per_kwh: float
    year: int | None
    source: str


def electricity(country: str) -> Electricity:
    """The electricity of a country, ``FR`` or ``FRA``, or of a region, ``US-CA``, ``USA-California``, ``CA-QC``.

    RequestError for one that no figure is known of.
    """
    codes, parts = _alpha_3(), re.split(r"\s*[-:/_]\s*", country.strip(), maxsplit=1)
    nation = codes.get(parts[0].upper())
    table = _figures()
    if nation is None or nation not in table:
        remedy = "two or three letters of ISO 3166 with known figures, such as FR or FRA, or a region such as US-CA"
        raise RequestError("country", country, remedy)
    if len(parts) == 1:
        return table[nation]
    regions = {key: entry for key, entry in table.items() if key.startswith(f"{nation}-")}
    wanted = parts[1].casefold()
    for key, entry in regions.items():
        if wanted in (key.partition("-")[2].casefold(), entry.name.partition(",")[0].casefold()):
            return entry
    known = ", ".join(sorted(key.partition("-")[2] for key in regions))
    raise RequestError("country", country, f"{nation} alone{f', or one of its regions {known}' if known else ''}")


@cache
def places() -> tuple[tuple[str, str], ...]:
    """Code and name of every country and region with figures, by name."""
    return tuple(sorted(((entry.country, entry.name) for entry in _figures().values()), key=lambda pair: pair[1]))


@cache
def _alpha_3() -> Mapping[str, str]:
    """Three letters of every country, by its two and by its three."""
    with (DATA / "carbon_intensity.csv").open(newline="", encoding="utf-8") as file:
        pairs = [(row["alpha_2"], row["country"]) for row in csv.DictReader(file)]
    ours = dict(pairs) | {alpha_3: alpha_3 for _, alpha_3 in pairs} | _ALIASES
    return {key: key for key in _figures() if "-" not in key} | ours


@cache
def _figures() -> Mapping[str, Electricity]:
    """By alpha-3 code, and by alpha-3 code and region."""
    shipped = {entry.country: entry for entry in _shipped()}
    try:
        theirs = {entry.country: entry for entry in _codecarbon()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # another CodeCarbon, with another layout
        theirs = {}
    return shipped | theirs


def _shipped() -> Iterator[Electricity]:
    names = {}
    with (DATA / "carbon_intensity.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            names[row["country"]] = row["name"]
            yield _entry(row["country"], row["name"], row["grams_per_kwh"], row["year"], SHIPPED_SOURCE)
    with (DATA / "carbon_intensity_regions.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            name = _region_name(row["name"], names[row["country"]])
            code = f"{row['country']}-{row['region']}"
            yield _entry(code, name, row["grams_per_kwh"], row["year"], SHIPPED_SOURCE)


def _codecarbon() -> Iterator[Electricity]:
    """The figures of an installed CodeCarbon, read from its files: importing it would bring pandas."""
    spec = find_spec("codecarbon")
    if spec is None or spec.origin is None:
        return
    try:
        source = f"CodeCarbon {version('codecarbon')}"
    except PackageNotFoundError:
        source = "CodeCarbon"
    folder = Path(spec.origin).parent / "data" / "private_infra"
    for code, entry in _read(folder / "global_energy_mix.json").items():
        if entry.get("carbon_intensity"):  # 0 is a gap of the table, no grid
            yield _entry(code, entry["country_name"], entry["carbon_intensity"], entry.get("year"), source)
    american, american_year = _newest(folder, "usa_emissions.json")
    for name, entry in american.items():
        if "emissions" in entry and len(entry.get("regionCode", "")) == 2:
            grams = entry["emissions"] * GRAMS_PER_KWH_OF_POUNDS_PER_MWH
            title = _region_name(name, "United States")
            yield _entry(f"USA-{entry['regionCode']}", title, grams, american_year, source)
    canadian, canadian_year = _newest(folder, "canada_energy_mix.json")
    codes = {entry.name: entry.country for entry in _shipped()}
    for name, mix in canadian.items():
        known = _region_name(name, "Canada")
        if "total" in mix and known in codes:
            grams = sum(mix[fuel] / mix["total"] * factor for fuel, factor in GRAMS_BY_SOURCE.items())
            yield _entry(codes[known], known, grams, canadian_year, source)


def _newest(folder: Path, name: str) -> tuple[dict[str, Any], int | None]:
    """The newest of the files of that name, one in a folder a year, and its year; nothing where there is none."""
    years = sorted(path for path in folder.glob(f"*/{name}") if path.parent.name.isdigit())
    return (_read(years[-1]), int(years[-1].parent.name)) if years else ({}, None)


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _region_name(region: str, nation: str) -> str:
    return f"{region.title()}, {nation}"


def _entry(code: str, name: str, grams: Any, year: Any, source: str) -> Electricity:
    return Electricity(code, name, float(grams), None if year is None else int(year), source)
