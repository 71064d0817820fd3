"""Numbers as people read them: three digits, SI prefixes, "unknown" for what is not known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from math import floor, isfinite, log10
from typing import Final

from farm.domain.configuration import Configuration
from farm.domain.units import JOULES_PER_WH

UNKNOWN: Final = "unknown"
MINUTE: Final = 60
HOUR: Final = 3600
DAY: Final = 86400
_PREFIXES: Final = (("G", 1e9), ("M", 1e6), ("k", 1e3), ("", 1.0), ("m", 1e-3), ("µ", 1e-6))


def with_prefix(value: float, unit: str, digits: int = 3) -> str:
    """A quantity for people: so many significant digits and an SI prefix, as "3.37 kJ"; "0 J" for nothing."""
    if value == 0:
        return f"0 {unit}"
    size = float(f"{abs(value):.{digits - 1}e}")  # rounded first: 999.9 J is 1 kJ
    prefix, factor = next(((p, f) for p, f in _PREFIXES if size >= f), _PREFIXES[-1])
    return f"{significant(value / factor, digits)} {prefix}{unit}"


def significant(value: float, digits: int = 3) -> str:
    """Write a number with so many significant digits, never with an exponent, less zeros at the end."""
    if value == 0 or not isfinite(value):
        return f"{value:g}"
    decimals = digits - 1 - floor(log10(abs(float(f"{value:.{digits - 1}e}"))))
    text = f"{round(value, decimals):.{max(0, decimals)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def joules(value: float | None) -> str:
    """Write an energy in joules: ``412 J``, ``3.37 kJ``."""
    return UNKNOWN if value is None else with_prefix(value, "J")


def watt_hours(value: float | None) -> str:
    """Write an energy in joules as watt-hours: ``940 mWh``."""
    return UNKNOWN if value is None else with_prefix(value / JOULES_PER_WH, "Wh")


def joules_text(joules: float) -> str:
    """Joules with watt-hours beside them: "3.37 kJ (936 mWh)"."""
    return f"{with_prefix(joules, 'J')} ({with_prefix(joules / JOULES_PER_WH, 'Wh')})"


def watts(value: float | None) -> str:
    """Write a power in watts: ``61.2 W``."""
    return UNKNOWN if value is None else with_prefix(value, "W")


def grams(value: float | None) -> str:
    """Write grams of CO2 equivalent: ``1.2 kg``, ``310 mg``."""
    return UNKNOWN if value is None else with_prefix(value, "g")


def amount(value: float | None) -> str:
    """Write an amount of money, in whatever currency its price was in."""
    return UNKNOWN if value is None else significant(value)


def percent(value: float | None) -> str:
    """Write a number that is per cent already: ``4.9%``."""
    return UNKNOWN if value is None else f"{significant(value, 2)}%"


def count(value: int | None) -> str:
    """Write a count with its thousands apart: ``20,000``."""
    return UNKNOWN if value is None else f"{value:,}"


def seconds(value: float | None) -> str:
    """Write a duration in seconds: ``0.41 s``, ``3 min 20 s``, ``2 h 10 min``, ``3 d 4 h``."""
    if value is None:
        return UNKNOWN
    if value < MINUTE:
        return f"{significant(value)} s" if value >= 0.01 or value == 0 else with_prefix(value, "s")
    if value < HOUR:
        return _two(round(value), MINUTE, "min", 1, "s")
    if value < DAY:
        return _two(value, HOUR, "h", MINUTE, "min")
    return _two(value, DAY, "d", HOUR, "h")


def ago(value: float | None) -> str:
    """Write for how many seconds something has been so: ``4 min``."""
    return UNKNOWN if value is None else seconds(float(round(value)) if value < MINUTE else value)


def most(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """The five most frequent names with their counts."""
    return Counter(counts).most_common(5)


def moment(value: float | str | None) -> str:
    """Write a time, given as seconds since 1970 or in ISO 8601: ``2026-11-27 07:03 UTC``."""
    if not value:
        return UNKNOWN
    try:
        when = datetime.fromtimestamp(value, UTC) if isinstance(value, (int, float)) else datetime.fromisoformat(value)
    except (ValueError, OverflowError, OSError):  # of a table that somebody imported
        return str(value)
    when = when.astimezone(UTC) if when.tzinfo else when
    return f"{when:%Y-%m-%d %H:%M}{' UTC' if when.tzinfo else ''}"


def label(c: Configuration) -> str:
    """Write a configuration without its GPU: ``flux, 1024 × 1024, 28 steps, bf16, CFG, 10 images``."""
    parts = [c.model, f"{c.width} × {c.height}", f"{c.steps} {'step' if c.steps == 1 else 'steps'}", c.precision]
    parts += ["CFG"] if c.cfg else []
    parts += [f"{c.frames} frames"] if c.frames > 1 else []
    parts.append(f"{c.prompts:,} {'image' if c.prompts == 1 else 'images'}")
    parts += [f"{c.batch} at once"] if c.batch > 1 else []
    parts += [c.size] if c.size != "full" else []
    parts += [f"{c.weights} weights"] if c.weights != "random" else []
    return ", ".join(parts)


def interval(low: float | None, high: float | None, level: float, unit: Callable[[float | None], str] = joules) -> str:
    """Write an interval and its level (0 to 1): ``2.55 kJ to 4.46 kJ (90%)``."""
    if low is None or high is None:
        return "interval unknown"
    return f"{unit(low)} to {unit(high)} ({level:.0%})"


def _two(value: float, large: int, large_name: str, small: int, small_name: str) -> str:
    parts = round(value / small)
    whole, rest = divmod(parts, large // small)
    return f"{whole} {large_name}" + (f" {rest} {small_name}" if rest else "")
