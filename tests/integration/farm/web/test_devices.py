"""Devices: lanes of what ran on them, and what the workers say, on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import datetime

import pytest
from sqlalchemy import text

from farm.domain import Failure
from farm.domain.worker import WorkerInfo
from farm.hosts import Hosts

WORKER = WorkerInfo(
    name="w<1>",
    gpu="a100",
    queue="a100",
    device_name="A100",
    device_uuid="GPU-1",
    host="h",
    pid=1,
    code_version="0.1.0",
)


@pytest.fixture
def worked(store, jobs, sweep, measure) -> None:
    """A worker that measured two jobs, failed one and runs one; another that is silent."""
    sweep(models=["sd2"], steps=[1, 2, 3, 4])
    jobs.register(WORKER)
    jobs.register(replace(WORKER, name="w2", device_uuid="GPU-2"))
    for job_id in (1, 2):
        job = jobs.claim(job_id, worker=WORKER.name, queue="a100")
        jobs.record(job_id, 1, WORKER.name, measure(job, environment={"temperature_celsius": 41, "driver": "560"}))
    jobs.claim(3, worker=WORKER.name, queue="a100")
    jobs.fail(3, 1, WORKER.name, Failure(reason="error", message="no", retry=False))
    jobs.claim(4, worker=WORKER.name, queue="a100")
    jobs.report(WORKER.name, state="busy", job_id=4, spool_waiting=0)
    ago = {1: (3000, 2000), 2: (1990, 1000), 3: (900, 800), 4: (700, None)}  # seconds before now
    now = "CAST(strftime('%s', 'now') AS REAL)" if store.is_sqlite else "EXTRACT(EPOCH FROM now())"
    with store.write() as db:
        for job_id, (start, end) in ago.items():
            ended = "NULL" if end is None else f"{now} - {end}"
            db.execute(
                text(f"UPDATE attempt SET started_at = {now} - {start}, ended_at = {ended} WHERE job_id = {job_id}")
            )
        db.execute(text("UPDATE worker SET seen_at = seen_at - 3965 WHERE name = 'w2'"))


def test_the_json_is_what_the_command_prints(page, worked, store, farm):
    printed = json.loads(farm("workers", "list", "--db", store.url.render_as_string(hide_password=False), "--json").out)
    document = page.get("/api/workers").json()
    for entry in (*printed["workers"], *document["workers"]):
        assert entry.pop("silent_seconds") >= 0  # it goes on
    printed["coordinator"].pop("silent_seconds")
    document["coordinator"].pop("silent_seconds")
    assert document == printed


def test_a_lane_shows_what_ran_failed_and_runs_still(page, worked):
    html = page.get("/devices?hours=1.0").text
    second, first = html.split('<article class="card device"')[1:]
    assert "w&lt;1&gt;" in first
    assert [first.count(f'<rect class="{state}"') for state in ("done", "failed", "running")] == [2, 1, 1]
    assert 'href="/jobs/4"' in first
    assert "41 °C" in first
    assert "560" in first
    assert "silent for 1 h 6 min" in second
    assert '<rect class="done"' not in second


@pytest.mark.parametrize(
    ("flags", "said"), [((), ""), (("simulated",), ", simulated"), (("estimated",), ", estimated")]
)
def test_power_says_whether_it_was_measured(page, jobs, sweep, measure, flags, said):
    sweep(models=["sd2"], steps=[1])
    jobs.register(WORKER)
    job = jobs.claim(1, worker=WORKER.name, queue="a100")
    jobs.record(1, 1, WORKER.name, measure(job, flags=flags))
    html = page.get("/devices").text
    assert f"<dt>idle power</dt><dd>50 W{said}</dd>" in html
    assert f"<dt>power at work</dt><dd>100 W, the mean when it last measured{said}</dd>" in html


def test_what_is_too_near_to_tell_apart_is_drawn_as_one(page, worked):
    html = page.get("/devices?hours=720").text
    assert html.count('<rect class="done"') == 1
    assert "2 attempts" in html


def test_what_ran_before_the_axis_begins_is_not_drawn(page, worked):
    html = page.get("/devices?hours=0.25").text
    assert html.count('<rect class="done"') == 0
    assert html.count('<rect class="running"') == 1


@pytest.mark.parametrize("hours", ["0", "-1", "nan", "inf", "1e9", "x"])
def test_hours_that_cannot_be_are_refused(page, hours):
    assert page.get(f"/devices?hours={hours}").status_code == 422


def test_health_is_drawn_beside_its_baseline_and_the_lane_says_that_a_device_is_off(page, worked, store):
    now = "CAST(strftime('%s', 'now') AS REAL)" if store.is_sqlite else "EXTRACT(EPOCH FROM now())"
    Hosts(store).take_off(WORKER.name, "fan")
    insert = (
        "INSERT INTO health_check (device_uuid, worker, gpu, cause, facts, asked_at, checked_at, verdict, "
        "energy_joules, deviation_percent, limit_percent) VALUES ('GPU-1', 'w<1>', 'a100', 'night', 'f', "
        f"{now} - :ago, {now} - :ago, :verdict, 100, :deviation, 5)"
    )
    with store.write() as db:
        for ago, verdict, deviation in ((9000, "good", 0.5), (600, "drifted", 7.25)):
            db.execute(text(insert), {"ago": ago, "verdict": verdict, "deviation": deviation})
        db.execute(text(f"UPDATE event SET created_at = {now} - 300"))
    html = page.get("/devices", params={"hours": 1}).text
    assert 'aria-label="Drift of its health checks"' in html
    assert html.count('class="check drifted"') == 1
    assert 'class="check good"' not in html  # longer ago than the lane shows
    assert "+7.25% from its baseline" in html
    (left,) = re.findall(r'class="off" x="([\d.]+)"', html)
    assert float(left) == pytest.approx(1000 * (1 - 300 / 3600), abs=5)
    assert "off for maintenance: fan" in html


def test_past_maintenance_is_drawn_from_its_begin_to_its_end(page, worked, store):
    now = "CAST(strftime('%s', 'now') AS REAL)" if store.is_sqlite else "EXTRACT(EPOCH FROM now())"
    hosts = Hosts(store)
    hosts.take_off(WORKER.name, "a <fan>")
    hosts.put_back(WORKER.name)
    with store.write() as db:
        db.execute(text(f"UPDATE event SET created_at = {now} - 2700"))
        db.execute(text(f"UPDATE action SET at = {now} - 1800"))
    html = page.get("/devices", params={"hours": 1}).text
    second, first = html.split('<article class="card device"')[1:]
    ((left, width, tip),) = re.findall(r'class="off" x="([\d.]+)" y="10" width="([\d.]+)" .*?data-tip="([^"]*)"', first)
    assert (float(left), float(width)) == pytest.approx((250, 250), abs=5)
    assert re.fullmatch(r"off for maintenance: a &lt;fan&gt;\n15 min.* long, until 30 min.* ago", tip)
    assert 'class="off"' not in second
    document = page.get("/api/devices", params={"hours": 1}).json()
    assert [entry["job_id"] for entry in document["attempts"]] == [1, 2, 3, 4]
    assert document["attempts"][3]["ended_at"] is None
    (stretch,) = document["off"]
    assert (stretch["worker"], stretch["kind"], stretch["reason"]) == (WORKER.name, "maintenance", "a <fan>")
    begin, end = (datetime.fromisoformat(stretch[key]) for key in ("started_at", "ended_at"))
    assert (end - begin).total_seconds() == pytest.approx(900, abs=2)
    assert 'class="off"' not in page.get("/devices", params={"hours": 0.25}).text  # it ended before


def test_power_is_unknown_before_a_worker_says_it(page, jobs):
    jobs.register(WORKER)
    (worker,) = page.get("/api/workers").json()["workers"]
    assert (worker["power_watts"], worker["temperature_celsius"], worker["power_origin"]) == (None, None, None)
    assert "power now" not in page.get("/devices").text
    assert "joulefarm_device_power_watts{" not in page.get("/metrics").text


@pytest.mark.parametrize(("uuid", "origin"), [("GPU-1", "measured"), ("sim-a100-0", "simulated")])
@pytest.mark.parametrize("silent", [0, 305])
def test_power_now_says_when_and_how_it_is_known(page, jobs, store, uuid, origin, silent):
    jobs.register(replace(WORKER, device_uuid=uuid))
    jobs.report(WORKER.name, state="idle", job_id=None, spool_waiting=0, power_watts=61.5, temperature_celsius=41)
    with store.write() as db:
        db.execute(text(f"UPDATE worker SET seen_at = seen_at - {silent}"))
    (worker,) = page.get("/api/workers").json()["workers"]
    assert (worker["power_watts"], worker["temperature_celsius"], worker["power_origin"]) == (61.5, 41.0, origin)
    said = ", simulated" if origin == "simulated" else ""
    html, metrics = page.get("/devices").text, page.get("/metrics").text
    exported = f'joulefarm_device_power_watts{{origin="{origin}",worker="{WORKER.name}"}} 61.5'
    if silent:
        assert re.search(rf"<dt>last power</dt><dd>61.5 W{said}, 5 min \d+ s ago</dd>", html)
        assert exported not in metrics  # it is not so now, for all that is known
    else:
        assert f"<dt>power now</dt><dd>61.5 W{said}</dd>" in html
        assert f"<dt>temperature now</dt><dd>41 °C{said}</dd>" in html
        assert exported in metrics
