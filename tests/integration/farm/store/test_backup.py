"""farm db backup and restore: all of a database as it is at one moment, on SQLite and PostgreSQL and between them."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlmodel import SQLModel

from farm import database
from farm.domain import RequestError
from farm.results import Results
from tests.integration.farm.conftest import measured


def everything(store) -> dict[str, list[tuple]]:
    with store.read() as db:
        return {
            table.name: sorted((tuple(row) for row in db.execute(select(table))), key=repr)
            for table in SQLModel.metadata.sorted_tables
        }


@pytest.fixture
def filled(jobs, sweep):
    """A store with a sweep half done."""
    submission = sweep(models=["sd2"], steps=[1, 2, 3, 4])
    job_id = next(iter(jobs.due("a100", 1)))
    job = jobs.claim(job_id, worker="worker", queue="a100")
    jobs.record(job_id, 1, "worker", measured(job), samples=b"log")
    assert submission.jobs == 4
    return jobs


def test_a_backup_fills_an_empty_database_with_the_same_rows(filled, tmp_path: Path) -> None:
    path = tmp_path / "farm.backup"
    counts = database.backup(filled.store, path)
    assert counts["job"] == 4
    assert counts["samples"] == 1
    target = f"sqlite:///{tmp_path / 'other.db'}"
    name, restored = database.restore(path, target)
    assert restored == counts
    with database.opened(target, create=False) as copy:
        assert everything(copy) == everything(filled.store)
    assert "other.db" in name


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_restoring_into_postgresql_goes_on_counting(filled, empty_postgres, tmp_path: Path) -> None:
    path = tmp_path / "farm.backup"
    database.backup(filled.store, path)
    database.restore(path, empty_postgres)
    with database.opened(empty_postgres, create=False) as store, store.write() as db:
        sweeps = SQLModel.metadata.tables["sweep"]
        highest = max(db.execute(select(sweeps.c.id)).scalars())
        row = db.execute(select(sweeps)).mappings().first()
        fresh = {key: value for key, value in row.items() if key != "id"}
        assert db.execute(sweeps.insert().values(**fresh)).inserted_primary_key[0] == highest + 1


def test_nothing_is_replaced(filled, tmp_path: Path) -> None:
    path = tmp_path / "farm.backup"
    database.backup(filled.store, path)
    before = everything(filled.store)
    with pytest.raises(RequestError, match="nothing is replaced"):
        database.restore(path, filled.store.url.render_as_string(hide_password=False))
    assert everything(filled.store) == before


def test_what_is_no_backup_is_refused(farm, home: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    with sqlite3.connect(tmp_path / "strange") as strange:
        strange.execute("CREATE TABLE sweep (x)")
    for name in ("text", "strange", "none"):
        outcome = farm("db", "restore", tmp_path / name)
        assert (outcome.code, outcome.err.count("\n")) == (2, 1), outcome.err
        assert not (home / "farm.db").exists()
    outcome = farm("db", "backup", tmp_path / "none" / "b", "--db", f"sqlite:///{tmp_path / 'gone.db'}")
    assert outcome.code == 2


def test_commands_say_what_they_copied(farm, filled, tmp_path: Path) -> None:
    url = filled.store.url.render_as_string(hide_password=False)
    document = json.loads(farm("db", "backup", tmp_path / "b", "--db", url, "--json").out)
    assert document["rows"]["measurement"] == 1
    other = f"sqlite:///{tmp_path / 'other.db'}"
    restored = json.loads(farm("db", "restore", tmp_path / "b", "--db", other, "--json").out)
    assert restored["rows"] == document["rows"]
    with database.opened(other, create=False) as store:
        assert len(list(Results(store).rows())) == 1


def test_a_snapshot_does_not_see_what_comes_while_it_reads(filled, sweep) -> None:
    jobs_table = SQLModel.metadata.tables["job"]
    with filled.store.snapshot() as db:
        before = len(db.execute(select(jobs_table.c.id)).all())
        sweep(models=["sd2"], steps=[5, 6])
        assert len(db.execute(select(jobs_table.c.id)).all()) == before
    with filled.store.read() as db:
        assert len(db.execute(select(jobs_table.c.id)).all()) == before + 2
