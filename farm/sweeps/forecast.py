"""What jobs will take, by the law: worked out once, when they are submitted, and kept with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from farm.catalog import NANO
from farm.domain import Configuration
from farm.domain.errors import FarmError
from farm.domain.row import LIMITS
from farm.fits import Fits
from farm.hosts import Hosts
from farm.results import Results
from farm.store import hosts
from farm.store.engine import Store

if TYPE_CHECKING:
    from analysis.laws.base import Law


@dataclass(frozen=True, slots=True)
class Expected:
    """Seconds and joules above idle of one pass over a configuration's prompts; None where nothing tells."""

    seconds: float | None = None
    joules: float | None = None

    def columns(self) -> dict[str, float | None]:
        """The columns in which a job's row keeps it."""
        return {"forecast_seconds": self.seconds, "forecast_joules": self.joules}


UNKNOWN = Expected()


class Forecaster:
    """Asks the law. Without the extra [analysis], or for a model whose work was never counted, nothing is known.

    ``limits``: of power and clock, by GPU type, where the farm's own boards have others than the catalog's.
    """

    def __init__(
        self, law: Law | None, source: str | None, limits: Mapping[str, Mapping[str, float]] | None = None
    ) -> None:
        self._law = law
        self.source = source  # what the numbers rest on, in words
        self._limits = limits or {}
        self._known: dict[tuple[str, str], bool] = {}  # by model and size

    @classmethod
    def of(cls, store: Store) -> Self:
        """The law as the farm's newest fit of measured rows has it, else as specifications alone do.

        A fit made now, of all rows, would take seconds and say little more of hours.
        """
        try:
            from analysis import laws
            from analysis.laws.base import Law
        except ImportError:
            return cls(None, None)
        limits = Hosts(store).limits()
        fit = Fits(store).newest(laws.DEFAULT, str(laws.get(laws.DEFAULT).version))
        if fit is not None:
            return cls(Law.from_document(fit["document"]), f"fit {fit['id']}", limits)
        from analysis.shipped import shipped_rows

        return cls(laws.get(laws.DEFAULT)().fit(shipped_rows().take(slice(0, 0))), "specifications", limits)

    def expect(self, configurations: Sequence[Configuration]) -> list[Expected]:
        """What each of these configurations takes, in their order."""
        answers = [UNKNOWN] * len(configurations)
        if self._law is None:
            return answers
        places = [place for place, configuration in enumerate(configurations) if self._has_work(configuration)]
        for place, answer in zip(places, self._ask([configurations[place] for place in places]), strict=True):
            answers[place] = answer
        return answers

    def _ask(self, configurations: Sequence[Configuration]) -> list[Expected]:
        if not configurations or self._law is None:
            return []
        from analysis.table import Table

        table = Table.of(list(configurations))
        if self._limits:
            of_rows = [self._limits.get(configuration.gpu, {}) for configuration in configurations]
            stated = {name: [limits.get(name) for limits in of_rows] for name in LIMITS}
            table = Table.from_columns({**table.to_columns(), **stated})
        try:
            forecast = self._law.forecast(table)
        except FarmError:  # a form of model that this law does not know
            return [UNKNOWN] * len(configurations)
        joules: list[float] = forecast.joules.tolist()
        seconds: list[Any] = [None] * len(joules) if forecast.seconds is None else forecast.seconds.tolist()
        return [Expected(time, energy) for time, energy in zip(seconds, joules, strict=True)]

    def knows(self, configurations: Sequence[Configuration]) -> bool:
        """Whether it can tell of all of them."""
        return self._law is not None and all(map(self._has_work, configurations))

    def _has_work(self, configuration: Configuration) -> bool:
        """Whether the model's work is known already: counting it takes torch, and minutes."""
        build = (configuration.model, configuration.size)
        if build not in self._known:
            from analysis.work.load import is_known

            self._known[build] = is_known(configuration.model + (NANO if configuration.size == "nano" else ""))
        return self._known[build]


@dataclass(frozen=True, slots=True)
class ExpectedSweep:
    """What an adaptive sweep is expected to measure before anything is: None where its target cannot be met, or nothing
    tells; the error to expect afterwards; whether a budget ends it first. ``forecaster`` says what each will take."""

    forecaster: Forecaster
    picks: Sequence[Configuration] | None
    expected_error_percent: float | None
    within_budget: bool


def expected_sweep(
    store: Store,
    grid: Sequence[Configuration],
    *,
    target_error_percent: float,
    joules: float | None,
    seconds: float | None,
) -> ExpectedSweep:
    """What is expected of an adaptive sweep of these configurations, by the law that will choose.

    ImportError without the extra [analysis]; RequestError where the farm's rows cannot be fitted.
    """
    from analysis import stopping
    from analysis.table import Table

    general = Forecaster.of(store)
    if not general.knows(grid):
        return ExpectedSweep(general, None, None, False)
    with store.read() as db:
        workers = [worker for worker in hosts.workers(db) if worker.alive]
    chosen = stopping.expected_picks(
        grid,
        Table.from_rows(Results(store).rows()),
        target_error_percent=target_error_percent,
        joules=joules,
        seconds=seconds,
        workers=Counter(worker.gpu for worker in workers if not worker.drain_requested),
        simulated=any(worker.simulated for worker in workers),
    )
    picks = None if chosen.picks is None else [grid[place] for place in chosen.picks]
    source = f"{chosen.law.n_} {chosen.law.scope['origin']} rows" if chosen.law.n_ else "specifications"
    forecaster = Forecaster(chosen.law, source, Hosts(store).limits())
    return ExpectedSweep(forecaster, picks, chosen.expected_error_percent, chosen.within_budget)
