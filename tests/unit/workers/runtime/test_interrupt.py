"""Signals end a measurement where that is allowed, and nowhere else."""

import os
import signal

import pytest

from workers.interrupted import Interrupted
from workers.runtime.interrupt import FENCE_SIGNAL, STOP_SIGNAL, Interrupt, Why


@pytest.fixture
def interrupt():
    before = {number: signal.getsignal(number) for number in (STOP_SIGNAL, FENCE_SIGNAL)}
    made = Interrupt()
    made.install()
    yield made
    for number, handler in before.items():
        signal.signal(number, handler)


def stop():
    os.kill(os.getpid(), STOP_SIGNAL)


def test_a_stop_ends_what_may_be_ended(interrupt):
    with pytest.raises(Interrupted) as caught, interrupt.allowed():
        stop()
    assert caught.value.why is Why.STOPPING


def test_a_stop_waits_for_what_may_not(interrupt):
    stop()
    assert interrupt.stopping
    with pytest.raises(Interrupted), interrupt.allowed():
        pytest.fail("begun although the worker stops")


def test_a_draining_worker_is_not_stopped(interrupt):
    interrupt.draining = True
    with interrupt.allowed():
        stop()
    assert not interrupt.stopping


def test_a_stop_stays_one_when_the_worker_drains_after_it(interrupt):
    stop()
    interrupt.draining = True
    stop()  # what a request to drain sends to the parent comes back as another
    assert interrupt.stopping


def test_a_fence_ends_its_own_job_only(interrupt):
    first, second = object(), object()
    interrupt.concerns(first)
    interrupt.fence(first)
    interrupt.concerns(second)  # the first ended before it was noticed
    with interrupt.allowed():
        interrupt.fence(first)
    with pytest.raises(Interrupted) as caught, interrupt.allowed():
        interrupt.fence(second)
    assert caught.value.why is Why.FENCED
    interrupt.concerns(None)
    interrupt.fence(None)
    with interrupt.allowed():
        pass
