"""A second type of processor, one file of a lab, is served as the shipped one is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from farm import catalog
from farm.catalog import SHIPPED
from farm.domain import RequestError
from workers.device.lock import DeviceLock
from workers.meters import check_meter, open_meter

NANO = ["--model", "sd2", "--resolution", "64", "--steps", "2", "--precision", "fp32", "--prompts", "1"]


@pytest.fixture
def epyc(home: Path) -> str:
    """The name of a second processor, whose jobs travel by a queue of their own."""
    folder = home / "catalog" / "gpus"
    folder.mkdir(parents=True)
    text = (SHIPPED / "gpus" / "cpu.toml").read_text()
    (folder / "cpu-epyc.toml").write_text(text.replace('queue = "cpu"', 'queue = "epyc"').replace("65.0", "280.0"))
    return "cpu-epyc"


def test_its_entry_says_nothing_of_nvml_or_of_a_power_sensor(epyc: str) -> None:
    entry = catalog.gpu(epyc)
    assert (entry.kind, entry.is_processor, entry.queue, entry.board_power_watts) == ("processor", True, "epyc", 280.0)
    assert not entry.matches("NVIDIA A100-SXM4-80GB")
    assert {name for name, shipped in catalog.gpus().items() if shipped.is_processor} == {"cpu", epyc}


def test_what_it_is_measured_with(epyc: str) -> None:
    with pytest.raises(RequestError, match="--meter: both: cpu-epyc has no NVML"):
        check_meter("both", epyc)
    meter = open_meter(epyc)
    assert (meter.name, meter.flags) == ("codecarbon", ("estimated",))
    meter.close()


def test_it_is_measured_without_a_queue(farm: Callable[..., Any], epyc: str) -> None:
    done = farm("measure", "--gpu", epyc, *NANO, "--size", "nano", "--idle-seconds", "0.4", "--json")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert (document["gpu"], document["meter"]) == (epyc, "codecarbon")
    assert "estimated" in document["flags"]


def test_it_is_predicted_with_an_interval_as_wide_as_what_is_known_of_it(farm: Callable[..., Any], epyc: str) -> None:
    done = farm("predict", "--gpu", epyc, *NANO, "--json")
    document = json.loads(done.out)
    assert document["high_joules"] > 100 * document["energy_joules"]


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        (["worker", "--gpu", "cpu-epyc", "--device", "0"], "--device: 0: --gpu cpu-epyc has no device number"),
        (["up", "--cpu", "cpu-epyc", "--simulate", "a100"], "--cpu: cpu-epyc: goes without --simulate"),
        (["up", "--cpu", "--simulate", "a100"], "--cpu: cpu: goes without --simulate"),
        (["up", "--cpu", "a100"], "--cpu: a100: a processor of the catalog: cpu, cpu-epyc"),
    ],
)
@pytest.mark.usefixtures("epyc")
def test_what_a_processor_does_not_go_with(farm: Callable[..., Any], command: list[str], complaint: str) -> None:
    done = farm(*command)
    assert (done.code, done.err) == (2, f"farm: {complaint}\n")


def test_one_host_has_one_processor_whatever_it_is_called(
    farm: Callable[..., Any], epyc: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farm.broker.app.check_queue", lambda *_: None)
    with DeviceLock("processor", home / "run" / "locks"):
        for gpu in ("cpu", epyc):
            done = farm("worker", "--gpu", gpu, "--broker", "redis://127.0.0.1:1/0")
            assert done.code == 1
            assert "device processor is taken" in done.err
