"""What a worker keeps between jobs: a meter is open, with all that belongs to it, or it is not."""

import pytest

from farm.domain import MeterError
from farm.settings import load
from workers.device.identity import Place
from workers.procedure import rest
from workers.runtime.device_session import DeviceSession


def test_a_meter_that_fails_at_its_first_reading_is_not_open(home, monkeypatch):
    session = DeviceSession(Place(gpu="a100", device=0, simulate=True), load())

    def fail(_meter, _seconds):
        raise MeterError("it stopped reading")

    with monkeypatch.context() as patch:
        patch.setattr(rest, "cold_idle_watts", fail)
        for _ in range(2):
            with pytest.raises(MeterError, match="stopped reading"):
                session.open()
    session.open()
    assert session._cold_idle_watts == pytest.approx(58, abs=5)
    session.close()


def test_a_device_that_refuses_to_give_memory_back_keeps_nobody_from_closing(home, caplog):
    session = DeviceSession(Place(gpu="a100", device=0, simulate=True), load())
    session.open()

    def refuse():
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    session._workloads.unload = refuse
    closed = []
    session._meter.close = lambda: closed.append("meter")
    session.close()
    assert closed == ["meter"]
    assert "the pipeline could not be let go of" in caplog.text
    assert "illegal memory access" in caplog.text
    session.open()
    session.close()
