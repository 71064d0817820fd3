"""farm law pin and unpin, farm predict --fit: stored fits predict exactly what they did, until unpinned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis.shipped import TRANSFORMERS
from tests.outcomes import document, refused

Farm = Callable[..., Any]
ONE = ("--model", "flux", "--gpu", "h100", "--resolution", "768", "--steps", "20", "--precision", "fp16")
NUMBERS = ("energy_joules", "low_joules", "high_joules", "duration_seconds", "phases")


@pytest.fixture
def fits(farm: Farm) -> dict[str, Any]:
    """Two fits of law work and one of paper in the farm's database, and what the first of them predicts."""
    assert farm("results", "import", TRANSFORMERS, "--dataset", "lab").code == 0
    first = document(farm("law", "fit", "--where", "model=flux", "--json"))["fit_id"]
    then = document(farm("predict", *ONE, "--where", "model=flux", "--json"))
    assert then["fit_id"] == first
    second = document(farm("law", "fit", "--json"))["fit_id"]
    paper = document(farm("law", "fit", "--law", "paper", "--where", "model=flux", "--json"))["fit_id"]
    return {"first": first, "second": second, "paper": paper, "then": then}


def test_a_pinned_fit_predicts_exactly_what_it_did_until_it_is_unpinned(
    farm: Farm, fits: dict[str, Any], tmp_path: Path
) -> None:
    usual = document(farm("predict", *ONE, "--json"))
    assert usual["fit_id"] == fits["second"]
    assert usual["energy_joules"] != fits["then"]["energy_joules"]
    pinned = document(farm("law", "pin", fits["first"], "--json"))
    assert pinned == {"fit_id": fits["first"], "law": "work", "n": 80, "pinned": True}
    now = document(farm("predict", *ONE, "--json"))
    assert {name: now[name] for name in NUMBERS} == {name: fits["then"][name] for name in NUMBERS}
    assert now["fit_id"] == fits["first"]
    assert f"fit {fits['first']}, pinned" in now["rests_on"]
    many = document(farm("predict", *ONE[:6], "--steps", "20,30", "--precision", "fp16", "--json"))["predictions"]
    assert {each["fit_id"] for each in many} == {fits["first"]}
    table = tmp_path / "asked.csv"
    table.write_text("model,gpu,resolution,steps,precision\nflux,h100,768,20,fp16\n")
    (row,) = document(farm("predict", "--in", table, "--json"))["predictions"]
    assert row["energy_joules"] == fits["then"]["energy_joules"]
    marks = {fit["fit_id"]: fit["pinned"] for fit in document(farm("law", "list", "--json"))["fits"]}
    assert marks == {fits["first"]: True, fits["second"]: False, fits["paper"]: False}
    assert farm("law", "list").out.count("(pinned)") == 1
    assert document(farm("law", "pin", fits["second"], "--json"))["pinned"]  # one at a time
    assert document(farm("law", "unpin", "--json")) == {"fit_ids": [fits["second"]], "pinned": False}
    assert document(farm("law", "unpin", "--json")) == {"fit_ids": [], "pinned": False}
    assert document(farm("predict", *ONE, "--json")) == usual


def test_rows_or_laws_that_are_chosen_go_before_a_pinned_fit(farm: Farm, fits: dict[str, Any]) -> None:
    assert farm("law", "pin", fits["first"]).code == 0
    assert document(farm("predict", *ONE, "--data", TRANSFORMERS, "--json"))["fit_id"] is None
    assert document(farm("predict", *ONE, "--only-own", "--json"))["fit_id"] != fits["first"]
    other = (*ONE[:2], "--gpu", "a100", *ONE[4:])
    assert document(farm("predict", *other, "--law", "paper", "--json"))["law"] == "paper"
    assert document(farm("predict", *other, "--fit", fits["paper"], "--json"))["fit_id"] == fits["paper"]
    assert farm("law", "pin", fits["paper"]).code == 0
    assert document(farm("predict", *other, "--json"))["law"] == "paper"
    assert document(farm("predict", *other, "--law", "work", "--json"))["fit_id"] == fits["second"]


def test_fits_that_cannot_be_used_are_refused(farm: Farm, fits: dict[str, Any]) -> None:
    for command in (("law", "pin", 99), ("predict", *ONE, "--fit", 99), ("law", "show", 99)):
        refused(farm(*command), "fit", 99, "farm law list")
    refused(farm("law", "pin", -1), "-1")
    refused(farm("law", "pin", 2**70), "farm law list")
    refused(farm("predict", *ONE, "--fit", fits["first"], "--data", TRANSFORMERS), "fit", "without --data")
    refused(farm("predict", *ONE, "--fit", fits["first"], "--law", "paper"), "law: paper", "work, the law of fit")


def test_nothing_is_pinned_where_there_is_no_farm(farm: Farm) -> None:
    refused(farm("law", "pin", 1), "fit", "farm law list")
    assert document(farm("law", "unpin", "--json"))["fit_ids"] == []
