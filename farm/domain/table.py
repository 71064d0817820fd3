"""The table of measurements that people exchange: its columns, and how one row of text or numbers becomes a value.

Shared by ``farm results import`` and ``--data FILE``. Standard library only: Parquet is read elsewhere, and its rows
come through :func:`parse_rows` like those of a CSV file.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from farm.domain.configuration import Configuration
from farm.domain.errors import RequestError
from farm.domain.measurement import FLAGS, SPOILING_FLAGS, origin

REQUIRED: Final = ("model", "gpu", "steps", "precision", "cfg", "prompts", "energy_joules")
OPTIONAL: Final = (
    "batch", "weights", "size", "seed", "dataset", "measurement_id", "idle_watts", "duration_seconds",
    "energy_std_joules", "meter", "flags", "device_name", "measured_at",
)  # fmt: skip
CONFIGURATION: Final = tuple(f.name for f in fields(Configuration))
# The order in which `farm results export` writes them. `resolution` is the side of a square, empty for others.
COLUMNS: Final = (
    "model", "gpu", "resolution", "width", "height", "steps", "precision", "cfg", "prompts", "energy_joules",
    *OPTIONAL,
)  # fmt: skip
PROBLEMS_SHOWN: Final = 10
MAX_TEXT: Final = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One measured row. Energies are in joules, of all prompts together, idle subtracted."""

    configuration: Configuration  # model and gpu may be names that the catalog does not have
    energy_joules: float | None  # None only in rows that a flag spoils, or where energies are not asked for
    energy_std_joules: float | None = None
    duration_seconds: float | None = None
    idle_watts: float | None = None
    meter: str = ""
    flags: tuple[str, ...] = ()
    dataset: str | None = None
    measurement_id: str | None = None  # rows of a data set with the same id are duplicates
    device_name: str = ""
    measured_at: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)  # columns that are not named above, as they came

    @property
    def spoiled(self) -> bool:
        """Kept, but left out of fits."""
        return self.energy_joules is None or not SPOILING_FLAGS.isdisjoint(self.flags)

    @property
    def origin(self) -> str:
        """``measured``, ``estimated`` or ``simulated``."""
        return origin(self.flags)

    def to_dict(self) -> dict[str, Any]:
        """One value a column of COLUMNS, then the extra ones."""
        c = self.configuration
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("configuration", "extra")}
        known = {
            **c.to_dict(),
            "resolution": c.width if c.width == c.height else None,
            "cfg": int(c.cfg),
            **own,
            "flags": " ".join(self.flags),
        }
        return {**{name: known[name] for name in COLUMNS}, **self.extra}


class BadRows(RequestError):
    """Rows of a table that cannot be taken; ``problems`` names each by row number, column and remedy."""

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        shown = "; ".join(self.problems[:PROBLEMS_SHOWN])
        more = len(self.problems) - PROBLEMS_SHOWN
        super().__init__("table", source, shown + (f"; and {more} more" if more > 0 else ""))


def read_csv(path: str | Path, *, energy_required: bool = True) -> list[Row]:
    """Every row of a CSV file (UTF-8, first line the header). RequestError for a file that is no such table."""
    source = str(path)
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = next(reader, None)
            if header is None:
                raise RequestError("table", source, "a header line, then one row a measurement")
            return parse_rows(header, reader, source=source, energy_required=energy_required)
    except OSError as error:
        raise RequestError("table", source, f"a readable file ({error.strerror})") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise RequestError("table", source, f"a CSV file in UTF-8 ({error})") from None


def parse_rows(
    header: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    source: str,
    energy_required: bool = True,
) -> list[Row]:
    """Check and convert rows of texts or numbers.

    Args:
        header: column names; REQUIRED ones (and ``resolution``, or ``width`` and ``height``) must be there.
        rows: values in the order of the header; the first is row 1.
        source: what messages call the table, usually its file name.
        energy_required: False for tables of candidates, whose energies are ignored.

    Raises:
        RequestError: a column is missing or there twice.
        BadRows: a value cannot be taken; nothing is returned then.
    """
    names = _check_header(header, source, energy_required)
    parsed: list[Row] = []
    problems: list[str] = []
    for number, values in enumerate(rows, start=1):
        if not values:
            continue  # an empty line
        try:
            if len(values) != len(names):
                raise RequestError("columns", len(values), f"as many values as the header has ({len(names)})")
            parsed.append(parse_row(dict(zip(names, values, strict=True)), energy_required=energy_required))
        except RequestError as error:
            problems.append(f"row {number}, {error}")
    if problems:
        raise BadRows(source, problems)
    return parsed


