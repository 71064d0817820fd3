"""Somebody's access is taken away: with sessions open, from database and broker, for good."""

from __future__ import annotations

import json
import uuid

import pytest
import redis
from sqlalchemy import create_engine, make_url, text

from farm.broker.embedded import EmbeddedBroker
from farm.domain import OperationError
from farm.jobs import WorkerJobs
from farm.settings import load


@pytest.fixture
def url(empty_postgres):
    return empty_postgres


@pytest.fixture
def role(url, farm):
    name = f"thief_{uuid.uuid4().hex[:8]}"
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as db:
        db.execute(text(f"CREATE ROLE {name} LOGIN"))
    assert farm("db", "grant-worker", name, "--db", url).code == 0
    yield name
    with admin.connect() as db:
        db.execute(text(f"DROP OWNED BY {name}"))
        db.execute(text(f"DROP ROLE {name}"))
    admin.dispose()


def test_a_role_is_barred_and_its_open_session_ended(farm, url, role, jobs, sweep):
    sweep()
    as_role = make_url(url).set(username=role).render_as_string(hide_password=False)
    thief = WorkerJobs.open(load(database_url=as_role), create=False)
    assert thief.claim(1, worker="thief", queue="a100").id == 1
    done = farm("revoke", role, "--db", url, "--json")
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out) == {"name": role, "database": {"barred": True, "sessions_ended": 1}, "broker": None}
    for _ in range(2):
        with pytest.raises(OperationError, match="not permitted to log in"):
            thief.claim(2, worker="thief", queue="a100")
    thief.close()
    assert jobs.claim(2, worker="w", queue="a100").id == 2


@pytest.mark.parametrize("name", ["postgres", "nobody at all", "x'; DROP TABLE job"])
def test_who_is_not_there_or_is_the_farm_itself_is_refused(farm, url, name):
    done = farm("revoke", name, "--db", url)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert name in done.err


def test_a_user_of_the_broker_is_barred_also_after_a_restart(farm, url):
    settings = load(database_url=url)
    settings.prepare_home()
    broker = EmbeddedBroker(settings)
    broker.start()
    try:
        as_worker = broker.url_of("worker-a100")
        thief = redis.Redis.from_url(as_worker, retry=None)
        assert thief.ping()
        done = farm("revoke", "worker-a100", "--db", url, "--json")
        assert done.code == 0
        document = json.loads(done.out)
        assert document["broker"] == {"barred": True, "sessions_ended": 1, "kept": True}
        for again in range(2):
            for client in (thief, redis.Redis.from_url(as_worker, retry=None)):
                with pytest.raises(redis.ConnectionError):
                    client.ping()
            if not again:
                broker.stop()
                broker.start()
        assert redis.Redis.from_url(broker.url_of("worker-a4000")).ping()
    finally:
        broker.stop()
