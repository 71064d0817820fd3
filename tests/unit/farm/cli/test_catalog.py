"""farm models and farm gpus: the catalog as documents and as tables."""

from __future__ import annotations

import json

import pytest

from farm import catalog


@pytest.mark.parametrize(("command", "entries"), [("models", catalog.models), ("gpus", catalog.gpus)])
def test_every_entry_is_listed(farm, command: str, entries) -> None:
    documents = json.loads(farm(command, "--json").out)[command]
    assert [entry["name"] for entry in documents] == list(entries())
    lines = farm(command).out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(entries())


def test_a_model_says_what_it_takes(farm) -> None:
    by_name = {entry["name"]: entry for entry in json.loads(farm("models", "--json").out)["models"]}
    assert by_name["flux"]["guidance"] == "two_pass"
    assert by_name["sd2"]["guidance"] == "batch"
    assert by_name["flux"]["sizes"]["multiple"] == 16
    assert by_name["flux"]["parameters"] == pytest.approx(16.9e9, rel=0.01)


def test_a_processor_is_told_from_a_gpu(farm) -> None:
    by_name = {entry["name"]: entry for entry in json.loads(farm("gpus", "--json").out)["gpus"]}
    assert by_name["cpu"]["kind"] == "processor"
    assert (by_name["h100"]["kind"], by_name["h100"]["board_power_watts"]) == ("gpu", 700)
