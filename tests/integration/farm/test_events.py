"""Events: written with what they tell of, sent to a real webhook and mail server at least once, secrets kept."""

from __future__ import annotations

import json
import re

import pytest
from sqlalchemy import text

from farm.coordinator.outbox import OutboxTicker, send
from farm.coordinator.watch import CoordinatorWatch
from farm.domain import Failure, RequestError
from farm.domain.event import EventKind
from farm.domain.worker import NO_DEVICE, WorkerInfo
from farm.events import listing
from farm.fits import Fits, Kept
from farm.hosts import Hosts
from farm.receivers import Receivers, message
from farm.settings import load
from farm.store import events
from farm.sweeps import control
from tests.receivers import SECRET, Mailbox, Webhook

HERE = {"gpu": "a100", "queue": "a100", "device_name": "d", "device_uuid": "u", "host": "h", "pid": 1}


@pytest.fixture
def webhook():
    server = Webhook()
    yield server
    server.close()


@pytest.fixture
def mailbox():
    server = Mailbox()
    yield server
    server.close()


@pytest.fixture
def settings(url, home, webhook):
    return load(
        database_url=url, max_attempts=1, retry_seconds=0.0, events_urls=webhook.url, events_gather_seconds=0.0,
        lease_seconds=0.001, coordinator_gone_seconds=0.001,
    )  # fmt: skip


def kinds(store):
    return sorted(row["kind"] for row in listing(store, 100))


def fail(jobs, job_id, message="no"):
    job = jobs.claim(job_id, worker="w", queue="a100")
    jobs.fail(job_id, job.attempt, "w", Failure(reason="error", message=message, retry=False))


def test_what_happens_is_written_once_with_it(store, jobs, sweep, measure):
    submitted = sweep(name="weekend")
    jobs.register(WorkerInfo(name="w", code_version="1", **HERE))
    for job_id in (1, 2, 3):
        job = jobs.claim(job_id, worker="w", queue="a100")
        assert jobs.record(job_id, 1, "w", measure(job))
        assert jobs.tell_of_done_sweeps() == 0
    fail(jobs, 4, "nul \0 and\nlines")
    assert (jobs.tell_of_done_sweeps(), jobs.tell_of_done_sweeps()) == (1, 0)
    failed, done = sorted(listing(store, 9), key=lambda row: row["kind"])
    assert failed["document"] | {"reason": ""} == {
        "job": 4, "sweep": submitted.sweep, "model": "flux", "gpu": "a100", "reason": "",
    }  # fmt: skip
    assert failed["text"] == "job 4, flux on a100, failed for good: attempt 1: error: nul ? and lines"
    assert done["text"] == "sweep weekend is done: 3 measured, 1 failed for good"
    control.retry(store, submitted.sweep)
    assert jobs.tell_of_done_sweeps() == 0
    fail(jobs, 4)
    assert jobs.tell_of_done_sweeps() == 1
    assert kinds(store) == ["job_failed", "job_failed", "sweep_done", "sweep_done"]


def test_devices_spools_and_fits(store, jobs):
    jobs.register(WorkerInfo(name="w", code_version="1", **HERE))
    jobs.report("w", state=NO_DEVICE, job_id=None, spool_waiting=2)
    for _ in range(3):
        jobs.watch_devices()
    assert kinds(store) == ["device_off", "spool_waiting"]
    jobs.report("w", state="idle", job_id=None, spool_waiting=0)
    jobs.watch_devices()
    jobs.report("w", state=NO_DEVICE, job_id=None, spool_waiting=0)
    jobs.watch_devices()
    Hosts(store).take_off("w", "a fan rattles")
    texts = [row["text"] for row in listing(store, 9) if row["kind"] == "device_off"]
    assert len(texts) == 3
    assert "w takes no jobs: maintenance: a fan rattles" in texts
    assert "w takes no jobs: no device: its worker does not find the device" in texts
    fits = Fits(store)
    with store.write() as db:
        db.execute(text("UPDATE refit_state SET token = 1"))
    assert fits.finish(1, covered=1, kept=[Kept("work", None), Kept("paper", 7, "it errs more")])
    assert "fit_worse" in kinds(store)


