"""What energy stands for: carbon, money, a day's worth. What of a machine is counted is said beside every number."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

from analysis.carbon import Electricity, electricity
from farm.domain.errors import RequestError
from farm.domain.words import significant

MAX_IMAGES_A_DAY: Final = 10**12


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """How energy is turned into carbon and money.

    Carbon and money are of the energy with idle: a board that makes images draws its idle power all the while, and
    somebody pays for it.
    """

    country: str | None = None  # whose electricity: see analysis.carbon
    grams_per_kwh: float | None = None  # instead of a country's
    price: float | None = None  # of a kWh, in whatever currency
    pue: float = 1.0  # power usage effectiveness: what a building takes for each joule of its machines
    host_watts: float = 0.0  # what the rest of the host draws while the GPU works
    per_day: int | None = None  # images
    supply: Electricity | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        _at_least("grams-per-kwh", self.grams_per_kwh, 0.0)
        _at_least("price", self.price, 0.0)
        _at_least("pue", self.pue, 1.0)
        _at_least("host-watts", self.host_watts, 0.0)
        if self.per_day is not None and not 1 <= self.per_day <= MAX_IMAGES_A_DAY:
            raise RequestError("per-day", self.per_day, f"a whole number of images from 1 to {MAX_IMAGES_A_DAY:g}")
        if self.country is None:
            return
        if self.grams_per_kwh is not None:
            raise RequestError("country", self.country, "alone, or --grams-per-kwh alone: both say the same")
        object.__setattr__(self, "supply", electricity(self.country))

    @property
    def intensity(self) -> float | None:
        """Grams of CO2 equivalent a kWh; None where nobody gave any."""
        return self.supply.grams_per_kwh if self.supply is not None else self.grams_per_kwh

    def carbon_source(self) -> str | None:
        """Where the grams come from, in words."""
        if self.supply is None:
            return None if self.grams_per_kwh is None else f"{self.grams_per_kwh:g} g/kWh, as given"
        year = f", {self.supply.year}" if self.supply.year else ""
        return f"{self.supply.grams_per_kwh:g} g/kWh of {self.supply.name}{year} ({self.supply.source})"

    def counted(self, idle_watts: float) -> str:
        """What is in the energy with idle, and in grams and cost, in words.

        >>> Terms(host_watts=120).counted(idle_watts=55)
        'GPU above idle, its idle power of 55 W, 120 W of the rest of the host'
        >>> Terms().counted(idle_watts=19.9819)
        'GPU above idle, its idle power of 20 W; not the rest of the host'
        """
        parts = ["GPU above idle", f"its idle power of {significant(idle_watts)} W"]
        parts += [f"{self.host_watts:g} W of the rest of the host"] if self.host_watts else []
        building = f"; grams and cost times a PUE of {self.pue:g}" if self.pue != 1 else ""
        host = "" if self.host_watts else "; not the rest of the host"
        return ", ".join(parts) + host + building


def _at_least(name: str, value: float | None, least: float) -> None:
    if value is not None and not (math.isfinite(value) and value >= least):
        raise RequestError(name, value, f"a finite number of at least {least:g}")
