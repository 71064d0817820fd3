"""Databases that answer, but wrongly, and clients that hang: one line each, nobody else stops."""

from __future__ import annotations

import os
import socket
import time

import pytest
from sqlalchemy import create_engine, make_url, text

from farm.domain import OperationError, RequestError
from farm.settings import load
from farm.store import postgres as dialect
from farm.store.engine import Store
from farm.sweeps import control
from tests.processes import wait_until


@pytest.fixture
def url(empty_postgres):
    """All of this is about PostgreSQL; the fixtures of both databases take this one."""
    return empty_postgres


@pytest.fixture
def hanging(url):
    """Another client, within a transaction that it never ends: ``hanging("UPDATE ...")``."""
    other = create_engine(url)
    connections = []

    def call(*statements):
        connection = other.connect()
        connections.append(connection)
        for statement in statements:
            connection.execute(text(statement))

    yield call
    for connection in connections:
        connection.close()
    other.dispose()


@pytest.fixture
def impatient(monkeypatch):
    """Time-outs that a test can wait for."""
    quick = {"lock_timeout": 200, "statement_timeout": 2_000, "idle_in_transaction_session_timeout": 300}
    begin = "; ".join(["BEGIN", *(f"SET LOCAL {name} = {value}" for name, value in quick.items())])
    monkeypatch.setattr(dialect, "BEGIN", begin)


def test_one_client_that_hangs_with_a_job_stops_no_other_job(jobs, sweep, store, hanging):
    first = sweep()
    jobs.mark_sent([1, 2])
    hanging("UPDATE job SET loads = loads WHERE id IN (1, 3)", "UPDATE worker SET pid = 1")
    started = time.monotonic()
    assert jobs.claim(1, worker="w", queue="a100") is None
    assert jobs.claim(2, worker="w", queue="a100").id == 2
    assert jobs.due("a100", 9) == [3, 4]
    jobs.mark_sent([3, 4])
    assert jobs.resend_unclaimed("a100", waiting=0, older_than=-60) == 1
    assert jobs.reap() == 0
    assert jobs.offer_again("a100") == 0
    with store.write() as db:
        db.execute(text("UPDATE sweep SET deadline = 1"))
    assert jobs.enforce_limits() == 1  # the one queued that is free
    assert control.status(store, first.sweep)["jobs"]["cancelled"] == 1
    assert time.monotonic() - started < 4.0  # less than one lock's time-out


def test_who_needs_that_very_row_is_told_after_a_while(request, jobs, sweep, hanging, measure):
    sweep()
    job = jobs.claim(1, worker="w", queue="a100")
    request.getfixturevalue("impatient")  # only now: on a busy host a submission itself takes longer
    hanging("UPDATE job SET loads = loads WHERE id = 1")
    with pytest.raises(OperationError, match="another session holds a lock"):
        jobs.record(1, 1, "w", measure(job))
    with pytest.raises(OperationError, match="another session holds a lock"):
        jobs.heartbeat(1, 1)


def test_a_transaction_of_ours_that_hangs_is_ended_by_the_server(request, store, jobs, sweep):
    sweep()
    request.getfixturevalue("impatient")  # only now: on a busy host a submission itself takes longer

    def hang():
        with store.write() as db:
            db.execute(text("UPDATE job SET loads = loads WHERE id = 1"))
            wait_until(lambda: not idle_in_transaction(), 10, "the server's patience to end")
            db.execute(text("SELECT 1"))

    def idle_in_transaction():
        with store.read() as db:
            idle = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'"
            return db.execute(text(idle)).scalar()

    with pytest.raises(OperationError):
        hang()
    assert jobs.claim(1, worker="w", queue="a100").id == 1


def test_a_read_only_server_is_one_line(url, settings, jobs, sweep):
    sweep()
    name = make_url(url).database
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as db:
        db.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
    try:
        standby = Store.open(settings)
        with pytest.raises(OperationError, match=r"read-only transaction \(a standby\?"), standby.write() as db:
            db.execute(text("UPDATE job SET loads = 1"))
        with standby.read() as db:
            assert db.execute(text("SELECT count(*) FROM job")).scalar() == 4
        standby.close()
    finally:
        with admin.connect() as db:
            db.execute(text("SET default_transaction_read_only = off"))
            db.execute(text(f"ALTER DATABASE {name} RESET default_transaction_read_only"))
        admin.dispose()


def test_tables_that_are_gone_are_one_line(postgres_url):
    store = Store.upgrade(load(database_url=postgres_url))
    with store.write() as db:
        db.execute(text("DROP TABLE lock"))
    with pytest.raises(OperationError, match=r"\"lock\" does not exist \(`farm db upgrade`"), store.read() as db:
        db.execute(text("SELECT * FROM lock"))
    store.close()