def parse_row(values: Mapping[str, Any], *, energy_required: bool = True) -> Row:
    """One row from a mapping of columns to values. RequestError naming the column."""
    flags = _flags(values.get("flags"))
    energy = None
    if energy_required:
        energy = _positive("energy_joules", values.get("energy_joules"))
        if energy is None and SPOILING_FLAGS.isdisjoint(flags):
            raise RequestError("energy_joules", values.get("energy_joules"), "a number of joules above 0")
    known = {*REQUIRED, *OPTIONAL, "resolution", "width", "height"}
    for name in ("model", "gpu"):
        _text(name, values.get(name))
    return Row(
        configuration=Configuration.from_mapping(values),
        energy_joules=energy,
        energy_std_joules=_not_negative("energy_std_joules", values.get("energy_std_joules")),
        duration_seconds=_not_negative("duration_seconds", values.get("duration_seconds")),
        idle_watts=_not_negative("idle_watts", values.get("idle_watts")),
        meter=_text("meter", values.get("meter")),
        flags=flags,
        dataset=_text("dataset", values.get("dataset")) or None,
        measurement_id=_text("measurement_id", values.get("measurement_id")) or None,
        device_name=_text("device_name", values.get("device_name")),
        measured_at=_text("measured_at", values.get("measured_at")),
        extra={name: value for name, value in values.items() if name not in known and not is_absent(value)},
    )


def distinct(rows: Iterable[Row]) -> Iterator[Row]:
    """Leaves out rows whose data set and measurement_id came before. Rows without an id are never duplicates."""
    seen: set[tuple[str | None, str]] = set()
    for row in rows:
        if row.measurement_id is not None:
            key = (row.dataset, row.measurement_id)
            if key in seen:
                continue
            seen.add(key)
        yield row


def with_ids(rows: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    """Each row with its id. One without gets a digest of its content and of how often that came before it, so that
    a file imported twice counts once, while the same reading found twice in one file stays two rows."""
    seen: dict[str, int] = {}
    for row in rows:
        if row.measurement_id is not None:
            yield row.measurement_id, row
            continue
        text = json.dumps(row.to_dict(), sort_keys=True, default=str)
        count = seen[text] = seen.get(text, 0) + 1
        yield "row-" + hashlib.sha256(f"{count} {text}".encode()).hexdigest()[:32], row


def is_absent(value: Any) -> bool:
    """Whether a cell is empty: nothing, an empty text, or the NaN that tables use for a missing text or number."""
    return value is None or (isinstance(value, str) and not value.strip()) or value != value


def _check_header(header: Sequence[str], source: str, energy_required: bool) -> list[str]:
    names = [str(name).strip() for name in header]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise RequestError("column", twice[0], f"once in {source}")
    needed = [name for name in REQUIRED if energy_required or name != "energy_joules"]
    missing = [name for name in needed if name not in names]
    if "resolution" not in names and not {"width", "height"} <= set(names):
        missing.append("resolution")
    if missing:
        raise RequestError(
            "column", missing[0], f"required in {source}; its header has {', '.join(names) or 'nothing'}"
        )
    return names


def _number(column: str, value: Any, remedy: str) -> float | None:
    """None for an empty cell; a NaN that is spelled out, or that a column of numbers carries, is refused by name."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number):
        raise RequestError(column, value, remedy)
    return number


def _positive(column: str, value: Any) -> float | None:
    remedy = "a finite number of joules above 0 (leave the row out when it is not known)"
    number = _number(column, value, remedy)
    if number is not None and number <= 0:
        raise RequestError(column, value, remedy)
    return number


def _not_negative(column: str, value: Any) -> float | None:
    remedy = "a finite number, 0 or more, or nothing when it is not known"
    # Parquet writers that know no nulls put NaN there: in an optional column it means "not known".
    number = None if isinstance(value, float) and math.isnan(value) else _number(column, value, remedy)
    if number is not None and number < 0:
        raise RequestError(column, value, remedy)
    return number


def _text(column: str, value: Any) -> str:
    text = "" if is_absent(value) else str(value).strip()
    if not text.isprintable() or len(text) > MAX_TEXT:
        raise RequestError(column, text, f"printable text of up to {MAX_TEXT} characters")
    return text


def _flags(value: Any) -> tuple[str, ...]:
    """Flags of a cell: names separated by blanks, commas or semicolons, or a list."""
    if isinstance(value, (list, tuple)):
        names = [str(name) for name in value]
    else:
        names = [name for name in re.split(r"[\s,;|]+", _text("flags", value)) if name]
    unknown = sorted(set(names) - FLAGS)
    if unknown:
        raise RequestError("flags", unknown[0], f"one of {', '.join(sorted(FLAGS))}")
    return tuple(names)
