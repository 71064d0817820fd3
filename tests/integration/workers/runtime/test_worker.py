"""Workers as real processes on simulated devices: one job's life, and every way it can be cut short."""

from __future__ import annotations

import resource
import shutil
import signal
import socket
import stat
import time
from pathlib import Path

import pytest

from farm import catalog
from tests.fake_nvml import fake
from tests.fake_nvml.board import Device
from tests.integration.farm_fixture import freeze, kill, wait_until
from tests.processes import children_of, is_gone, processes_of
from tests.quick import sweep_text
from workers.runtime.spool import Spool

SLOW = 3.0  # simulated seconds a second: a job takes more than a second
CRAWLING = 0.3  # ten seconds or more: it never ends before the test does


@pytest.fixture
def farm(running_farm):
    return running_farm


def ends(farm, job_id):
    return farm.column('SELECT "end" FROM attempt WHERE job_id = :i ORDER BY number', i=job_id)


def power_of(farm, process):
    """What a worker last said that its device draws, how warm it is, and where both are from."""
    workers = [worker for worker in farm.hosts.workers() if worker.pid == process.pid]
    return [(worker.power_watts, worker.temperature_celsius, worker.power_origin) for worker in workers]


def accepted_lines(farm) -> int:
    return sum(", accepted, " in line for line in farm.log("a100-0").read_text().splitlines())


def test_jobs_are_measured_once_each_on_their_own_queue(farm):
    farm.worker("a100")
    farm.worker("a4000")
    jobs = farm.submit(gpus=["a100", "a4000"], count=8)
    farm.wait_done(jobs)
    rows = farm.rows(
        "SELECT m.job_id, m.worker, c.gpu, m.origin FROM measurement m "
        "JOIN configuration c ON c.id = m.configuration_id"
    )
    assert sorted(r.job_id for r in rows) == sorted(jobs)
    assert all(r.worker.startswith(f"sim-{r.gpu}-0@") and r.origin == "simulated" for r in rows)
    # A line a job, one load for one pipeline, nothing left on the spool.
    wait_until(lambda: accepted_lines(farm) >= 8, 20, "eight lines")  # a line follows the result that it tells of
    assert accepted_lines(farm) == 8
    assert sum(farm.column("SELECT loads FROM job WHERE id >= :i", i=min(jobs))) == 2
    assert Spool(farm.settings.spool).waiting == 0


def test_a_stopping_worker_hands_its_job_back_at_once(farm):
    worker = farm.worker("a100", speed=CRAWLING)
    (job,) = farm.submit(gpus=["a100"], count=1)
    farm.wait_running([job])
    worker.terminate()
    assert worker.wait(10) == 0
    assert ends(farm, job) == ["released"]
    assert farm.column("SELECT tries FROM job WHERE id = :i", i=job) == [0]
    farm.worker("a100")
    farm.wait_done([job])
    assert ends(farm, job) == ["released", "accepted"]


def test_a_stopping_worker_finishes_its_job_where_that_is_wished(farm):
    worker = farm.worker("a100", speed=SLOW, FARM_ON_SIGTERM="drain")
    (job,) = farm.submit(gpus=["a100"], count=1)
    farm.wait_running([job])
    worker.terminate()
    assert worker.wait(15) == 0
    assert ends(farm, job) == ["accepted"]


def test_a_drained_worker_finishes_and_leaves(farm):
    worker = farm.worker("a100", speed=SLOW)
    jobs = farm.submit(gpus=["a100"], count=3)
    running = farm.wait_running(jobs)
    (name,) = [w.name for w in farm.hosts.workers() if w.pid == worker.pid]
    assert farm.hosts.request_drain(name) == 1
    assert worker.wait(15) == 0
    assert ends(farm, running) == ["accepted"]
    assert name not in {w.name for w in farm.hosts.workers()}
    assert farm.measured(jobs) < 3


