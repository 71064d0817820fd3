"""``farm calibrate``: its document, its rows, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from farm.cli.calibrate import level
from farm.domain import Measurement
from tests.conftest import ROOT
from workers.procedure.calibration import Calibration


def test_a_simulated_device_answers_and_its_rows_are_flagged(farm) -> None:
    done = farm("calibrate", "--gpu", "h100", "--simulate", "--json")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert document["gpu"] == "h100"
    assert document["rows"] == 2
    assert document["idle_watts"] == pytest.approx(75, abs=1)
    assert document["power_limit_watts"] == 700
    assert 1e14 < document["reached"]["matmul"] < 1e15
    assert 1e12 < document["reached"]["memory"] < 5e12
    assert document["level"] > 0
    assert document["flags"] == ["simulated"]

    listed = json.loads(farm("results", "list", "--dataset", document["dataset"], "--json").out)["results"]
    assert [row["model"] for row in listed] == ["sd2", "sd35-medium"]
    assert all(row["flags"] == ["simulated"] and row["power_limit_watts"] == 700 for row in listed)


def test_in_words(farm) -> None:
    done = farm("calibrate", "--gpu", "h100", "--simulate")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0].startswith("h100: ")
    assert lines[0].endswith(", simulated")
    assert [line.split()[0] for line in lines[1:]] == [
        "idle", "matmul", "attention", "convolution", "memory", "measured", "measured", "level", "kept",
    ]  # fmt: skip
    assert "power limit 700 W" in lines[1]
    assert lines[2].endswith("TFLOP/s")
    assert lines[5].endswith("GB/s")
    assert all(" J, " in line for line in lines if line.startswith("measured"))


def test_its_rows_come_beside_those_of_an_earlier_one(farm) -> None:
    names = {json.loads(farm("calibrate", "--gpu", "a100", "--simulate", "--json").out)["dataset"] for _ in range(2)}
    assert len(names) == 1
    assert json.loads(farm("results", "list", "--dataset", *names, "--json").out)["count"] == 4


def test_a_board_with_little_memory_is_calibrated_by_what_fits(farm, home) -> None:
    from farm.catalog import SHIPPED, refresh

    folder = home / "catalog" / "gpus"
    folder.mkdir(parents=True)
    text = (SHIPPED / "gpus" / "a4000.toml").read_text()
    (folder / "small.toml").write_text(text.replace("memory_bytes = ", "memory_bytes = 8.0e9 #", 1))
    refresh()
    document = json.loads(farm("calibrate", "--gpu", "small", "--simulate", "--json").out)
    assert [m["model"] for m in document["measurements"]] == ["sd2"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--gpu", "cpu"), "a processor's energy is an estimate"),
        (("--gpu", "nothing"), "known:"),
        (("--gpu", "a100"), "no such device here"),
        (("--gpu", "a100", "--simulate", "--dataset", "farm"), "another name"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(farm_process, arguments, words) -> None:
    done = farm_process("calibrate", *arguments, LD_LIBRARY_PATH="")
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert words in done.err


def test_the_level_is_above_the_idle_that_was_taken_off() -> None:
    """Of a real H200, whose context draws 124 W where the board at rest, above which the law answers, draws 78."""
    found = json.loads((ROOT / "analysis" / "data" / "measured" / "h200-2026-11-28.json").read_text())
    document = found["checks"]["calibrate"]["found"]
    measurements = [Measurement.from_dict(each) for each in document["measurements"]]
    done = Calibration(
        gpu="h200", device_name="", seconds=60.0, idle_watts=document["idle_watts"], power_limit_watts=700.0,
        reached={}, launch_seconds=None, measurements=measurements,
    )  # fmt: skip
    assert level(done) == pytest.approx(1.04, abs=0.02)


def test_a_measurement_that_took_no_energy_above_idle_has_no_part_in_the_level() -> None:
    """Noise of the idle power may leave less than nothing of a short one."""
    found = json.loads((ROOT / "analysis" / "data" / "measured" / "h200-2026-11-28.json").read_text())
    measured = Measurement.from_dict(found["checks"]["calibrate"]["found"]["measurements"][0])
    done = Calibration(
        gpu="h200", device_name="", seconds=60.0, idle_watts=78.0, power_limit_watts=700.0, reached={},
        launch_seconds=None, measurements=[replace(measured, energy_joules=-1.0)],
    )  # fmt: skip
    assert level(done) is None
