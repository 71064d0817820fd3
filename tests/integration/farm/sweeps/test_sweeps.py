"""Submitting, sharing, holding and ending sweeps, on SQLite and on PostgreSQL."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text

from farm.domain import Failure, RequestError
from farm.domain.worker import WorkerInfo
from farm.store import leases
from farm.sweeps import control, submit
from farm.sweeps.read import parse_spec, read_spec


def queued(store, sweep_id: int | None = None) -> int:
    return control.status(store, sweep_id)["jobs"]["queued"]


def tables(store) -> list[int]:
    names = ("sweep", "configuration", "job", "sweep_job", "prompt_list")
    with store.read() as db:
        return [db.execute(text(f"SELECT count(*) FROM {name}")).scalar_one() for name in names]


def worker_of(gpu: str, name: str = "w") -> WorkerInfo:
    """A worker that has just come."""
    return WorkerInfo(
        name=f"{name}-{gpu}", gpu=gpu, queue=gpu, device_name="d", device_uuid=f"{name}-{gpu}", host="h", pid=1,
        code_version="0",
    )  # fmt: skip


def finish(jobs, measure, job_id: int, **values: object) -> None:
    job = jobs.claim(job_id, worker="w", queue="a100")
    assert job is not None
    assert jobs.record(job_id, job.attempt, "w", measure(job, **values))


def test_the_papers_grid(store, farm_root):
    spec = read_spec(farm_root / "deploy/sweeps/paper.yaml")
    done = submit.submit(store, spec)
    assert done.configurations == 2880
    assert done.new == done.jobs == 1560
    assert sum(row["count"] for row in done.infeasible) == 1320
    again = submit.submit(store, spec)
    assert (again.new, again.jobs, again.already_queued, again.configurations) == (0, 0, 1560, 2880)
    assert queued(store) == queued(store, done.sweep) == queued(store, again.sweep) == 1560


def test_what_is_measured_is_not_queued_again(store, jobs, sweep, measure):
    sweep()
    finish(jobs, measure, 1)
    again = sweep()
    assert (again.new, again.already_measured, again.already_queued) == (0, 1, 3)
    assert control.status(store, again.sweep)["jobs"]["queued"] == 3


def test_what_leaves_nothing_to_do_adds_no_sweep(store, jobs, sweep, measure):
    first = sweep()
    for job_id in range(1, 5):
        finish(jobs, measure, job_id)
    before = tables(store)
    again = sweep(deadline=1)
    assert (again.sweep, again.new, again.jobs, again.already_measured) == (first.sweep, 0, 0, 4)
    assert tables(store) == before
    assert control.status(store, again.sweep)["jobs"]["done"] == 4
    other = sweep(steps=[1])  # asked for the first time: a sweep of its own, with nothing to do
    assert other.sweep != first.sweep
    assert other.jobs == 0
    assert sweep(steps=[1]).sweep == other.sweep
    assert sweep(steps=[1, 3]).jobs == 2


def test_a_sweep_of_which_nothing_fits_is_answered_and_noted_once(store, sweep):
    grid = {"models": ["qwen"], "gpus": ["a4000"], "precisions": ["fp32"]}
    first, again = sweep(**grid), sweep(**grid)
    assert first.jobs == again.jobs == 0
    assert first.infeasible == again.infeasible != ()
    assert first.sweep == again.sweep == 1
    assert tables(store)[0] == 1


def test_a_spoiled_or_unknown_energy_is_measured_again(jobs, sweep, measure):
    sweep()
    finish(jobs, measure, 1, flags=("foreign_process",))
    finish(jobs, measure, 2, energy_joules=None)
    again = sweep()
    assert (again.new, again.jobs, again.already_measured, again.already_queued) == (2, 2, 0, 2)
    finish(jobs, measure, 5)
    assert sweep().already_measured == 1


def test_replicates_are_more_jobs_of_one_configuration(jobs, sweep, measure):
    first = sweep(replicates=3)
    assert (first.configurations, first.new, first.jobs) == (4, 4, 12)
    finish(jobs, measure, 1)
    again = sweep(replicates=4)
    assert (again.already_measured, again.already_queued, again.new, again.jobs) == (1, 3, 0, 4)


def test_failed_jobs_are_not_tried_by_submitting_again_but_by_retry(store, jobs, sweep):
    first = sweep()
    for job_id in (1, 2):
        jobs.claim(job_id, worker="w", queue="a100")
        jobs.fail(job_id, 1, "w", Failure(reason="error", message="m", retry=False))
    again = sweep()
    assert (again.failed_before, again.new) == (2, 0)
    assert control.status(store, again.sweep)["jobs"]["failed"] == 2
    assert control.retry(store, first.sweep) == 2
    assert control.retry(store, first.sweep) == 0
    job = jobs.claim(1, worker="w", queue="a100")
    assert job is not None
    assert job.attempt == 2  # the token goes on, the count of tries starts anew


def test_cancelled_jobs_are_queued_by_submitting_again(store, sweep):
    first = sweep()
    assert control.cancel(store, first.sweep) == 4
    again = sweep()
    assert (again.new, again.jobs) == (4, 4)
    assert control.status(store, first.sweep)["jobs"]["cancelled"] == 4


def test_retry_does_not_double_what_is_open_again(store, jobs, sweep):
    first = sweep()
    jobs.claim(1, worker="w", queue="a100")
    jobs.fail(1, 1, "w", Failure(reason="error", message="m", retry=False))
    with store.write() as db:  # somebody queued the same configuration meanwhile
        db.execute(
            text(
                "INSERT INTO job (configuration_id, replicate, queue, state, held, attempt, tries, not_before, loads,"
                " code_version, catalog_version, created_at) SELECT configuration_id, replicate, queue, 'queued',"
                " held, 0, 0, 0, 0, code_version, catalog_version, 0 FROM job WHERE id = 1"
            )
        )
    assert control.retry(store, first.sweep) == 0


def test_dry_run_counts_and_writes_nothing(store, sweep):
    before = tables(store)
    spec = parse_spec({"models": ["sd2"], "gpus": ["a100"]}, folder=Path())
    dry = submit.submit(store, spec, dry_run=True)
    assert (dry.sweep, dry.configurations, dry.new, dry.jobs) == (None, 240, 240, 240)
    assert tables(store) == before


def test_a_refused_sweep_leaves_nothing(store, sweep, tmp_path):
    before = tables(store)
    with pytest.raises(RequestError, match="exclude"):
        sweep(exclude=[{"gpu": "a100"}])
    with pytest.raises(RequestError, match="prompts_file"):
        sweep(prompts_file=str(tmp_path / "none.txt"))
    assert tables(store) == before


def test_two_submissions_at_once_queue_each_job_once(store, sweep):
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: sweep(steps=list(range(1, 51))), range(4)))
    assert sorted(d.new for d in done) == [0, 0, 0, 100]
    assert all(queued(store, d.sweep) == 100 for d in done)


def test_jobs_of_one_pipeline_follow_each_other_and_are_shuffled_inside(store, jobs, sweep):
    sweep(gpus=["a100", "h100"], steps=list(range(1, 21)), precisions=["fp16", "fp32"])
    for queue in ("a100", "h100"):
        due = jobs.due(queue, 1000)
        with store.read() as db:
            order = [leases.load_locked(db, job_id).job.configuration for job_id in due]
        assert len(order) == 80
        changes = sum(a.pipeline != b.pipeline for a, b in itertools.pairwise(order))
        assert changes == 3
        steps = [c.steps for c in order[:20]]
        assert sorted(steps) == list(range(1, 21))
        assert steps != sorted(steps)


class TestHolding:
    def test_paused_jobs_are_neither_sent_nor_claimed(self, store, jobs, sweep):
        first = sweep()
        running = jobs.claim(1, worker="w", queue="a100")
        assert control.pause(store, first.sweep) == 3  # one runs
        assert jobs.due("a100", 10) == []
        assert jobs.claim(2, worker="v", queue="a100") is None
        assert jobs.heartbeat(1, running.attempt)  # what runs, runs to its end
        jobs.release(1, running.attempt, "w")
        assert jobs.due("a100", 10) == []
        assert control.resume(store, first.sweep) == 4
        assert jobs.due("a100", 10) == [1, 2, 3, 4]

    def test_retried_jobs_of_a_paused_sweep_wait_with_it(self, store, jobs, sweep):
        first = sweep()
        jobs.claim(1, worker="w", queue="a100")
        jobs.fail(1, 1, "w", Failure(reason="error", message="m", retry=False))
        control.pause(store, first.sweep)
        assert control.retry(store, first.sweep) == 1
        assert jobs.due("a100", 10) == []
        control.resume(store, first.sweep)
        assert jobs.due("a100", 10) == [1, 2, 3, 4]

    def test_messages_that_came_while_paused_are_sent_again(self, store, jobs, sweep):
        first = sweep()
        jobs.mark_sent([1, 2, 3, 4])
        control.pause(store, first.sweep)
        assert jobs.claim(1, worker="w", queue="a100") is None
        # A message that came to nothing is not lost.
        assert jobs.resend_unclaimed("a100", waiting=0, older_than=-60) == 0
        control.resume(store, first.sweep)
        assert jobs.due("a100", 10) == [1, 2, 3, 4]

    def test_what_another_sweep_wants_goes_on(self, store, jobs, sweep):
        first = sweep()
        second = sweep(models=["sd2"])
        assert control.pause(store, first.sweep) == 2
        assert len(jobs.due("a100", 10)) == 2
        assert control.pause(store, second.sweep) == 2
        assert jobs.due("a100", 10) == []

    def test_a_new_sweep_wakes_what_a_paused_one_holds(self, store, jobs, sweep):
        first = sweep()
        control.pause(store, first.sweep)
        assert sweep(models=["sd2"]).already_queued == 2
        assert len(jobs.due("a100", 10)) == 2

    def test_cancelling_spares_what_a_paused_sweep_wants(self, store, jobs, sweep):
        first = sweep()
        second = sweep(models=["sd2"])
        control.pause(store, second.sweep)
        assert control.cancel(store, first.sweep) == 2
        assert queued(store, second.sweep) == 2
        assert jobs.due("a100", 10) == []
        control.resume(store, second.sweep)
        assert len(jobs.due("a100", 10)) == 2


class TestCancel:
    def test_fences_what_runs(self, store, jobs, sweep, measure):
        first = sweep()
        job = jobs.claim(1, worker="w", queue="a100")
        assert control.cancel(store, first.sweep, "enough") == 4
        assert not jobs.heartbeat(1, 1)
        assert jobs.claim(1, worker="w", queue="a100") is None
        jobs.fail(1, 1, "w", Failure(reason="error", message="m", retry=True))
        assert control.status(store, first.sweep)["jobs"]["cancelled"] == 4
        assert jobs.record(1, 1, "w", measure(job))  # valid data is kept all the same
        assert control.status(store, first.sweep)["jobs"] == {
            "queued": 0, "running": 0, "done": 1, "failed": 0, "cancelled": 3,
        }  # fmt: skip


class TestLimits:
    def test_budget_ends_the_sweep_but_not_what_runs(self, store, jobs, sweep, measure):
        first = sweep(budget_joules=150)
        finish(jobs, measure, 1)
        assert jobs.enforce_limits() == 0
        jobs.claim(2, worker="v", queue="a100")
        finish(jobs, measure, 3)
        assert jobs.enforce_limits() == 1
        counts = control.status(store, first.sweep)["jobs"]
        assert (counts["done"], counts["running"], counts["cancelled"]) == (2, 1, 1)
        jobs.release(2, 1, "v")  # comes back to a queue that is closed
        assert jobs.enforce_limits() == 1
        assert control.resolve(store, str(first.sweep))["cancel_reason"].startswith("the sweep's budget of 150 J")

    def test_deadline(self, store, jobs, sweep):
        first = sweep(deadline=1)
        assert jobs.enforce_limits() == 0
        with store.write() as db:
            db.execute(text("UPDATE sweep SET deadline = 1"))
        assert jobs.enforce_limits() == 4
        assert jobs.enforce_limits() == 0
        assert queued(store, first.sweep) == 0


class TestStatus:
    def test_counts_loads_and_tells_how_long(self, store, jobs, sweep, measure):
        first = sweep(models=["sd2"], gpus=["a100", "h100"], steps=[10, 11, 12, 13])  # all about as long
        assert control.status(store, first.sweep)["eta_seconds"] is None
        with store.read() as db:
            ids = db.execute(text("SELECT id FROM job ORDER BY id")).scalars().all()
        for job_id in ids:
            queue = next(q for q in ("a100", "h100") if job_id in jobs.due(q, 10))
            job = jobs.claim(job_id, worker="w", queue=queue)
            jobs.count_load(job_id)
            jobs.record(job_id, 1, "w", measure(job))
            if len(jobs.due("a100", 9)) <= 2 and len(jobs.due("h100", 9)) <= 2:
                break
        with store.write() as db:  # each job took ten seconds, one after the other
            db.execute(text("UPDATE attempt SET started_at = 10.0 * id, ended_at = 10.0 * id + 10.0"))
        assert control.status(store, first.sweep)["eta_seconds"] is None  # nobody is there to do the rest
        for gpu in ("a100", "h100"):
            jobs.register(worker_of(gpu))
        known = control.status(store, first.sweep)
        assert set(known) >= {"sweep", "jobs", "by_gpu", "pipeline_loads", "eta_seconds"}
        assert known["jobs"]["done"] == known["pipeline_loads"] > 3
        assert sum(counts["done"] for counts in known["by_gpu"].values()) == known["jobs"]["done"]
        assert 10 <= known["eta_seconds"] <= 60
        assert control.status(store, None)["sweep"] is None

    def test_of_an_empty_farm(self, store):
        known = control.status(store, None)
        assert known["jobs"] == {"queued": 0, "running": 0, "done": 0, "failed": 0, "cancelled": 0}
        assert (known["by_gpu"], known["eta_seconds"]) == ({}, 0.0)

    def test_of_an_unknown_sweep_names_those_there_are(self, store, sweep):
        with pytest.raises(RequestError, match="nothing was submitted"):
            control.resolve(store, "paper")
        sweep(name="paper")
        with pytest.raises(RequestError, match="did you mean paper"):
            control.resolve(store, "papre")
        assert control.resolve(store, "paper")["id"] == control.resolve(store, "1")["id"] == 1
        assert sweep(name="2025").sweep == 2
        assert control.resolve(store, "2025")["id"] == 2
