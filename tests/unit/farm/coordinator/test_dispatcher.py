"""The coordinator's decisions: how full the queues are kept, when silence counts, when a refit starts."""

import sys

import pytest

from farm.coordinator.dispatcher import Dispatcher, Window
from farm.coordinator.refit import RefitTicker
from farm.domain import OperationError
from farm.settings import load
from farm.store.engine import Store
from tests.both_sides import Jobs
from tests.quick import sweep_text


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class CountingBroker:
    """A broker that counts: what it would do with the numbers is the business of the integration tests."""

    def __init__(self):
        self.queues = {}

    def send(self, queue, job_ids):
        self.queues.setdefault(queue, []).extend(job_ids)

    def waiting(self, queue):
        return len(self.queues.get(queue, []))

    def close(self):
        pass


@pytest.fixture
def settings(home):
    return load(lease_seconds=10.0, message_grace_seconds=0.000001)


@pytest.fixture
def jobs(settings):
    store = Store.open(settings)
    yield Jobs(store, settings)
    store.close()


@pytest.fixture
def submit(farm, tmp_path):
    def call(count):
        spec = tmp_path / "spec.yaml"
        spec.write_text(sweep_text(range(1, count + 1)))
        assert farm("sweep", "submit", spec).code == 0

    return call


def test_a_window_follows_how_fast_its_queue_is_emptied():
    window = Window(smallest=4, largest=16, size=4)
    assert [window.room(0) for _ in range(4)] == [8, 16, 16, 16]
    assert window.room(16) == 0
    assert window.room(9) == 0
    assert window.size == 4


def test_only_a_window_of_messages_is_out(jobs, settings, submit):
    broker, clock = CountingBroker(), Clock()
    submit(40)
    dispatcher = Dispatcher(jobs, broker, settings, name="c", clock=clock)
    dispatcher.tick()
    assert dispatcher.top_up() == 8
    assert dispatcher.top_up() == 0
    assert broker.queues["a100"] == sorted(broker.queues["a100"])


def test_two_coordinators_together_send_each_once(jobs, settings, submit):
    broker = CountingBroker()
    submit(6)
    first, second = (Dispatcher(jobs, broker, settings, name=n, clock=Clock()) for n in "ab")
    for dispatcher in (first, second, first, second):
        dispatcher.tick()
        dispatcher.top_up()
    assert sorted(broker.queues["a100"]) == sorted(set(broker.queues["a100"]))
    assert len(broker.queues["a100"]) == 6


@pytest.fixture
def sent(jobs, settings, submit):
    """A coordinator that has sent the messages of so many jobs, with its broker and its clock."""

    def call(count):
        broker, clock = CountingBroker(), Clock()
        submit(count)
        dispatcher = Dispatcher(jobs, broker, settings, name="c", clock=clock)
        dispatcher.tick()
        assert dispatcher.top_up() == count
        return dispatcher, broker, clock

    return call


def test_lost_messages_are_sent_again(sent):
    dispatcher, broker, _ = sent(3)
    broker.queues.clear()  # FLUSHALL
    dispatcher.tick()
    assert dispatcher.top_up() == 3


def test_a_message_that_was_lost_does_not_wait_for_its_queue_to_drain(sent, jobs, settings):
    dispatcher, broker, clock = sent(6)
    broker.queues["a100"] = [4, 5, 6]
    assert all(jobs.claim(job_id, worker=f"w{job_id}", queue="a100") for job_id in (2, 3))  # not 1: it was lost
    dispatcher.tick()
    assert dispatcher.top_up() == 0  # just sent: it may be on its way
    clock.now += settings.message_grace_seconds
    dispatcher.tick()
    assert dispatcher.top_up() == 1
    assert broker.queues["a100"][-1] == 1


def test_what_the_broker_did_not_take_is_sent_again(jobs, settings, submit, monkeypatch):
    broker = CountingBroker()
    submit(3)
    dispatcher = Dispatcher(jobs, broker, settings, name="c", clock=Clock())
    dispatcher.tick()
    with monkeypatch.context() as patch:
        patch.setattr(broker, "send", lambda *_: (_ for _ in ()).throw(OperationError("broker away")))
        with pytest.raises(OperationError):
            dispatcher.top_up()
    assert dispatcher.top_up() == 3


