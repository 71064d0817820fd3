"""One row of the table of measurements that people exchange: its columns, and how texts or numbers become a value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any, Final, Self

from farm.domain.configuration import DEFAULTS, WHOLE, Configuration
from farm.domain.errors import RequestError
from farm.domain.measurement import FLAGS, SPOILING_FLAGS, Measurement, origin
from farm.domain.parsing import (
    MAX_WATTS,
    is_absent,
    is_empty,
    parse_not_negative,
    parse_positive_joules,
    parse_switch,
    parse_text,
)
from farm.domain.units import JOULES_PER_KWH, JOULES_PER_WH

OWN: Final = "farm"  # the data set of the farm's own measurements; nobody else's may be called so
OWN_METER: Final = "nvml"  # of workers.meters; it takes the idle power of a CUDA context off

REQUIRED: Final = ("model", "gpu", "steps", "precision", "cfg", "prompts", "energy_joules")
OPTIONAL: Final = (
    *DEFAULTS, "dataset", "measurement_id", "idle_watts", "duration_seconds", "energy_std_joules", "meter", "flags",
    "device_name", "measured_at", "includes_idle", "power_limit_watts", "clock_limit_mhz",
)  # fmt: skip
# The order in which `farm results export` writes them. `resolution` is the side of a square, empty for others.
COLUMNS: Final = (
    "model", "gpu", "resolution", "width", "height", "steps", "precision", "cfg", "prompts", "energy_joules",
    *OPTIONAL,
)  # fmt: skip
# Columns that may hold the energy, the first that a table has; all in joules once read.
ENERGIES: Final[Mapping[str, float]] = {
    "energy_joules": 1.0, "energy_wh": JOULES_PER_WH, "energy_kwh": JOULES_PER_KWH,
}  # fmt: skip
REAL: Final = (
    "energy_joules", "energy_std_joules", "duration_seconds", "idle_watts", "power_limit_watts", "clock_limit_mhz",
)  # fmt: skip
LIMITS: Final[Mapping[str, str]] = {"power_limit_watts": "watts", "clock_limit_mhz": "megahertz"}  # and their units
NUMBERS: Final = frozenset({*ENERGIES, "resolution", *WHOLE, *REAL})
_TOLERANCE: Final = 0.01  # between the energies of two columns, which people round


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One measured row. Energies are in joules, of all prompts together, idle subtracted unless ``includes_idle``."""

    configuration: Configuration  # model and gpu may be names that the catalog does not have
    energy_joules: float | None  # None in rows that a flag spoils, of seconds alone, and where it is not asked for
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
    clock_limit_mhz: float | None = None  # that the multiprocessors were allowed at most, not what they ran at
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
            power_limit_watts=_limit(measurement, "power_limit_watts"),
            clock_limit_mhz=_limit(measurement, "clock_limit_mhz"),
        )

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote, in this version or an earlier one, but with the extra columns in ``extra``.

        It was checked before it was written: nothing is converted."""
        values = {name: document[name] for name in _PLAIN if document.get(name) is not None}
        return cls(
            configuration=Configuration.from_document(document),
            energy_joules=document["energy_joules"],
            flags=tuple(document.get("flags", "").split()),
            includes_idle=bool(document.get("includes_idle")),
            extra=document["extra"],
            **values,
        )

    @property
    def spoiled(self) -> bool:
        """Kept, but left out of fits: flagged, or neither energy nor seconds are known."""
        unknown = self.energy_joules is None and not self.duration_seconds
        return unknown or not SPOILING_FLAGS.isdisjoint(self.flags)

    @property
    def origin(self) -> str:
        """``measured``, ``estimated`` or ``simulated``."""
        return origin(self.flags)

    def to_dict(self) -> dict[str, Any]:
        """The row as a mapping of every column of COLUMNS, then of the extra ones, to its value."""
        c = self.configuration
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("configuration", "extra")}
        known = {
            **c.to_dict(),
            "resolution": c.width if c.width == c.height else None,
            "cfg": int(c.cfg),
            **values,
            "flags": " ".join(self.flags),
            "includes_idle": int(self.includes_idle),
        }
        return {**{name: known[name] for name in COLUMNS}, **self.extra}


_PLAIN: Final = tuple(
    f.name for f in fields(Row) if f.name not in ("configuration", "energy_joules", "flags", "includes_idle", "extra")
)


def parse_row(values: Mapping[str, Any], *, energy_required: bool = True) -> Row:
    """Read one row from a mapping of columns to values. RequestError naming the column."""
    flags = _flags(values.get("flags"))
    energy = _energy(values) if energy_required else None
    seconds = parse_not_negative("duration_seconds", values.get("duration_seconds"))
    if energy_required and energy is None and not seconds and SPOILING_FLAGS.isdisjoint(flags):
        name = next((name for name in ENERGIES if name in values), "energy_joules")
        remedy = "a number above 0, or empty beside duration_seconds above 0 (leave the row out where neither is known)"
        raise RequestError(name, values.get(name), remedy)
    for name in ("model", "gpu"):
        parse_text(name, values.get(name))
    includes_idle = _includes_idle(values.get("includes_idle"))
    if includes_idle and energy is not None and not seconds:
        raise RequestError("duration_seconds", values.get("duration_seconds"), "seconds above 0, as includes_idle is 1")
    return Row(
        configuration=Configuration.from_mapping(values),
        energy_joules=energy,
        energy_std_joules=parse_not_negative("energy_std_joules", values.get("energy_std_joules")),
        duration_seconds=seconds,
        idle_watts=parse_idle_watts(values.get("idle_watts")),
        meter=parse_text("meter", values.get("meter")),
        flags=flags,
        dataset=parse_text("dataset", values.get("dataset")) or None,
        measurement_id=parse_text("measurement_id", values.get("measurement_id")) or None,
        device_name=parse_text("device_name", values.get("device_name")),
        measured_at=parse_text("measured_at", values.get("measured_at")),
        includes_idle=includes_idle,
        power_limit_watts=parse_limit("power_limit_watts", values.get("power_limit_watts")),
        clock_limit_mhz=parse_limit("clock_limit_mhz", values.get("clock_limit_mhz")),
        extra={name: value for name, value in values.items() if not is_column(name) and not is_empty(value)},
    )


def parse_idle_watts(value: Any) -> float | None:
    """Read an idle power in watts; None for an empty cell. RequestError for more than a board can draw."""
    number = parse_not_negative("idle_watts", value)
    if number is not None and number > MAX_WATTS:
        raise RequestError("idle_watts", value, f"what a board can draw idle, up to {MAX_WATTS:g} W")
    return number


def parse_limit(name: str, value: Any) -> float | None:
    """Read one of LIMITS, a number above 0; None for an empty cell."""
    number = parse_not_negative(name, value)
    if number == 0:
        raise RequestError(name, value, f"{LIMITS[name]} above 0, or empty where it is not known")
    return number


def column_name(text: Any) -> str:
    """The column that a header names, whatever its case and blanks: ``Energy Joules``; others as they are written."""
    name = str(text).strip()
    folded = re.sub(r"[\s_-]+", "_", name.lower())
    return folded if folded in COLUMNS or folded in ENERGIES else name


@lru_cache(1024)  # asked of every cell, of few headers
def is_column(text: Any) -> bool:
    """Whether a header names a column that a table of measurements has."""
    name = column_name(text)
    return name in COLUMNS or name in ENERGIES


def _energy(values: Mapping[str, Any]) -> float | None:
    """Joules by whichever column states them, None where none does. RequestError where two columns disagree."""
    stated_joules: dict[str, float] = {}
    for name, joules in ENERGIES.items():
        energy = parse_positive_joules(name, values.get(name), joules)
        if energy is not None:
            stated_joules[name] = energy
    for name, energy in list(stated_joules.items())[1:]:
        first, stated = next(iter(stated_joules.items()))
        if abs(energy - stated) > _TOLERANCE * stated:
            raise RequestError(name, values[name], f"that of {first} ({values[first]}), or only one of the two columns")
    return next(iter(stated_joules.values()), None)


def _includes_idle(value: Any) -> bool:
    return False if is_absent(value) else parse_switch("includes_idle", value)


def _limit(measurement: Measurement, name: str) -> float | None:
    """An enforced limit that the environment of a measurement states, where it states a usable one."""
    limit = measurement.environment.get(name)
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
