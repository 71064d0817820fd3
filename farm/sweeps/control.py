"""What can be asked of a sweep that was submitted, and done to it: status, history, priority, pause, resume, cancel,
retry. What is done is noted with who did it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from farm import waiting
from farm.actor import user_at_host
from farm.alerts import alerts
from farm.domain import JobState, RequestError
from farm.domain.errors import did_you_mean
from farm.domain.times import utc
from farm.store import actions, adaptive, hosts, progress, sweeps
from farm.store import failures as failures_of
from farm.store.engine import Connection, Store
from farm.store.failures import Failures
from farm.sweeps import pace, stamps

STATES: Final = tuple(state.value for state in JobState)
ABOUT: Final = ("name", "paused", "cancelled", "priority")  # of a sweep, beside its status


def resolve(store: Store, name_or_id: str) -> dict[str, Any]:
    """The sweep of that id, or the newest of that name. RequestError naming those there are."""
    with store.read() as db:
        sweep = sweeps.find(db, name_or_id)
        if sweep is not None:
            return sweep
        known = sweeps.heads(db)
    shown = ", ".join(f"{row['id']} ({row['name']})" for row in known[:5])
    hint = did_you_mean(name_or_id, [row["name"] for row in known])
    raise RequestError("sweep", name_or_id, hint + (f"known: {shown}" if known else "nothing was submitted yet"))


def listing(store: Store) -> list[dict[str, Any]]:
    """All sweeps, the newest first."""
    with store.read() as db:
        return sweeps.sweeps(db)


def overview(store: Store) -> list[dict[str, Any]]:
    """Every sweep with its state and why it is in it, the newest first; as `farm sweep list --json` prints them."""
    with store.read() as db:
        return _overviews(db, sweeps.heads(db), None)


def listed(store: Store, row: Mapping[str, Any]) -> dict[str, Any]:
    """One sweep with its state and why it is in it, as ``overview`` has all of them."""
    with store.read() as db:
        return _overviews(db, [row], [row["id"]])[0]


def history(store: Store, row: Mapping[str, Any]) -> dict[str, Any]:
    """A sweep with what was asked for and who did what to it and when; as `farm sweep show --json` prints it."""
    with store.read() as db:
        done = actions.of_sweep(db, row["id"])
    return {
        **listed(store, row),
        "spec": row["spec"],
        "configurations": row["configurations"],
        "already_measured": row["already_measured"],
        "infeasible": row["infeasible"],
        "actions": [
            {"at": utc(act["at"]), **{key: act[key] for key in ("who", "role", "action", "detail")}} for act in done
        ],
    }


def _overviews(
    db: Connection, rows: Sequence[Mapping[str, Any]], sweep_ids: Sequence[int] | None
) -> list[dict[str, Any]]:
    """These sweeps. What one statement says of all is asked once; the rest only of those that it is shown of."""
    counts = sweeps.counts_by_sweep(db, sweep_ids)
    energies = progress.energies(db, sweep_ids)
    asked = adaptive.asked(db, sweep_ids)
    choosing = frozenset(adaptive.open_ids(db))
    coordinator = waiting.coordinator(db)
    documents = []
    for row in rows:
        sweep_id = row["id"]
        by_gpu = {gpu: {**dict.fromkeys(STATES, 0), **states} for gpu, states in counts.get(sweep_id, {}).items()}
        about = _adaptive(asked[sweep_id]) if sweep_id in asked else {}
        jobs = _total(by_gpu)
        state, why = _state(db, row, jobs, about, sweep_id in choosing, coordinator)
        spent = energies.get(sweep_id, {})
        documents.append(
            {
                "id": sweep_id,
                "name": row["name"],
                "state": state,
                "why": why,
                "jobs": jobs,
                "by_gpu": by_gpu,
                "priority": row["priority"],
                "deadline": utc(row["deadline"]),
                "eta_seconds": _whole_eta(_eta(db, sweep_id, by_gpu), sweep_id in choosing),
                "joules": sum(spent.values()),
                "origins": sorted(spent),
                "budget_joules": about.get("adaptive", row)["budget_joules"],
                "submitted_at": utc(row["created_at"]),
                **about,
            }
        )
    return documents


def _state(
    db: Connection,
    row: Mapping[str, Any],
    jobs: Mapping[str, int],
    about: Mapping[str, Any],
    choosing: bool,
    coordinator: waiting.Coordinator,
) -> tuple[str, str | None]:
    """open, paused, done or cancelled, and why where that is not plain."""
    if row["cancelled"]:
        return "cancelled", row["cancel_reason"]
    if not _open(jobs) and not choosing:
        failed = jobs["failed"]
        whys = [about["adaptive"]["end_reason"]] if "adaptive" in about else []
        if failed:
            whys.append(f"{failed} jobs failed for good: {failures_of.by_reason(db, row['id'])[0].reason}")
        return "done", "; ".join(whys) or None
    if row["paused"]:
        return "paused", "held by `farm sweep pause`; `farm sweep resume` lets it go"
    if not coordinator.alive:
        return "open", str(coordinator)
    if waits := waiting.reasons(db, row["id"]):
        return "open", waits[0].why
    return "open", "it is chosen what to measure next" if choosing and not _open(jobs) else None


def _total(by_gpu: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    total = dict.fromkeys(STATES, 0)
    for counts in by_gpu.values():
        for state in STATES:
            total[state] += counts[state]
    return total


def _eta(db: Connection, sweep_id: int | None, by_gpu: Mapping[str, Mapping[str, int]]) -> dict[str, float | None]:
    """Seconds until the end of each GPU type's jobs; None where nothing tells."""
    if not any(map(_open, by_gpu.values())):
        return dict.fromkeys(by_gpu, 0.0)
    seconds = pace.remaining(db, sweep_id)
    return {gpu: seconds.get(gpu) if _open(counts) else 0.0 for gpu, counts in by_gpu.items()}


