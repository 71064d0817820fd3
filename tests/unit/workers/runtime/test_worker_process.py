"""One job's life in a worker's process: the database is real, the device is where the world ends."""

import os

import pytest

from farm.domain import DeviceLost, Infeasible, Measurement, MeterError, OperationError, OutOfMemory, RequestError
from farm.settings import load
from farm.store import leases
from farm.store.engine import Store
from tests.both_sides import Jobs
from tests.quick import sweep_text
from workers.device.gauge import UNKNOWN
from workers.device.identity import WorkerIdentity
from workers.runtime.spool import Spool
from workers.runtime.worker_process import WorkerProcess


class Device:
    """Stands for device, meter and pipeline; ends each measurement as it was told to."""

    def __init__(self):
        self.error = None
        self.absent = None
        self.loads = 0
        self.closed = 0
        self.prompts = None

    def open(self):
        if self.absent:
            raise self.absent

    def reading(self):
        return UNKNOWN

    def prepare(self, configuration):
        first, self.loads = self.loads == 0, max(self.loads, 1)
        return first

    def measure(self, job, prompts):
        self.prompts = prompts
        if self.error:
            raise self.error
        measurement = Measurement(
            measurement_id=f"{job.id}-{job.attempt}-{os.urandom(4).hex()}",
            configuration=job.configuration,
            energy_joules=1.0,
            energy_std_joules=0.1,
            idle_watts=None,
            duration_seconds=1.0,
            meter="simulated",
            flags=("simulated",),
            measured_at="2026-01-01T00:00:00+00:00",
        )
        return measurement, b"log"

    def unload(self):
        self.loads = 0

    def close(self):
        self.closed += 1


@pytest.fixture
def settings(home):
    return load(retry_seconds=0.0, max_attempts=2)


@pytest.fixture
def jobs(settings):
    store = Store.open(settings)
    yield Jobs(store, settings)
    store.close()


@pytest.fixture
def device():
    return Device()


@pytest.fixture
def process(settings, jobs, device, farm, tmp_path):
    spec = tmp_path / "spec.yaml"
    spec.write_text(sweep_text([1, 2, 3]))
    assert farm("sweep", "submit", spec).code == 0
    identity = WorkerIdentity.plain("a100", 0, settings.home, simulate=True)
    made = WorkerProcess(identity, settings, device=device)
    yield made
    made.jobs.close()


def history(jobs, job_id):
    """(state of the job, ends of its attempts)"""
    from sqlalchemy import text

    with jobs.store.read() as db:
        state = db.execute(text(f"SELECT state FROM job WHERE id = {job_id}")).scalar()
        ends = db.execute(text(f'SELECT "end" FROM attempt WHERE job_id = {job_id} ORDER BY number')).scalars()
        return state, list(ends)


def test_a_message_becomes_a_measurement(process, jobs, device, settings):
    first, second, _ = jobs.due("a100", 3)
    process.handle(first)
    process.handle(second)
    process.handle(first)
    assert history(jobs, first) == history(jobs, second) == ("done", ["accepted"])
    assert len(device.prompts) == 1
    assert Spool(settings.spool).waiting == 0


@pytest.mark.parametrize(
    ("error", "after_one", "after_two"),
    [
        (OutOfMemory("full", peak_bytes=10), ("failed", ["out_of_memory"]), ("failed", ["out_of_memory"])),
        (Infeasible("no weights"), ("failed", ["infeasible"]), ("failed", ["infeasible"])),
        (RequestError("steps", 0, "more"), ("failed", ["infeasible"]), ("failed", ["infeasible"])),
        (DeviceLost("bus"), ("queued", ["device_lost"]), ("failed", ["device_lost"] * 2)),
        (ValueError("odd"), ("queued", ["error"]), ("failed", ["error"] * 2)),
        (OperationError("odd"), ("queued", ["error"]), ("failed", ["error"] * 2)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_how_an_attempt_fails(process, jobs, device, error, after_one, after_two):
    job = jobs.due("a100", 1)[0]
    device.error = error
    process.handle(job)
    assert history(jobs, job) == after_one
    process.handle(job)
    assert history(jobs, job) == after_two
    # and the worker is fit for the next
    device.error = None
    other = jobs.due("a100", 3)[-1]
    process.handle(other)
    assert history(jobs, other) == ("done", ["accepted"])


@pytest.mark.parametrize("error", [MeterError("stopped reading"), DeviceLost("bus")])
def test_a_meter_that_no_longer_reads_is_opened_anew_for_the_next_job(process, jobs, device, error):
    device.error = error
    process.handle(jobs.due("a100", 1)[0])
    assert device.closed == 1


def test_a_job_without_prompts_fails_and_holds_nobody_up(process, jobs):
    from sqlalchemy import text

    job = jobs.due("a100", 1)[0]
    with jobs.store.write() as db:
        db.execute(text(f"UPDATE job SET prompts_sha256 = NULL WHERE id = {job}"))
    process.handle(job)
    assert history(jobs, job) == ("failed", ["infeasible"])


def test_a_device_that_is_gone_takes_no_job(process, jobs, device, monkeypatch):
    monkeypatch.setattr("workers.runtime.message_handler.DEVICE_WAIT_SECONDS", 0.0)
    job = jobs.due("a100", 1)[0]
    device.absent = DeviceLost("fell off the bus")
    process.handle(job)
    assert history(jobs, job) == ("queued", [])


def test_a_result_waits_on_the_spool_while_the_database_is_away(process, jobs, device, settings, monkeypatch):
    job = jobs.due("a100", 1)[0]

    def away(*_, **__):
        raise OperationError("away")

    with monkeypatch.context() as patch:
        patch.setattr(process.jobs, "record", away)
        process.handle(job)
    assert history(jobs, job) == ("running", [None])
    assert Spool(settings.spool).waiting == 1
    process.handle(job)  # any message drains first
    assert history(jobs, job) == ("done", ["accepted"])
    assert Spool(settings.spool).waiting == 0


def test_a_result_that_no_database_will_ever_take_holds_nobody_up(process, jobs, settings):
    """The database was deleted and made anew, the spool was not."""
    from sqlalchemy import text

    first, second, _ = jobs.due("a100", 3)
    process.handle(first)
    entry = process.delivery._spool.put(entry_of(process, jobs, first, job_id=999))
    process.handle(second)
    assert history(jobs, second) == ("done", ["accepted"])
    assert not entry.exists()
    assert process.delivery._spool.set_aside == 1
    with jobs.store.read() as db:
        assert db.execute(text("SELECT count(*) FROM measurement")).scalar() == 2


def entry_of(process, jobs, job, *, job_id):
    from dataclasses import replace

    from workers.runtime.spool import Entry

    with jobs.store.read() as db:
        measured = leases.load_locked(db, job).job
    measurement, _ = Device().measure(replace(measured, id=job_id), ())
    return Entry(job_id=job_id, attempt=1, worker="w", database=jobs.database, measurement=measurement, samples=None)


def test_a_result_goes_straight_to_the_database_where_the_disk_is_full(process, jobs, settings):
    settings.spool.parent.mkdir(exist_ok=True)
    settings.spool.write_text("no folder")
    job = jobs.due("a100", 1)[0]
    process.handle(job)
    assert history(jobs, job) == ("done", ["accepted"])


@pytest.mark.parametrize("message", [True, -1, 0, 2**31, 2**63, 1.0, "1", None, [1], {"a": 1}])
def test_what_is_no_job_id_is_ignored(process, jobs, message, caplog):
    process.handle(message)
    assert "no job id" in caplog.text
    assert history(jobs, 1) == ("queued", [])
