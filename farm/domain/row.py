"""The table of measurements that people exchange: its columns, and how one row of text or numbers becomes a value.

Shared by ``farm results import`` and ``--data FILE``, whatever the file's format (:mod:`farm.files.table`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final, Self

from farm.domain.configuration import DEFAULTS, Configuration
from farm.domain.errors import RequestError
from farm.domain.measurement import FLAGS, SPOILING_FLAGS, Measurement, origin
from farm.domain.parsing import is_absent, parse_not_negative, parse_positive_joules, parse_switch, parse_text

REQUIRED: Final = ("model", "gpu", "steps", "precision", "cfg", "prompts", "energy_joules")
OPTIONAL: Final = (
    *DEFAULTS, "dataset", "measurement_id", "idle_watts", "duration_seconds", "energy_std_joules", "meter", "flags",
    "device_name", "measured_at", "includes_idle", "power_limit_watts",
)  # fmt: skip
# The order in which `farm results export` writes them. `resolution` is the side of a square, empty for others.
COLUMNS: Final = (
    "model", "gpu", "resolution", "width", "height", "steps", "precision", "cfg", "prompts", "energy_joules",
    *OPTIONAL,
)  # fmt: skip
PROBLEMS_SHOWN: Final = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One measured row. Energies are in joules, of all prompts together, idle subtracted unless ``includes_idle``."""

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
    includes_idle: bool = False  # idle power is in energy_joules; duration_seconds is known then
    power_limit_watts: float | None = None  # enforced on the board while it was measured
    extra: Mapping[str, Any] = field(default_factory=dict)  # columns that are not named above, as they came

    @classmethod
    def of(cls, measurement: Measurement) -> Self:
        """A measurement as a row of no data set yet."""
        return cls(
            configuration=measurement.configuration,
            energy_joules=measurement.energy_joules,
            energy_std_joules=measurement.energy_std_joules,
            duration_seconds=measurement.duration_seconds,
            idle_watts=measurement.idle_watts,
            meter=measurement.meter,
            flags=measurement.flags,
            measurement_id=measurement.measurement_id,
            device_name=str(measurement.environment.get("device_name", "")),
            measured_at=measurement.measured_at,
            power_limit_watts=_power_limit(measurement),
        )

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
            "includes_idle": int(self.includes_idle),
        }
        return {**{name: known[name] for name in COLUMNS}, **self.extra}


class BadRows(RequestError):
    """Rows of a table that cannot be taken; ``problems`` names each by row number, column and remedy."""

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        shown = "; ".join(self.problems[:PROBLEMS_SHOWN])
        more = len(self.problems) - PROBLEMS_SHOWN
        super().__init__("table", source, shown + (f"; and {more} more" if more > 0 else ""))


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
        energy = parse_positive_joules("energy_joules", values.get("energy_joules"))
        if energy is None and SPOILING_FLAGS.isdisjoint(flags):
            raise RequestError("energy_joules", values.get("energy_joules"), "a number of joules above 0")
    for name in ("model", "gpu"):
        parse_text(name, values.get(name))
    seconds = parse_not_negative("duration_seconds", values.get("duration_seconds"))
    includes_idle = _includes_idle(values.get("includes_idle"))
    if includes_idle and energy is not None and not seconds:
        raise RequestError("duration_seconds", values.get("duration_seconds"), "seconds above 0, as includes_idle is 1")
    return Row(
        configuration=Configuration.from_mapping(values),
        energy_joules=energy,
        energy_std_joules=parse_not_negative("energy_std_joules", values.get("energy_std_joules")),
        duration_seconds=seconds,
        idle_watts=parse_not_negative("idle_watts", values.get("idle_watts")),
        meter=parse_text("meter", values.get("meter")),
        flags=flags,
        dataset=parse_text("dataset", values.get("dataset")) or None,
        measurement_id=parse_text("measurement_id", values.get("measurement_id")) or None,
        device_name=parse_text("device_name", values.get("device_name")),
        measured_at=parse_text("measured_at", values.get("measured_at")),
        includes_idle=includes_idle,
        power_limit_watts=_watts("power_limit_watts", values.get("power_limit_watts")),
        extra={name: value for name, value in values.items() if name not in COLUMNS and not is_absent(value)},
    )


def refuse_repeats(rows: Sequence[Row], source: str) -> None:
    """BadRows where the id of a row came before, in a table where every row must count once."""
    first_numbers: dict[tuple[str | None, str], int] = {}
    problems = []
    for number, row in enumerate(rows, start=1):
        if row.measurement_id is None:
            continue
        first = first_numbers.setdefault((row.dataset, row.measurement_id), number)
        if first != number:
            problems.append(
                f"row {number}, measurement_id: {row.measurement_id}: already in row {first}; keep one of the two"
            )
    if problems:
        raise BadRows(source, problems)


def with_ids(rows: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    """Each row with its id. One without gets a digest of its content and of how often that came before it, so that
    a file imported twice counts once, while the same reading found twice in one file stays two rows."""
    counts: dict[str, int] = {}
    for row in rows:
        if row.measurement_id is not None:
            yield row.measurement_id, row
            continue
        text = json.dumps(row.to_dict(), sort_keys=True, default=str)
        count = counts[text] = counts.get(text, 0) + 1
        yield "row-" + hashlib.sha256(f"{count} {text}".encode()).hexdigest()[:32], row


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


def _includes_idle(value: Any) -> bool:
    return False if is_absent(value) else parse_switch("includes_idle", value)


def _watts(name: str, value: Any) -> float | None:
    """A power above 0, or None for an empty cell."""
    watts = parse_not_negative(name, value)
    if watts == 0:
        raise RequestError(name, value, "watts above 0, or empty where it is not known")
    return watts


def _power_limit(measurement: Measurement) -> float | None:
    """The enforced limit that the environment of a measurement states, where it states a usable one."""
    limit = measurement.environment.get("power_limit_watts")
    return float(limit) if isinstance(limit, (int, float)) and limit > 0 else None


def _flags(value: Any) -> tuple[str, ...]:
    """Flags of a cell: names separated by blanks, commas or semicolons, or a list."""
    if isinstance(value, (list, tuple)):
        names = [str(name) for name in value]
    else:
        names = [name for name in re.split(r"[\s,;|]+", parse_text("flags", value)) if name]
    unknown = sorted(set(names) - FLAGS)
    if unknown:
        raise RequestError("flags", unknown[0], f"one of {', '.join(sorted(FLAGS))}")
    return tuple(names)
