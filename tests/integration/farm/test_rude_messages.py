"""What comes from a broker, a spool or a worker and that nobody meant: dropped, set aside or refused, and no more."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import amqp
import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import strategies as st

from farm.broker.app import MEASURE
from farm.domain.job import MAX_JOB_ID
from farm.web.app import create_app
from farm.web.database import Database
from farm.web.power_log import drawing
from tests.rude import BOTH_FORMS, SHORT, VALUES, ask, assert_polite, hold, spoiled, spoiled_bytes, within
from workers.meters.base import Recording, Span
from workers.meters.samples import encode_samples, tabulate
from workers.runtime.delivery import Delivery
from workers.runtime.message_filter import amqp as on_amqp
from workers.runtime.message_filter import content, redis
from workers.runtime.spool import Spool


def bodies() -> st.SearchStrategy[bytes]:
    """Bodies of Celery's messages: arguments, keywords and what is to be called afterwards."""
    good = [[7], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]
    changed = st.one_of(spoiled(good), VALUES, st.integers().map(lambda number: [[number], {}, {}]))
    return st.one_of(changed.map(lambda value: json.dumps(value).encode()), spoiled_bytes(json.dumps(good).encode()))


def named(number: int | None) -> str:
    """That a message names a job that there may be, or none."""
    assert number is None or (type(number) is int and 0 < number <= MAX_JOB_ID)
    return "dropped" if number is None else "taken"


@BOTH_FORMS
def test_rude_messages_of_redis(form: str) -> None:
    good = redis.job_message(7, "a100")

    def encoded(body: bytes) -> dict[str, Any]:
        return {**good, "body": base64.b64encode(body).decode()}

    def check_message(message: object) -> str:
        return named(redis.job_id(message))

    seen = hold(form, st.one_of(bodies().map(encoded), spoiled(good), VALUES), check_message, short=100, long=3000)
    assert seen["taken"]
    assert seen["dropped"]


@BOTH_FORMS
def test_rude_messages_of_rabbitmq(form: str) -> None:
    """Properties and bodies, and the bytes of the frame that states the properties."""
    good = {"content_type": content.JSON, "application_headers": {"task": MEASURE, "lang": "py", "id": "x"}}
    body_texts = bodies().map(lambda raw: raw.decode("utf-8", "surrogateescape"))
    header = b"\x00\x3c\x00\x00" + (20).to_bytes(8, "big") + amqp.Message(**good)._serialize_properties()

    def check_message(example: tuple[Any, bytes | str, bytes]) -> str:
        said, body, frame = example
        message = amqp.Message()
        message.properties = said if isinstance(said, dict) else {}
        message.body = body
        on_amqp._is_readable(frame)
        return named(on_amqp._job_id(message))

    examples = st.tuples(
        st.one_of(st.just(good), spoiled(good)), st.one_of(bodies(), body_texts), spoiled_bytes(header)
    )
    seen = hold(form, examples, check_message, short=100, long=3000)
    assert seen["taken"]
    assert seen["dropped"]


RESULT: Mapping[str, Any] = {
    "measurement_id": "m", "energy_joules": 100.0, "energy_std_joules": 1.0, "systematic_percent": 1.0, "repeats": 3,
    "idle_watts": 50.0, "idle_watts_std": 0.1, "cold_idle_watts": 40.0, "duration_seconds": 2.0, "forwards": 20,
    "phases": {"denoise": {"joules": 90.0, "seconds": 1.5, "std_joules": 1.0}}, "forward_batch": 2, "flags": [],
    "stop_reason": "enough", "meter": "nvml", "measured_at": "2026-01-01T00:00:00Z",
    "environment": {"driver": "1", "temperature_celsius": 40, "power_limit_watts": 300.0, "work_watts": 200.0,
                    "comparison": {"meter": "codecarbon", "error": None, "dynamic_joules": 1.0, "gross_joules": 2.0},
                    "budget_joules": {"idle": 1.0, "tick": 0.5}},
}  # fmt: skip
ENTRY: Mapping[str, Any] = {"version": 1, "worker": "w", "attempt": 1, "samples": None, "measurement": dict(RESULT)}
READERS = [
    ["results", "list", "--json"], ["results", "export", "out.csv"], ["results", "export", "out.parquet"],
    ["jobs", "show", "JOB", "--json"], ["jobs", "show", "JOB"], ["results", "datasets"], ["sweep", "status", "--json"],
    ["law", "fit", "--where", "dataset=farm", "--json"], ["GET", "/measurements/ID"], ["GET", "/api/measurements/ID"],
    ["GET", "/measurements"], ["GET", "/devices"], ["GET", "/jobs/JOB"], ["GET", "/api/measurements.csv"],
]  # fmt: skip


