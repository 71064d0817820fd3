"""What `farm doctor --deep` says of figures: good, worth a warning, or not known."""

from __future__ import annotations

import json

import pytest

from farm.doctor import Level
from workers.doctor import deep
from workers.doctor.meter import IdlePower, Repeatability, WindowCheck

GOOD = {
    "seconds": 1.0, "windows": 10, "unknown": 0, "watts": 343.3, "scatter_percent": 0.27, "power_percent": 0.4,
    "stated_percent": 0.3,
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "level"),
    [
        ({}, Level.OK),
        ({"power_percent": -6.4}, Level.WARNING),
        ({"power_percent": None}, Level.OK),
        ({"scatter_percent": 4.0}, Level.WARNING),
        ({"seconds": 0.05, "scatter_percent": 4.0, "power_percent": -70.0}, Level.OK),  # too short to judge by
        ({"watts": None, "scatter_percent": None, "power_percent": None, "unknown": 10}, Level.WARNING),
    ],
)
def test_windows(change, level) -> None:
    finding = deep._window("device 0", WindowCheck(**{**GOOD, **change}))
    assert finding.level is level
    assert bool(finding.remedy) == (level is Level.WARNING)


@pytest.mark.parametrize(
    ("joules", "level"),
    [((10350.0, 10365.0), Level.OK), ((100.0, 103.0), Level.WARNING), ((100.0,), Level.WARNING)],
)
def test_repeats(joules, level) -> None:
    assert deep._repeated("device 0", Repeatability(seconds=30.0, joules=joules)).level is level


@pytest.mark.parametrize(
    ("percent", "error", "level"), [(0.0, 0.01, Level.OK), (2.0, 0.2, Level.WARNING), (2.0, 1.5, Level.OK)]
)
def test_what_the_log_costs_counts_beyond_its_error(percent, error, level) -> None:
    assert deep._cost("device 0", percent, error).level is level


def test_an_idle_power_that_nobody_reads_is_a_failure() -> None:
    known = IdlePower(watts=78.0, std_watts=0.1, noise_watts=0.4, sm_clock_mhz=345, celsius=37)
    unknown = IdlePower(watts=None, std_watts=None, noise_watts=None, sm_clock_mhz=None, celsius=None)
    assert deep._idle("device 0", known, known).level is Level.OK
    assert deep._idle("device 0", known, unknown).level is Level.FAILURE


def test_without_a_gpu_it_says_so_and_minutes_go_with_deep(farm_process) -> None:
    done = farm_process("doctor", "--deep", "--json", LD_LIBRARY_PATH="")
    document = json.loads(done.out)
    assert document["devices"] == []
    assert [c["level"] for c in document["checks"] if c["check"] == "deep"] == ["warning"]
    refused = farm_process("doctor", "--minutes", "2")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "goes with --deep" in refused.err