def _whole_eta(eta: Mapping[str, float | None], choosing: bool) -> float | None:
    """Seconds until the last of them has ended."""
    known = [seconds for seconds in eta.values() if seconds is not None]
    return max(known, default=0.0) if len(known) == len(eta) and not choosing else None


def status(store: Store, sweep_id: int | None) -> dict[str, Any]:
    """Counts by state and GPU type, why jobs wait and failed, pipeline loads, seconds until the end (None where
    nothing tells)."""
    with store.read() as db:
        rows = sweeps.counts(db, sweep_id)
        by_gpu: dict[str, dict[str, int]] = {}
        for gpu, state, count, _ in rows:
            by_gpu.setdefault(gpu, dict.fromkeys(STATES, 0))[state] = count
        eta = _eta(db, sweep_id, by_gpu)
        spooled = hosts.spool_waiting(db)
        waits = waiting.reasons(db, sweep_id)
        failed = [asdict(group) for group in failures_of.by_reason(db, sweep_id)]
        coordinator = waiting.coordinator(db)
        choosing = [open_id for open_id in adaptive.open_ids(db) if sweep_id in (None, open_id)]
        asked = None if sweep_id is None else adaptive.get(db, sweep_id)
        known = alerts(db, sweep_id, counts=rows, waits=waits)
    return {
        "sweep": sweep_id,
        "jobs": _total(by_gpu),
        "by_gpu": by_gpu,
        "pipeline_loads": sum(loads for *_, loads in rows),
        "eta_seconds": _whole_eta(eta, bool(choosing)),
        "eta_seconds_by_gpu": eta,
        "spool_waiting": spooled,
        "waiting": [asdict(group) for group in waits],
        "failed": failed,
        "coordinator": asdict(coordinator),
        "alerts": [asdict(alert) for alert in known],
        "choosing": len(choosing),
        **({} if asked is None else _adaptive(asked)),
    }


