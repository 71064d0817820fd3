"""When an adaptive sweep has enough, and what it is expected to measure until then.

Before a sweep begins, its rules are played through: what is chosen, in turn by worth and blindly, counts as measured
and as foreseen well, until the error that the law expects of the rest meets the target. Devices that the law suits less
well than it believes take more; the whole grid, or a budget, bounds it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from analysis.fitted import fit_once
from analysis.laws.work.law import WorkLaw
from analysis.selection import BUT_PROMPTS, MAX_CANDIDATES, WITH_PROMPTS, Candidates, Selection
from analysis.shipped import with_shipped
from analysis.table import Table
from farm.domain import Configuration
from farm.domain.row import OWN

# Kinds of configuration of each model on each GPU that are foreseen before a target counts as met: an eighth, from
# FEWEST to ENOUGH.
FEWEST, ENOUGH, PART = 3, 10, 8
MEASURED: Final = "measured"  # the origin of rows of real devices
_SAMPLE: Final = 1000  # candidates that a sweep is played with


@dataclass(frozen=True, slots=True)
class ExpectedPicks:
    """What a sweep is expected to measure: places in its grid, None where the target cannot be met or nothing tells;
    the error to expect afterwards; whether a budget ends it. ``law`` is what was asked."""

    law: WorkLaw
    picks: tuple[int, ...] | None
    expected_error_percent: float | None
    within_budget: bool


def expected_picks(
    grid: Sequence[Configuration],
    known: Table,
    *,
    target_error_percent: float,
    joules: float | None,
    seconds: float | None,
    workers: Mapping[str, int],
    simulated: bool,
) -> ExpectedPicks:
    """What is expected to be measured of a grid.

    Args:
        grid: configurations that their GPUs can take.
        known: every row of the farm.
        target_error_percent, joules, seconds: where the sweep ends.
        workers: that take jobs, by GPU type; types that are not named count as having one.
        simulated: whether the grid's GPU types are simulated devices.

    Raises:
        RequestError: rows that the law cannot be fitted to.
    """
    measured = own_rows(known, grid)
    law = fit_once("work", fitted_rows(known, origin_of(measured, simulated=simulated)))
    assert isinstance(law, WorkLaw)
    candidates = choice(law, Table.of(list(grid)), measured, most=_SAMPLE)
    if candidates is None or _least_error(candidates) > target_error_percent:
        return ExpectedPicks(law, None, None, within_budget=False)
    selection = candidates.selection(joules=joules, seconds=seconds)
    met = _until(selection, target_error_percent, checks_wanted(grid), workers)
    gone = not met and (joules is not None or seconds is not None)
    if not met and not gone:
        return ExpectedPicks(law, None, None, within_budget=False)
    picks = tuple(int(place) for place in candidates.place[selection.picks])
    return ExpectedPicks(law, picks, selection.expected_error_percent, gone)


def _until(selection: Selection, target: float, checks: int, workers: Mapping[str, int]) -> bool:
    """Pick as a sweep does, round by round; whether the target was met before nothing could be picked any more."""
    slots = {gpu: max(count, 1) for gpu, count in workers.items()}
    rounds = 0
    while selection.expected_error_percent > target or len(selection.picks) < checks:
        before = len(selection.picks)
        selection.pick(len(selection.candidates.rows), slots=slots, blindly=drawn(0, rounds))
        if len(selection.picks) == before:
            return False
        rounds += 1
    return True


def _least_error(candidates: Candidates) -> float:
    """Per cent that noise alone would leave, were everything else known: the mean absolute value of a normal one."""
    weight = candidates.weight if candidates.weight.any() else np.ones_like(candidates.weight)
    return float(100 * np.sqrt(2 / np.pi) * (weight @ np.sqrt(candidates.outlook.noise)) / weight.sum())


def drawn(sweep: int, rounds: int) -> np.random.Generator | None:
    """What draws the picks of a round; None in those that weigh them, which is every other."""
    return np.random.default_rng((sweep, rounds)) if rounds % 2 else None


def own_rows(known: Table, grid: Sequence[Configuration]) -> Table:
    """Pick the farm's own good rows of the GPU types of a grid."""
    rows = known.where(dataset=OWN, gpu=sorted({configuration.gpu for configuration in grid}))
    return rows.take(~rows.spoiled)


def origin_of(measured: Table, *, simulated: bool) -> str:
    """Tell the origin of the rows that a sweep's law is fitted to: as those are that its devices gave, or will give."""
    if len(measured):
        return str(Counter(measured.origin.tolist()).most_common(1)[0][0])
    return "simulated" if simulated else MEASURED


def fitted_rows(known: Table, origin: str) -> Table:
    """Pick the rows that a sweep's law is fitted to: of that origin, with those that ship beside measured ones."""
    rows = known.where(origin=origin)
    return with_shipped(rows) if origin == MEASURED else rows


def choice(
    law: WorkLaw,
    rows: Table,
    measured: Table,
    *,
    barred: Sequence[Configuration] = (),
    most: int = MAX_CANDIDATES,
) -> Candidates | None:
    """Make candidates of a grid's rows that are not among those measured; None where all are.

    Of rows that differ in the number of prompts alone the cheapest stands for all, until no others are left.
    """
    for columns in (BUT_PROMPTS, WITH_PROMPTS):
        candidates = Candidates.of(law, rows, measured, barred=barred, alike_by=columns, most=most)
        if candidates.free.any():
            break
    return candidates if candidates.weight.any() else None


def checks_wanted(grid: Sequence[Configuration]) -> int:
    """How many results have to have been foreseen before a target counts as met."""
    return sum(min(max(count // PART, FEWEST), ENOUGH, count) for count in _pairs(grid).values())


def _pairs(configurations: Sequence[Configuration]) -> Counter[tuple[str, str]]:
    """How many configurations there are of each model on each GPU that differ in more than the number of prompts."""
    distinct = {replace(configuration, prompts=configuration.batch) for configuration in configurations}
    return Counter((configuration.model, configuration.gpu) for configuration in distinct)