@BOTH_FORMS
def test_rude_results_on_a_spool(jobs, store, sweep, settings, tmp_path: Path, monkeypatch, form: str) -> None:
    """Whatever a file of the spool says, the next one is delivered, and what the database took is shown to all."""
    url = store.url.render_as_string(hide_password=False)
    monkeypatch.setenv("FARM_DATABASE_URL", url)
    monkeypatch.chdir(tmp_path)
    count = 25 if form == SHORT else 490
    sweep(models=["sd2"], steps=list(range(1, count * 2)))
    spool = Spool(tmp_path / "spool", "w")
    spool.folder.mkdir()
    delivery = Delivery(jobs, spool, worker="w", url="", closing=threading.Event())
    job_ids = iter(range(1, 10**9))
    monkeypatch.setattr("workers.runtime.spool.logger.disabled", True)

    def check_result(example: tuple[Any, list[str]]) -> str:
        document, reader = example
        job = jobs.claim(next(job_ids), worker="w", queue="a100")
        assert job is not None
        found = document.get("measurement")
        if isinstance(found, dict):
            found = job.configuration.to_dict() | found
            found |= {"measurement_id": f"m-{job.id}"} if found.get("measurement_id") == "m" else {}
            document = document | {"measurement": found}
        text = json.dumps({"job_id": job.id, "database": jobs.database} | document).encode()
        path = spool.folder / f"{job.id}-{spool._mark}-x.result"
        path.write_bytes(hashlib.sha256(text).hexdigest().encode() + b"\n" + text)
        with within(60):
            delivery.drain()
        kept = path.exists()
        path.unlink(missing_ok=True)
        assert not kept or document.get("database", jobs.database) != jobs.database
        measurement_id = str(found.get("measurement_id")) if isinstance(found, dict) else "m"
        words = [str(job.id) if word == "JOB" else word for word in reader]
        if words[0] == "GET":
            path_words = words[1].replace("JOB", str(job.id)).replace("ID", quote(measurement_id, safe=""))
            assert client.get(path_words).status_code in (200, 404), path_words
        else:
            assert_polite(words, ask(words), codes=(0, 2))
        if (spool.corrupt / path.name).exists():
            return "set aside"
        return "left to others" if kept else "taken"

    entries = st.one_of(
        spoiled(dict(ENTRY)), spoiled(dict(RESULT)).map(lambda result: {**ENTRY, "measurement": result})
    )  # fmt: skip
    application = create_app(Database(settings, url), settings)
    with TestClient(application, base_url="http://127.0.0.1:8600", raise_server_exceptions=False) as client:
        seen = hold(form, st.tuples(entries, st.sampled_from(READERS)), check_result, short=count, long=count)
    assert seen["taken"]
    assert seen["set aside"]


UNSTORABLE: Sequence[Mapping[str, Any]] = [
    {"measurement_id": {"joules": 1.0}}, {"measurement_id": ""}, {"measurement_id": "\0"}, {"meter": "\ud800"},
    {"duration_seconds": None}, {"duration_seconds": []}, {"duration_seconds": -1.0}, {"duration_seconds": "2"},
    {"energy_std_joules": 1e300}, {"idle_watts_std": "much"}, {"repeats": 1.5}, {"forwards": True}, {"flags": [[]]},
    {"phases": {"energy": {"joules": 1.0, "seconds": 1.0}}}, {"phases": {"text": {"joules": [], "seconds": 1.0}}},
    {"environment": [1]}, {"environment": "x"},
]  # fmt: skip


