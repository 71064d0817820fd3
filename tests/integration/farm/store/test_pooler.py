"""PostgreSQL behind PgBouncer in transaction mode: no statement or setting of one connection is missed on the next."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from farm.broker.embedded import free_port
from farm.processes import spawn, stop
from farm.settings import load
from farm.store.engine import Store
from tests.both_sides import Jobs
from tests.processes import wait_until


@pytest.fixture
def url(empty_postgres, tmp_path):
    """The URL of the pooler, two connections of its own for all clients."""
    program = shutil.which("pgbouncer")
    if program is None:
        pytest.skip("no pgbouncer on PATH: apt-get install pgbouncer")
    direct, port = make_url(empty_postgres), free_port()
    folder = Path(tempfile.mkdtemp(prefix="joulefarm-pgbouncer-"))  # which `nobody` can read
    folder.chmod(0o755)
    file = folder / "pgbouncer.ini"
    file.write_text(
        f"[databases]\n* = host={direct.host} port={direct.port} user={direct.username}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        "pool_mode = transaction\ndefault_pool_size = 2\n"
    )
    command = [program, file]
    if os.geteuid() == 0:  # which it refuses to be
        command = [program, "-u", "nobody", file]
    process = spawn(command, log=tmp_path / "pgbouncer.log")
    wait_until(lambda: listens(port), 10, "pgbouncer")
    yield direct.set(port=port).render_as_string(hide_password=False)
    stop(process, 2.0)
    shutil.rmtree(folder)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_many_clients_do_their_work_over_few_connections(url, settings, jobs, sweep, measure):
    sweep(steps=list(range(1, 21)))
    due = jobs.due("a100", 100)
    assert len(due) == 40

    def work(number):
        store = Store.open(load(database_url=url), create=False)
        own = Jobs(store, settings)
        for job_id in due[number::4]:
            job = own.claim(job_id, worker=f"w{number}", queue="a100")
            assert own.heartbeat(job_id, job.attempt)
            assert own.record(job_id, job.attempt, f"w{number}", measure(job))
        with store.read() as db:
            assert db.execute(text("SHOW lock_timeout")).scalar() == "5s"
        store.close()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [None] * 4
    assert jobs.result_count() == 40


@pytest.mark.parametrize("through_pooler", [True, False], ids=["pooler", "direct"])
def test_statements_are_prepared_only_on_a_server_that_is_reached_itself(request, empty_postgres, through_pooler, jobs):
    """What is prepared is there for the next transaction only where that has the same session."""
    store = Store.open(load(database_url=request.getfixturevalue("url") if through_pooler else empty_postgres))
    for _ in range(10):
        with store.read() as db:
            db.execute(text("SELECT count(*) FROM job")).scalar_one()
    with store.read() as db:
        prepared = "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%FROM job%'"
        assert db.execute(text(prepared)).scalar_one() == (0 if through_pooler else 1)
    store.close()
