"""The database itself: made, upgraded, refused."""

from __future__ import annotations

import os
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.command import downgrade
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect, text
from sqlmodel import SQLModel

import farm.store.tables  # noqa: F401 - fills the metadata
from farm.domain import OperationError, RequestError
from farm.settings import load
from farm.store import address, migrations
from farm.store.engine import Store
from farm.urls import file_of
from tests.quick import sweep_text


def test_migrations_make_the_tables_that_the_code_has(store):
    with store.read() as db:
        assert compare_metadata(MigrationContext.configure(db), SQLModel.metadata) == []
        assert db.execute(text("SELECT version_num FROM alembic_version")).scalar() == migrations.HEAD


def test_head_is_the_newest_migration():
    folder = Path(migrations.__file__).parent / "versions"
    assert sorted(path.name.split("_")[0] for path in folder.glob("[0-9]*.py")) == list(migrations.REVISIONS)


def test_a_newer_database_is_refused(store, settings):
    with store.write() as db:
        db.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(RequestError, match=r"newer joulefarm.*9999"):
        Store.open(settings)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TABLE customers (id integer)"],
        ["CREATE TABLE sweep (id integer)"],
        ["CREATE TABLE alembic_version (version_num text)", "INSERT INTO alembic_version VALUES ('0001')"],
        ["CREATE TABLE alembic_version (version_num text)", "CREATE TABLE shop (id integer)"],
    ],
)
def test_a_database_of_something_else_is_refused_and_not_touched(request, farm, tmp_path, kind, statements):
    path = tmp_path / "other.db"
    if kind == "sqlite":
        url = f"sqlite:///{path}"
    else:  # which asks nobody for a password, and takes any
        url = request.getfixturevalue("postgres_url").replace("postgres@", "postgres:Recognisable@")
    engine = create_engine(url)
    with engine.begin() as db:
        for statement in statements:
            db.execute(text(statement))
        before = sorted(inspect(db).get_table_names())
    content = path.read_bytes() if kind == "sqlite" else b""
    (tmp_path / "sweep.yaml").write_text(sweep_text([1]))
    for command in (["db", "upgrade"], ["sweep", "submit", tmp_path / "sweep.yaml"], ["jobs", "list"]):
        outcome = farm(*command, "--db", url)
        assert (outcome.code, outcome.out) == (2, "")
        assert "not a joulefarm database" in outcome.err
        assert str(engine.url.database) in outcome.err
        assert "Recognisable" not in outcome.err
    with engine.connect() as db:
        assert sorted(inspect(db).get_table_names()) == before
    engine.dispose()
    if kind == "sqlite":
        assert path.read_bytes() == content
        assert not path.with_name("other.db-wal").exists()


def test_an_empty_file_becomes_a_database_that_logs_ahead(home, tmp_path):
    path = tmp_path / "empty.db"
    path.touch()
    Store.open(load(), f"sqlite:///{path}").close()
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    db.close()


def test_many_at_once_make_it_once(home, postgres_url):
    for url in (f"sqlite:///{home / 'new.db'}", postgres_url):
        settings = load(database_url=url)
        with ThreadPoolExecutor(4) as pool:
            for opened in pool.map(lambda _, s=settings: Store.upgrade(s), range(4)):
                with opened.read() as db:
                    assert db.execute(text("SELECT count(*) FROM refit_state")).scalar() == 1
                opened.close()


def test_a_file_that_another_writes_is_waited_for(home):
    """SQLite itself does not wait for a writer where a file begins to log ahead: many at once would be refused."""
    path = home / "new.db"
    Store.upgrade(load(), f"sqlite:///{path}").close()
    writer = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    writer.execute("PRAGMA journal_mode=DELETE")
    writer.execute("BEGIN IMMEDIATE")
    opened = Store.open(load(), f"sqlite:///{path}")
    with ThreadPoolExecutor(1) as pool:
        connecting = pool.submit(opened.engine.connect)
        with pytest.raises(TimeoutError):
            connecting.result(timeout=0.5)
        writer.execute("COMMIT")
        with connecting.result() as db:
            assert db.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    opened.close()
    writer.close()


def test_reading_makes_no_file(home):
    with pytest.raises(RequestError, match="a file that is there"):
        Store.open(load(), create=False)
    opened = Store.open(load(), create=False, missing_is_empty=True)
    with opened.read() as db:
        assert db.execute(text("SELECT count(*) FROM job")).scalar() == 0
    opened.close()
    assert not home.exists()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_only_an_upgrade_changes_tables(request, home, kind):
    """Neither readers nor writers do; a SQLite file that is not there is made by whoever writes."""
    url = f"sqlite:///{home / 'farm.db'}" if kind == "sqlite" else request.getfixturevalue("postgres_url")
    settings = load(database_url=url)
    if kind == "postgresql":
        with pytest.raises(RequestError, match="farm db upgrade"):
            Store.open(settings)
    made = Store.upgrade(settings)
    with made.write() as db:
        config = Config()
        config.set_main_option("script_location", str(Path(migrations.__file__).parent))
        config.attributes["connection"] = db
        downgrade(config, "0001")
    made.close()
    for create in (False, True):
        with pytest.raises(RequestError, match="farm db upgrade"):
            Store.open(settings, create=create)
    Store.upgrade(settings).close()
    Store.open(settings, create=False).close()


def test_home_is_the_owners_alone(home):
    Store.open(load()).close()
    assert home.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("url", ["mysql://u:secret@h/x", "nonsense", "", "sqlite+aiosqlite:///x"])
def test_other_urls_are_refused_without_their_password(url):
    with pytest.raises(RequestError) as raised:
        Store.open(load(), url or "::")
    assert "sqlite:///PATH or postgresql://" in str(raised.value)
    assert "secret" not in str(raised.value)


