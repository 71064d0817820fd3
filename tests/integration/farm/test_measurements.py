"""Measurements filtered, sorted and paged, on SQLite and on PostgreSQL."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from farm.domain import RequestError
from farm.domain.table import parse_rows
from farm.measurements import Measurements, parse
from farm.results import Results

HEADER = ["model", "gpu", "resolution", "steps", "precision", "cfg", "prompts", "energy_joules", "flags", "room"]


@pytest.fixture
def measurements(store, jobs, sweep, measure) -> Measurements:
    """Six rows: two of the farm's own, four imported, of which one has no energy."""
    sweep(models=["sd2"], steps=[1, 2])
    for job_id, values in ((1, {"energy_joules": 50.0}), (2, {"energy_joules": 70.0, "flags": ("simulated",)})):
        job = jobs.claim(job_id, worker="w", queue="a100")
        assert jobs.record(job_id, 1, "w", measure(job, **values))
    lines = [
        ["flux", "h100", "512", "20", "fp16", "1", "10", "4000", "", "B12"],
        ["flux", "a100", "512x768", "20", "bf16", "0", "10", "5000", "idle_drift", ""],
        ["flux", "a100", "768", "30", "fp16", "0", "1", "600", "", ""],
        ["my-model", "my-gpu", "768", "30", "fp16", "0", "1", "", "gpu_lost", ""],
    ]
    Results(store).add(parse_rows(HEADER, lines, source="t"), dataset="lab")
    return Measurements(store)


def ids(measurements: Measurements, **asked: str) -> list[tuple[str, int, int]]:
    page = measurements.page(parse(asked.items()))
    return [(row["model"], row["width"], row["steps"]) for row in page.rows]


def test_own_and_imported_rows_stand_in_one_list_the_newest_first(measurements):
    rows = measurements.page(parse([])).rows
    assert [row["energy_joules"] for row in rows] == [None, 600.0, 5000.0, 4000.0, 70.0, 50.0]
    assert [row["flags"] for row in rows] == [["gpu_lost"], [], ["idle_drift"], [], ["simulated"], []]


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ({}, 6),
        ({"model": "flux"}, 3),
        ({"model": "flux,sd2"}, 5),
        ({"model": "nobody"}, 0),
        ({"gpu": "a100", "steps": "20"}, 1),
        ({"resolution": "512"}, 3),
        ({"resolution": "512x768"}, 1),
        ({"resolution": "512x768, 768"}, 3),
        ({"cfg": "true"}, 1),
        ({"precision": "float16"}, 5),
        ({"dataset": "farm"}, 2),
        ({"dataset": "lab", "spoiled": "0"}, 2),
        ({"origin": "simulated"}, 1),
        ({"flag": "simulated"}, 1),
        ({"flag": "-simulated"}, 5),
        ({"flag": "idle_drift"}, 1),
        ({"min_joules": "100", "max_joules": "450"}, 1),
        ({"model": ""}, 6),
        ({"seed": "0", "batch": "1", "frames": "1", "weights": "random", "size": "full"}, 6),
    ],
)
def test_every_filter_takes_away_what_it_must(measurements, asked, count):
    page = measurements.page(parse(asked.items()))
    assert page.total == len(page.rows) == count


def test_what_is_not_known_comes_last_either_way(measurements):
    up = measurements.page(parse([("sort", "energy_joules_per_image")])).rows
    down = measurements.page(parse([("sort", "-energy_joules_per_image")])).rows
    assert [row["energy_joules_per_image"] for row in up] == [50.0, 70.0, 400.0, 500.0, 600.0, None]
    assert [row["energy_joules_per_image"] for row in down] == [600.0, 500.0, 400.0, 70.0, 50.0, None]


def test_pages_together_are_the_whole(measurements):
    whole = ids(measurements, sort="-resolution")
    pages = [ids(measurements, sort="-resolution", limit="4", offset=offset) for offset in ("0", "4")]
    assert pages[0] + pages[1] == whole
    assert len(pages[1]) == 2
    assert measurements.page(parse([("limit", "1")])).total == 6


def test_a_page_of_documents_has_what_results_list_has(measurements, store, farm):
    import json

    document = measurements.documents(parse([("sort", "added_at")]))
    listed = json.loads(farm("results", "list", "--db", store.url.render_as_string(hide_password=False), "--json").out)
    assert document["results"] == listed["results"]
    assert document["total"] == document["count"] == listed["count"] == 6
    assert document["results"][2]["cfg"] is True
    assert document["results"][2]["room"] == "B12"


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"limit": "0"}, "limit"), ({"limit": "1001"}, "limit"), ({"limit": "many"}, "limit"),
        ({"offset": "-1"}, "offset"), ({"offset": "9" * 30}, "offset"), ({"sort": "document"}, "sort"),
        ({"sort": "energy_joules; drop table"}, "sort"), ({"cfg": "perhaps"}, "cfg"), ({"steps": "1e400"}, "steps"),
        ({"steps": "9" * 25}, "steps"), ({"precision": "fp8"}, "precision"), ({"flag": "nice"}, "flag"),
        ({"min_joules": "-3"}, "min_joules"), ({"modle": "flux"}, "filter"), ({"model": "a\0b"}, "model"),
        ({"resolution": "512x"}, "resolution"), ({"steps": ",".join(map(str, range(300)))}, "steps"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_one_line_that_names_it(asked, named):
    with pytest.raises(RequestError) as refused:
        parse(asked.items())
    assert refused.value.field == named
    assert len(str(refused.value).splitlines()) == 1


def test_a_slip_is_answered_with_what_was_meant():
    with pytest.raises(RequestError, match="did you mean model"):
        parse([("modle", "flux")])


def test_one_measurement_has_its_job_and_every_attempt(measurements):
    own = measurements.one("m-1")
    assert (own["dataset"], own["job"], own["energy_joules"], own["has_samples"]) == ("farm", 1, 50.0, False)
    assert [attempt["end"] for attempt in own["attempts"]] == ["accepted"]
    imported = measurements.page(parse([("dataset", "lab"), ("gpu", "h100")])).rows[0]
    found = measurements.one(imported["measurement_id"])
    assert (found["dataset"], found["job"], found["attempts"], found["room"]) == ("lab", None, [], "B12")
    with pytest.raises(RequestError, match="nobody"):
        measurements.one("nobody")
    with pytest.raises(RequestError, match="m-1"):
        measurements.one("m-1", "lab")


def test_a_row_that_is_taken_out_leaves_the_lists(measurements, store):
    with store.write() as db:
        db.execute(text("DELETE FROM measurement WHERE job_id = 1"))
        db.execute(text("DELETE FROM dataset_row WHERE gpu = 'h100'"))
    assert measurements.page(parse([])).total == 4
    assert measurements.choices()["gpu"] == ["a100", "my-gpu"]


def test_rows_imported_twice_are_listed_once(measurements, store):
    before = list(Results(store).rows("lab"))
    Results(store).add(before, dataset="lab")
    assert measurements.page(parse([("dataset", "lab")])).total == 4
    assert {"room"} < set(measurements.columns(parse([("dataset", "lab")])))
    assert "room" not in measurements.columns(parse([("gpu", "a100")]))


def test_the_values_that_there_are_can_be_chosen(measurements):
    choices = measurements.choices()
    assert choices["model"] == ["flux", "my-model", "sd2"]
    assert choices["dataset"] == ["farm", "lab"]
    assert choices["flag"] == ["gpu_lost", "idle_drift", "simulated"]
    assert choices["cfg"] == [False, True]
