"""Why jobs wait and failed: one answer, on both databases, whoever asks."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import select, text

from farm.domain import Failure
from farm.domain.worker import NO_DEVICE, WorkerInfo
from farm.store import claims, tables
from farm.store.clock import now
from farm.sweeps import control

HERE = {"gpu": "a100", "queue": "a100", "device_name": "d", "device_uuid": "u", "host": "h", "pid": 1}


@pytest.fixture
def worker(jobs):
    """Register a worker: ``worker("w", state="busy")``."""

    def call(name="w", **changes):
        state = changes.pop("state", "idle")
        jobs.register(WorkerInfo(name=name, code_version="1", **(HERE | changes)))
        jobs.report(name, state=state, job_id=None, spool_waiting=0)

    return call


@pytest.fixture
def waits(store):
    """What waits, as (count, why, stuck)."""

    def call(sweep_id=None):
        status = control.status(store, sweep_id)
        rows = status["waiting"]
        assert sum(row["count"] for row in rows) == status["jobs"]["queued"]
        assert {row["gpu"] for row in rows} <= {"a100"}
        return [(row["count"], row["why"], row["stuck"]) for row in rows]

    return call


def test_nothing_waits_in_an_empty_farm(waits):
    assert waits() == []


def test_nobody_is_there_to_send_or_to_measure(waits, sweep):
    sweep()
    ((count, why, stuck),) = waits()
    assert (count, stuck) == (4, True)
    assert why.startswith("no worker serves the queue a100: start `farm worker --gpu a100`; no coordinator")


def test_what_a_worker_of_0_1_0_refuses_is_said_in_its_words(store, jobs, waits, sweep, worker):
    """It hands the job back for 30 s, uncounted, and says why in the attempt alone."""
    sweep()
    worker()
    jobs.touch_coordinator("c")
    job = jobs.claim(1, worker="w", queue="a100")
    why = "w has catalog ade780c3, the job rests on 7de4cd47"
    jobs.release(1, job.attempt, "w", reason=why)
    turn = "their turn comes: 0 of 1 worker(s) at work"
    assert waits() == [(4, turn, False)]
    with store.write() as db:
        db.execute(text("UPDATE job SET not_before = seen_at + 30 FROM worker WHERE job.id = 1"))
    assert sorted(waits()) == [(1, f"handed back by w: {why}", True), (3, turn, False)]


def test_a_coordinator_that_is_silent_for_long_is_gone(store, jobs, waits, sweep, worker):
    sweep()
    worker()
    jobs.touch_coordinator("c")
    assert control.status(store, None)["coordinator"]["alive"]
    assert waits() == [(4, "their turn comes: 0 of 1 worker(s) at work", False)]
    with store.write() as db:
        db.execute(text("UPDATE coordinator SET seen_at = seen_at - 31"))
    coordinator = control.status(store, None)["coordinator"]
    assert not coordinator["alive"]
    assert coordinator["silent_seconds"] == pytest.approx(31, abs=5)
    ((_, why, stuck),) = waits()
    assert stuck
    assert "no coordinator is here" in why
    jobs.mark_sent([1, 2, 3])
    assert [count for count, _, stuck in waits() if stuck] == [1]  # the others have their messages


def test_paused_drained_silent_and_deviceless_queues_say_so(store, jobs, waits, sweep, worker):
    first = sweep()
    jobs.touch_coordinator("c")
    worker(state=NO_DEVICE)
    assert "has its device: w" in waits()[0][1]
    worker(state="draining")
    assert "asked to drain: w" in waits()[0][1]
    worker()
    with store.write() as db:
        db.execute(text("UPDATE worker SET seen_at = seen_at - 100"))
    assert "silent, w the last" in waits()[0][1]
    worker("v")
    assert not waits()[0][2]
    control.pause(store, first.sweep)
    assert waits() == [(4, "paused: `farm sweep resume` lets them go", True)]


def test_a_refused_job_says_why_until_somebody_else_comes(jobs, waits, sweep, worker, monkeypatch):
    monkeypatch.setattr(claims, "REFUSED_SECONDS", 100.0)
    sweep()
    jobs.touch_coordinator("c")
    worker()
    assert jobs.claim(1, worker="w", queue="a100", objection=lambda job: f"not {job.configuration.model}") is None
    assert [(count, why) for count, why, stuck in waits() if stuck] == [(1, "not sd2")]
    assert 1 not in jobs.due("a100", 10)  # not at once: others have their turn
    worker("v")
    assert 1 in jobs.due("a100", 10)
    assert [row for row in waits() if row[2]] == []
    job = jobs.claim(1, worker="v", queue="a100", objection=lambda _job: "")
    assert (job.id, job.attempt) == (1, 1)  # a refusal was no attempt


def test_refusals_come_ever_more_rarely(store, jobs, sweep):
    sweep()
    delays = []
    for _ in range(12):
        jobs.claim(1, worker="w", queue="a100", objection=lambda _job: "no")
        with store.write() as db:
            delays.append(db.execute(select(tables.job.c.not_before - now()).where(tables.job.c.id == 1)).scalar())
            db.execute(text("UPDATE job SET not_before = 0"))
    assert delays[0] == pytest.approx(2, abs=1)
    assert delays[3] == pytest.approx(16, abs=1)
    assert delays[-1] == pytest.approx(300, abs=1)


def test_back_off_is_no_obstacle(jobs, waits, sweep, worker):
    sweep(steps=[1], models=["sd2"])
    jobs.touch_coordinator("c")
    worker()
    jobs.claim(1, worker="w", queue="a100")
    jobs.fail(1, 1, "w", Failure(reason="error", message="m", retry=True))
    assert waits() == [(1, "backing off after an attempt that failed", False)]


def test_failed_jobs_are_grouped_by_how_they_ended(store, jobs, sweep):
    first = sweep()
    for job, why in ((1, "the same"), (2, "the same"), (3, "another")):
        jobs.claim(job, worker="w", queue="a100")
        jobs.fail(job, 1, "w", Failure(reason="out_of_memory", message=why, retry=False))
    expected = [
        {"reason": "out_of_memory: the same", "count": 2, "example_job": 1},
        {"reason": "out_of_memory: another", "count": 1, "example_job": 3},
    ]
    assert control.status(store, first.sweep)["failed"] == expected
    assert control.status(store, None)["failed"] == expected


def test_stamps_are_renewed_by_retry_and_by_submitting_again(store, jobs, sweep):
    first = sweep()
    jobs.claim(4, worker="w", queue="a100")
    jobs.fail(4, 1, "w", Failure(reason="error", message="m", retry=False))

    def stamps():
        with store.read() as db:
            return db.execute(text("SELECT catalog_version FROM job ORDER BY id")).scalars().all()

    today = stamps()
    for renew in (lambda: control.retry(store, first.sweep), lambda: sweep(name="again").jobs):
        with store.write() as db:
            db.execute(text("UPDATE job SET catalog_version = 'old', not_before = 9e9, refusals = 3"))
        renew()
        assert stamps() == today
        assert jobs.due("a100", 9) == [1, 2, 3, 4]


def test_status_ends_with_1_where_a_job_failed_for_good(farm, store, jobs, sweep):
    first = sweep()
    other = sweep(steps=[3])
    assert farm("sweep", "status", "--db", store.url.render_as_string(hide_password=False)).code == 0
    for job in (1, 2):
        jobs.claim(job, worker="w", queue="a100")
        jobs.fail(job, 1, "w", Failure(reason="infeasible", message="never", retry=False))
    db = ("--db", store.url.render_as_string(hide_password=False))
    asked = farm("sweep", "status", first.sweep, "--json", *db)
    assert asked.code == 1
    assert json.loads(asked.out)["failed"] == [{"reason": "infeasible: never", "count": 2, "example_job": 1}]
    assert farm("sweep", "status", other.sweep, *db).code == 0
    assert farm("sweep", "status", *db).code == 1  # the first is open
    control.cancel(store, first.sweep)
    assert farm("sweep", "status", *db).code == 0  # it is over
    watched = farm("sweep", "watch", first.sweep, *db)
    assert watched.code == 1
    assert "failed: infeasible: never (job 1)" in watched.out


def test_what_strangers_wrote_moves_no_terminal(farm, store, jobs, sweep, worker):
    sweep()
    worker("w\x1b[2J\a\n")
    jobs.claim(1, worker="w", queue="a100", objection=lambda _job: "\x1b]0;title\a\nforged: line")
    jobs.claim(2, worker="w", queue="a100")
    jobs.fail(2, 1, "w", Failure(reason="error", message="\x1b[1A\a\r\nforged", retry=False))
    db = ("--db", store.url.render_as_string(hide_password=False))
    for command in (("sweep", "status"), ("workers", "list"), ("jobs", "list"), ("jobs", "show", 2)):
        out = farm(*command, *db).out
        assert not set("\x1b\a\r") & set(out), command
        assert not any(line.startswith("forged") for line in out.splitlines()), command