def test_a_connection_to_another_database_under_the_same_name_is_refused(postgres_url, postgres):
    """A failover to an empty one: it is away, nothing is made there, and all goes on when the first is back."""
    store = Store.upgrade(load(database_url=postgres_url))
    name = make_url(postgres_url).database
    admin = create_engine(postgres, isolation_level="AUTOCOMMIT")

    def replace(*statements):
        with admin.connect() as db:
            db.execute(text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :n"), {"n": name})
            for statement in statements:
                db.execute(text(statement))

    replace(f"ALTER DATABASE {name} RENAME TO {name}_first", f"CREATE DATABASE {name}")
    for _ in range(2):
        with pytest.raises(OperationError, match="does not exist"), store.read() as db:
            db.execute(text("SELECT 1"))
    empty = create_engine(postgres_url)
    with empty.connect() as db:
        assert db.execute(text("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")).scalar() == 0
    empty.dispose()
    Store.upgrade(load(database_url=postgres_url)).close()  # somebody else's farm
    with pytest.raises(OperationError, match="not the one it was"), store.read() as db:
        db.execute(text("SELECT 1"))
    replace(f"DROP DATABASE {name}", f"ALTER DATABASE {name}_first RENAME TO {name}")
    with store.read() as db:
        assert db.execute(text("SELECT 1")).scalar() == 1
    store.close()
    admin.dispose()


def test_the_same_database_has_one_identity_wherever_it_is_reached(url):
    other = url.replace("127.0.0.1", "localhost")
    assert other != url
    opened = [Store.open(load(database_url=each), create=False) for each in (url, other)]
    assert opened[0].identity == opened[1].identity is not None
    for store in opened:
        store.close()


def test_a_dead_peer_is_noticed(url):
    """What the kernel is told, read back from the socket: a partition cannot be made here without privileges."""
    store = Store.open(load(database_url=url))
    with store.read() as db:
        descriptor = db.connection.dbapi_connection.fileno()
        with socket.socket(fileno=os.dup(descriptor)) as peer:
            assert peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 10_000
            assert peer.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 5
    store.close()


@pytest.mark.parametrize(
    ("query", "settles"),
    [("prepare_threshold=0", 0), ("prepare_threshold=none", None), ("", 5), ("connect_timeout=2", 5)],
)
def test_what_the_url_says_is_understood(url, query, settles):
    store = Store.open(load(database_url=f"{url}?{query}"))
    with store.read() as db:
        assert db.connection.dbapi_connection.prepare_threshold == settles
    store.close()


@pytest.mark.parametrize("query", ["prepare_threshold=x", "prepare_treshold=0", "sslmod=require"])
def test_what_the_url_says_is_refused_where_nobody_knows_it(farm, url, query):
    outcome = farm("sweep", "status", "--db", f"{url}?{query}")
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert query.partition("=")[0] in outcome.err


@pytest.mark.parametrize("password", ["p@ss/TOPSECRET", "p#TOPSECRET", "p?TOPSECRET", "p@TOPSECRET", "1/TOPSECRET"])
def test_nothing_of_a_broken_password_is_shown(password):
    with pytest.raises(RequestError) as raised:
        Store.open(load(database_url=f"postgresql://u:{password}@127.0.0.1:1/farm"))
    assert "TOPSECRET" not in str(raised.value)


def test_a_password_that_changed_is_read_again(url, postgres, tmp_path, caplog):
    """From the file, by whoever connects next: nobody is started anew."""
    admin = create_engine(postgres, isolation_level="AUTOCOMMIT")
    passed = []
    held = tmp_path / "url"
    held.write_text(make_url(url).set(password="first").render_as_string(hide_password=False))
    store = Store.open(load(database_url_file=held))

    def connect():
        from sqlalchemy import event

        store.engine.dispose()
        event.listen(store.engine, "do_connect", lambda _d, _r, _a, kw: passed.append(kw["password"]), once=True)
        with store.read() as db:
            db.execute(text("SELECT 1"))

    connect()
    held.write_text(make_url(url).set(password="second").render_as_string(hide_password=False))
    connect()
    held.unlink()  # whoever changes it may take it away first
    connect()
    assert passed == ["first", "second", "second"]
    assert "stays as it was" in caplog.text
    assert "second" not in caplog.text
    store.close()
    admin.dispose()


@pytest.mark.parametrize("way", ["read", "write", "exchange"])
def test_a_session_that_the_server_ended_is_said_and_a_new_one_made(postgres_url, caplog, way):
    store = Store.upgrade(load(database_url=postgres_url))
    admin = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with getattr(store, way)() as db:
        ours = db.execute(text("SELECT pg_backend_pid()")).scalar()
    with admin.connect() as db:
        db.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": ours})
    admin.dispose()
    with getattr(store, way)() as db:
        assert db.execute(text("SELECT pg_backend_pid()")).scalar() != ours
    assert "a session has ended there: connecting anew" in caplog.text
    store.close()