def test_a_cancelled_job_is_given_up_while_it_runs(farm):
    from farm.cli import run

    farm.worker("a100", speed=CRAWLING)
    (job,) = farm.submit(gpus=["a100"], count=1)
    farm.wait_running([job])
    (sweep,) = farm.column("SELECT sweep_id FROM job WHERE id = :i", i=job)
    assert run(["sweep", "cancel", str(sweep)]) == 0
    wait_until(lambda: "given up" in farm.log("a100-0").read_text(), what="the worker to notice")
    assert farm.measured([job]) == 0


def test_a_killed_child_is_replaced_and_its_job_done_again(farm):
    worker = farm.worker("a100", speed=SLOW)
    (job,) = farm.submit(gpus=["a100"], count=1)
    farm.wait_running([job])
    (child,) = children_of(worker.pid)
    kill(child)
    farm.wait_done([job])
    assert len(ends(farm, job)) == 2
    assert worker.poll() is None


def test_a_killed_worker_leaves_no_child_and_its_job_returns_within_a_lease(farm):
    worker = farm.worker("a100", speed=CRAWLING)
    (job,) = farm.submit(gpus=["a100"], count=1)
    farm.wait_running([job])
    (child,) = children_of(worker.pid)
    kill(worker.pid)
    killed = time.time()
    worker.wait()
    wait_until(lambda: is_gone(child), 5, "the child's end")
    farm.worker("a100", device=1)  # not the same again, which would take its own job back at once
    farm.wait_done([job])
    assert ends(farm, job) == ["lease_expired", "accepted"]
    (again,) = farm.column("SELECT started_at FROM attempt WHERE job_id = :i AND number = 2", i=job)
    assert farm.settings.lease_seconds - farm.settings.heartbeat_seconds - 1 < again - killed
    assert again - killed < farm.settings.lease_seconds + 30


def test_a_broker_that_is_gone_when_a_job_ends_is_found_again(farm):
    """It must notice by itself: a busy worker has asked the broker for nothing."""
    farm.worker("a100", speed=SLOW)
    jobs = farm.submit(gpus=["a100"], count=3)
    farm.wait_running(jobs)
    farm.broker.kill()
    wait_until(lambda: farm.measured(jobs), what="the running job")
    wait_until(lambda: "Connection to broker lost" in farm.log("a100-0").read_text(), what="the worker to notice")
    farm.broker.start()
    farm.wait_done(jobs)
    assert [ends(farm, job) for job in jobs] == [["accepted"]] * 3


@pytest.mark.parametrize("url", ["redis://worker:secret@127.0.0.1:{port}/0", "amqp://worker:secret@127.0.0.1:{port}//"])
def test_a_broker_that_is_dead_at_the_start_ends_the_worker_in_one_line(farm_process, url):
    with socket.socket() as probe:  # bound, and never listening: nobody else answers there
        probe.bind(("127.0.0.1", 0))
        broker = url.format(port=probe.getsockname()[1])
        outcome = farm_process("worker", "--gpu", "a100", "--device", "0", "--simulate", "--broker", broker, timeout=30)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (1, "", 1)
    assert "does not answer" in outcome.err
    assert "secret" not in outcome.err


def test_a_frozen_worker_is_fenced_and_its_finding_does_no_harm(farm):
    frozen = farm.worker("a100", speed=SLOW)
    (job,) = farm.submit(gpus=["a100"], count=1)
    farm.wait_running([job])
    (child,) = children_of(frozen.pid)
    freeze(child, farm.home / "farm.db")
    farm.worker("a100", device=1)
    farm.wait_done([job])
    kill(child, signal.SIGCONT)
    wait_until(lambda: "given up" in farm.log("a100-0").read_text() or "late" in farm.log("a100-0").read_text())
    assert ends(farm, job)[0] in ("lease_expired", "late")
    assert farm.measured([job]) == 1


def test_a_second_worker_on_a_device_is_refused(farm, farm_process):
    farm.worker("a100")
    refused = farm_process("worker", "--gpu", "a100", "--device", "0", "--simulate")
    assert refused.code == 1
    assert refused.err.count("\n") == 1
    assert "is taken" in refused.err


