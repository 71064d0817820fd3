"""Sweeps of whose grid only what the law needs is measured: submitted here, and added to as results come.

What is chosen is chosen by ``analysis.adaptive``, which the coordinator starts.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any, Final

from farm.actor import user_at_host
from farm.domain import Configuration, RequestError
from farm.domain.errors import FarmError
from farm.store import actions, adaptive, hosts, prompts, submission, sweeps
from farm.store.adaptive import AskedJob
from farm.store.engine import Connection, Store
from farm.store.submission import Tally, Wanted
from farm.sweeps.demand import Demand
from farm.sweeps.forecast import Expected, ExpectedSweep, expected_sweep
from farm.sweeps.prompts import read_prompts
from farm.sweeps.read import stored_spec
from farm.sweeps.spec import SweepSpec
from farm.sweeps.submit import Screen, Submission, batches, sweep_row
from farm.version import __version__

MOST: Final = 50_000  # configurations of such a sweep: all are predicted whenever results came
KEY: Final = "adaptive"  # in the stored sweep file: what else was asked for
LEAST_TARGET, MOST_TARGET = 0.1, 50.0  # per cent: below it nothing repeats, above it nothing need be measured
NEEDS: Final = ("sklearn",)


@dataclass(frozen=True, slots=True)
class Goal:
    """When such a sweep has enough: an expected error of what is not measured, or a budget that is gone."""

    target_error_percent: float
    joules: float | None = None  # above idle
    hours: float | None = None  # of the devices together, one pass of each configuration

    def __post_init__(self) -> None:
        if not LEAST_TARGET <= self.target_error_percent <= MOST_TARGET:
            remedy = f"per cent from {LEAST_TARGET:g} (repeats differ by more) to {MOST_TARGET:g}"
            raise RequestError("target-error", self.target_error_percent, remedy)

    @property
    def seconds(self) -> float | None:
        """The hours, in seconds; None where there is no such budget."""
        return None if self.hours is None else 3600 * self.hours

    def to_dict(self) -> dict[str, Any]:
        """The goal as documents state it."""
        return {"target_error_percent": self.target_error_percent, "joules": self.joules, "hours": self.hours}


def submit(store: Store, spec: SweepSpec, goal: Goal, *, priority: int = 0, dry_run: bool = False) -> Submission:
    """Ask for what the law needs of a grid, in one transaction; no job is written yet.

    Counts are of the whole grid. RequestError where the grid is empty or too large, or where sweep file and goal ask
    for what cannot be together; nothing is written then.
    """
    if any(find_spec(name) is None for name in NEEDS):
        raise RequestError("adaptive", True, "joulefarm[analysis] installed, here and where the coordinator is")
    if spec.budget_joules is not None:
        if goal.joules is not None:
            raise RequestError(
                "joules", goal.joules, f"budget_joules in the sweep ({spec.budget_joules:g}) or --joules"
            )
        spec, goal = replace(spec, budget_joules=None), replace(goal, joules=spec.budget_joules)
    if spec.replicates != 1:
        raise RequestError("replicates", spec.replicates, "1 with --adaptive: what a repeat would teach is chosen too")
    listed = read_prompts(spec.prompts_file, max(max(grid["prompts"]) for grid in (spec.axes, *spec.include)))
    screen, tally = Screen(), Tally()
    wanted = _wanted(screen, spec)
    foreseen = _foreseen(store, goal, [want.configuration for want in wanted])
    with store.read() if dry_run else store.write() as db:
        sweep_id = None
        if not dry_run:
            created_at = submission.begin(db)
            prompts.put(db, listed.sha256, listed.prompts)
            row = sweep_row(spec, priority, created_at)
            sweep_id = submission.add_sweep(db, row | {"spec": {**row["spec"], KEY: goal.to_dict()}})
            adaptive.add(
                db,
                {
                    "sweep_id": sweep_id,
                    "target_error_percent": goal.target_error_percent,
                    "budget_joules": goal.joules,
                    "budget_seconds": goal.seconds,
                    "prompts_sha256": listed.sha256,
                },
            )
        new = [want for batch in batches(iter(wanted)) for want in submission.look(db, batch, tally)[0]]
        forecast = (
            None if foreseen is None else _forecast(db, spec, goal, foreseen, [want.configuration for want in new])
        )
        if sweep_id is not None:
            counts = {"configurations": screen.configurations, "already_measured": tally.already_measured}
            submission.finish(db, sweep_id, {**counts, "infeasible": screen.infeasible()})
            actions.note(db, user_at_host(), "submit", sweep_id=sweep_id, priority=priority, **{KEY: goal.to_dict()})
    return screen.submission(spec, sweep_id, replace(tally, jobs=0), forecast)


def _wanted(screen: Screen, spec: SweepSpec) -> list[Wanted]:
    """Every configuration that fits its GPU. RequestError where there is none, or too many."""
    wanted: list[Wanted] = []
    for batch in batches(screen.feasible(spec.jobs())):
        wanted += batch
        if screen.configurations > MOST:
            raise RequestError("adaptive", f"{screen.configurations:,} configurations", f"at most {MOST:,}")
    screen.require_some(spec)
    if not wanted:
        raise RequestError("adaptive", spec.name, "a grid of which at least one configuration fits its GPU")
    return wanted


def _foreseen(store: Store, goal: Goal, grid: Sequence[Configuration]) -> ExpectedSweep | None:
    """What is expected to be measured; None without a law, or where the farm has rows that it cannot be fitted to."""
    try:
        return expected_sweep(
            store, grid, target_error_percent=goal.target_error_percent, joules=goal.joules, seconds=goal.seconds
        )
    except (FarmError, ImportError):
        return None


def _forecast(
    db: Connection, spec: SweepSpec, goal: Goal, foreseen: ExpectedSweep, new: Sequence[Configuration]
) -> dict[str, Any]:
    """What the sweep is expected to take until its target or a budget, and what it takes at most: all that is new of
    its grid, within its budgets. Where nothing tells when the target is met, the first is the second."""
    whole = Demand(foreseen.forecaster)
    whole.add_within(new, Expected(goal.seconds, goal.joules))
    budgets = {"budget_joules": goal.joules, "budget_hours": goal.hours}
    at_most = {**(whole.forecast(db, spec.deadline) or {}), **budgets}
    if foreseen.picks is None:
        return {**at_most, "until": "unknown", "expected_error_percent": None, "at_most": at_most}
    expected = Demand(foreseen.forecaster)
    fresh = frozenset(new)  # what another sweep has queued costs nothing more
    expected.add([pick for pick in foreseen.picks if pick in fresh])
    return {
        **(expected.forecast(db, spec.deadline) or {}),
        "until": "budget" if foreseen.within_budget else "target",
        "expected_error_percent": foreseen.expected_error_percent,
        "at_most": at_most,
    }


@dataclass(frozen=True, slots=True)
class Pick:
    """A configuration that was chosen, and what is foreseen of it: the logarithm of its joules, its spread, seconds."""

    configuration: Configuration
    ln_joules: float
    spread: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Sight:
    """An adaptive sweep as it is now."""

    sweep_id: int
    row: Mapping[str, Any]  # the columns of tables.AdaptiveSweep; name, spec, late
    jobs: Sequence[AskedJob]
    workers: Mapping[str, int]  # living ones that take jobs, by GPU type
    simulated: frozenset[str]  # GPU types whose workers are simulated devices

    @property
    def mark(self) -> str:
        """Tells whether anything changed since somebody looked."""
        states = Counter(str(job.state) for job in self.jobs)
        parts = [f"{name} {count}" for name, count in sorted({**states, **self.workers}.items())]
        return ", ".join([*parts, "late"] if self.row["late"] else parts)


class AdaptiveSweeps:
    """The adaptive sweeps of a store, for whoever chooses what they measure."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._grids: dict[int, list[Configuration]] = {}

    def open(self) -> bool:
        """Whether any is not at its end yet, paused ones too."""
        with self._store.read() as db:
            return bool(adaptive.open_ids(db))

    def waiting(self) -> list[Sight]:
        """Adaptive sweeps for which something may be chosen now: those that changed since they were last looked at."""
        with self._store.read() as db:
            rows = adaptive.to_choose(db)
            if not rows:
                return []
            workers = hosts.workers(db)
            at_work = Counter(w.gpu for w in workers if w.alive and not w.drain_requested)
            simulated = frozenset(w.gpu for w in workers if w.alive and w.simulated)
            sights = [
                Sight(row["sweep_id"], row, adaptive.jobs(db, row["sweep_id"]), at_work, simulated) for row in rows
            ]
        return [sight for sight in sights if sight.mark != sight.row["looked_at"]]

    def grid(self, sight: Sight) -> list[Configuration]:
        """Every configuration of the sweep that fits its GPU, in the order in which they would run."""
        if sight.sweep_id not in self._grids:
            jobs = stored_spec(sight.row["spec"]).jobs()
            self._grids[sight.sweep_id] = [want.configuration for want in Screen().feasible(jobs)]
        return self._grids[sight.sweep_id]

    def take_lease(self, sight: Sight, *, lease_seconds: float) -> int | None:
        """The right to choose for a sweep, as a token; None where another has it."""
        with self._store.write() as db:
            return adaptive.take_lease(db, sight.sweep_id, lease_seconds=lease_seconds)

    def give_up(self, sight: Sight, token: int) -> None:
        """Let another choose."""
        with self._store.write() as db:
            adaptive.give_up(db, sight.sweep_id, token)

    def queue(self, sight: Sight, token: int, picks: Sequence[Pick], error_percent: float | None) -> bool:
        """Add jobs for what was chosen, with the error that is expected of what is not measured; False, and nothing
        written, where another chose meanwhile or the sweep was paused or cancelled."""
        picks = sorted(picks, key=lambda pick: pick.configuration.pipeline)
        values: dict[str, Any] = {"expected_error_percent": error_percent}
        with self._store.write() as db:
            created_at = submission.begin(db)
            if picks:
                values["rounds"] = sight.row["rounds"] + 1
                foreseen = {pick.configuration.key: [pick.ln_joules, pick.spread] for pick in picks}
                values["foreseen"] = {**(sight.row["foreseen"] or {}), **foreseen}
            else:
                values["looked_at"] = sight.mark  # nothing to do before something changes
            if not adaptive.write(db, sight.sweep_id, token, values, ended=False):
                return False
            wanted = list(Screen().feasible((pick.configuration, 0) for pick in picks))
            new, shared = submission.look(db, wanted, Tally())
            columns = {
                "sweep_id": sight.sweep_id,
                "prompts_sha256": sight.row["prompts_sha256"],
                "code_version": __version__,
                "created_at": created_at,
            }
            expected = {p.configuration: Expected(p.seconds, math.exp(p.ln_joules)).columns() for p in picks}
            submission.add_jobs(db, new, columns, [expected[want.configuration] for want in new])
            submission.share(db, sight.sweep_id, shared)
            submission.link_new(db, sight.sweep_id)
            sweeps.rank(db, sight.sweep_id)
            return True

    def end(self, sight: Sight, token: int, reason: str, error_percent: float | None) -> bool:
        """Say that a sweep has enough, and why; False where another took over or it was paused or cancelled."""
        values = {"expected_error_percent": error_percent, "end_reason": reason, "looked_at": sight.mark}
        with self._store.write() as db:
            return adaptive.write(db, sight.sweep_id, token, values, ended=True)
