"""RabbitMQ as the broker: jobs longer than its patience, strangers' messages, and everybody killed once."""

from __future__ import annotations

import json
import struct

import amqp
import pytest

from farm.broker.app import MEASURE, Broker, check_queue
from farm.domain import OperationError, RequestError
from farm.settings import load
from tests.integration.farm_fixture import RunningFarm, kill
from tests.integration.lab import make_certificate
from tests.processes import children_of, wait_until
from tests.rabbitmq import PASSWORD, RabbitMQ, missing

PATIENCE_SECONDS = 3.0
LONG = 0.15  # simulated seconds a second: a job takes longer than the broker's patience
SLOW = 3.0
QUEUES = ("a100", "a4000")

pytestmark = [
    pytest.mark.skipif(bool(missing()), reason=missing()),
    pytest.mark.slow,
]


@pytest.fixture(scope="module")
def rabbitmq(tmp_path_factory):
    certificate = make_certificate(tmp_path_factory.mktemp("certificate"))
    server = RabbitMQ(QUEUES, consumer_timeout_seconds=PATIENCE_SECONDS, certificate=certificate)
    try:
        server.start()
        with server.connect() as connection, connection.channel() as channel:
            channel.queue_declare("a100", durable=True, auto_delete=False)
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="module")
def module_farm(rabbitmq, tmp_path_factory):
    """As that of the other tests, but for its broker."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("farm") / "home"
        farm = RunningFarm(home, patch.setenv, FARM_BROKER_URL=rabbitmq.url("coordinator"))
        farm.start("coordinator")
        yield farm
        farm.close()


@pytest.fixture
def farm(running_farm, rabbitmq):
    yield running_farm
    with rabbitmq.connect() as connection:
        connection.channel().queue_purge("a100")


@pytest.fixture
def worker(farm, rabbitmq):
    def call(gpu="a100", **options):
        return farm.worker(gpu, FARM_BROKER_URL=rabbitmq.url(f"worker-{gpu}"), **options)

    return call


def ends(farm, job):
    return farm.column('SELECT "end" FROM attempt WHERE job_id = :i ORDER BY number', i=job)


def test_a_job_longer_than_the_broker_s_patience_ends_nobody_and_holds_nothing_back(farm, worker, rabbitmq):
    process = worker(speed=LONG)
    (long,) = farm.submit(gpus=["a100"], count=1)
    farm.wait_running([long])
    others = farm.submit(gpus=["a100"], count=4)
    worker(device=1)
    farm.wait_done(others)
    assert not farm.measured([long])
    farm.wait_done([long])
    assert [ends(farm, job) for job in [long, *others]] == [["accepted"]] * 5
    (seconds,) = farm.column("SELECT ended_at - started_at FROM attempt WHERE job_id = :i", i=long)
    assert seconds > PATIENCE_SECONDS + 2.0  # the broker looks once a second
    farm.wait_done(farm.submit(gpus=["a100"], count=1))
    assert process.poll() is None
    assert "lost" not in farm.log("a100-0").read_text()
    assert "timeout" not in rabbitmq.log.lower()


def header(name: bytes, kind: bytes, value: bytes) -> bytes:
    return bytes([len(name)]) + name + kind + value


def unreadable() -> list[bytes]:
    """Tables that RabbitMQ passes on and of which the client library cannot make values."""
    deep = b""
    for _ in range(3000):
        deep = header(b"a", b"F", struct.pack(">I", len(deep)) + deep)
    return [header(b"t", b"T", b"\x7f" * 8), deep]


class Raw(amqp.Message):
    """A message whose table of headers is these bytes."""

    def __init__(self, table: bytes) -> None:
        super().__init__("{}", content_type="application/json")
        self.table = table

    def _serialize_properties(self) -> bytes:
        flags = struct.pack(">H", 0xA000)  # content type, headers
        return flags + b"\x10application/json" + struct.pack(">I", len(self.table)) + self.table


def strangers(job: int) -> list[amqp.Message]:
    """Messages none of which is like the coordinator's."""
    task = {"task": MEASURE, "id": "x", "lang": "py"}
    content = json.dumps([[job], {}, {}])

    def message(body=content, headers=task, content_type="application/json", **more):
        return amqp.Message(body, application_headers=headers, content_type=content_type, **more)

    return [
        message("TOPSECRET"),
        message("[" * 3000),
        message(b"\xff\xfe"),
        message(""),
        message(json.dumps([["TOPSECRET" * 300_000], {}, {}])),
        message(json.dumps([[-job], {}, {}])),
        message(headers=task | {"task": "TOPSECRET.system", "eta": "2100-01-01T00:00:00"}),
        message(headers={"task": "celery.map", "eta": "2100-01-01T00:00:00", "TOPSECRET": [1, {"x": "y"}]}),
        message(headers=task | {"compression": "application/x-gzip"}),
        message(content_type="application/x-python-serialize"),
        message(content_type="application/x-yaml", body="!!python/object/apply:os.abort []"),
        message(headers={}),
        amqp.Message("TOPSECRET"),
        *map(Raw, unreadable()),
    ]