def test_a_worker_that_is_quicker_than_the_coordinator_has_the_last_word(jobs, settings, submit, monkeypatch):
    """It spends the message of one job on another, and hands it back: the job is due again."""
    broker = CountingBroker()
    submit(2)
    dispatcher = Dispatcher(jobs, broker, settings, name="c", clock=Clock())
    dispatcher.tick()
    send = broker.send

    def send_to_a_quick_worker(queue, job_ids):
        send(queue, job_ids)
        assert jobs.claim(job_ids[0], worker="w", queue=queue) is not None
        jobs.release(job_ids[0], 1, "w")

    with monkeypatch.context() as patch:
        patch.setattr(broker, "send", send_to_a_quick_worker)
        assert dispatcher.top_up() == 2
    assert len(jobs.due("a100", 9)) == 1


@pytest.fixture
def silent(jobs, settings, submit):
    """A job whose worker fell silent long ago."""
    from sqlalchemy import text

    submit(1)
    (job_id,) = jobs.due("a100", 1)
    assert jobs.claim(job_id, worker="w", queue="a100") is not None
    with jobs.store.write() as db:
        db.execute(text("UPDATE job SET lease_until = 1"))
    return job_id


def test_a_silent_worker_loses_its_job(jobs, settings, silent):
    jobs.touch_coordinator("another")  # somebody coordinated a moment ago
    Dispatcher(jobs, CountingBroker(), settings, name="c", clock=Clock()).tick()
    assert jobs.due("a100", 5) == [silent]


def test_nobody_is_punished_for_the_coordinators_absence(jobs, settings, silent):
    clock = Clock()
    dispatcher = Dispatcher(jobs, CountingBroker(), settings, name="c", clock=clock)
    dispatcher.tick()  # the first ever: nobody knows how long there was none
    assert jobs.due("a100", 5) == []
    clock.now += settings.lease_seconds / 2
    dispatcher.tick()
    assert jobs.due("a100", 5) == []
    clock.now += settings.lease_seconds / 2
    dispatcher.tick()
    assert jobs.due("a100", 5) == [silent]


def test_an_outage_of_the_database_is_an_absence_too(jobs, settings, silent, monkeypatch):
    clock = Clock()
    jobs.touch_coordinator("another")
    dispatcher = Dispatcher(jobs, CountingBroker(), settings, name="c", clock=clock)
    with monkeypatch.context() as patch:
        patch.setattr(jobs, "reap", lambda: 0)
        dispatcher.tick()
    clock.now += settings.lease_seconds / 2 + 1  # no tick came through
    jobs.touch_coordinator("another")  # which was back a moment earlier
    dispatcher.tick()
    assert jobs.due("a100", 5) == []


def test_the_loop_outlives_a_broker_that_is_away(jobs, settings, submit, caplog):
    import threading

    stop = threading.Event()
    broker = CountingBroker()
    calls = []

    def away(queue):
        calls.append(queue)
        if len(calls) < 3:
            raise OperationError("broker away")
        stop.set()
        return 0

    broker.waiting = away
    submit(1)
    Dispatcher(jobs, broker, settings, name="c").run(stop)
    assert len(calls) >= 3
    assert caplog.text.count("broker away") == 1


def test_a_refit_starts_only_for_new_results_and_not_too_often(settings, home):
    clock = Clock()
    ticker = RefitTicker(settings, command=[sys.executable, "-c", "pass"], clock=clock, cpu_seconds=lambda: 1e6)

    def tick(results):
        started = ticker.tick(results)
        if started:
            ticker._child._process.wait()
        return started

    assert not tick(0)
    assert tick(5)
    assert not tick(6)  # too soon
    clock.now += settings.refit_seconds
    assert not tick(5)  # nothing new
    assert tick(6)
    ticker.close()


def test_refits_take_a_tenth_of_the_cpu_while_results_come_without_a_pause(settings):
    """20,000 results within minutes are not worth a fit of their own every half minute; the last of them are."""
    clock, cpu = Clock(), 10.0
    ticker = RefitTicker(settings, command=[sys.executable, "-c", "pass"], clock=clock, cpu_seconds=lambda: cpu)
    results, started = 0, []

    def look(more):
        nonlocal results
        results += more
        clock.now += 2.0
        if ticker.tick(results):
            started.append(clock.now)
            ticker._child._process.wait()
            return True
        return False

    assert look(100), "the first, of few"
    assert not any(look(100) for _ in range(100)), "2 s for each 100 are more than a tenth of the coordinator's 10"
    cpu = 5000.0
    assert look(100), "now they are not"
    cpu = 10.0
    assert not any(look(100) for _ in range(200))
    assert not look(0)
    assert [look(0) for _ in range(3)].count(True) == 1, "as soon as results pause"
    assert not any(look(0) for _ in range(100)), "nothing is new"
    assert any(look(100) for _ in range(310)), "and sooner or later in any case"
    assert started[-1] - started[-2] >= 600
    ticker.close()
