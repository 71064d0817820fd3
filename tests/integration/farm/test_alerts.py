"""Every state that a person must know is in status, workers, doctor, page and metrics, in the same words."""

from __future__ import annotations

import html
import json

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from farm.alerts import KINDS
from farm.domain import Failure
from farm.domain.worker import WorkerInfo
from farm.hosts import Hosts
from farm.settings import load
from farm.web.app import create_app
from farm.web.database import Database

HERE = {"queue": "a100", "gpu": "a100", "device_name": "d", "host": "h", "pid": 1, "code_version": "1"}


@pytest.fixture
def troubled(store, jobs, sweep) -> int:
    """A farm in which everything is the matter; the sweep that suffers."""
    submitted = sweep()
    for name in ("off", "suspect", "silent", "full"):
        jobs.register(WorkerInfo(name=name, device_uuid=f"GPU-{name}", **HERE))
    jobs.register(WorkerInfo(name="elsewhere", device_uuid="GPU-e", **(HERE | {"queue": "a6000", "gpu": "a6000"})))
    job = jobs.claim(1, worker="full", queue="a100")
    jobs.fail(1, job.attempt, "full", Failure(reason="infeasible", message="no such weights", retry=False))
    jobs.report("full", state="idle", job_id=None, spool_waiting=3)
    for name in ("off", "elsewhere"):
        Hosts(store).take_off(name, "a fan rattles")
    with store.write() as db:
        db.execute(text("UPDATE device SET suspect_since = 1e9 WHERE uuid = 'GPU-suspect'"))
        db.execute(text("UPDATE worker SET seen_at = seen_at - 600 WHERE name IN ('silent', 'suspect')"))
    return int(submitted.sweep)


def test_every_state_is_said_everywhere_in_the_same_words(troubled, store, farm, url) -> None:
    expected = {
        ("coordinator_gone", "", 1), ("jobs_failed", "", 1), ("device_off", "off", 1), ("device_off", "elsewhere", 1),
        ("device_suspect", "suspect", 1), ("worker_silent", "silent", 1), ("worker_silent", "suspect", 1),
        ("spool_waiting", "full", 3), ("jobs_wait", "a100", 3),
    }  # fmt: skip
    assert {kind for kind, *_ in expected} == set(KINDS)
    listed = json.loads(farm("workers", "list", "--db", url, "--json").out)["alerts"]
    assert {(row["kind"], row["subject"], row["count"]) for row in listed} == expected
    status = json.loads(farm("sweep", "status", "--db", url, "--json").out)["alerts"]
    assert status == listed
    one = json.loads(farm("sweep", "status", str(troubled), "--db", url, "--json").out)["alerts"]
    assert {row["subject"] for row in listed} - {row["subject"] for row in one} == {"elsewhere"}  # of another type

    checks = json.loads(farm("doctor", "--db", url, "--json").out)["checks"]
    found = {(row["check"], row["found"], row["remedy"]) for row in checks}
    assert {(row["kind"].replace("_", " "), row["text"], row["remedy"]) for row in listed} <= found
    settings = load(database_url=url)
    with TestClient(create_app(Database(settings), settings), base_url="http://127.0.0.1") as page:
        devices = html.unescape(page.get("/devices").text)
        assert all(f"{row['text']}: {row['remedy']}" in devices for row in listed)
        assert f"{len(listed)} to see to" in devices
        assert page.get("/api/status").json()["status"]["alerts"] == listed
        assert page.get("/api/workers").json()["alerts"] == listed
        shown = html.unescape(page.get(f"/sweeps/{troubled}").text)
        assert all(row["text"] in shown for row in one if not row["kind"].startswith("jobs_"))
        families = {family.name: family for family in text_string_to_metric_families(page.get("/metrics").text)}
    counted = {sample.labels["kind"]: sample.value for sample in families["joulefarm_alerts"].samples}
    assert counted == {kind: sum(row["kind"] == kind for row in listed) for kind in KINDS}
    for words in (["sweep", "status"], ["workers", "list"]):
        said = farm(*words, "--db", url).out
        assert all(row["subject"] in said for row in listed)


def test_a_farm_that_is_well_has_none(store, jobs, farm, url) -> None:
    jobs.register(WorkerInfo(name="w", device_uuid="GPU-w", **HERE))
    assert json.loads(farm("workers", "list", "--db", url, "--json").out)["alerts"] == []
