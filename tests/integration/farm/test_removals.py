"""Rows taken out: gone from every list, fit and count, their ids and the reason kept, measured or imported again."""

from __future__ import annotations

import getpass
import json

import pytest

from farm.domain import RequestError
from farm.domain.table import parse_rows
from farm.results import Results
from farm.store.refits import result_count
from farm.sweeps import control
from tests.integration.farm.test_results import HEADER


@pytest.fixture
def results(store) -> Results:
    return Results(store)


@pytest.fixture
def lab():
    """Three rows of somebody else's."""
    plain = ["flux", "a100", "512", "20", "fp16", "1", "10"]
    values = [[*plain, str(energy), f"lab-{energy}", ""] for energy in (5, 6, 7)]
    return parse_rows(HEADER, values, source="t.csv")


@pytest.fixture
def measured(jobs, sweep, measure):
    """A sweep of four jobs, all measured; the ids of the measurements."""
    sweep()
    for job_id in (1, 2, 3, 4):
        assert jobs.record(job_id, 1, "w", measure(jobs.claim(job_id, worker="w", queue="a100")))
    return [f"m-{job_id}" for job_id in (1, 2, 3, 4)]


def count(store) -> int:
    with store.read() as db:
        return result_count(db)


def test_a_data_set_goes_and_comes_again(store, results, lab) -> None:
    results.add(lab, dataset="lab")
    before = count(store)
    assert results.remove_dataset("lab", reason="wrong clamp") == 3
    assert list(results.rows()) == []
    assert results.datasets() == {}
    assert count(store) > before  # a refit is due
    gone = results.removed()
    assert {(row["dataset"], row["reason"], row["job"]) for row in gone} == {("lab", "wrong clamp", None)}
    assert {row["measurement_id"] for row in gone} == {"lab-5", "lab-6", "lab-7"}
    assert gone[0]["who"].startswith(getpass.getuser() + "@")
    assert gone[0]["removed_at"].endswith("+00:00")
    assert results.add(lab, dataset="lab").imported == 3
    assert results.datasets() == {"lab": 3}
    assert len(results.removed()) == 3


def test_what_the_farm_measured_counts_as_measured_no_more(store, results, jobs, sweep, measured, measure) -> None:
    assert results.remove_ids(measured[:2], reason="the fan was off") == 2
    assert [row.measurement_id for row in results.rows()] == measured[2:]
    again = sweep()
    assert (again.new, again.jobs, again.already_measured) == (2, 2, 2)
    assert control.status(store, again.sweep)["jobs"]["queued"] == 2
    for job_id in (5, 6):
        assert jobs.record(job_id, 1, "w", measure(jobs.claim(job_id, worker="w", queue="a100")))
    assert len(list(results.rows())) == 4
    assert sweep().already_measured == 4


def test_a_result_that_comes_once_more_stays_removed(results, jobs, sweep, measure) -> None:
    """A worker whose spool still holds it, since it never heard that it was stored."""
    sweep()
    job = jobs.claim(1, worker="w", queue="a100")
    found = measure(job)
    assert jobs.record(1, 1, "w", found)
    results.remove_ids([found.measurement_id], reason="no")
    assert not jobs.record(1, 1, "w", found)
    assert list(results.rows()) == []


def test_an_unknown_id_removes_nothing(results, measured) -> None:
    with pytest.raises(RequestError, match="m-99"):
        results.remove_ids([measured[0], "m-99"], reason="no")
    assert len(list(results.rows())) == 4
    assert results.removed() == []


def test_every_command_leaves_it_out_and_says_what_went(farm, store, results, measured, lab, tmp_path) -> None:
    url = store.url.render_as_string(hide_password=False)
    results.add(lab, dataset="lab")
    done = farm("results", "remove", "--dataset", "lab", "--reason", "wrong clamp", "--db", url, "--json")
    assert json.loads(done.out)["removed"] == 3
    assert farm("results", "remove", "m-1", "m-2", "--reason", "hot", "--db", url).out == "2 rows removed: hot\n"
    listed = json.loads(farm("results", "list", "--db", url, "--json").out)
    assert [row["measurement_id"] for row in listed["results"]] == ["m-3", "m-4"]
    out = tmp_path / "rows.csv"
    assert json.loads(farm("results", "export", out, "--db", url, "--json").out)["rows"] == 2
    names = [entry["name"] for entry in json.loads(farm("results", "datasets", "--db", url, "--json").out)["datasets"]]
    assert "lab" not in names
    gone = json.loads(farm("results", "list", "--removed", "--db", url, "--json").out)
    assert gone["count"] == 5
    assert [row["job"] for row in gone["removed"] if row["reason"] == "hot"] == [2, 1]
    assert json.loads(farm("results", "list", "--removed", "--dataset", "lab", "--db", url, "--json").out)["count"] == 3
    assert "wrong clamp" in farm("results", "list", "--removed", "--db", url).out
    job = json.loads(farm("jobs", "show", "1", "--db", url, "--json").out)
    assert (job["measurement"], job["removed"][0]["reason"], len(job["late"])) == (None, "hot", 1)
    assert farm("results", "list", "--dataset", "lab", "--db", url).code == 2


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--dataset", "paper", "--reason", "x"], "--only-own"),
        (["--dataset", "lbb", "--reason", "x"], "did you mean lab"),
        (["--reason", "x"], "either"),
        (["a", "--dataset", "lab", "--reason", "x"], "either"),
        (["lab-5", "--reason", " "], "reason"),
        (["lab-5"], "--reason"),
    ],
)
def test_what_cannot_be_removed_is_refused_in_a_line(farm, store, results, lab, argv, says) -> None:
    results.add(lab, dataset="lab")
    refused = farm("results", "remove", *argv, "--db", store.url.render_as_string(hide_password=False))
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert says in refused.err
    assert len(list(results.rows())) == 3


def test_more_ids_than_one_statement_takes_are_removed(results, measured) -> None:
    assert results.remove_ids([*measured[:1] * 300_000, *measured[1:]], reason="all of it") == len(measured)
    assert list(results.rows()) == []
