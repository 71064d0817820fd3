"""farm plan for several models and GPUs, within budgets, and the sweep that it writes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from farm.sweeps.read import read_spec
from tests.outcomes import document, refused

Farm = Callable[..., Any]
ASKED = ("plan", "--model", "sd2,FLUX", "--gpu", "h100,A6000")


def test_the_sweep_that_is_written_is_the_plan_and_can_be_submitted(farm: Farm, tmp_path: Path) -> None:
    out = tmp_path / "next.yaml"
    found = document(farm(*ASKED, "--budget", 12, "--out", out, "--json"))
    assert {(c["model"], c["gpu"]) for c in found["configurations"]} >= {("sd2", "h100"), ("flux", "a6000")}
    jobs = [configuration for configuration, _ in read_spec(out).jobs()]
    wanted = {(c["model"], c["gpu"], c["resolution"], c["steps"], c["precision"], c["cfg"], c["prompts"])
              for c in found["configurations"]}  # fmt: skip
    assert {(j.model, j.gpu, j.width, j.steps, j.precision, j.cfg, j.prompts) for j in jobs} == wanted
    assert len(jobs) == 12
    printed = farm(*ASKED, "--budget", 12, "--out", "-")
    assert printed.out == out.read_text()
    done = subprocess.run(
        [sys.executable, "-m", "farm", "sweep", "submit", "-", "--dry-run", "--json"],
        input=printed.out, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["new"] == 12


def test_candidates_with_pretrained_weights_are_planned_with_them(farm: Farm, tmp_path: Path) -> None:
    rows, out = tmp_path / "rows.csv", tmp_path / "next.yaml"
    rows.write_text(
        "model,gpu,resolution,steps,precision,cfg,prompts,weights\n"
        "sd2,h100,512,20,fp16,0,10,pretrained\nsd2,h100,768,20,fp16,0,10,random\n"
    )
    asked = ("plan", "--model", "sd2", "--gpu", "h100", "--budget", 2, "--candidates", rows, "--out", out, "--json")
    weights = {entry["resolution"]: entry.get("weights") for entry in document(farm(*asked))["configurations"]}
    assert weights == {512: "pretrained", 768: None}
    jobs = [configuration for configuration, _ in read_spec(out).jobs()]
    assert {(job.width, job.weights) for job in jobs} == {(512, "pretrained"), (768, "random")}


def test_budgets_that_each_allow_a_candidate_and_together_none_are_said_to(farm: Farm) -> None:
    asked = ("plan", "--model", "sd2", "--gpu", "a4000,h100")
    budgets: list[Any] = []
    for option in ("--joules", "--hours"):
        least = re.search(r"at least (\S+)", farm(*asked, option, 1e-9).err)
        assert least is not None
        budgets += [option, 1.001 * float(least[1])]
    refused(farm(*asked, *budgets), "joules and hours", "one candidate", "at once")


def test_budgets_of_energy_and_time_hold(farm: Farm) -> None:
    free = document(farm(*ASKED, "--budget", 12, "--json"))
    joules, hours = free["expected_energy_joules"] / 3, free["expected_seconds"] / 3600 / 3
    less = document(farm(*ASKED, "--joules", joules, "--json"))
    assert 0 < less["expected_energy_joules"] <= joules
    quick = document(farm(*ASKED, "--budget", 12, "--hours", hours, "--json"))
    assert 0 < quick["expected_seconds"] <= 3600 * hours
    assert len(quick["configurations"]) <= 12
    assert free["error_before_percent"] > less["expected_error_percent"] > 0


def test_a_budget_above_the_candidates_is_said(farm: Farm) -> None:
    asked = ("plan", "--model", "sd2", "--gpu", "h100", "--budget", 1000)
    found = document(farm(*asked, "--json"))
    assert found["note"] == f"budget 1000: there are {found['candidates']} candidates"
    assert len(found["configurations"]) == found["candidates"] < 1000
    assert "note" in farm(*asked).out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), ["budget", "--joules"]),
        (("--budget", 0), ["budget", "0"]),
        (("--joules", 1), ["joules", "1", "at least", "cheapest"]),
        (("--hours", 1e-9), ["hours", "at least", "cheapest"]),
        (("--hours", 0), ["hours"]),
        (("--budget", 2, "--out", "x.txt"), ["out", "x.txt", ".yaml"]),
        (("--budget", 2, "--out", "-", "--json"), ["out", "-"]),
        (("--budget", 2, "--model", "fluxx"), ["model", "fluxx", "did you mean"]),
    ],
)
def test_a_wrong_request_is_refused_in_one_line(farm: Farm, options: tuple[Any, ...], words: list[str]) -> None:
    outcome = farm(*ASKED, *options)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.count("\n") == 1
    assert all(word in outcome.err for word in words), outcome.err


def test_batches_are_as_large_as_there_are_workers(farm: Farm) -> None:
    found = document(farm(*ASKED, "--budget", 10, "--workers", "h100=2,A6000=1", "--json"))
    chosen = found["configurations"]
    assert [place for batch in found["batches"] for place in batch["picks"]] == list(range(len(chosen)))
    for batch in found["batches"]:
        gpus = [chosen[place]["gpu"] for place in batch["picks"]]
        assert gpus.count("h100") <= 2
        assert gpus.count("a6000") <= 1
        assert batch["expected_seconds"] > 0
    assert all(len(batch["picks"]) == 3 for batch in found["batches"][:-1])
    errors = [batch["expected_error_percent"] for batch in found["batches"]]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] == found["expected_error_percent"]
    assert document(farm(*ASKED, "--budget", 2, "--json"))["batches"] is None  # no farm, and nobody said
    assert farm(*ASKED, "--budget", 4, "--workers", 1).out.count("batch 2") == 2


@pytest.mark.parametrize("workers", ["0", "-1", "many", "h100=", "b200=2", "h100=1.5", ",", "1e3", "1" * 5000])
def test_numbers_of_workers_that_are_none_are_refused(farm: Farm, workers: str) -> None:
    outcome = farm(*ASKED, "--budget", 2, f"--workers={workers}")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.count("\n") == 1
    assert f"workers: {workers[:40]}" in outcome.err