def test_a_namesake_on_another_machine_is_refused_and_takes_nothing(farm, farm_process):
    """A host made from the same image: its worker would take the other's running jobs for its own."""
    from farm.domain.worker import WorkerInfo
    from farm.jobs import WorkerJobs
    from workers.device.identity import WorkerIdentity

    here = WorkerIdentity.plain("a100", 0, farm.home, simulate=True)
    words = {"gpu": "a100", "queue": "a100", "device_name": "d", "device_uuid": here.device_uuid, "host": here.host}
    other = WorkerJobs(farm.store, farm.settings.model_copy(update={"lease_seconds": 60.0}))
    (job,) = farm.submit(gpus=["a100"], count=1)
    other.register(WorkerInfo(name=here.name, pid=1, machine="another", **words))
    assert other.claim(job, worker=here.name, queue="a100").id == job
    refused = farm_process("worker", "--gpu", "a100", "--device", "0", "--simulate")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "another machine" in refused.err
    assert farm.rows("SELECT state, attempt FROM job WHERE id = :i", i=job) == [("running", 1)]
    other.leave(here.name)


def test_a_job_that_other_code_submitted_is_measured_where_it_means_the_same(farm):
    from sqlalchemy import text

    (job,) = farm.submit(gpus=["a100"], count=1)
    with farm.store.write() as db:
        db.execute(text(f"UPDATE job SET code_version = '0.0.9' WHERE id = {job}"))
    farm.worker("a100")
    farm.wait_done([job])
    assert ends(farm, job) == ["accepted"]


def test_a_job_of_another_catalog_waits_with_the_reason_until_it_is_stamped_anew(farm, capsys):
    from sqlalchemy import text

    from farm.cli import run

    (job,) = farm.submit(gpus=["a100"], count=1)
    with farm.store.write() as db:
        db.execute(text(f"UPDATE job SET catalog_version = 'another' WHERE id = {job}"))
    farm.worker("a100")
    wait_until(lambda: farm.column("SELECT refusals FROM job WHERE id = :i", i=job)[0], what="the refusal")
    assert ends(farm, job) == []
    assert farm.rows("SELECT state, tries FROM job WHERE id = :i", i=job) == [("queued", 0)]
    (sweep,) = farm.column("SELECT sweep_id FROM job WHERE id = :i", i=job)
    for command in (["sweep", "status", str(sweep)], ["workers", "list"]):
        capsys.readouterr()
        assert run(command) == 0
        assert "another catalog entry of sd2 or a100" in capsys.readouterr().out
    assert run(["sweep", "retry", str(sweep)]) == 0
    assert ": 1 jobs queued again" in capsys.readouterr().out
    farm.wait_done([job])
    assert ends(farm, job) == ["accepted"]


def test_a_file_added_to_the_catalog_strands_nothing(farm):
    """Neither what was queued before nor what uses the new model; no worker is started anew."""
    from farm import catalog
    from farm.cli import run

    farm.worker("a100", speed=SLOW)
    jobs = farm.submit(gpus=["a100"], count=2)
    farm.wait_running(jobs)
    folder = farm.home / "catalog" / "models"
    folder.mkdir(parents=True)
    try:
        (folder / "mine.toml").write_text((catalog.SHIPPED / "models" / "sd2.toml").read_text())
        assert catalog.reload()
        (farm.home / "mine.yaml").write_text(sweep_text([1], models=["mine"]))
        assert run(["sweep", "submit", str(farm.home / "mine.yaml")]) == 0
        jobs.append(max(farm.column("SELECT id FROM job")))
        farm.wait_done(jobs)
        assert [ends(farm, job) for job in jobs] == [["accepted"]] * 3
    finally:
        shutil.rmtree(folder)
        catalog.refresh()