def test_results_that_cannot_be_stored_are_set_aside_and_the_next_is_delivered(jobs, sweep, measure, tmp_path):
    """They would be offered for ever, and the worker take the database for away."""
    sweep(models=["sd2"], steps=list(range(1, len(UNSTORABLE) + 2)))
    spool = Spool(tmp_path / "spool", "w")
    spool.folder.mkdir()
    claimed = [jobs.claim(number, worker="w", queue="a100") for number in range(1, len(UNSTORABLE) + 2)]
    for job, change in zip(claimed, [*UNSTORABLE, {}], strict=True):
        entry = {"job_id": job.id, "database": jobs.database, **ENTRY, "measurement": measure(job).to_dict() | change}
        text = json.dumps(entry).encode()
        path = spool.folder / f"{job.id:03d}-{spool._mark}-x.result"
        path.write_bytes(hashlib.sha256(text).hexdigest().encode() + b"\n" + text)
    Delivery(jobs, spool, worker="w", url="", closing=threading.Event()).drain()
    assert (spool.waiting, spool.set_aside) == (0, len(UNSTORABLE))
    assert all(jobs.claim(job.id, worker="w", queue="a100") is not None for job in claimed[:-1])
    assert jobs.claim(claimed[-1].id, worker="w", queue="a100") is None


@pytest.mark.parametrize(
    "change",
    [
        {"probe": []}, {"telemetry": [{"time": "noon"}]}, {"telemetry": [{}]},
        {"telemetry": [{"time": 1, "celsius": []}]},
        {"events": [1]}, {"spans": [{"label": [], "start": 0, "end": 1}]},
        {"spans": [{"label": "x", "start": 2, "end": 1}]},
        {"spans": [{"label": "x", "start": 0, "end": 1e999}]}, {"counter": -1}, {"counter": [1]}, {"counter": 10**400},
    ],
    ids=repr,
)  # fmt: skip
def test_a_power_log_that_says_what_none_says_is_a_value_error(change: dict[str, Any]) -> None:
    line, columns = zlib.decompress(encode_samples(Recording(power=((1.0, 90.0),)))).split(b"\n", 1)
    assert tabulate(zlib.compress(line + b"\n" + columns))
    with pytest.raises(ValueError, match="no samples that can be read"):
        tabulate(zlib.compress(json.dumps(json.loads(line) | change).encode() + b"\n" + columns))


def test_a_power_log_that_unfolds_to_gigabytes_is_not_unfolded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.meters.samples.MOST_BYTES", 1000)
    with pytest.raises(ValueError, match="more than 1,000 bytes"):
        tabulate(zlib.compress(b"{}\n" + b"\0" * 2000))


@BOTH_FORMS
def test_rude_power_logs(form: str) -> None:
    """A log that a worker kept: read and drawn, or a ValueError, which every reader of it expects."""
    recording = Recording(
        counter=((1.0, 1.001, 5.0), (2.0, 2.001, 95.0)),
        power=((1.0, 90.0), (1.5, 95.0)),
        telemetry=({"time": 1.0, "celsius": 40, "sm_mhz": 1410},),
        events=({"time": 1.2, "event": "x"},),
    )
    good = encode_samples(
        recording, [Span(label="idle", start=0.5, end=1.0), Span(label="denoise", start=1.0, end=1.5)]
    )
    line, columns = zlib.decompress(good).split(b"\n", 1)
    header: Mapping[str, Any] = json.loads(line)

    def packed(document: Any, numbers: bytes) -> bytes:
        return zlib.compress(json.dumps(document).encode() + b"\n" + numbers)

    numbers = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=7, max_size=7).map(lambda v: np.array(v).tobytes())
    headers = st.builds(packed, st.one_of(spoiled(dict(header)), VALUES), st.just(columns))
    whole = st.builds(packed, st.just(dict(header)), st.one_of(numbers, spoiled_bytes(columns)))
    logs = st.one_of(headers, whole, spoiled_bytes(good), spoiled_bytes(line + b"\n" + columns).map(zlib.compress))

    def check_log(data: bytes) -> str:
        outcome = "read"
        for read in (tabulate, lambda log: drawing(log, 50.0)):
            try:
                with within(60):
                    read(data)
            except ValueError:
                outcome = "refused"
        return outcome

    seen = hold(form, logs, check_log, short=100, long=2000)
    assert seen["read"]
    assert seen["refused"]
