"""Adaptive sweeps: what is chosen is queued once, budgets hold, the end has a reason, bad goals are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from analysis.adaptive import Chooser
from farm.domain import RequestError
from farm.sweeps import control
from farm.sweeps.adaptive import AdaptiveSweeps, Goal, submit
from farm.sweeps.read import parse_spec
from tests.integration.farm.conftest import measured

GRID = {
    "models": ["sd2"], "gpus": ["a100"], "resolutions": [256, 512], "steps": [10, 20, 30], "precisions": ["fp16"],
    "cfg": [False], "prompts": [1, 5],
}  # fmt: skip


def asked(store, target=5.0, spec=GRID, **budget):
    return submit(store, parse_spec({"name": "few", **spec}, folder=Path()), Goal(target, **budget)).sweep


def work(store, jobs, **result):
    """Measure what is queued, at 100 J whatever it is; how many jobs."""
    due = jobs.due("a100", 100)
    for job_id in due:
        job = jobs.claim(job_id, worker="w", queue="a100")
        jobs.record(job_id, job.attempt, "w", measured(job, **result))
    return len(due)


def test_nothing_is_queued_before_it_is_chosen_and_then_one_a_worker(store, jobs) -> None:
    sweep = asked(store)
    assert work(store, jobs) == 0
    assert jobs.has_adaptive_sweeps()
    (listed,) = control.overview(store)
    assert (listed["state"], listed["target_error_percent"], listed["expected_error_percent"]) == ("open", 5.0, None)
    assert Chooser(store).round() == 1
    document = control.status(store, sweep)
    assert document["jobs"]["queued"] == 1
    assert document["expected_error_percent"] > 0
    assert document["choosing"] == 1
    assert Chooser(store).round() in (0, 1)  # it looks once more, and finds no worker free
    assert Chooser(store).round() == 0
    assert control.status(store, sweep)["jobs"]["queued"] == 1


def test_who_dies_or_comes_late_changes_nothing(store, jobs) -> None:
    sweep = asked(store)
    sweeps = AdaptiveSweeps(store)
    (sight,) = sweeps.waiting()
    late = sweeps.take_lease(sight, lease_seconds=-1.0)  # it hangs, and its lease ends
    assert late is not None
    assert Chooser(store).round() == 1
    assert not sweeps.queue(sight, late, (), 1.0)
    assert not sweeps.end(sight, late, "target met", 1.0)
    document = control.status(store, sweep)
    assert (document["jobs"]["queued"], document["adaptive"]["end_reason"]) == (1, None)
    work(store, jobs)
    (sight,) = sweeps.waiting()
    held = sweeps.take_lease(sight, lease_seconds=60.0)
    assert held is not None
    assert Chooser(store).round() == 0  # another is at it
    control.pause(store, sweep)
    assert not sweeps.queue(sight, held, (), 1.0)  # paused meanwhile
    assert sweeps.waiting() == []
    control.resume(store, sweep)
    sweeps.give_up(sight, held)
    assert Chooser(store).round() == 1
    control.cancel(store, sweep)
    assert not sweeps.open()
    assert not jobs.has_adaptive_sweeps()


def test_a_grid_that_is_too_small_for_its_target_is_measured_whole(store, jobs) -> None:
    sweep = asked(store, target=0.1)
    chooser = Chooser(store)
    for _ in range(60):
        chooser.round()
        if not work(store, jobs) and not chooser.sweeps.open():
            break
    (listed,) = control.overview(store)
    assert listed["state"] == "done"
    assert listed["why"].startswith("grid exhausted")
    assert listed["jobs"]["done"] == 12
    assert control.status(store, sweep)["choosing"] == 0


def test_a_budget_is_not_gone_over(store, jobs) -> None:
    asked(store, target=0.1, joules=250.0)  # what is measured here takes 100 J, whatever was expected
    chooser = Chooser(store)
    for _ in range(30):
        chooser.round()
        if not work(store, jobs) and not chooser.sweeps.open():
            break
    (listed,) = control.overview(store)
    assert (listed["state"], listed["budget_joules"]) == ("done", 250.0)
    assert listed["why"].startswith("budget gone")
    assert listed["joules"] <= 300


def test_results_without_an_energy_count_as_foreseen_against_a_budget(store, jobs) -> None:
    """As on a board whose counter stands still: what it draws is spent all the same."""
    alike = {**GRID, "resolutions": [256], "steps": [*range(20, 32)], "prompts": [1]}  # about 50 J each
    asked(store, target=0.1, spec=alike, joules=250.0)
    chooser = Chooser(store)
    for _ in range(30):
        chooser.round()
        unknown = {"energy_joules": None, "energy_std_joules": None, "flags": ("counter_frozen",)}
        if not work(store, jobs, **unknown) and not chooser.sweeps.open():
            break
    (listed,) = control.overview(store)
    assert listed["state"] == "done"
    assert listed["why"].startswith("budget gone: ")
    assert 0 < listed["jobs"]["done"] < 12


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--adaptive",), ("target-error", "required")),
        (("--target-error", "5"), ("target-error: 5", "--adaptive")),
        (("--joules", "5"), ("joules: 5", "--adaptive")),
        (("--hours", "5"), ("hours: 5", "--adaptive")),
        (("--adaptive", "--target-error", "0"), ("target-error: 0", "0.1 (repeats differ by more) to 50")),
        (("--adaptive", "--target-error", "-3"), ("target-error", "50")),
        (("--adaptive", "--target-error", "nan"), ("target-error", "finite")),
        (("--adaptive", "--target-error", "99"), ("target-error", "50")),
        (("--adaptive", "--target-error", "5", "--joules", "0"), ("joules", "0")),
        (("--adaptive", "--target-error", "5", "--hours", "-1"), ("hours", "-1")),
        (("--adaptive", "--target-error", "5", "--joules", "9"), ("joules: 9", "budget_joules")),
        (("--adaptive", "--target-error", "5"), ("replicates: 2", "1 with --adaptive")),
    ],
)
def test_goals_that_cannot_be_are_refused(farm, tmp_path, options, words) -> None:
    extra = {"budget_joules": 5.0} if "budget_joules" in words[1] else {"replicates": 2} if "replic" in words[0] else {}
    spec = tmp_path / "spec.yaml"
    spec.write_text(json.dumps({**GRID, **extra}))
    outcome = farm("sweep", "submit", spec, *options)
    assert (outcome.code, outcome.out) == (2, ""), outcome
    assert outcome.err.count("\n") == 1
    assert all(word in outcome.err for word in words), outcome.err


def test_a_goal_is_checked_without_a_command(store) -> None:
    with pytest.raises(RequestError, match="target-error"):
        Goal(0.0)
    none = {**GRID, "models": ["qwen"], "precisions": ["fp32"], "gpus": ["a4000"]}
    with pytest.raises(RequestError, match="at least one configuration fits its GPU"):
        asked(store, spec=none)
    assert control.overview(store) == []
