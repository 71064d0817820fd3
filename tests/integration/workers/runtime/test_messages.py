"""Whoever has the broker's password writes into its queues: nothing changes in SQL, and the worker goes on."""

from __future__ import annotations

import base64
import json
import pickle
import time
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import text

from farm.broker.app import MEASURE
from farm.coordinator.dispatcher import POLL_SECONDS
from tests.integration.farm_fixture import wait_until
from workers.runtime.message_filter.redis import job_message


@pytest.fixture
def farm(running_farm):
    return running_farm


@pytest.fixture
def broker(farm):
    with Redis.from_url(farm.broker.url) as client:
        yield client


def body(content) -> str:
    return base64.b64encode(content if isinstance(content, bytes) else json.dumps(content).encode()).decode()


def envelope(number: int, *, headers=None, properties=None, **changes) -> str:
    made = job_message(number, "a100") | changes
    made["headers"] = made["headers"] | (headers or {})
    made["properties"] = made["properties"] | (properties or {})
    return json.dumps(made)


def attacks(job: int, marker: Path) -> list[str | bytes]:
    """Messages none of which is like the coordinator's, though most name a job that waits to be measured."""

    class Touch:
        def __reduce__(self):
            return (Path.touch, (marker,))

    unpickled = body(pickle.dumps(Touch()))
    bodies = [
        [[-job], {}, {}], [[0], {}, {}], [[True], {}, {}], [[float(job)], {}, {}], [[str(job)], {}, {}],
        [[10**30], {}, {}], [[None], {}, {}], [[{"id": job}], {}, {}], [[job, job], {}, {}], [[], {}, {}],
        [[job], {"worker": "me"}, {}], {"args": [job]}, ["1; DROP TABLE job"], [["x" * 3_000_000], {}, {}],
    ]  # fmt: skip
    return [
        *(envelope(job, body=body(b)) for b in bodies),
        envelope(job, body=body(b"[" * 100_000 + b"]" * 100_000)),
        envelope(job, body=body(b"\xff\xfe")),
        envelope(job, body="%%%"),
        envelope(job, body={"not": "text"}),
        *(
            envelope(job, headers={"task": task}, body=body([[job], {}, {}]))
            for task in ("os.system", "celery.backend_cleanup", "celery.starmap", "celery.group", MEASURE + ".x", 7)
        ),
        envelope(job, headers={"task": "celery.map"}, body=body([[{"task": MEASURE}, [[job]]], {}, {}])),
        envelope(job, **{"content-type": "application/x-python-serialize", "body": unpickled}),
        envelope(job, **{"content-type": "application/x-yaml", "body": body(b"!!python/object/apply:os.abort []")}),
        envelope(job, headers={"compression": "application/x-gzip"}),
        "", "null", "[]", "7", "{}", '"x"', "{", "[" * 200_000, '{"a":' * 200_000, b"\xff\x00\xfe",
        json.dumps({"headers": {"task": MEASURE}, "body": 1}),
        "x" * 5_000_000,
    ]  # fmt: skip


def quietly_queued(farm, broker, gpu: str) -> int:
    """A job that any worker of its type may claim, of which the coordinator says nothing for now."""
    (job,) = farm.submit(gpus=[gpu], count=1)
    with farm.store.write() as db:
        db.execute(text("UPDATE job SET sent_at = 9e9 WHERE id = :i"), {"i": job})
    time.sleep(2 * POLL_SECONDS)  # it may have been sending just now
    with farm.store.write() as db:
        db.execute(text("UPDATE job SET sent_at = 9e9 WHERE id = :i"), {"i": job})
    broker.delete(gpu)
    return job


def ended(farm, job: int) -> list[str]:
    return farm.column('SELECT "end" FROM attempt WHERE job_id = :i ORDER BY number', i=job)


def test_nothing_injected_changes_anything_and_the_worker_goes_on(farm, broker, tmp_path):
    (done,) = farm.submit(gpus=["a100"], count=1)
    worker = farm.worker("a100")
    farm.wait_done([done])
    job, other = quietly_queued(farm, broker, "a100"), quietly_queued(farm, broker, "a4000")
    before = farm.rows("SELECT * FROM job ORDER BY id"), farm.rows("SELECT * FROM attempt ORDER BY id")
    messages = attacks(job, tmp_path / "executed")
    for message in messages:
        broker.lpush("a100", message)
    for number in (done, done, other, 2**31 - 1):  # replays, another queue's, one that is not there
        broker.lpush("a100", envelope(number))
    wait_until(lambda: broker.llen("a100") == 0 and not broker.exists("unacked"), what="the worker to take all of it")
    assert (farm.rows("SELECT * FROM job ORDER BY id"), farm.rows("SELECT * FROM attempt ORDER BY id")) == before
    broker.lpush("a100", envelope(job))
    farm.wait_done([job])
    assert ended(farm, job) == ["accepted"]
    assert worker.poll() is None
    assert not (tmp_path / "executed").exists()
    log = farm.log("a100-0").read_text()
    assert "Traceback" not in log
    assert len(log) < 20_000  # none of it is repeated
    assert log.count("was dropped") == len(messages)