def test_messages_that_are_no_job_id_change_nothing(farm):
    from farm.broker.app import MEASURE, make_app

    worker = farm.worker("a100")
    app = make_app(farm.broker.url, farm.settings)
    for args in (
        ["1; DROP TABLE job"],
        [-1],
        [True],
        [2**70],
        [1.5],
        [[[]]],
        [None],
        [{"id": 1}],
        [],
        [1, 2],
        ["x" * 10**6],
    ):
        app.send_task(MEASURE, args=args, queue="a100")
    app.send_task("os.system", args=["true"], queue="a100")
    jobs = farm.submit(gpus=["a100"], count=2)
    for job in jobs * 3:  # replays
        app.send_task(MEASURE, args=[job], queue="a100")
    app.close()
    farm.wait_done(jobs)
    assert worker.poll() is None
    assert [ends(farm, job) for job in jobs] == [["accepted"]] * 2


def test_a_full_disk_stops_nothing_and_loses_nothing(farm):
    """No file of the worker can grow: neither spool nor, being SQLite, the database take the result."""
    worker = farm.worker("a100", speed=SLOW)
    (job,) = farm.submit(gpus=["a100"], count=1)
    farm.wait_running([job])
    (child,) = children_of(worker.pid)
    limits = resource.prlimit(child, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    wait_until(
        lambda: farm.column("SELECT lease_until < unixepoch() + 2 FROM job WHERE id = :i", i=job)[0],
        what="the heartbeat to fail",
    )
    assert farm.measured([job]) == 0
    resource.prlimit(child, resource.RLIMIT_FSIZE, limits)
    farm.wait_done([job])
    assert worker.poll() is None


def test_no_secret_shows(farm):
    farm.worker("a100")
    farm.wait_done(farm.submit(gpus=["a100"], count=1))
    password = farm.broker.url.split(":")[2].split("@")[0]
    for process in processes_of(farm.home):
        assert password not in Path(f"/proc/{process}/cmdline").read_text()
    for log in (farm.home / "run" / "logs").iterdir():
        assert password not in log.read_text(), log
    assert stat.S_IMODE(farm.home.stat().st_mode) == 0o700
    assert stat.S_IMODE((farm.home / "run" / "broker.json").stat().st_mode) == 0o600


def test_a_device_under_maintenance_rests_until_it_is_back(farm):
    farm.worker("a100", device=0)
    farm.worker("a100", device=1)
    here = sorted(w.name for w in farm.hosts.workers())[0]
    farm.hosts.take_off(here, "a fan rattles")
    jobs = farm.submit(gpus=["a100"], count=6)
    farm.wait_done(jobs, 20)
    workers = set(farm.column("SELECT worker FROM measurement WHERE job_id >= :i", i=min(jobs)))
    assert len(workers) == 1
    assert here not in workers
    farm.hosts.put_back(here)
    farm.hosts.take_off(workers.pop(), "the other one now")
    more = farm.submit(gpus=["a100"], count=4)
    farm.wait_done(more, 30)
    assert farm.column("SELECT DISTINCT worker FROM measurement WHERE job_id >= :i", i=min(more)) == [here]
    for worker in list(farm._workers):
        worker.terminate()
        assert worker.wait(10) == 0  # one that rests ends as quickly as one that works
    farm.hosts.put_back(farm.hosts.devices_off()[0]["worker"])


def test_an_idle_worker_says_what_its_board_draws_now(farm, tmp_path):
    """Before it has had a job; another value soon after the board draws more."""
    # A type that no test beside this one simulates: one is simulated or real in a home, never both.
    with fake.load(tmp_path, Device(name="NVIDIA A10", idle=60.0, temperature=45.0), clock="real") as gpu:
        process = farm.start("worker", "--gpu", "a10", "--device", "0", **gpu.environment())

        def said(watts: float) -> bool:
            assert process.poll() is None, farm.log("worker-gpu-a10-device-0").read_text()
            return power_of(farm, process) == [(pytest.approx(watts), 45.0, "measured")]

        wait_until(lambda: said(60.0), 30, "the idle power")
        gpu.draw(240.0)
        wait_until(lambda: said(300.0), 30, "the power at work")
        process.terminate()
        assert process.wait(15) == 0


def test_a_simulated_worker_says_what_it_simulates(farm):
    process = farm.worker("a100", speed=CRAWLING)
    idle = catalog.gpu("a100").idle_watts
    wait_until(lambda: power_of(farm, process) == [(idle, None, "simulated")], 20, "its idle power")