def test_a_file_that_is_no_database_is_refused(home, tmp_path):
    path = tmp_path / "farm.db"
    path.write_bytes(b"this is not a database" * 100)
    with pytest.raises(RequestError, match="a SQLite file of joulefarm"):
        Store.open(load(), f"sqlite:///{path}")
    with pytest.raises(RequestError, match="folder that exists"):
        Store.open(load(), f"sqlite:///{tmp_path}/none/farm.db")
    with pytest.raises(RequestError, match="a file that is there"):
        Store.open(load(), f"sqlite:///{tmp_path}/none/farm.db", create=False)
    with pytest.raises((RequestError, OperationError), match="unable to open"):
        Store.open(load(), f"sqlite:///{tmp_path}")


def test_a_database_that_is_down_is_said_without_its_password():
    with pytest.raises(OperationError) as raised:
        Store.open(load(), "postgresql://user:secret@127.0.0.1:1/farm")
    assert "127.0.0.1:1" in str(raised.value)
    assert "secret" not in str(raised.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_database_that_cannot_be_written_is_said(home):
    Store.open(load()).close()
    (home / "farm.db").chmod(0o400)
    home.chmod(0o500)
    opened = Store.open(load())
    with pytest.raises(RequestError, match="can be written"), opened.write() as db:
        db.execute(text("DELETE FROM lock"))
    home.chmod(0o700)


def test_numbers_that_are_not_finite_become_null(store):
    from farm.store import tables as t

    values = {"name": "s", "spec": {"a": [float("nan"), float("inf"), 1.5]}, "created_at": 0.0}
    with store.write() as db:
        counts = {"configurations": 0, "already_measured": 0, "infeasible": [], "paused": False, "cancelled": False}
        db.execute(t.sweep.insert().values(**values, **counts))
        assert db.execute(t.sweep.select()).mappings().one()["spec"] == {"a": [None, None, 1.5]}


def test_two_threads_make_their_tables_at_once(home):
    """Alembic keeps one connection for a whole process: a thread would use another's, and crash the process."""
    settings = load()
    begin = threading.Barrier(4)

    def make(number: int) -> str | None:
        begin.wait()
        store = Store.upgrade(settings, f"sqlite:///{home.parent}/{number}.db")
        store.close()
        return store.identity

    with ThreadPoolExecutor(4) as pool:
        identities = list(pool.map(make, range(4)))
    assert len(set(identities)) == 4


def test_a_text_that_no_database_takes_is_refused_in_one_line(store):
    """The first is how Python reads a name on a command line that is no UTF-8. SQLite takes a NUL."""
    refused = ["a\udcff"] if store.is_sqlite else ["a\udcff", "a\0"]
    queries = ("SELECT 1 WHERE :name = 'x'", "SELECT name FROM worker WHERE name = :name")
    for words, query in product(refused, queries):
        with pytest.raises(RequestError, match=r"text: a\?: text without NUL"), store.read() as db:
            db.execute(text(query), {"name": words})
    with store.read() as db:
        assert db.execute(text("SELECT 1")).scalar() == 1


@pytest.mark.parametrize(
    "argv",
    [
        ("workers", "maintenance", "\udcff", "--reason", "x"),
        ("workers", "drain", "\udcff"),
        ("workers", "health", "\udcff"),
        ("results", "samples", "\udcff", "--out", "x.csv"),
        ("results", "remove", "\udcff", "--reason", "x"),
    ],
    ids=lambda argv: " ".join(argv[:2]),
)
def test_a_name_that_is_no_utf_8_is_a_wrong_request(farm, argv):
    assert farm("db", "upgrade").code == 0
    refused = farm(*argv)
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1)
    assert "unexpected" not in refused.err


@pytest.mark.parametrize(
    "argv",
    [
        ("sweep", "list", "--db", "sqlite:////tmp/{long}.db"),
        ("db", "upgrade", "--db", "sqlite:////tmp/{long}/farm.db"),
        ("db", "restore", "/tmp/{long}"),
        ("sweep", "submit", "/tmp/{long}"),
    ],
    ids=lambda argv: " ".join(argv[:2]),
)
def test_a_path_that_cannot_be_looked_at_is_a_wrong_request(farm, argv):
    """Too long a name, as whoever is root meets no folder that is closed to him."""
    refused = farm(*(part.format(long="a" * 300) for part in argv))
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1)
    assert "unexpected" not in refused.err


@pytest.mark.parametrize("name", ["me@lab.example", "who?", "a#b", "p%41q", "a b", "ä"])
def test_a_home_of_any_name_holds_the_database(farm, monkeypatch, tmp_path, name):
    home = tmp_path / name / "home"
    home.parent.mkdir()
    monkeypatch.setenv("FARM_HOME", str(home))
    spec = tmp_path / "spec.yaml"
    spec.write_text(sweep_text([1]))
    assert farm("sweep", "submit", spec).code == 0
    assert (home / "farm.db").stat().st_size
    copy = tmp_path / name / f"{name}.db"
    assert farm("db", "backup", copy).code == 0
    monkeypatch.setenv("FARM_HOME", str(tmp_path / name / "other"))
    assert farm("db", "restore", copy).code == 0
    assert "queued" in farm("sweep", "status", "1").out
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "home") == sorted(["spec.yaml", name])


@pytest.mark.parametrize("url", ["sqlite:////a@b/x.db", "sqlite:////a%40b/x.db", "sqlite:////a%40b/x.db?timeout=1"])
def test_the_file_that_a_url_names(url):
    assert file_of(url) == Path("/a@b/x.db")
    assert address.parse(url).database == "/a@b/x.db"
    assert file_of("postgresql://u@h/x") is None
    assert file_of("sqlite:///:memory:") is None