def test_a_message_that_asks_for_more_only_names_its_job(farm, broker):
    """Limits that would kill the measurement, a time that never comes, calls afterwards: all of it is ignored."""
    worker = farm.worker("a100", speed=3.0)
    job = quietly_queued(farm, broker, "a100")
    call = {"task": MEASURE, "args": [job], "kwargs": {}, "options": {"queue": "elsewhere"}, "subtask_type": None}
    headers = {"timelimit": [0.1, 0.05], "eta": "2100-01-01T00:00:00", "expires": "2001-01-01T00:00:00", "retries": -1}
    content = [[job], {}, {"callbacks": [call], "errbacks": [call], "chain": [call], "chord": None}]
    properties = {"delivery_tag": ["no text"], "reply_to": "elsewhere", "delivery_info": "nowhere", "priority": "x"}
    broker.lpush("a100", envelope(job, headers=headers, properties=properties, body=body(content)))
    farm.wait_done([job])
    assert ended(farm, job) == ["accepted"]
    assert worker.poll() is None
    assert not broker.exists("elsewhere")


def test_rubbish_in_the_client_library_s_own_keys_does_no_harm(farm, broker):
    worker = farm.worker("a100")
    for name, value in (("x", "no json"), ("y", "[" * 200_000), ("z", json.dumps([{}, "", "a100"]))):
        broker.hset("unacked", name, value)
        broker.zadd("unacked_index", {name: 1})
    broker.publish("/0.celery.pidbox", json.dumps({"method": "shutdown", "arguments": {}, "destination": None}))
    broker.lpush("celery.pidbox", json.dumps({"method": "shutdown"}))
    farm.wait_done(farm.submit(gpus=["a100"], count=2))
    assert worker.poll() is None


TAMPERED = [
    ("configuration", "model", "../../etc/passwd"),
    ("configuration", "model", "sd2'; DROP TABLE job; --"),
    ("configuration", "precision", "fp64"),
    ("configuration", "steps", 10**9),
    ("configuration", "prompts", -1),
    ("configuration", "width", 7),
    ("configuration", "gpu", "a4000"),
    ("configuration", "weights", "https://example.org/weights.pkl"),
    ("job", "prompts_sha256", "../prompts"),
]


def test_tampered_jobs_are_refused_as_values(farm):
    jobs = farm.submit(gpus=["a100"], count=len(TAMPERED))
    with farm.store.write() as db:
        for job, (table, column, value) in zip(jobs, TAMPERED, strict=True):
            where = "id = :i" if table == "job" else "id = (SELECT configuration_id FROM job WHERE id = :i)"
            db.execute(text(f"UPDATE {table} SET {column} = :v WHERE {where}"), {"v": value, "i": job})
    worker = farm.worker("a100")
    farm.wait_done(farm.submit(gpus=["a100"], count=1))
    # Another worker may have that model, or measure that type: refused here, and offered to others with the reason.
    elsewhere = {job for job, (_, column, _) in zip(jobs, TAMPERED, strict=True) if column in ("gpu", "model")}
    refused = lambda: set(farm.column("SELECT id FROM job WHERE refusals > 0 AND reason IS NOT NULL"))  # noqa: E731
    wait_until(lambda: refused() == elsewhere, what="the refusals")
    wait_until(lambda: all(ended(farm, job) for job in set(jobs) - elsewhere), what="an answer for each other")
    for job, (_, column, _) in zip(jobs, TAMPERED, strict=True):
        assert ended(farm, job) == ([] if job in elsewhere else ["infeasible"]), column
        source = "reason FROM job WHERE id" if job in elsewhere else "message FROM attempt WHERE job_id"
        (why,) = farm.column(f"SELECT {source} = :i", i=job)
        assert {"gpu": "a4000", "prompts_sha256": "prompt list"}.get(column, column) in why
    assert worker.poll() is None
    assert farm.measured(jobs) == 0
    assert "Traceback" not in farm.log("a100-0").read_text()
