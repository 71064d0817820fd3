"""Sweeps, jobs and failures as pages and as JSON, on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
from html import unescape

import pytest

from farm.domain import Failure
from farm.sweeps import control
from farm.web.pages import sweeps as module


@pytest.fixture
def worked(store, jobs, sweep, measure) -> int:
    """A sweep of four jobs: one measured, one failed, two queued, on the paper's smallest model."""
    submitted = sweep(models=["sd2"], steps=[1, 2], precisions=["fp16", "fp32"], prompts=[4], name="<night>")
    first, second, *_ = jobs.due("a100", 4)
    job = jobs.claim(first, worker="w1", queue="a100")
    assert jobs.record(first, job.attempt, "w1", measure(job, energy_joules=400.0))
    job = jobs.claim(second, worker="w2", queue="a100")
    failure = Failure(
        reason="out_of_memory", message="needs 90 GB\nTraceback <b>", retry=False, detail={"peak_bytes": 9}
    )
    jobs.fail(second, job.attempt, "w2", failure)
    return int(submitted.sweep)


def documents(farm, store, *command: str):
    return json.loads(farm(*command, "--db", store.url.render_as_string(hide_password=False), "--json").out)


def test_the_json_is_what_the_commands_print(page, worked, store, farm):
    listed = page.get("/api/sweeps").json()
    assert listed == documents(farm, store, "sweep", "list")
    one = page.get(f"/api/sweeps/{worked}").json()
    printed = documents(farm, store, "sweep", "status", str(worked))
    assert {key: one[key] for key in printed} == printed
    assert one["state"] == listed["sweeps"][0]["state"] == "open"
    assert page.get("/api/sweeps/<night>").json()["sweep"] == worked
    job = page.get(f"/api/jobs/{one['failed'][0]['example_job']}").json()
    assert job == documents(farm, store, "jobs", "show", str(job["id"]))
    assert [attempt["end"] for attempt in job["attempts"]] == ["out_of_memory"]


def test_the_grid_has_each_point_once_with_its_state_and_what_it_took(page, worked):
    grid = page.get(f"/api/sweeps/{worked}").json()["grid"]
    assert len(grid) == 4
    assert sum(point["done"] for point in grid) == sum(point["failed"] for point in grid) == 1
    assert sum(point["queued"] for point in grid) == 2
    assert [point["joules"] for point in grid if point["done"]] == [100.0]  # an image
    html = page.get(f"/sweeps/{worked}").text
    assert html.count('class="cell queued"') == 2
    (done,) = (point for point in grid if point["done"])
    assert f'class="cell done" href="/jobs/{done["job"]}"' in html
    assert "100 J" in html
    assert "fp32, without CFG" in html


def test_a_list_that_is_cut_names_the_command_that_lists_the_same_jobs(page, worked, store, farm, monkeypatch):
    monkeypatch.setattr(module, "JOBS", 1)
    html = page.get(f"/jobs?sweep={worked}&state=queued").text
    assert f"The first 1. All of them: <code>farm jobs list --sweep {worked} --state queued --limit 2</code>" in html
    assert documents(farm, store, "jobs", "list", "--sweep", str(worked), "--state", "queued")["total"] == 2
    assert "farm jobs list" not in page.get(f"/jobs?sweep={worked}&model=sd2").text  # the command takes no grid point


def test_a_point_of_several_jobs_leads_to_their_list(page, sweep):
    submitted = sweep(models=["sd2"], steps=[1], prompts=[1, 2, 3])
    html = page.get(f"/sweeps/{submitted.sweep}").text
    (href,) = (part.split('"')[0] for part in html.split('class="cell queued" href="')[1:])
    listed = page.get(unescape(href))
    assert "<h1>3 jobs</h1>" in listed.text
    assert page.get("/jobs", params={"sweep": submitted.sweep, "state": "done"}).text.count("<h1>0 jobs</h1>") == 1


def test_a_sweep_says_why_it_waits_and_what_it_costs(page, worked, store):
    html = page.get("/sweeps").text
    assert "&lt;night&gt;" in html
    assert "no coordinator is here" in html
    assert "<dd>400 J</dd>" in html
    assert "1 job failed for good" in html
    assert "no worker serves the queue a100" in page.get(f"/sweeps/{worked}").text
    control.pause(store, worked)
    page.app.state.site.recent.forget()
    assert "job-state paused" in page.get("/sweeps").text


def test_failures_are_grouped_by_reason_with_the_command_that_retries(page, worked, store):
    (group,) = page.get("/api/failures").json()["failures"]
    assert (group["count"], group["workers"], group["sweeps"]) == (1, {"w2": 1}, [worked])
    html = page.get("/sweeps/failures").text
    assert "needs 90 GB\nTraceback &lt;b&gt;" in html
    assert f'data-copy="farm sweep retry {worked}"' in html
    job = page.get(f"/jobs/{group['example_job']}").text
    assert "w2" in job
    assert "peak bytes: 9" in job
    control.retry(store, worked)
    page.app.state.site.recent.forget()
    assert "There is none" in page.get("/sweeps/failures").text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/sweeps/nobody", 404), ("/sweeps/nobody", 404), ("/api/jobs/0", 404), ("/jobs/99999999999", 404),
        ("/api/jobs/one", 422), ("/jobs?state=new", 422), ("/jobs?steps=many", 422), ("/jobs?sweep=nobody", 404),
        ("/events", 422), ("/events?topic=weather", 422), ("/api/sweeps/" + "9" * 40, 404),
    ],
)  # fmt: skip
def test_what_is_not_there_is_one_line(page, path, status):
    answer = page.get(path)
    assert answer.status_code == status
    if path.startswith("/api/"):
        assert len(answer.json()["error"].splitlines()) == 1


def test_a_reader_who_has_it_is_sent_nothing(page, worked):
    tag = page.get("/api/sweeps").headers["etag"]
    assert page.get("/api/sweeps", headers={"if-none-match": tag}).status_code == 304