def test_an_absent_coordinator_is_noticed_by_others_under_one_id(store, jobs, sweep, settings, webhook):
    sweep()
    jobs.register(WorkerInfo(name="w", code_version="1", **HERE))
    jobs.report("w", state="idle", job_id=None, spool_waiting=0)
    assert kinds(store) == []  # there never was one
    jobs.touch_coordinator("c")
    with store.write() as db:
        db.execute(text("UPDATE coordinator SET seen_at = seen_at - 100"))
    for _ in range(3):
        jobs.report("w", state="idle", job_id=None, spool_waiting=0)
    (event,) = listing(store, 9)
    assert event["kind"] == "coordinator_gone"
    watch = CoordinatorWatch(settings)
    receivers = Receivers.of(settings)
    for _ in range(3):
        watch.look(receivers)
    assert len(webhook.posted) == 1
    assert event["id"] in webhook.text


def test_events_reach_webhook_and_mail_and_each_receiver_once(store, url, webhook, mailbox):
    settings = load(database_url=url, events_urls=f"{webhook.url}\n {mailbox.url}", events_gather_seconds=0.0)
    with store.write() as db:
        ids = [events.record(db, EventKind.TEST, f"number {n}", {"n": n}, key=str(n)) for n in range(30)]
        again = [events.record(db, EventKind.TEST, "again", {}, key=str(n)) for n in range(30)]
        events.record(db, EventKind.JOB_FAILED, "another kind", {})
    assert ids == again
    webhook.status = 503
    assert send(settings) == 0
    assert webhook.posted == []
    assert all(name in mailbox.text for name in ids)
    letters = len(mailbox.letters)
    assert letters == 2  # a message a kind
    waiting = [row for row in listing(store, 99) if row["sent_at"] is None]
    assert len(waiting) == 31
    assert {row["error"] for row in waiting} == {"JSON (number 1): not taken"}
    assert send(settings) == 0  # not at once
    with store.write() as db:
        db.execute(text("UPDATE event SET not_before = 0"))
    webhook.status = 200
    assert send(settings) == 31
    assert set(re.findall(r"event (\w{32}) test", webhook.text)) == set(ids)
    assert len(mailbox.letters) == letters  # it had them
    assert all(row["sent_at"] for row in listing(store, 99))
    assert send(settings) == 0


def test_what_comes_in_a_minute_goes_together(store, url, webhook):
    settings = load(database_url=url, events_urls=webhook.url, events_gather_seconds=60.0)
    for number in range(3):
        with store.write() as db:
            events.record(db, EventKind.TEST, f"number {number}", {})
        send(settings)
    assert len(webhook.posted) == 1
    with store.write() as db:
        db.execute(text("UPDATE event SET sent_at = sent_at - 61"))
    assert send(settings) == 2
    assert len(webhook.posted) == 2


def test_news_of_last_month_is_none(store, settings, webhook):
    with store.write() as db:
        events.record(db, EventKind.TEST, "old", {})
        db.execute(text("UPDATE event SET created_at = created_at - 2600000"))
    assert send(settings) == 0
    assert webhook.posted == []


def test_a_receiver_that_is_none_is_refused_and_no_secret_is_shown(farm, home, monkeypatch, tmp_path, webhook, caplog):
    monkeypatch.setenv("FARM_EVENTS_URLS", f"{webhook.url} nosuch://{SECRET}@x")
    for command in (["events", "test"], ["coordinator"]):
        refused = farm(*command)
        assert (refused.code, refused.err.count("\n")) == (2, 1)
        assert "FARM_EVENTS_URLS: number 2 (not shown)" in refused.err
        assert SECRET not in refused.err
    monkeypatch.delenv("FARM_EVENTS_URLS")
    assert farm("events", "test").code == 2
    file = tmp_path / "receivers"
    file.write_text(webhook.url + "\n")
    monkeypatch.setenv("FARM_EVENTS_URLS_FILE", str(file))
    done = farm("events", "test", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["event"] in webhook.text
    webhook.status = 500
    failed = farm("events", "test")
    assert failed.code == 1
    assert SECRET not in failed.err + failed.out + caplog.text
    with pytest.raises(RequestError) as raised:
        OutboxTicker(load(events_urls=f"nosuch://{SECRET}"))
    assert SECRET not in str(raised.value)


def test_a_message_names_every_event():
    rows = [{"id": f"{n:032x}", "kind": "test", "text": f"number {n}"} for n in range(200)]
    title, body = message(rows)
    assert title == "joulefarm: number 0 and 199 more"
    assert len(re.findall(r"event \w{32} test", body)) == 200
