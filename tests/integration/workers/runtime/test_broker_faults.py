"""A broker that answers, but wrongly, or under other URLs: workers wait, and never exit."""

from __future__ import annotations

import pytest
import redis

from farm.broker.embedded import free_port
from tests.integration.farm_fixture import wait_until

SLOW = 3.0


@pytest.fixture
def farm(running_farm):
    return running_farm


@pytest.fixture
def owner(farm):
    """The broker, as its owner speaks to it."""
    client = redis.Redis.from_url(farm.broker.url)
    yield client
    client.replicaof("NO", "ONE")
    client.config_set("maxmemory", "0")
    client.close()


@pytest.mark.parametrize(
    ("break_", "mend"),
    [
        (lambda r: r.replicaof("127.0.0.1", free_port()), lambda r: r.replicaof("NO", "ONE")),
        (lambda r: r.config_set("maxmemory", "1"), lambda r: r.config_set("maxmemory", "0")),
    ],
    ids=["a replica", "full"],
)
def test_a_broker_that_takes_no_writes_is_waited_for(farm, owner, break_, mend):
    worker = farm.worker("a100", speed=SLOW)
    jobs = farm.submit(gpus=["a100"], count=3)
    running = farm.wait_running(jobs)
    break_(owner)
    wait_until(lambda: farm.measured([running]), what="the job that ran")
    wait_until(lambda: "WARNING" in farm.log("a100-0").read_text(), what="a line about the broker")
    mend(owner)
    farm.wait_done(jobs, 60)
    assert worker.poll() is None
    assert "Traceback" not in farm.log("a100-0").read_text()


def test_the_environment_of_another_application_is_not_read(farm):
    """Celery itself prefers its own variables to what it was configured with."""
    elsewhere = f"redis://127.0.0.1:{free_port()}/3"
    names = ("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL", "BROKER_URL")
    farm.worker("a100", **dict.fromkeys(names, elsewhere))
    farm.wait_done(farm.submit(gpus=["a100"], count=2))
