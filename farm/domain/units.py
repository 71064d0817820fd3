"""The few conversions between the units people print and the SI units we store."""

from __future__ import annotations

from typing import Final

JOULES_PER_WH: Final = 3.6e3
JOULES_PER_KWH: Final = 3.6e6
GIGA: Final = 1e9


def kwh(joules: float) -> float:
    """Kilowatt-hours of an energy in joules."""
    return joules / JOULES_PER_KWH


def grams_co2e(joules: float, grams_per_kwh: float) -> float:
    """Grams of CO2 equivalent of an energy in joules at a grid intensity in g/kWh."""
    return kwh(joules) * grams_per_kwh
