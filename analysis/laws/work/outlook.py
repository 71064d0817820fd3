"""What the law ``work`` works out for rows to predict, and what it hands to those who plan measurements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.laws.work.effects import Sets
from analysis.laws.work.physics import Response
from analysis.table import Floats, Integers

if TYPE_CHECKING:
    from analysis.laws.base import Forecast


@dataclass(frozen=True, slots=True)
class Outlook:
    """Of n rows: their forecast, the covariance (n, n) of the errors that ln E may have and the variance (n,) of one
    run beside it; the degrees of freedom (n,) of the t that they follow, and how many rows of its model are known
    (n,)."""

    forecast: Forecast
    covariance: Floats
    noise: Floats
    degrees: Floats
    rows_of_model: Floats


@dataclass(frozen=True, slots=True)
class WorkedOut:
    """Of n rows: their sets of groups and the set of each; the place of each one's shape among the fitted ones (-1: a
    new one); the models and each row's; the physics of its coefficients; the derivatives ``local`` (n, 11) of ln E by
    the numbers of LOCAL; joules and seconds (n,); the idle watts above which the joules are, (n,)."""

    sets: Sets
    set_of_row: Integers
    shape: Integers
    models: tuple[str, ...]
    model: Integers
    response: Response
    local: Floats
    joules: Floats
    seconds: Floats
    idle_watts: Floats
