"""Jobs of a sweep of higher priority run first, also before what was sent already; who changed it is noted."""

from __future__ import annotations

import json

import pytest

from farm.store import leases
from farm.sweeps import control
from tests.processes import wait_until
from tests.quick import sweep_text


def sent(jobs, queue: str = "a100", limit: int = 100) -> list[int]:
    """What the coordinator sends next, marked as sent."""
    due = jobs.due(queue, limit)
    jobs.mark_sent(due)
    return due


@pytest.fixture
def sweep_of(sweep):
    """Submit a grid of one model and GPU type with a priority."""

    def call(priority: int, **keys: object) -> int:
        return sweep(**{"models": ["sd2"], "priority": priority, **keys}).sweep

    return call


def test_a_larger_number_goes_first(jobs, sweep_of) -> None:
    sweep_of(0, steps=[1, 2])
    sweep_of(5, steps=[3, 4])
    sweep_of(-5, steps=[5, 6])
    sweep_of(5, steps=[7])
    assert jobs.due("a100", 100) == [3, 4, 7, 1, 2, 5, 6]
    assert jobs.due("a100", 2) == [3, 4]


def test_it_can_be_changed_while_the_sweep_waits(store, jobs, sweep_of) -> None:
    first, second = sweep_of(0, steps=[1, 2]), sweep_of(0, steps=[3, 4])
    assert control.set_priority(store, second, 1) == 2
    assert jobs.due("a100", 100) == [3, 4, 1, 2]
    assert control.set_priority(store, first, 7) == 2
    assert jobs.due("a100", 100) == [1, 2, 3, 4]
    assert control.status(store, first)["jobs"]["queued"] == 2


def test_a_shared_job_has_the_highest_of_those_who_want_it_now(store, jobs, sweep_of) -> None:
    sweep_of(0, steps=[9])
    low = sweep_of(-1, steps=[1, 2])
    alone, shared = jobs.due("a100", 100)[1:]
    high = sweep_of(3, steps=[_steps_of(store, shared)])
    assert jobs.due("a100", 100) == [shared, 1, alone]
    control.pause(store, high)
    assert jobs.due("a100", 100) == [1, alone, shared]
    control.resume(store, high)
    assert jobs.due("a100", 100) == [shared, 1, alone]
    control.set_priority(store, low, 1)
    assert jobs.due("a100", 100) == [shared, alone, 1]
    control.cancel(store, high)
    assert jobs.due("a100", 100) == [alone, shared, 1]


def _steps_of(store, job_id: int) -> int:
    with store.read() as db:
        return leases.load_locked(db, job_id).job.configuration.steps


def test_what_was_sent_before_does_not_hold_it_back(store, jobs, sweep_of, measure) -> None:
    """Whatever message a worker takes, it claims the job of the highest priority that waits on its queue."""
    sweep_of(0, steps=[1, 2, 3])
    assert sent(jobs) == [1, 2, 3]
    sweep_of(1, steps=[4, 5])
    assert sent(jobs, limit=1) == [4]  # its message stands behind three others; that of 5 is not even sent
    taken = [jobs.claim(message, worker=f"w{message}", queue="a100").id for message in (1, 2)]
    assert taken == [4, 5]
    assert jobs.due("a100", 100) == [1, 2]  # their messages are spent: sent again
    assert jobs.claim(4, worker="w", queue="a100") is None  # its own message came at last
    assert jobs.claim(3, worker="w3", queue="a100").id == 3


def test_who_must_not_do_the_urgent_one_does_what_its_message_says(jobs, sweep_of) -> None:
    sweep_of(0, steps=[1])
    sweep_of(1, steps=[4])
    assert jobs.claim(1, worker="w", queue="a100", objection=lambda job: "no" if job.id == 2 else "").id == 1


def test_of_paused_backing_off_and_other_queues_jobs_none_is_taken_instead(store, jobs, sweep_of) -> None:
    sweep_of(0, steps=[1, 2])
    paused, far = sweep_of(1, steps=[4]), sweep_of(1, steps=[5], gpus=["h100"])
    control.pause(store, paused)
    assert jobs.claim(1, worker="w", queue="a100").id == 1
    assert jobs.claim(4, worker="v", queue="h100").id == 4
    assert far == 3


def test_every_command_says_it_and_who_changed_it(farm, store, sweep_of) -> None:
    url = store.url.render_as_string(hide_password=False)
    first = sweep_of(2, steps=[1, 2])
    done = json.loads(farm("sweep", "priority", str(first), "-3", "--db", url, "--json").out)
    assert (done["sweep"], done["priority"], done["jobs"]) == (first, -3, 2)
    assert json.loads(farm("sweep", "list", "--db", url, "--json").out)["sweeps"][0]["priority"] == -3
    assert json.loads(farm("sweep", "status", str(first), "--db", url, "--json").out)["priority"] == -3
    assert "priority -3" in farm("sweep", "status", str(first), "--db", url).out
    shown = json.loads(farm("sweep", "show", str(first), "--db", url, "--json").out)
    assert [(act["action"], act["detail"]["priority"]) for act in shown["actions"]] == [("submit", 2), ("priority", -3)]
    refused = farm("sweep", "priority", str(first), "1001", "--db", url)
    assert (refused.code, refused.err.count("\n")) == (2, 1)


def test_a_worker_at_work_turns_to_the_urgent_jobs_at_once(running_farm, farm) -> None:
    """With a broker, a coordinator and a worker: long after a backlog was sent, those submitted last run next."""
    backlog = running_farm.submit(gpus=["a100"], count=40)
    running_farm.worker("a100", speed=20.0)
    wait_until(lambda: running_farm.measured(backlog) > 8, what="the backlog under way")
    spec = running_farm.home / "urgent.yaml"
    spec.write_text(sweep_text(range(101, 104)))
    assert farm("sweep", "submit", spec, "--priority", "9").code == 0
    urgent = running_farm.column("SELECT id FROM job WHERE rank = -9")
    began = running_farm.column("SELECT max(id) FROM attempt")[0]
    assert len(urgent) == 3
    running_farm.wait_done(urgent)
    order = running_farm.column("SELECT job_id FROM attempt WHERE id > :began ORDER BY id", began=began)
    # One more of the others may have been claimed between the submission and the look at the attempts.
    assert [job for job in order[:4] if job in urgent] == urgent
    assert running_farm.measured(backlog) < len(backlog)
