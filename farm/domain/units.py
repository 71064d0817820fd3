"""The few conversions between the units people print and the SI units we store."""

from __future__ import annotations

from math import floor, isfinite, log10
from typing import Final

JOULES_PER_WH: Final = 3.6e3
JOULES_PER_KWH: Final = 3.6e6
GIGA: Final = 1e9
WATT_HOUR: Final = 3600.0  # joules


def kwh(joules: float) -> float:
    """Kilowatt-hours of an energy in joules."""
    return joules / JOULES_PER_KWH


def grams_co2e(joules: float, grams_per_kwh: float) -> float:
    """Grams of CO2 equivalent of an energy in joules at a grid intensity in g/kWh."""
    return kwh(joules) * grams_per_kwh


_PREFIXES: Final = (("G", 1e9), ("M", 1e6), ("k", 1e3), ("", 1.0), ("m", 1e-3), ("µ", 1e-6))


def with_prefix(value: float, unit: str) -> str:
    """A quantity for people: three significant digits and an SI prefix, as "3.37 kJ"; "0 J" for nothing."""
    if value == 0:
        return f"0 {unit}"
    size = float(f"{abs(value):.2e}")  # rounded first: 999.9 J is 1 kJ
    prefix, factor = next(((p, f) for p, f in _PREFIXES if size >= f), _PREFIXES[-1])
    return f"{significant(value / factor)} {prefix}{unit}"


def significant(value: float, digits: int = 3) -> str:
    """So many significant digits, never with an exponent; trailing zeros after the point are dropped."""
    if value == 0 or not isfinite(value):
        return f"{value:g}"
    decimals = digits - 1 - floor(log10(abs(float(f"{value:.{digits - 1}e}"))))
    text = f"{round(value, decimals):.{max(0, decimals)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def duration(seconds: float) -> str:
    """A time for people: "1h05m", "3m20s"."""
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{left:02d}s"


def joules_text(joules: float) -> str:
    """Joules with watt-hours beside them: "3.37 kJ (936 mWh)"."""
    return f"{with_prefix(joules, 'J')} ({with_prefix(joules / 3600, 'Wh')})"
