"""Databases of earlier versions, as those versions wrote them, brought to this one with their rows.

``data/0.1.0-*.sql`` are dumps of what version 0.1.0 wrote: a sweep of two jobs, one of them measured, an imported data
set of three rows, a fit.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text
from sqlmodel import SQLModel

from farm.domain import Configuration, RequestError
from farm.measurements import Measurements, parse
from farm.results import OWN, Results
from farm.settings import load
from farm.store import migrations, rows
from farm.store import tables as t
from farm.store.engine import Store
from farm.sweeps.read import parse_spec
from farm.sweeps.submit import submit
from tests.both_sides import Jobs
from tests.integration.farm.conftest import measured
from workers.device.identity import WorkerIdentity
from workers.runtime.eligibility import Eligibility

DUMPS = Path(__file__).parent / "data"


@pytest.fixture(params=["sqlite", "postgresql"])
def old_url(request: pytest.FixtureRequest, home: Path) -> str:
    """A database as version 0.1.0 left it."""
    dump = (DUMPS / f"0.1.0-{request.param}.sql").read_text()
    if request.param == "sqlite":
        home.mkdir(parents=True, exist_ok=True)
        with sqlite3.connect(home / "farm.db") as db:
            db.executescript(dump)
        db.close()
        return f"sqlite:///{home / 'farm.db'}"
    url: str = request.getfixturevalue("postgres_url")
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql(dump)
    engine.dispose()
    return url


def test_a_database_of_0_1_0_keeps_its_rows(old_url: str) -> None:
    settings = load(database_url=old_url)
    with pytest.raises(RequestError, match="farm db upgrade"):
        Store.open(settings, create=False)
    store = Store.upgrade(settings)
    with store.read() as db:
        assert db.execute(text("SELECT version_num FROM alembic_version")).scalar() == migrations.HEAD
        assert compare_metadata(MigrationContext.configure(db), SQLModel.metadata) == []
        assert db.execute(t.configuration.select()).mappings().all()[0]["frames"] == 1
        assert db.execute(t.fit.select()).mappings().one()["law"] == "paper"
        keys = {row["key"]: row["width"] for row in db.execute(t.configuration.select()).mappings()}
    (own,) = Results(store).rows(OWN)
    assert (own.energy_joules, own.includes_idle, own.power_limit_watts) == (100.0, False, 400.0)
    imported = list(Results(store).rows("lab"))
    assert [row.energy_joules for row in imported] == [54500.0, 103000.0, 154000.0]
    assert {row.extra["note"] for row in imported} == {"old"}
    assert {row.configuration.frames for row in imported} == {1}
    listed = Measurements(store).page(parse([("sort", "added_at")])).rows
    by_dataset = {(row["dataset"], row["energy_joules"]): row for row in listed}
    assert {row["model"] for row in listed} == {own.configuration.model, *(row.configuration.model for row in imported)}
    assert set(by_dataset) == {("farm", 100.0), ("lab", 54500.0), ("lab", 103000.0), ("lab", 154000.0)}
    with store.write() as db:  # as they would be listed if they came today
        db.execute(t.measured_row.delete())
        own_row = replace(own, dataset=None, extra={})
        (recorded_at,) = db.execute(text("SELECT recorded_at FROM measurement")).scalars()
        rows.add(db, own_row, measurement_id=str(own.measurement_id), added_at=recorded_at, job_id=own.extra["job"])
        rows.add_imported(db, {("lab", str(row.measurement_id)): row for row in imported})
    assert Measurements(store).page(parse([("sort", "added_at")])).rows == listed
    assert keys == {
        Configuration(
            model="sd2", gpu="a100", width=side, height=side, steps=10, precision="fp16", cfg=False, prompts=1
        ).key: side
        for side in (512, 768)
    }
    store.close()


def test_a_database_of_0_1_0_is_backed_up_before_the_upgrade(farm, old_url: str, tmp_path: Path) -> None:
    """By the command of this version, which leaves it as it is; what is restored is what the upgrade makes of it."""
    done = farm("db", "backup", tmp_path / "b", "--db", old_url, "--json")
    assert done.code == 0, done.err
    counts = json.loads(done.out)["rows"]
    assert (counts["job"], counts["measurement"], counts["dataset_row"], counts["fit"]) == (2, 1, 3, 1)
    with pytest.raises(RequestError, match="run `farm db upgrade`"):
        Store.open(load(), old_url)
    target = f"sqlite:///{tmp_path / 'restored.db'}"
    assert farm("db", "restore", tmp_path / "b", "--db", target).code == 0
    assert farm("db", "upgrade", "--db", old_url).code == 0
    kept = []
    for url in (target, old_url):
        store = Store.open(load(), url, create=False)
        with store.read() as db:
            tables = (t.sweep, t.job, t.measurement, t.dataset_row, t.prompt_list)
            kept.append({table.name: sorted(map(repr, db.execute(table.select()))) for table in tables})
        store.close()
    assert kept[0] == kept[1]


def test_what_0_1_0_measured_or_queued_is_not_asked_again(old_url: str) -> None:
    store = Store.upgrade(load(database_url=old_url))
    grid = {"models": ["sd2"], "gpus": ["a100"], "resolutions": [512, 768], "steps": [10, 20]}
    spec = {**grid, "precisions": ["fp16"], "cfg": [False], "prompts": [1]}
    done = submit(store, parse_spec(spec, folder=Path()))
    assert (done.already_measured, done.new, done.jobs) == (1, 2, 2)
    with store.read() as db:
        assert set(db.execute(text("SELECT frames FROM configuration")).scalars()) == {1}
    store.close()


def test_what_0_1_0_queued_runs_after_the_upgrade(farm, old_url: str) -> None:
    """Its stamps, of the whole catalog as it was, are nobody's any more: `farm db upgrade` gives those of today."""
    assert farm("db", "upgrade", "--db", old_url).code == 0
    status = json.loads(farm("sweep", "status", "--db", old_url, "--json").out)
    assert (status["jobs"]["done"], status["jobs"]["queued"]) == (1, 1)
    (wait,) = status["waiting"]
    assert (wait["gpu"], wait["count"]) == ("a100", 1)
    assert "no worker serves the queue a100" in wait["why"]
    settings = load(database_url=old_url)
    store = Store.open(settings)
    jobs = Jobs(store, settings)
    here = WorkerIdentity(
        name="w", gpu="a100", queue="a100", device=0, device_name="A100", device_uuid="GPU-1", host="h"
    )  # fmt: skip
    job = jobs.claim(2, worker="w", queue="a100", objection=Eligibility(here, jobs).objection)
    assert job is not None
    assert jobs.record(2, job.attempt, "w", measured(job, "new"))
    assert [row.measurement_id for row in Results(store).rows(OWN)] == ["old-1", "new-2"]
    store.close()
    assert json.loads(farm("sweep", "status", "--db", old_url, "--json").out)["jobs"]["done"] == 2


def test_a_job_that_nobody_may_do_says_who_refused_it(farm, old_url: str) -> None:
    """Where the tables alone were brought up, by whoever: why the job waits, and what helps."""
    settings = load(database_url=old_url)
    store = Store.upgrade(settings)
    jobs = Jobs(store, settings)
    here = WorkerIdentity(
        name="w", gpu="a100", queue="a100", device=0, device_name="A100", device_uuid="GPU-1", host="h"
    )  # fmt: skip
    assert jobs.claim(2, worker="w", queue="a100", objection=Eligibility(here, jobs).objection) is None
    store.close()
    (wait,) = json.loads(farm("sweep", "status", "--db", old_url, "--json").out)["waiting"]
    assert "than w has" in wait["why"]
    assert "farm sweep retry" in wait["why"]
    assert farm("sweep", "retry", "--db", old_url).code == 0
    (wait,) = json.loads(farm("sweep", "status", "--db", old_url, "--json").out)["waiting"]
    assert "than w has" not in wait["why"]
