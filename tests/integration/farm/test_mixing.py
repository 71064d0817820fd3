"""Of one GPU type a farm's rows are simulated or real, never both, so that neither counts as the other."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from farm.domain import RequestError
from farm.domain.worker import WorkerInfo

REAL, SIMULATED = (), ("simulated",)


@pytest.fixture
def finish(jobs, sweep, measure):
    """A finished job on an A100, its measurement with these flags."""

    def call(flags):
        sweep()
        job = jobs.claim(1, worker="w", queue="a100")
        assert jobs.record(1, 1, "w", measure(job, flags=flags))

    return call


def info(name, uuid):
    return WorkerInfo(
        name=name, gpu="a100", queue="a100", device_name="d", device_uuid=uuid, host="h", pid=1, code_version="1"
    )


@pytest.mark.parametrize(("flags", "simulate"), [(REAL, True), (("estimated",), True), (SIMULATED, False)])
def test_a_worker_of_the_other_kind_is_refused(jobs, finish, flags, simulate):
    finish(flags)
    jobs.refuse_mixing("a100", simulate=not simulate)
    jobs.refuse_mixing("h100", simulate=simulate)
    with pytest.raises(RequestError, match=r"a100.*FARM_HOME"):
        jobs.refuse_mixing("a100", simulate=simulate)


def test_so_is_one_beside_a_worker_of_the_other_kind(jobs):
    jobs.refuse_mixing("a100", simulate=False)
    jobs.register(info("sim-a100-0@h", "sim-a100-0-abcdef"))
    with pytest.raises(RequestError, match="sim-a100-0@h"):
        jobs.refuse_mixing("a100", simulate=False)
    jobs.leave("sim-a100-0@h")
    jobs.register(info("a100-0@h", "GPU-1"))
    jobs.refuse_mixing("a100", simulate=False)
    with pytest.raises(RequestError, match="a100-0@h"):
        jobs.refuse_mixing("a100", simulate=True)


@pytest.mark.parametrize(
    "command",
    [
        ("up", "--simulate", "h100,a100"),
        ("up", "--simulate", "a100", "--detach"),
        ("worker", "--gpu", "a100", "--device", "0", "--simulate", "--broker", "redis://127.0.0.1:1/0"),
    ],
)
def test_commands_say_so_before_anything_runs(home, farm_process, store, finish, settings, command):
    finish(REAL)
    outcome = farm_process(*command, FARM_DATABASE_URL=settings.database())
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert "measurements of real devices" in outcome.err
    assert not (home / "run" / "broker.json").exists()


@pytest.mark.parametrize(
    ("machine", "device", "says"), [("m1", "u1", ""), ("m2", "u1", "another machine"), ("m1", "u2", "another device")]
)
def test_a_living_namesake_elsewhere_is_refused(jobs, machine, device, says):
    """Two hosts made from one image; the same worker started anew may go on."""
    jobs.register(
        WorkerInfo(
            name="a100-0@gpu",
            gpu="a100",
            queue="a100",
            device_name="d",
            device_uuid="u1",
            host="gpu",
            machine="m1",
            pid=1,
        )
    )
    if not says:
        jobs.refuse_namesake("a100-0@gpu", machine=machine, device_uuid=device)
        return
    with pytest.raises(RequestError, match=says):
        jobs.refuse_namesake("a100-0@gpu", machine=machine, device_uuid=device)
    with jobs.store.write() as db:
        db.execute(text("UPDATE worker SET seen_at = seen_at - 100"))
    jobs.refuse_namesake("a100-0@gpu", machine=machine, device_uuid=device)  # it is gone
