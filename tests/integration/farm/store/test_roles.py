"""Workers and the page under PostgreSQL roles of their own: they can do their work, and nothing else."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import ProgrammingError

from farm.domain import Failure
from farm.domain.worker import WorkerInfo
from farm.jobs import WorkerJobs
from farm.settings import load
from farm.store.refits import result_count
from farm.web.app import create_app
from farm.web.database import Database

ROLE = 'farm "worker": 7'  # a rude name


@pytest.fixture
def settings(empty_postgres, home):
    return load(database_url=empty_postgres, lease_seconds=60.0, max_attempts=1)


@pytest.fixture
def role_url(empty_postgres, farm):
    engine = create_engine(empty_postgres)
    quoted = engine.dialect.identifier_preparer.quote_identifier(ROLE)
    with engine.begin() as connection:
        connection.execute(text(f"CREATE ROLE {quoted} LOGIN".replace(":", r"\:")))
    done = farm("db", "grant-worker", ROLE, "--db", empty_postgres)
    assert (done.code, done.err) == (0, "")
    assert farm("db", "grant-worker", ROLE, "--db", empty_postgres).out == done.out  # safe to repeat
    yield make_url(empty_postgres).set(username=ROLE).render_as_string(hide_password=False)
    with engine.begin() as connection:
        for statement in (f"DROP OWNED BY {quoted}", f"DROP ROLE {quoted}"):
            connection.execute(text(statement.replace(":", r"\:")))
    engine.dispose()


class Recorder:
    """A worker's jobs, which notes what is called."""

    def __init__(self, jobs):
        self._jobs = jobs
        self.called = set()

    def __getattr__(self, name):
        self.called.add(name)
        return getattr(self._jobs, name)


@pytest.fixture
def worker(role_url):
    return Recorder(WorkerJobs.open(load(database_url=role_url, lease_seconds=60.0, max_attempts=1), create=False))


def test_a_worker_does_all_of_its_work_under_the_role(sweep, jobs, worker, measure):
    sweep(steps=[1, 2, 3, 4])
    info = WorkerInfo(
        name="w", gpu="a100", queue="a100", device_name="d", device_uuid="u", host="h", pid=1, code_version="0"
    )
    worker.register(info)
    worker.register(info)
    worker.refuse_mixing("a100", simulate=False)
    worker.refuse_namesake("w", machine="", device_uuid="u")
    assert worker.take_back("w") == 0
    first, second, third, fourth, *_ = jobs.due("a100", 8)
    job = worker.claim(first, worker="w", queue="a100")
    assert len(worker.prompts_of(job)) == 1
    worker.count_load(job.id)
    assert worker.heartbeat(job.id, job.attempt)
    drawn = {"power_watts": 61.5, "temperature_celsius": 41.0}
    assert worker.report("w", state="busy", job_id=job.id, spool_waiting=0, **drawn)
    jobs.touch_coordinator("c")
    with jobs.store.write() as db:
        db.execute(text("UPDATE coordinator SET seen_at = 1"))
    assert worker.report("w", state="busy", job_id=job.id, spool_waiting=0)  # it writes down that nobody coordinates
    assert not worker.drain_requested("w")
    assert worker.record(job.id, job.attempt, "w", measure(job), samples=b"log")
    assert not worker.record(job.id, job.attempt, "w", measure(job, "late"))
    failing = worker.claim(second, worker="w", queue="a100")
    worker.fail(failing.id, failing.attempt, "w", Failure(reason="error", message="no", retry=False))
    released = worker.claim(third, worker="w", queue="a100")
    worker.release(released.id, released.attempt, "w")
    assert worker.claim(fourth, worker="w", queue="a100", objection=lambda _job: "no") is None
    assert worker.offer_again("a100") == 1
    worker.claim(fourth, worker="w", queue="a100")
    assert worker.claim(fourth, worker="w", queue="a100") is None  # its child died once too often: closed
    assert worker.device_off("w") is None
    worker.leave("w")
    assert worker.database == jobs.database
    worker.close()
    assert worker.called == {name for name in dir(WorkerJobs) if not name.startswith("_")} - {"open"}, "all it can do"
    with jobs.store.read() as db:
        assert result_count(db) == 1