def test_strangers_messages_are_dropped_and_none_of_them_said(farm, worker, rabbitmq):
    process = worker(speed=SLOW)
    (job,) = farm.submit(gpus=["a100"], count=1)
    farm.wait_done([job])
    messages = strangers(job)
    later = amqp.Message(
        json.dumps([[job], {}, {}]),
        content_type="application/json",
        application_headers={"task": MEASURE, "id": "x", "eta": "2100-01-01T00:00:00", "timelimit": [0.1, 0.05]},
    )
    with rabbitmq.connect() as connection, connection.channel() as channel:
        channel.confirm_select()
        for message in [later] * 3 + messages:
            channel.basic_publish_confirm(message, routing_key="a100")
    jobs = farm.submit(gpus=["a100"], count=2)
    farm.wait_done(jobs, 60)
    assert [ends(farm, each) for each in [job, *jobs]] == [["accepted"]] * 3
    log = farm.log("a100-0").read_text()
    wait_until(lambda: farm.log("a100-0").read_text().count("was dropped") == len(messages), what="a line for each")
    assert process.poll() is None
    for word in ("Traceback", "TOPSECRET", "lost"):
        assert word not in log


def test_a_worker_killed_in_mid_sweep_costs_an_attempt_and_no_more(farm, worker):
    jobs = farm.submit(gpus=["a100"], count=8)
    first, second = worker(speed=SLOW), worker(speed=SLOW, device=1)
    wait_until(lambda: farm.measured(jobs) >= 1, what="the first result")
    (child,) = wait_until(lambda: children_of(first.pid), what="a child")
    kill(child)
    kill(second.pid)
    farm.wait_done(jobs, 60)
    assert first.poll() is None
    all_ends = [end for job in jobs for end in ends(farm, job)]
    assert all_ends.count("accepted") == 8
    assert len(all_ends) <= 10


@pytest.mark.chaos
def test_a_broker_killed_in_mid_sweep_costs_nothing(farm, worker, rabbitmq):
    process = worker(speed=SLOW)
    jobs = farm.submit(gpus=["a100"], count=6)
    wait_until(lambda: farm.measured(jobs) >= 1, what="the first result")
    rabbitmq.kill()
    wait_until(lambda: "does not answer" in farm.log("coordinator").read_text(), 30, "the coordinator to notice")
    rabbitmq.start()
    farm.wait_done(jobs, 90)
    assert [ends(farm, job) for job in jobs] == [["accepted"]] * 6
    assert process.poll() is None
    assert "Traceback" not in farm.log("coordinator").read_text()


def test_a_worker_that_stops_takes_nothing_with_it(farm, worker, rabbitmq):
    process = worker(speed=SLOW, FARM_ON_SIGTERM="drain")
    jobs = farm.submit(gpus=["a100"], count=6)
    farm.wait_running(jobs)
    process.terminate()
    assert process.wait(20) == 0
    done = farm.measured(jobs)
    assert done < 6
    with rabbitmq.connect() as connection, connection.channel() as channel:
        assert channel.queue_declare("a100", passive=True).message_count == 6 - done


@pytest.mark.parametrize(
    ("user", "password", "error", "says"),
    [
        ("worker-a4000", PASSWORD, RequestError, "may use the queue a100"),
        ("worker-a100", "wrong", OperationError, "does not answer"),
    ],
)
def test_who_may_not_is_told(farm, rabbitmq, user, password, error, says):
    url = rabbitmq.url(user, password=password)
    with pytest.raises(error, match=says) as raised:
        check_queue(url, load(broker_url=url), "a100")
    assert password not in str(raised.value)


def test_a_queue_that_is_not_there_has_no_messages(farm, rabbitmq):
    broker = Broker(load(broker_url=rabbitmq.url("coordinator")))
    assert [broker.waiting(queue) for queue in ("nowhere", "a100", "nowhere")] == [0, 0, 0]
    broker.send("somewhere", [1, 2])
    wait_until(lambda: broker.waiting("somewhere") == 2, what="two messages")
    broker.close()


def test_tls_is_verified(rabbitmq):
    authority = rabbitmq.certificate
    known = load(broker_url=rabbitmq.url("coordinator", tls=True, host="localhost"), broker_ca=authority)
    broker = Broker(known)
    broker.ping()
    broker.close()
    for url, ca in (
        (rabbitmq.url("coordinator", tls=True), authority),  # the certificate is for localhost
        (rabbitmq.url("coordinator", tls=True, host="localhost"), None),
    ):
        broker = Broker(load(broker_url=url, broker_ca=ca))
        with pytest.raises(OperationError, match="certificate"):
            broker.ping()
