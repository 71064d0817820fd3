"""What adaptive sweeps measure next: the coordinator starts this where one is open, and it ends when none is.

Whenever a result came, the law is fitted to what is known, and of the grid as many configurations are queued as workers
are free: in turn those of :mod:`analysis.selection`, what is at work already counting as measured, and some drawn
blindly.

What was foreseen of a configuration when it was chosen is kept. The root mean square of what then was found, in spreads
that were foreseen, of the last CHECKS results for each model on each GPU (and PRIOR_CHECKS as expected), is the factor
on the error that the law expects of the rest: a law whose form does not suit the devices believes in itself too early,
and its own rows tell it late. Dawid, Statistical theory: the prequential approach, JRSS A 147 (1984).

A sweep ends when that error meets its target and enough was foreseen, when its budget allows no further configuration,
or when nothing is left. All state is in SQL, a lease decides who chooses, and jobs and what is expected are written
together: whoever dies in between has changed nothing, and two that choose at once queue nothing twice.
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np

from analysis.laws.work.law import WorkLaw
from analysis.selection import Candidates, Selection
from analysis.stopping import checks_wanted, choice, drawn, fitted_rows, origin_of, own_rows
from analysis.table import Floats, Table
from farm.database import Store, opened
from farm.domain import Configuration, JobState, RequestError
from farm.results import Results
from farm.settings import Settings
from farm.sweeps.adaptive import AdaptiveSweeps, Pick, Sight

logger = logging.getLogger(__name__)

CHECKS: Final = 8  # last results for each model on each GPU that its calibration rests on
PRIOR_CHECKS: Final = 3.0  # results as expected that stand beside them
LEASE_SECONDS: Final = 120.0  # whoever takes longer to choose may be taken over
POLL_SECONDS: Final = 0.25


def choose_while_open(settings: Settings) -> None:
    """Choose for every adaptive sweep until all are at their end or cancelled."""
    with opened(settings=settings, create=False) as store:
        chooser = Chooser(store)
        while chooser.sweeps.open():
            chooser.round()
            time.sleep(POLL_SECONDS)


class Chooser:
    """Chooses for the adaptive sweeps of a store."""

    def __init__(self, store: Store, *, lease_seconds: float = LEASE_SECONDS) -> None:
        self.sweeps = AdaptiveSweeps(store)
        self._results = Results(store)
        self._lease_seconds = lease_seconds
        self._laws: dict[int, WorkLaw] = {}  # of each sweep the last fit, where the next begins

    def round(self) -> int:
        """Choose once for each sweep of which something changed; how many."""
        done = 0
        for sight in self.sweeps.waiting():
            token = self.sweeps.take_lease(sight, lease_seconds=self._lease_seconds)
            if token is None:
                continue
            try:
                self._choose(sight, token)
            except RequestError as refusal:  # as of rows that no law can be fitted to: until something changes
                logger.warning("sweep %s: nothing is chosen: %s", sight.sweep_id, refusal)
                self.sweeps.queue(sight, token, (), sight.row["expected_error_percent"])
            except BaseException:
                self.sweeps.give_up(sight, token)
                raise
            done += 1
        return done

    def _choose(self, sight: Sight, token: int) -> None:
        row, at_work = sight.row, _at_work(sight)
        candidates = self._candidates(sight)
        if candidates is None:
            reason = "grid exhausted: every configuration is measured"
            self._end_or_wait(sight, token, reason, row["expected_error_percent"])
            return
        error = candidates.selection().expected_error_percent * _calibration(sight)
        target = row["target_error_percent"]
        if row["late"]:
            self._end_or_wait(sight, token, "the sweep's deadline has passed", error)
            return
        if error <= target and len(_deviations(sight)) >= checks_wanted(self.sweeps.grid(sight)):
            reason = f"target met: {error:.3g}% expected, {target:g}% asked for"
            self._end_or_wait(sight, token, reason, error)
            return
        selection = _selection(sight, candidates, at_work)
        blindly = drawn(sight.sweep_id, row["rounds"])
        selection.pick(len(candidates.rows), slots=_slots(sight, candidates, at_work), blindly=blindly)
        if selection.picks or at_work:
            self.sweeps.queue(sight, token, self._picks(sight, candidates, selection.picks), error)
        elif candidates.free.any():
            self._end_or_wait(sight, token, f"budget gone: {_spent(sight)}", error)
        else:
            self._end_or_wait(sight, token, "grid exhausted: what is not measured could not be", error)

    def _picks(self, sight: Sight, candidates: Candidates, places: list[int]) -> list[Pick]:
        grid, outlook = self.sweeps.grid(sight), candidates.outlook
        spread = np.sqrt(np.diag(outlook.covariance) + outlook.noise)
        return [
            Pick(
                grid[candidates.place[place]],
                ln_joules=float(np.log(candidates.joules[place])),
                spread=float(spread[place]),
                seconds=float(candidates.seconds[place]),
            )
            for place in places
        ]

    def _end_or_wait(self, sight: Sight, token: int, reason: str, error: float | None) -> None:
        """End the sweep, once what is queued or at work is done."""
        if _at_work(sight):
            self.sweeps.queue(sight, token, (), error)
        elif self.sweeps.end(sight, token, reason, error):
            logger.info("sweep %s: %s", sight.sweep_id, reason)

    def _candidates(self, sight: Sight) -> Candidates | None:
        """What is not measured of the grid, as a law fitted to what is known sees it; None where all is measured.

        Configurations that differ in the number of prompts alone teach the same: of those one is enough, until no
        others are left.
        """
        grid = self.sweeps.grid(sight)
        table = Table.from_rows(self._results.rows())
        measured = own_rows(table, grid)
        law = self._fitted(sight, fitted_rows(table, origin_of(measured, simulated=bool(sight.simulated))))
        barred = [job.configuration for job in sight.jobs if job.state in _OVER and (job.spoiled is not False)]
        return choice(law, Table.of(grid), measured, barred=barred)

    def _fitted(self, sight: Sight, rows: Table) -> WorkLaw:
        before = self._laws.get(sight.sweep_id)
        self._laws[sight.sweep_id] = WorkLaw().fit(rows) if before is None else before.updated(rows)
        return self._laws[sight.sweep_id]


_OVER: Final = (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


def _deviations(sight: Sight) -> list[float]:
    """How far each result was from what was foreseen, in spreads that were foreseen, the earliest job first."""
    foreseen = sight.row["foreseen"] or {}
    deviations = []
    for job in sight.jobs:
        if job.spoiled is False and job.energy_joules and job.configuration.key in foreseen:
            ln_joules, spread = foreseen[job.configuration.key]
            deviations.append((math.log(job.energy_joules) - ln_joules) / spread)
    return deviations


def _calibration(sight: Sight) -> float:
    """The factor on the spreads that the law foresees, by what was found."""
    pairs = len({(job.configuration.model, job.configuration.gpu) for job in sight.jobs})
    last = _deviations(sight)[-CHECKS * pairs :] if pairs else []
    return math.sqrt((PRIOR_CHECKS + sum(z**2 for z in last)) / (PRIOR_CHECKS + len(last)))


def _at_work(sight: Sight) -> list[Configuration]:
    """What is queued or runs."""
    return [job.configuration for job in sight.jobs if job.state not in _OVER]


def _selection(sight: Sight, candidates: Candidates, at_work: Sequence[Configuration]) -> Selection:
    """With what is at work taken as measured, and what the budget leaves."""
    places = candidates.places(Table.of(list(at_work))) if at_work else np.zeros(0, dtype=np.int64)

    def remaining(budget: float | None, spent: float, expected: Floats) -> float | None:
        return None if budget is None else budget - spent - float(expected[places].sum())

    selection = candidates.selection(
        joules=remaining(sight.row["budget_joules"], _joules(sight), candidates.joules),
        seconds=remaining(sight.row["budget_seconds"], _seconds(sight), candidates.seconds),
    )
    selection.assume(places)
    return selection


def _slots(sight: Sight, candidates: Candidates, at_work: Sequence[Configuration]) -> dict[str, int]:
    """How many more of each GPU type are to be queued: one for each worker, one where no worker is there yet."""
    busy = Counter(configuration.gpu for configuration in at_work)
    return {gpu: max(sight.workers.get(gpu, 1), 1) - busy[gpu] for gpu in candidates.rows.names("gpu")}


def _joules(sight: Sight) -> float:
    """What was spent: as measured, and as foreseen where a result does not know its energy."""
    foreseen = sight.row["foreseen"] or {}
    joules = [job.energy_joules for job in sight.jobs if job.energy_joules is not None]
    for job in sight.jobs:
        if job.state is JobState.DONE and job.energy_joules is None and job.configuration.key in foreseen:
            joules.append(math.exp(foreseen[job.configuration.key][0]))
    return sum(joules)


def _seconds(sight: Sight) -> float:
    return sum(job.duration_seconds or 0.0 for job in sight.jobs)


def _spent(sight: Sight) -> str:
    """What is used up of each budget, in words."""
    parts = []
    if (joules := sight.row["budget_joules"]) is not None:
        parts.append(f"{_joules(sight):.4g} of {joules:.4g} J")
    if (seconds := sight.row["budget_seconds"]) is not None:
        parts.append(f"{_seconds(sight) / 3600:.3g} of {seconds / 3600:.3g} h")
    return f"{', '.join(parts)}; the next configuration would take more than is left"