def _adaptive(row: Mapping[str, Any]) -> dict[str, Any]:
    """Of an adaptive sweep: the error that is expected of what is not measured, the one asked for, budgets, the end."""
    seconds = row["budget_seconds"]
    return {
        "expected_error_percent": row["expected_error_percent"],
        "target_error_percent": row["target_error_percent"],
        "adaptive": {
            "budget_joules": row["budget_joules"],
            "budget_hours": None if seconds is None else seconds / 3600,
            "rounds": row["rounds"],
            "ended_at": utc(row["ended_at"]),
            "end_reason": row["end_reason"],
        },
    }


def document(store: Store, name_or_id: str | None) -> dict[str, Any]:
    """``status`` of the sweep of that name or id, with what it is called and whether it is held, as `farm sweep status
    --json` prints it; of all sweeps for None. RequestError where there is none of that name."""
    return document_of(store, None if name_or_id is None else resolve(store, name_or_id))


def document_of(store: Store, row: Mapping[str, Any] | None) -> dict[str, Any]:
    """What ``document`` says, of a sweep that was resolved already; of all for None."""
    return {**status(store, row["id"] if row else None), **({key: row[key] for key in ABOUT} if row else {})}


def grid(store: Store, sweep_id: int, *, model: str | None = None, gpu: str | None = None) -> list[dict[str, Any]]:
    """The points of a sweep's grid: jobs by state, one of them, mean joules of an image where measured."""
    with store.read() as db:
        return progress.grid(db, sweep_id, model, gpu)


def why_failed(store: Store, sweep_id: int | None = None) -> list[Failures]:
    """Jobs that failed for good, of a sweep or of all, by reason, with who tried them last; the most frequent first."""
    with store.read() as db:
        return failures_of.in_full(db, sweep_id)


def open_sweeps(store: Store) -> frozenset[int]:
    """The sweeps that want a job which is queued or runs, or to which jobs may be added."""
    with store.read() as db:
        return frozenset([*sweeps.open_ids(db), *adaptive.open_ids(db)])


def failures(store: Store, sweep_ids: Collection[int]) -> int:
    """How many jobs of these sweeps failed for good."""
    with store.read() as db:
        return sweeps.failed_jobs(db, sweep_ids)


def set_priority(store: Store, sweep_id: int, priority: int) -> int:
    """Have its jobs run before those of sweeps with a smaller number; how many are open."""
    with store.write() as db:
        jobs = sweeps.set_priority(db, sweep_id, priority)
        actions.note(db, user_at_host(), "priority", sweep_id=sweep_id, priority=priority, jobs=jobs)
        return jobs


def pause(store: Store, sweep_id: int) -> int:
    """Hold what has not begun; how many jobs."""
    with store.write() as db:
        jobs = sweeps.pause(db, sweep_id)
        actions.note(db, user_at_host(), "pause", sweep_id=sweep_id, jobs=jobs)
        return jobs


def resume(store: Store, sweep_id: int) -> int:
    """Let go what was held; how many jobs."""
    with store.write() as db:
        jobs = sweeps.resume(db, sweep_id)
        actions.note(db, user_at_host(), "resume", sweep_id=sweep_id, jobs=jobs)
        return jobs


def cancel(store: Store, sweep_id: int, reason: str = "cancelled by hand") -> int:
    """End every open job that no other sweep wants; how many."""
    with store.write() as db:
        jobs = sweeps.cancel(db, sweep_id, reason)
        actions.note(db, user_at_host(), "cancel", sweep_id=sweep_id, jobs=jobs, reason=reason)
        return jobs


def retry(store: Store, sweep_id: int) -> int:
    """Queue what failed once more, and stamp what is queued with the catalog entries of today; how many jobs."""
    with store.write() as db:
        renewed = stamps.renew(db, sweep_id)
        failed = sweeps.retry(db, sweep_id)
        stamps.renew(db, sweep_id)  # those that had failed, too; counted already
        actions.note(db, user_at_host(), "retry", sweep_id=sweep_id, jobs=renewed + failed)
        return renewed + failed


def _open(counts: Mapping[str, int]) -> int:
    return counts[JobState.QUEUED] + counts[JobState.RUNNING]