FORBIDDEN = [
    "UPDATE measurement SET energy_joules = 1",
    "UPDATE measurement SET spoiled = true",
    "DELETE FROM measurement",
    "UPDATE late_measurement SET job_id = 1",
    "UPDATE samples SET data = ''",
    "SELECT * FROM samples",
    "SELECT * FROM sweep",
    "SELECT * FROM fit",
    "SELECT * FROM dataset_row",
    "INSERT INTO fit (law) VALUES ('mine')",
    "UPDATE fit SET n = 1",
    "UPDATE refit_state SET covered = 0",
    "UPDATE configuration SET steps = 1",
    "INSERT INTO configuration (key) VALUES ('x')",
    "INSERT INTO job (queue) VALUES ('a100')",
    "UPDATE job SET configuration_id = 1",
    "UPDATE job SET queue = 'a4000'",
    "UPDATE job SET prompts_sha256 = ''",
    "UPDATE job SET code_version = ''",
    "UPDATE job SET held = false",
    "DELETE FROM job",
    "DELETE FROM attempt",
    "UPDATE attempt SET worker = 'somebody else'",
    "UPDATE prompt_list SET prompts = '[]'",
    "INSERT INTO prompt_list VALUES ('x', '[]', 0)",
    "UPDATE alembic_version SET version_num = 'x'",
    "TRUNCATE job",
    "DROP TABLE measurement",
    "ALTER TABLE job ADD COLUMN x int",
    "CREATE TABLE mine (id int)",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE ROLE mine",
    "COPY measurement TO PROGRAM 'true'",
    "SELECT pg_read_file('/etc/passwd')",
]


def test_and_nothing_else(role_url):
    engine = create_engine(role_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in FORBIDDEN:
            with pytest.raises(ProgrammingError, match=r"permission denied|must be owner"):
                connection.execute(text(statement))
    engine.dispose()


@pytest.mark.parametrize(("role", "says"), [("nobody at all", "CREATE ROLE"), ("postgres", "superuser"), ("", "ROLE")])
def test_a_role_that_grants_would_not_bind_is_refused(farm, empty_postgres, role, says):
    refused = farm("db", "grant-worker", role, "--db", empty_postgres)
    assert refused.code == 2
    assert refused.err.count("\n") == 1
    assert says in refused.err


def test_a_file_has_no_roles(farm):
    refused = farm("db", "grant-worker", "w")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "PostgreSQL" in refused.err


READER = "farm reader"


@pytest.fixture
def reader_url(empty_postgres, farm):
    engine = create_engine(empty_postgres)
    with engine.begin() as connection:
        connection.execute(text(f'CREATE ROLE "{READER}" LOGIN'))
    done = farm("db", "grant-reader", READER, "--db", empty_postgres)
    assert (done.code, done.err) == (0, "")
    yield make_url(empty_postgres).set(username=READER).render_as_string(hide_password=False)
    with engine.begin() as connection:
        for statement in (f'DROP OWNED BY "{READER}"', f'DROP ROLE "{READER}"'):
            connection.execute(text(statement))
    engine.dispose()


def test_the_page_shows_everything_to_a_role_that_only_reads(sweep, jobs, measure, reader_url, tmp_path):
    submitted = sweep()
    job = jobs.claim(1, worker="w", queue="a100")
    assert jobs.record(1, job.attempt, "w", measure(job))
    settings = load(database_url=reader_url)
    token = "t" * 32
    app = create_app(Database(settings), settings, token=token)
    with TestClient(app, base_url="http://127.0.0.1:8600") as client:
        routes = [route for page in app.state.site.pages for route in page.router.routes if "GET" in route.methods]
        paths = [route.path for route in routes if "{" not in route.path and route.path != "/events"]  # it never ends
        assert len(paths) > 15
        paths += [f"/api/sweeps/{submitted.sweep}", f"/api/measurements/m-{job.id}"]
        answers = {path: client.get(path).text for path in paths}
        assert {path: text for path, text in answers.items() if "permission denied" in text} == {}
        assert f"m-{job.id}" in answers[f"/api/measurements/m-{job.id}"]
        change = client.post(f"/api/sweeps/{submitted.sweep}/pause", headers={"authorization": f"Bearer {token}"})
        assert change.status_code == 403


def test_a_reader_changes_nothing(reader_url):
    engine = create_engine(reader_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("SELECT data FROM samples"))
        for statement in FORBIDDEN:
            if not statement.startswith("SELECT *"):
                with pytest.raises(ProgrammingError, match=r"permission denied|must be owner"):
                    connection.execute(text(statement))
    engine.dispose()
