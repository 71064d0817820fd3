"""Submits a sweep: what is neither measured nor queued nor infeasible becomes jobs, in one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Final

from farm import catalog
from farm.actor import user_at_host
from farm.catalog import memory
from farm.domain import Configuration, RequestError
from farm.store import actions, prompts, submission, sweeps
from farm.store.engine import Store
from farm.store.submission import Tally, Wanted
from farm.sweeps import stamps
from farm.sweeps.demand import Demand
from farm.sweeps.forecast import Forecaster
from farm.sweeps.prompts import read_prompts
from farm.sweeps.spec import SweepSpec
from farm.version import __version__

BATCH: Final = 2000  # jobs that are looked up and written at once; what a submission holds in memory


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """What became of a sweep. Counts are of configurations, less ``jobs``, which counts replicates too."""

    sweep: int | None  # None: a dry run
    name: str
    configurations: int
    new: int
    already_measured: int
    already_queued: int
    failed_before: int
    infeasible: tuple[dict[str, Any], ...]
    jobs: int
    forecast: dict[str, Any] | None  # of the jobs that it adds; None where no law is installed

    def to_dict(self) -> dict[str, Any]:
        """The submission as `farm sweep submit --json` prints it."""
        return {**asdict(self), "infeasible": list(self.infeasible)}


def submit(store: Store, spec: SweepSpec, *, priority: int = 0, dry_run: bool = False) -> Submission:
    """Queue what is neither measured nor queued nor infeasible, in one transaction. Done when SQL has it.

    Where nothing is left to be done and the same was asked before, the answer is about that sweep; none is added.
    Raises RequestError where the sweep is empty or its prompts cannot be read; nothing is written then.
    """
    listed = read_prompts(spec.prompts_file, max(max(grid["prompts"]) for grid in (spec.axes, *spec.include)))
    screen = Screen()
    tally = Tally()
    demand = Demand(Forecaster.of(store))
    wants = False  # any job at all
    with store.read() if dry_run else store.write() as db:
        sweep_id = None
        shared_columns: dict[str, Any] = {}
        if not dry_run:
            created_at = submission.begin(db)
            prompts.put(db, listed.sha256, listed.prompts)
            sweep_id = submission.add_sweep(db, sweep_row(spec, priority, created_at))
            shared_columns = {
                "sweep_id": sweep_id,
                "rank": -priority,
                "prompts_sha256": listed.sha256,
                "code_version": __version__,
                "created_at": created_at,
            }
        for batch in batches(screen.feasible(spec.jobs())):
            new, shared = submission.look(db, batch, tally)
            wants |= bool(new or shared)
            forecasts = demand.add([want.configuration for want in new])
            if sweep_id is not None:
                submission.add_jobs(db, new, shared_columns, [expected.columns() for expected in forecasts])
                submission.share(db, sweep_id, shared)
        screen.require_some(spec)
        forecast = demand.forecast(db, spec.deadline)
        if sweep_id is not None:
            submission.link_new(db, sweep_id)
            stamps.renew(db, sweep_id)  # jobs that it shares with earlier sweeps, submitted with other entries
            counts = {"configurations": screen.configurations, "already_measured": tally.already_measured}
            submission.finish(db, sweep_id, {**counts, "infeasible": screen.infeasible()})
            if wants:
                sweeps.rank(db, sweep_id)  # jobs that it shares
            else:
                sweep_id = submission.fold(db, sweep_id)
            actions.note(db, user_at_host(), "submit", sweep_id=sweep_id, jobs=tally.jobs, priority=priority)
    return screen.submission(spec, sweep_id, tally, forecast)


class Screen:
    """Counts configurations as they pass, and groups those that cannot be run."""

    def __init__(self) -> None:
        self.configurations = 0
        self._groups: dict[tuple[str, str, str, str], list[float]] = {}  # -> bytes needed, one a configuration
        self._digests: dict[tuple[str, str, str], str] = {}

    def feasible(self, jobs: Iterable[tuple[Configuration, int]]) -> Iterator[Wanted]:
        """Those of the jobs, configurations and replicates, that can be run; the others are counted."""
        queues = {name: gpu.queue for name, gpu in catalog.gpus().items()}
        for configuration, replicate in jobs:
            self.configurations += replicate == 0
            why = memory.objection(configuration)
            if why is None:
                yield Wanted(configuration, replicate, queues[configuration.gpu], self._digest(configuration))
            elif replicate == 0:
                group = (configuration.model, configuration.gpu, configuration.precision, why)
                self._groups.setdefault(group, []).append(memory.estimate_bytes(configuration))

    def require_some(self, spec: SweepSpec) -> None:
        """RequestError where no configuration has passed."""
        if not self.configurations:
            raise RequestError("exclude", f"{len(spec.exclude)} rows", "rows that leave at least one configuration")

    def submission(
        self, spec: SweepSpec, sweep_id: int | None, tally: Tally, forecast: dict[str, Any] | None = None
    ) -> Submission:
        """What became of all that have passed."""
        return Submission(
            sweep=sweep_id,
            name=spec.name,
            configurations=self.configurations,
            infeasible=tuple(self.infeasible()),
            forecast=forecast,
            **asdict(tally),
        )

    def _digest(self, configuration: Configuration) -> str:
        uses = (configuration.model, configuration.gpu, configuration.size)
        if uses not in self._digests:
            self._digests[uses] = catalog.digest(configuration)
        return self._digests[uses]

    def infeasible(self) -> list[dict[str, Any]]:
        """What could not be run, grouped by model, GPU type, precision and reason."""
        rows = []
        for (model, gpu, precision, why), needs in sorted(self._groups.items()):
            if why == memory.MEMORY:
                why = memory.shortage(gpu, needs)
            rows.append({"model": model, "gpu": gpu, "precision": precision, "count": len(needs), "why": why})
        return rows


def sweep_row(spec: SweepSpec, priority: int, created_at: float) -> dict[str, Any]:
    """The columns of a sweep that was just asked for."""
    return {
        "name": spec.name,
        "spec": spec.to_dict(),
        "configurations": 0,
        "already_measured": 0,
        "infeasible": [],
        "deadline": spec.deadline.timestamp() if spec.deadline else None,
        "budget_joules": spec.budget_joules,
        "priority": priority,
        "created_at": created_at,
    }


def batches(wanted: Iterator[Wanted]) -> Iterator[list[Wanted]]:
    """The jobs in lists of at most BATCH."""
    while batch := list(islice(wanted, BATCH)):
        yield batch
