"""A device under maintenance takes no jobs, whatever its worker does, and everybody is told why."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import text

from farm.domain import Failure, RequestError
from farm.domain.worker import WorkerInfo
from farm.hosts import Hosts
from farm.store import health
from farm.sweeps import control

HERE = {"gpu": "a100", "queue": "a100", "device_name": "d", "host": "h", "pid": 1, "code_version": "1"}


@pytest.fixture
def register(jobs):
    def call(name, **changes):
        jobs.register(WorkerInfo(name=name, **(HERE | {"device_uuid": f"GPU-{name}"} | changes)))

    return call


@pytest.fixture
def hosts(store):
    return Hosts(store)


def claim(jobs, job_id, worker):
    return jobs.claim(job_id, worker=worker, queue="a100")


def test_a_device_that_is_off_takes_nothing_and_leaves_it_to_others(jobs, sweep, register, hosts):
    sweep()
    register("a")
    register("b")
    jobs.mark_sent([1, 2, 3, 4])
    assert jobs.due("a100", 9) == []
    assert hosts.take_off("a", "a fan rattles")["kind"] == "maintenance"
    assert claim(jobs, 1, "a") is None
    assert jobs.due("a100", 9) == [1]  # its message is sent again at once
    assert claim(jobs, 1, "b").id == 1
    register("a")  # the worker was restarted, and the device is off all the same
    assert claim(jobs, 2, "a") is None
    assert jobs.device_off("a") == "maintenance: a fan rattles"
    assert jobs.device_off("b") is None
    jobs.leave("a")
    assert [row["worker"] for row in hosts.devices_off()] == ["a"]
    register("a2", device_uuid="GPU-a")  # under another name, too
    assert claim(jobs, 2, "a2") is None
    assert hosts.put_back("a2")["reason"] == "a fan rattles"
    assert claim(jobs, 2, "a2").id == 2
    assert hosts.devices_off() == []


def test_what_runs_ends_and_what_a_dead_child_held_goes_to_others(jobs, sweep, register, hosts, measure):
    sweep()
    register("a")
    job = claim(jobs, 1, "a")
    other = claim(jobs, 2, "a")
    hosts.take_off("a", "soon")
    assert jobs.heartbeat(1, job.attempt)
    assert jobs.record(1, job.attempt, "a", measure(job))
    assert claim(jobs, 2, "a") is None  # its child died: the message comes again
    assert 2 in jobs.due("a100", 9)
    assert not jobs.heartbeat(2, other.attempt)


def test_every_stretch_in_which_a_device_was_off_is_known(store, jobs, register, hosts):
    def an_hour_later():
        with store.write() as db:
            db.execute(text("UPDATE event SET created_at = created_at - 3600"))
            db.execute(text("UPDATE action SET at = at - 3600"))

    register("a")
    register("b")
    hosts.take_off("b", "dust")
    an_hour_later()
    hosts.put_back("b")
    with store.write() as db:
        db.execute(text("""UPDATE action SET detail = '{"worker": "b"}'"""))  # as earlier versions kept it
    hosts.take_off("a", "a fan rattles")
    an_hour_later()
    hosts.take_off("a", "it rattles still")  # another reason is another stretch
    an_hour_later()
    jobs.leave("a")
    register("a2", device_uuid="GPU-a")  # under another name, too
    hosts.put_back("a2")
    hosts.put_back("a2")  # it was not off
    an_hour_later()
    with store.write() as db:
        health.take_off(db, "GPU-a", "drifted")
    an_hour_later()
    found = hosts.stretches_off(24 * 3600)
    spans = [(row["started"] / 3600, row["ended"] and row["ended"] / 3600) for row in found]
    assert [(row["device_uuid"], row["kind"], row["reason"]) for row in found] == [
        ("GPU-b", "maintenance", "dust"),
        ("GPU-a", "maintenance", "a fan rattles"),
        ("GPU-a", "maintenance", "it rattles still"),
        ("GPU-a", "health", "drifted"),
    ]
    assert [end for _, end in spans] == [
        pytest.approx(4, abs=0.1),
        pytest.approx(3, abs=0.1),
        pytest.approx(2, abs=0.1),
        None,
    ]
    assert [start for start, _ in spans] == pytest.approx([5, 4, 3, 1], abs=0.1)
    assert [row["reason"] for row in hosts.stretches_off(2.5 * 3600)] == ["it rattles still", "drifted"]


def test_everybody_is_told_why(farm, store, jobs, sweep, register, hosts):
    sweep()
    register("a")
    register("b")
    db = ("--db", store.url.render_as_string(hide_password=False))
    done = farm("workers", "maintenance", "a", "--reason", "a fan rattles", "--json", *db)
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert (document["off"], document["worker"], document["reason"]) == (True, "a", "a fan rattles")
    assert document["since"].endswith("+00:00")
    jobs.touch_coordinator("c")
    (waits,) = control.status(store, None)["waiting"]
    assert waits["why"] == "their turn comes: 0 of 1 worker(s) at work; a is off (maintenance: a fan rattles)"
    assert not waits["stuck"]
    assert farm("workers", "maintenance", "b", *db).code == 0
    (waits,) = control.status(store, None)["waiting"]
    assert waits["why"].startswith("every device of the queue a100 is off: a (maintenance: a fan rattles); b (")
    assert waits["stuck"]
    listed = json.loads(farm("workers", "list", "--json", *db).out)
    assert [(w["name"], w["off_kind"], w["off_reason"]) for w in listed["workers"]] == [
        ("a", "maintenance", "a fan rattles"),
        ("b", "maintenance", "no reason given"),
    ]
    assert "off for maintenance: a fan rattles" in farm("workers", "list", *db).out
    jobs.leave("a")
    assert "gone      off for maintenance: a fan rattles" in farm("workers", "list", *db).out
    doctor = farm("doctor", *db).out
    assert "a is off for maintenance: a fan rattles" in doctor
    back = farm("workers", "maintenance", "a", "--end", *db)
    assert back.out == "a takes jobs (was off for maintenance: a fan rattles)\n"
    assert farm("workers", "maintenance", "a", "--end", *db).out == "a takes jobs (it was not off)\n"


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["no-such"], "worker: no-such: known: a"),
        (["a", "--reason", " "], "--reason: "),
        (["a", "--end", "--reason", "x"], "--reason: x: goes without --end"),
        (["a", "--new-baseline"], "--new-baseline: on: goes with --end"),
    ],
)
def test_what_cannot_be_asked(farm, store, register, argv, said):
    register("a")
    refused = farm("workers", "maintenance", *argv, "--db", store.url.render_as_string(hide_password=False))
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert said in refused.err


def test_a_job_that_failed_while_its_device_was_off_waits_for_others(jobs, sweep, register, hosts):
    sweep()
    register("a")
    job = claim(jobs, 1, "a")
    hosts.take_off("a", "x")
    jobs.fail(1, job.attempt, "a", Failure(reason="error", message="no", retry=True))
    assert claim(jobs, 1, "a") is None
    with pytest.raises(RequestError, match="known: a"):
        hosts.put_back("b")
