"""One round of the heartbeat thread, in isolation: what it says, and what it does with the answers."""

import os
import signal
import threading
from types import SimpleNamespace

import pytest

from farm.domain import OperationError
from workers.device.gauge import Reading
from workers.device.identity import WorkerIdentity
from workers.runtime.database_retry import DatabaseRetry
from workers.runtime.eligibility import Eligibility
from workers.runtime.heartbeat import HeartbeatThread
from workers.runtime.interrupt import Interrupt


class Jobs:
    """Answers as it was told to, and notes what it was asked."""

    def __init__(self):
        self.lease = self.registered = True
        self.drain = False
        self.calls = []

    def heartbeat(self, job_id, attempt):
        self.calls.append(("heartbeat", job_id, attempt))
        return self.lease

    def report(self, name, *, state, job_id, spool_waiting, power_watts, temperature_celsius):
        self.reading = (power_watts, temperature_celsius)
        self.calls.append(("report", state, job_id, spool_waiting))
        return self.registered

    def register(self, info):
        self.calls.append(("register", info.name, info.spool_waiting))

    def drain_requested(self, name):
        return self.drain


@pytest.fixture
def jobs():
    return Jobs()


@pytest.fixture
def interrupt(monkeypatch):
    fenced = []
    made = Interrupt()
    monkeypatch.setattr(made, "fence", fenced.append)
    made.fenced_jobs = fenced
    return made


@pytest.fixture
def heartbeat(jobs, interrupt, home):
    delivery = SimpleNamespace(waiting=3, drain=lambda: jobs.calls.append(("drain",)))
    identity = WorkerIdentity.plain("a100", 0, home, simulate=True)
    eligibility = Eligibility(identity, jobs)
    return HeartbeatThread(
        identity,
        jobs,
        delivery,
        eligibility,
        interrupt,
        lambda: Reading(61.5, 41),
        period_seconds=1.0,
        closing=threading.Event(),
    )


JOB = SimpleNamespace(id=7, attempt=2)


def test_an_idle_worker_keeps_no_lease(heartbeat, jobs):
    heartbeat.beat()
    assert jobs.calls == [("drain",), ("report", "idle", None, 3)]
    assert jobs.reading == (61.5, 41)


def test_a_lease_is_kept_while_its_job_runs(heartbeat, jobs, interrupt):
    with heartbeat.keeping(JOB):
        heartbeat.beat()
    heartbeat.beat()
    assert jobs.calls[:3] == [("heartbeat", 7, 2), ("drain",), ("report", "busy", 7, 3)]
    assert jobs.calls[-1] == ("report", "idle", None, 3)
    assert interrupt.fenced_jobs == []


def test_a_lost_lease_interrupts_the_job(heartbeat, jobs, interrupt):
    jobs.lease = False
    with heartbeat.keeping(JOB):
        heartbeat.beat()
    assert interrupt.fenced_jobs == [JOB]


def test_a_worker_that_the_database_forgot_registers_again(heartbeat, jobs):
    jobs.registered = False
    heartbeat.beat()
    assert jobs.calls[-1][0] == "register"


def test_a_request_to_drain_is_passed_to_the_parent_once(heartbeat, jobs, interrupt, monkeypatch):
    signals = []
    monkeypatch.setattr(os, "kill", lambda *arguments: signals.append(arguments))
    jobs.drain = True
    heartbeat.beat()
    heartbeat.beat()
    assert signals == [(os.getppid(), signal.SIGTERM)]
    assert interrupt.draining
    assert jobs.calls[-1][1] == "draining"


def test_whoever_adopts_a_worker_whose_parent_was_killed_is_not_asked_to_end(heartbeat, jobs, interrupt, monkeypatch):
    signals = []
    monkeypatch.setattr(os, "kill", lambda *arguments: signals.append(arguments))
    monkeypatch.setattr(os, "getppid", lambda: 1)
    jobs.drain = True
    heartbeat.beat()
    assert signals == []
    assert interrupt.draining


@pytest.mark.parametrize("leaving", ["stopping", "closing"])
def test_a_database_that_is_away_is_waited_for_until_the_worker_stops(leaving):
    interrupt, closing, tries = Interrupt(), threading.Event(), []

    def away():
        tries.append(1)
        if len(tries) == 2:
            interrupt.stopping = leaving == "stopping"
            closing.set() if leaving == "closing" else None
        raise OperationError("away")

    with pytest.raises(OperationError):
        DatabaseRetry("w", interrupt, closing)(away)
    assert len(tries) == 2
