"""Health checks on both databases: asked for, taken by their device alone, judged, and what a bad one does."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import select, text, update

from farm.domain import Failure, JobState, RequestError
from farm.domain.measurement import SUSPECT
from farm.domain.worker import WorkerInfo
from farm.health import HealthChecks, configuration, series
from farm.hosts import Hosts
from farm.results import Results
from farm.settings import load
from farm.store import tables
from farm.store.refits import result_count
from farm.sweeps import control

HERE = {"gpu": "a100", "queue": "a100", "device_name": "d", "host": "h", "pid": 1, "code_version": "1"}


@pytest.fixture
def settings(url, home):
    return load(database_url=url, max_attempts=1, health_interval_seconds=3600.0)


@pytest.fixture
def register(jobs):
    def call(name, facts="driver 1", **changes):
        jobs.register(WorkerInfo(name=name, facts=facts, **(HERE | {"device_uuid": f"GPU-{name}"} | changes)))

    return call


@pytest.fixture
def look(store, settings, jobs):
    """What the coordinator does: the ids of the open checks afterwards."""
    checks = HealthChecks(store, settings)

    def call():
        jobs.watch_devices()
        checks.look()
        with store.read() as db:
            return list(db.execute(text("SELECT job_id FROM health_check WHERE verdict IS NULL ORDER BY id")).scalars())

    return call


@pytest.fixture
def check(jobs, look, measure):
    """Have a device checked: ``check("a", 100.0)``, or with no energy for one that fails."""

    def call(name, joules):
        open_jobs = look()
        job = next(job for job in (jobs.claim(j, worker=name, queue="a100") for j in open_jobs) if job is not None)
        if joules is None:
            jobs.fail(job.id, job.attempt, name, Failure(reason="error", message="the fan is stuck", retry=True))
        else:
            assert jobs.record(job.id, job.attempt, name, measure(job, energy_joules=joules))
        look()
        return job

    return call


def verdicts(store, name="a"):
    return [(row["verdict"], row["cause"]) for row in series(store, name)[0]["checks"]]


def test_a_new_device_gets_its_baseline_at_once_and_rests_then(store, register, look, check, jobs, settings):
    register("a")
    for joules in (100.0, 101.0, 99.0):
        check("a", joules)
    assert verdicts(store) == [("good", "first check"), ("good", "baseline, 2 of 3"), ("good", "baseline, 3 of 3")]
    assert look() == []
    (device,) = series(store)
    assert device["baseline_joules"] == 100.0
    with store.write() as db:
        db.execute(text("UPDATE health_check SET asked_at = asked_at - 3700"))
    assert len(look()) == 1
    assert verdicts(store)[-1] == (None, "its time has come")
    # No sweep's, no row, no reason to fit again.
    assert control.status(store, None)["jobs"] == dict.fromkeys(JobState, 0)
    assert list(Results(store).rows()) == []
    with store.read() as db:
        assert result_count(db) == 0
        assert db.execute(text("SELECT count(*) FROM measured_row")).scalar() == 0


def test_a_check_is_for_its_device_alone_and_comes_first(register, look, sweep, jobs, store):
    sweep()
    register("a")
    register("b")
    first, second = look()
    jobs.mark_sent([*jobs.due("a100", 9)])
    assert jobs.claim(1, worker="a", queue="a100").id == first  # whatever message it got
    assert jobs.due("a100", 9) == [1]  # which is sent again
    assert jobs.claim(first, worker="b", queue="a100") is None  # it runs
    assert jobs.claim(2, worker="b", queue="a100").id == second
    assert jobs.claim(2, worker="b", queue="a100").id == 2
    register("c", gpu="cpu", queue="cpu", device_uuid="processor")  # an estimate is no health
    assert look() == [first, second]


def test_a_check_comes_before_what_is_urgent(register, look, sweep, jobs, store):
    sweep()
    urgent = sweep(steps=[7])
    control.set_priority(store, urgent.sweep, 5)
    register("a")
    (check,) = look()
    assert jobs.claim(check, worker="a", queue="a100").id == check
    first = jobs.claim(1, worker="a", queue="a100")
    assert first.sweep_id == urgent.sweep
    register("b")
    other = look()[-1]
    assert jobs.claim(2, worker="b", queue="a100").id == other


def test_a_check_goes_to_no_other_device(register, look, jobs, store):
    register("a")
    (job,) = look()
    register("b")
    jobs.mark_sent([job])
    with store.write() as db:
        db.execute(text("UPDATE worker SET state = 'draining' WHERE name = 'b'"))
    assert jobs.claim(job, worker="b", queue="a100") is None
    assert jobs.claim(job, worker="a", queue="a100") is None  # in a moment
    with store.write() as db:
        db.execute(text("UPDATE job SET not_before = 0"))
    assert jobs.due("a100", 9) == [job]
    assert jobs.claim(job, worker="a", queue="a100").id == job


def test_a_driver_that_changes_what_is_drawn_takes_the_device_off(store, sweep, register, check, jobs, measure, farm):
    sweep()
    register("a")
    register("other")
    for joules in (100.0, 100.5, 99.5):
        check("a", joules)
        check("other", joules)
    mine, theirs = jobs.claim(1, worker="a", queue="a100"), jobs.claim(2, worker="other", queue="a100")
    assert jobs.record(1, mine.attempt, "a", measure(mine))
    assert jobs.record(2, theirs.attempt, "other", measure(theirs))
    later = jobs.claim(3, worker="a", queue="a100")
    register("a", facts="driver 2")
    check("a", 110.0)
    assert verdicts(store)[-1] == ("drifted", "changed: driver 1 is now driver 2")
    (off,) = Hosts(store).devices_off()
    assert (off["worker"], off["kind"]) == ("a", "health")
    assert off["reason"].startswith("drifted by +10.0 % (its noise is within 3.0 %): changed: driver 1 is now driver 2")
    assert jobs.record(3, later.attempt, "a", measure(later))  # what ran meanwhile
    flags = {row.measurement_id: row.flags for row in Results(store).rows()}
    assert flags == {"m-1": (SUSPECT,), "m-2": (), "m-3": (SUSPECT,)}
    assert not any(row.spoiled for row in Results(store).rows())  # it informs
    db = ("--db", store.url.render_as_string(hide_password=False))
    listed = farm("results", "list", "--json", *db).out
    assert listed.count(SUSPECT) == 2
    assert "drifted by +10.0 %" in farm("workers", "health", "a", *db).out
    with store.read() as connection:
        rows = connection.execute(text("SELECT measurement_id FROM measured_row WHERE flags LIKE '%suspect%'"))
        assert sorted(rows.scalars()) == ["m-1", "m-3"]
    # Back, by a person: a check comes first, and a good one ends the suspicion.
    assert jobs.claim(4, worker="a", queue="a100") is None
    assert farm("workers", "maintenance", "a", "--end", *db).code == 0
    check("a", 100.2)
    assert verdicts(store)[-1] == ("good", "the last one was bad")
    last = jobs.claim(4, worker="a", queue="a100")
    assert jobs.record(4, last.attempt, "a", measure(last))
    assert {row.flags for row in Results(store).rows() if row.measurement_id == "m-4"} == {()}


def test_two_failures_in_a_row_take_a_device_off_and_a_repair_begins_a_new_series(store, register, check, look, farm):
    register("a")
    check("a", None)
    assert Hosts(store).devices_off() == []
    check("a", 100.0)
    check("a", None)
    assert Hosts(store).devices_off() == []
    check("a", None)
    (off,) = Hosts(store).devices_off()
    assert off["reason"].startswith("two health checks in a row failed: attempt 1: error: the fan is stuck")
    assert look() == []  # while it is off nothing is asked
    Hosts(store).put_back("a", new_baseline=True)
    for joules in (200.0, 200.0, 200.0):
        check("a", joules)
    assert [verdict for verdict, _ in verdicts(store)][-3:] == ["good"] * 3
    document = json.loads(
        farm("workers", "health", "--json", "--db", store.url.render_as_string(hide_password=False)).out
    )
    assert (document["devices"][0]["baseline_joules"], document["devices"][0]["suspect_since"]) == (200.0, None)


def test_a_spoiled_check_has_failed_and_one_whose_worker_left_is_cancelled(store, register, look, jobs, measure):
    register("a")
    (first,) = look()
    job = jobs.claim(first, worker="a", queue="a100")
    assert jobs.record(first, job.attempt, "a", measure(job, flags=("foreign_process",)))
    look()
    assert series(store, "a")[0]["checks"][0]["why"] == "flagged foreign_process"
    (second,) = look()
    job = jobs.claim(second, worker="a", queue="a100")
    assert jobs.record(second, job.attempt, "a", measure(job, energy_joules=-1.0, flags=("simulated",)))
    look()
    assert series(store, "a")[0]["checks"][1]["why"] == "no energy above idle"
    Hosts(store).put_back("a")
    look()
    jobs.leave("a")
    look()
    assert [verdict for verdict, _ in verdicts(store)] == ["failed", "failed", "cancelled"]
    assert look() == []


def test_maintenance_cancels_the_check_that_waits(store, register, look):
    register("a")
    look()
    Hosts(store).take_off("a", "x")
    assert look() == []
    assert [verdict for verdict, _ in verdicts(store)] == ["cancelled"]


@pytest.mark.parametrize(
    ("text", "said"),
    [("sd2", "keys and values"), ("model=nosuch steps=1", "nosuch"), ("model=sd2 gpu=a100", "gpu=a100")],
)
def test_a_configuration_that_cannot_be_is_refused_by_the_name_of_its_setting(text, said):
    with pytest.raises(RequestError) as raised:
        configuration(text, "a100")
    assert raised.value.field == "FARM_HEALTH_CONFIGURATION"
    assert said in str(raised.value)


def test_a_check_that_a_later_version_measured_has_failed_and_ends_no_coordinator(register, jobs, look, measure, store):
    register("a")
    (open_job,) = look()
    job = jobs.claim(open_job, worker="a", queue="a100")
    assert jobs.record(job.id, job.attempt, "a", measure(job))
    with store.write() as db:
        document = db.execute(select(tables.measurement.c.document)).scalar_one()
        db.execute(update(tables.measurement).values(document=document | {"flags": ["a flag of tomorrow"]}))
    look()
    assert verdicts(store)[0] == ("failed", "first check")
    assert "not one of this version" in series(store, "a")[0]["checks"][0]["why"]
