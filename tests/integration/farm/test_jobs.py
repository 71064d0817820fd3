"""Claims, leases, results and messages, on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pytest
from sqlalchemy import event, text

from farm.audit import Audit
from farm.domain import Failure, FarmError, RequestError
from farm.domain.worker import WorkerInfo
from farm.fits import Fits
from farm.hosts import Hosts
from farm.store.engine import Store
from tests.both_sides import Jobs


def state(jobs: Jobs, job_id: int) -> str:
    return show(jobs, job_id)["state"]


def show(jobs: Jobs, job_id: int) -> dict:
    found = Audit(jobs.store).job(job_id)
    assert found is not None
    return found


def ends(jobs: Jobs, job_id: int) -> list[str | None]:
    return [attempt["end"] for attempt in show(jobs, job_id)["attempts"]]


class TestClaim:
    def test_brings_all_that_a_worker_needs(self, jobs, sweep, point):
        sweep(models=["sd2"], steps=[1])
        job = jobs.claim(1, worker="w", queue="a100")
        assert job is not None
        assert (job.id, job.attempt, job.configuration, job.queue, job.replicate) == (1, 1, point, "a100", 0)
        assert jobs.prompts_of(job) == jobs._prompt_list(job.prompts_sha256)[:1]
        assert state(jobs, 1) == "running"

    def test_of_eight_at_once_one_wins(self, jobs, sweep):
        sweep()
        for job_id in (1, 2, 3, 4):
            start = Barrier(8)

            def claim(n: int, job_id: int = job_id, start: Barrier = start) -> bool:
                start.wait()
                return jobs.claim(job_id, worker=f"w{n}", queue="a100") is not None

            with ThreadPoolExecutor(8) as pool:
                assert sum(pool.map(claim, range(8))) == 1
            assert show(jobs, job_id)["attempt"] == 1

    @pytest.mark.parametrize("job_id", [0, -1, 5, 2**31, 2**70])
    def test_of_no_job_is_refused(self, jobs, sweep, job_id):
        sweep()
        assert jobs.claim(job_id, worker="w", queue="a100") is None

    def test_of_another_queue_is_refused(self, jobs, sweep):
        sweep()
        assert jobs.claim(1, worker="w", queue="a4000") is None
        assert state(jobs, 1) == "queued"

    def test_of_a_leased_job_is_refused_until_it_is_reaped(self, jobs, sweep, expire):
        sweep()
        jobs.claim(1, worker="w", queue="a100")
        assert jobs.claim(1, worker="v", queue="a100") is None
        expire(1)
        assert jobs.claim(1, worker="v", queue="a100") is None  # the database may have been away
        assert jobs.reap() == 1
        again = jobs.claim(1, worker="v", queue="a100")
        assert again is not None
        assert again.attempt == 2
        assert ends(jobs, 1) == ["lease_expired", None]

    def test_by_the_worker_that_holds_it_starts_anew(self, jobs, sweep):
        sweep()
        jobs.claim(1, worker="w", queue="a100")
        again = jobs.claim(1, worker="w", queue="a100")
        assert again is not None
        assert again.attempt == 2
        assert ends(jobs, 1) == ["error", None]

    def test_that_kills_its_worker_each_time_is_failed_with_all_reasons(self, jobs, sweep):
        sweep()
        for _ in range(3):
            assert jobs.claim(1, worker="w", queue="a100") is not None
        assert jobs.claim(1, worker="w", queue="a100") is None
        found = show(jobs, 1)
        assert found["state"] == "failed"
        assert found["reason"].count("process ended without a result") == 3

    def test_of_a_done_job_is_refused(self, jobs, sweep, measure):
        sweep()
        job = jobs.claim(1, worker="w", queue="a100")
        jobs.record(1, 1, "w", measure(job))
        assert jobs.claim(1, worker="w", queue="a100") is None


class TestLease:
    def test_heartbeat_keeps_it(self, jobs, sweep, expire):
        sweep()
        jobs.claim(1, worker="w", queue="a100")
        expire(1)
        assert jobs.heartbeat(1, 1)
        assert jobs.reap() == 0

    def test_heartbeat_of_a_fenced_attempt_says_so(self, jobs, sweep, expire):
        sweep()
        jobs.claim(1, worker="w", queue="a100")
        expire(1)
        jobs.reap()
        jobs.claim(1, worker="v", queue="a100")
        assert not jobs.heartbeat(1, 1)
        assert jobs.heartbeat(1, 2)

    def test_expired_it_is_reaped_and_the_job_is_due_again(self, jobs, sweep, expire):
        sweep()
        jobs.mark_sent([1])
        jobs.claim(1, worker="w", queue="a100")
        expire(1)
        assert jobs.reap() == 1
        assert jobs.reap() == 0
        assert 1 in jobs.due("a100", 10)
        assert ends(jobs, 1) == ["lease_expired"]

    def test_expired_for_the_last_time_the_job_has_failed(self, jobs, sweep, expire):
        sweep()
        for n in range(3):
            assert jobs.claim(1, worker=f"w{n}", queue="a100") is not None
            expire(1)
            jobs.reap()
        found = show(jobs, 1)
        assert (found["state"], found["tries"]) == ("failed", 3)
        assert all(f"w{n} went silent" in found["reason"] for n in range(3))

    def test_two_reapers_at_once_take_a_job_back_once(self, jobs, sweep, expire):
        sweep()
        for job_id in (1, 2, 3, 4):
            jobs.claim(job_id, worker=f"w{job_id}", queue="a100")
            expire(job_id)
        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(lambda _: jobs.reap(), range(4))) == 4

    def test_handed_back_it_costs_no_attempt(self, jobs, sweep):
        sweep()
        for n in range(1, 6):
            job = jobs.claim(1, worker="w", queue="a100")
            assert job is not None
            assert job.attempt == n
            jobs.release(1, n, "w")
        assert show(jobs, 1)["tries"] == 0
        assert ends(jobs, 1) == ["released"] * 5

    def test_zombie_can_neither_fail_nor_release_the_job(self, jobs, sweep, expire):
        sweep()
        jobs.claim(1, worker="zombie", queue="a100")
        expire(1)
        jobs.reap()
        jobs.claim(1, worker="w", queue="a100")
        jobs.fail(1, 1, "zombie", Failure(reason="error", message="x", retry=False))
        jobs.release(1, 1, "zombie")
        assert state(jobs, 1) == "running"
        assert jobs.heartbeat(1, 2)
        assert ends(jobs, 1) == ["lease_expired", None]  # the first reason stays


class TestFailure:
    def test_that_may_pass_waits_and_is_tried_again(self, jobs, store, sweep):
        sweep()
        jobs.claim(1, worker="w", queue="a100")
        jobs.fail(1, 1, "w", Failure(reason="device_lost", message="Xid 79", retry=True, detail={"peak": float("nan")}))
        assert state(jobs, 1) == "queued"
        assert jobs.claim(1, worker="w", queue="a100") is None
        assert 1 not in jobs.due("a100", 10)
        with store.write() as db:
            db.execute(text("UPDATE job SET not_before = 0"))
        assert 1 in jobs.due("a100", 10)
        attempt = show(jobs, 1)["attempts"][0]
        assert (attempt["end"], attempt["message"]) == ("device_lost", "Xid 79")
        assert attempt["detail"] == {"peak": None, "worker": "w"}

    @pytest.mark.parametrize("reason", ["out_of_memory", "infeasible"])
    def test_that_will_not_pass_is_final(self, jobs, sweep, reason):
        sweep()
        jobs.claim(1, worker="w", queue="a100")
        jobs.fail(1, 1, "w", Failure(reason=reason, message="no\0 room in /data/\udce9", retry=False))
        found = show(jobs, 1)
        assert found["state"] == "failed"
        assert found["reason"] == f"attempt 1: {reason}: no? room in /data/?"

    def test_of_an_unknown_kind_is_an_error(self, jobs, sweep):
        sweep()
        jobs.claim(1, worker="w", queue="a100")
        jobs.fail(1, 1, "w", Failure(reason="gremlins", message="m", retry=False))
        assert ends(jobs, 1) == ["error"]


class TestRecord:
    def test_first_result_is_the_jobs(self, jobs, sweep, measure):
        sweep()
        job = jobs.claim(1, worker="w", queue="a100")
        assert jobs.record(1, 1, "w", measure(job), samples=b"\x00log")
        found = show(jobs, 1)
        assert (found["state"], found["worker"], ends(jobs, 1)) == ("done", None, ["accepted"])
        assert found["measurement"] == json.loads(json.dumps(measure(job).to_dict()))

    def test_replay_changes_nothing_and_answers_the_same(self, jobs, sweep, measure):
        sweep()
        job = jobs.claim(1, worker="w", queue="a100")
        for _ in range(3):
            assert jobs.record(1, 1, "w", measure(job), samples=b"s")
        assert jobs.result_count() == 1
        late = measure(job, "late")
        for _ in range(3):
            assert not jobs.record(1, 1, "w", late)
        assert len(show(jobs, 1)["late"]) == 1

    def test_second_result_is_kept_for_audit_only(self, jobs, sweep, measure, expire):
        sweep()
        job = jobs.claim(1, worker="zombie", queue="a100")
        expire(1)
        jobs.reap()
        jobs.claim(1, worker="w", queue="a100")
        assert jobs.record(1, 2, "w", measure(job, "second"))
        assert not jobs.record(1, 1, "zombie", measure(job, "first"))
        found = show(jobs, 1)
        assert found["measurement"]["measurement_id"] == "second-1"
        assert [row["measurement_id"] for row in found["late"]] == ["first-1"]
        assert ends(jobs, 1) == ["late", "accepted"]

    def test_a_zombies_result_counts_when_it_is_the_first(self, jobs, sweep, measure, expire):
        sweep()
        job = jobs.claim(1, worker="zombie", queue="a100")
        expire(1)
        jobs.reap()
        jobs.claim(1, worker="w", queue="a100")
        assert jobs.record(1, 1, "zombie", measure(job))
        assert not jobs.heartbeat(1, 2)
        assert ends(jobs, 1) == ["accepted", "cancelled"]
        assert not jobs.record(1, 2, "w", measure(job, "other"))
        assert ends(jobs, 1) == ["accepted", "late"]

    def test_of_a_failed_job_mends_it(self, jobs, sweep, measure):
        sweep()
        job = jobs.claim(1, worker="w", queue="a100")
        jobs.fail(1, 1, "w", Failure(reason="error", message="m", retry=False))
        assert jobs.record(1, 1, "w", measure(job))
        found = show(jobs, 1)
        assert (found["state"], found["reason"]) == ("done", None)

    def test_of_eight_at_once_one_is_accepted(self, jobs, sweep, measure):
        sweep()
        job = jobs.claim(1, worker="w", queue="a100")
        start = Barrier(8)

        def record(n: int) -> bool:
            start.wait()
            return jobs.record(1, 1, "w", measure(job, f"m{n}"))

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(record, range(8))) == 1
        assert jobs.result_count() == 1
        assert len(show(jobs, 1)["late"]) == 7

    def test_not_to_be_accepted_leaves_the_job_as_it_is(self, jobs, sweep, measure):
        sweep()
        job = jobs.claim(1, worker="w", queue="a100")
        assert not jobs.record(1, 1, "w", measure(job), accept=False)
        assert state(jobs, 1) == "running"
        assert jobs.heartbeat(1, 1)
        assert jobs.record(1, 1, "w", measure(job, "good"))

    def test_of_another_configuration_or_job_is_refused(self, jobs, sweep, measure):
        sweep()
        job = jobs.claim(1, worker="w", queue="a100")
        with pytest.raises(RequestError, match="another configuration"):
            jobs.record(2, 1, "w", measure(job))
        with pytest.raises(RequestError, match="not in this database"):
            jobs.record(99, 1, "w", measure(job))
        jobs.record(1, 1, "w", measure(job))
        other = jobs.claim(2, worker="w", queue="a100")
        with pytest.raises(RequestError, match="already stored for job 1"):
            jobs.record(2, 1, "w", measure(other, measurement_id="m-1"))
        assert (state(jobs, 1), state(jobs, 2)) == ("done", "running")

    def test_what_is_not_known_stays_unknown(self, jobs, sweep, measure):
        sweep()
        job = jobs.claim(1, worker="w", queue="a100")
        unknown = measure(job, energy_joules=None, environment={"temperature": float("nan")}, flags=("gpu_lost",))
        assert jobs.record(1, 1, "w", unknown)
        found = show(jobs, 1)["measurement"]
        assert found["energy_joules"] is None
        assert found["environment"] == {"temperature": None}


class TestMessages:
    def test_go_in_the_order_of_the_sweep_and_once(self, jobs, sweep):
        sweep(gpus=["a100", "h100"], steps=[1, 2, 3])
        assert jobs.queues() == ["a100", "h100"]
        first = jobs.due("a100", 4)
        assert first == sorted(first)
        jobs.mark_sent(first)
        rest = jobs.due("a100", 4)
        assert len(first + rest) == 6
        assert not set(first) & set(rest)
        assert jobs.due("nothing", 4) == []

    def test_unanswered_are_sent_again(self, jobs, store, sweep):
        sweep()
        jobs.mark_sent(jobs.due("a100", 10))
        assert jobs.resend_unclaimed("a100", waiting=0, older_than=60) == 0
        with store.write() as db:
            db.execute(text("UPDATE job SET sent_at = sent_at - 61 WHERE id < 3"))
        assert jobs.resend_unclaimed("a100", waiting=0, older_than=60) == 2
        assert jobs.due("a100", 10) == [1, 2]

    def test_those_that_others_overtook_on_the_queue_are_sent_again(self, jobs, store, sweep):
        """Two of four messages were lost; two wait, which are the last that were sent."""
        sweep()
        for sent in ([1], [2, 3], [4]):
            jobs.mark_sent(sent)
        with store.write() as db:
            db.execute(text("UPDATE job SET sent_at = sent_at - 61 WHERE id < 4"))
        assert jobs.resend_unclaimed("a100", waiting=4, older_than=60) == 0
        assert jobs.resend_unclaimed("a100", waiting=2, older_than=60) == 2
        assert jobs.due("a100", 10) == [1, 2]

    def test_a_message_that_comes_while_many_jobs_are_noted_is_not_spent(self, jobs, store, sweep):
        """Whoever notes something of many jobs holds them for a moment; a claim in that moment waits."""
        sweep()
        held, claimed = Barrier(2), []

        def note():
            with store.write() as db:
                db.execute(text("UPDATE job SET sent_at = 1"))
                held.wait()
                time.sleep(0.3)

        with ThreadPoolExecutor(1) as pool:
            noting = pool.submit(note)
            held.wait()
            claimed.append(jobs.claim(2, worker="w", queue="a100"))
            noting.result()
        assert claimed[0].id == 2

    def test_that_the_broker_did_not_take_are_due_again(self, jobs, sweep):
        sweep()
        jobs.mark_sent([1, 2, 3])
        jobs.claim(2, worker="w", queue="a100")
        jobs.mark_unsent([1, 2, 3])
        assert jobs.due("a100", 9) == [1, 3, 4]
        assert state(jobs, 2) == "running"

    def test_count_what_is_open(self, jobs, sweep, measure):
        sweep()
        assert jobs.open_jobs() == 4
        for job_id in (1, 2, 3, 4):
            job = jobs.claim(job_id, worker="w", queue="a100")
            jobs.record(job_id, 1, "w", measure(job))
        assert (jobs.open_jobs(), jobs.queues()) == (0, [])

    @pytest.mark.parametrize("ask", ["due", "claim"])
    def test_use_their_index(self, store, jobs, sweep, ask):
        sweep()
        seen = []
        event.listen(store.engine, "before_cursor_execute", lambda *call: seen.append(call[2:4]))
        if ask == "due":
            assert len(jobs.due("a100", 5)) == 4
        else:
            assert jobs.claim(1, worker="w", queue="a100") is not None
        statement, parameters = next(said for said in seen if "rank" in said[0])
        with store.write() as db:
            if not store.is_sqlite:
                for step in ("seqscan", "bitmapscan", "sort"):  # four rows are scanned and sorted, whatever the index
                    db.execute(text(f"SET LOCAL enable_{step} = off"))
            explain = "EXPLAIN QUERY PLAN" if store.is_sqlite else "EXPLAIN"
            plan = " ".join(str(row) for row in db.exec_driver_sql(f"{explain} {statement}", parameters))
        assert "job_due" in plan
        assert "TEMP B-TREE" not in plan
        assert "Sort" not in plan


class TestHosts:
    INFO = WorkerInfo(
        name="w", gpu="a100", queue="a100", device_name="NVIDIA A100", device_uuid="GPU-1", host="h", pid=7,
        code_version="1",
    )  # fmt: skip

    def test_worker_comes_works_drains_and_leaves(self, jobs, store):
        hosts = Hosts(store)
        jobs.register(self.INFO)
        jobs.register(replace(self.INFO, name="v"))
        assert jobs.report("w", state="busy", job_id=3, spool_waiting=2)
        assert hosts.request_drain("w") == 1
        assert (jobs.drain_requested("w"), jobs.drain_requested("v"), jobs.drain_requested("x")) == (True, False, False)
        _, info = hosts.workers()
        assert (info.name, info.state, info.job_id, info.spool_waiting, info.drain_requested) == (
            "w",
            "busy",
            3,
            2,
            True,
        )
        assert 0 <= info.silent_seconds < 5
        jobs.register(self.INFO)  # a new start
        assert not jobs.drain_requested("w")
        assert hosts.request_drain() == 2
        jobs.leave("w")
        assert [info.name for info in hosts.workers()] == ["v"]
        assert not jobs.report("w", state="idle", job_id=None, spool_waiting=0)

    def test_coordinators_know_how_long_nobody_was_there(self, jobs, store):
        assert jobs.touch_coordinator("a") == float("inf")
        assert jobs.touch_coordinator("b") < 5
        with store.write() as db:
            db.execute(text("UPDATE coordinator SET seen_at = seen_at - 100"))
        assert 100 <= jobs.touch_coordinator("a") < 105


FIT = {
    "law": "work", "law_version": "1", "code_version": "1", "dataset": "farm", "scope": {}, "n": 4,
    "data_hash": "x", "params": {"a": 1.0}, "params_std": {}, "metrics": {"r2_log": float("nan")}, "document": {},
}  # fmt: skip


class TestRefit:
    def _result(self, jobs: Jobs, measure, job_id: int) -> None:
        job = jobs.claim(job_id, worker="w", queue="a100")
        jobs.record(job_id, 1, "w", measure(job))

    def test_happens_only_when_something_is_new_and_once(self, jobs, store, sweep, measure):
        sweep()
        assert Fits(jobs.store).take_lease(lease_seconds=60) is None
        self._result(jobs, measure, 1)
        token, seen = Fits(jobs.store).take_lease(lease_seconds=60)
        assert seen == 1
        assert Fits(jobs.store).take_lease(lease_seconds=60) is None  # somebody is at it
        self._result(jobs, measure, 2)  # comes while it fits
        assert Fits(jobs.store).finish(token, covered=seen, fits=[FIT])
        assert Fits(jobs.store).take_lease(lease_seconds=60) == (token + 1, 2)

    def test_of_one_that_was_too_slow_stores_nothing(self, jobs, store, sweep, measure):
        sweep()
        self._result(jobs, measure, 1)
        slow, seen = Fits(jobs.store).take_lease(lease_seconds=-1)
        quick, _ = Fits(jobs.store).take_lease(lease_seconds=60)
        assert not Fits(jobs.store).finish(slow, covered=seen, fits=[FIT])
        assert Fits(jobs.store).finish(quick, covered=seen, fits=[FIT])
        with store.read() as db:
            assert db.execute(text("SELECT count(*) FROM fit")).scalar() == 1

    def test_that_failed_may_be_tried_again(self, jobs, sweep, measure):
        sweep()
        self._result(jobs, measure, 1)
        token, _ = Fits(jobs.store).take_lease(lease_seconds=60)
        Fits(jobs.store).give_up(token)
        assert Fits(jobs.store).take_lease(lease_seconds=60) is not None


def test_prompts_start_over_when_there_are_too_few(jobs, sweep, tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("one\n\n  two  \n")
    sweep(models=["sd2"], steps=[1], prompts=[5], prompts_file=str(path))
    job = jobs.claim(1, worker="w", queue="a100")
    assert jobs.prompts_of(job) == ("one", "two", "one", "two", "one")
    with pytest.raises(FarmError, match="prompt list"):
        jobs.prompts_of(replace(job, prompts_sha256="0" * 64))


def test_an_error_within_a_transaction_leaves_nothing(store: Store, sweep):
    sweep()

    def half() -> None:
        with store.write() as db:
            db.execute(text("DELETE FROM sweep_job"))
            raise RuntimeError("half")

    with pytest.raises(RuntimeError):
        half()
    with store.read() as db:
        assert db.execute(text("SELECT count(*) FROM sweep_job")).scalar() == 4
