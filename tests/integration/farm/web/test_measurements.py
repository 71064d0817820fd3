"""The list of measurements, one measurement and the files of both, on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

import pytest

from farm.domain.table import parse_rows
from farm.files.table import read_table
from farm.results import Results
from farm.web import power_log
from workers.meters.base import Recording, Span
from workers.meters.samples import encode_samples

HEADER = [
    "model", "gpu", "resolution", "steps", "precision", "cfg", "prompts", "energy_joules", "duration_seconds",
    "measurement_id", "flags", "<room>",
]  # fmt: skip
LOG = Recording(power=tuple((t / 10, 60.0 if t < 20 or t > 80 else 300.0) for t in range(100)))
SPANS = (
    Span(label="idle", start=0.0, end=1.9), Span(label="denoise", start=2.0, end=8.0),
    Span(label="idle", start=8.1, end=9.9),
)  # fmt: skip


@pytest.fixture
def filled(store, jobs, sweep, measure) -> None:
    """One of the farm's own, simulated, with its power log; imported ones, of which one has rude texts."""
    sweep(models=["sd2"], steps=[1])
    job = jobs.claim(1, worker="w", queue="a100")
    values = {"flags": ("simulated",), "environment": {"driver": "560", "budget_joules": {"idle": 0.5}}}
    assert jobs.record(1, 1, "w", measure(job, **values), samples=encode_samples(LOG, SPANS))
    lines = [
        ["sd2", "a100", "512", str(steps), "fp16", "1", "10", str(100 * steps), "3", f"row/{steps}", "", "=1+1"]
        for steps in range(1, 121)
    ]
    lines.append(["<b>", "a100", "512", "5", "fp16", "0", "1", "7", "", "<i>&?#", "idle_drift", ""])
    Results(store).add(parse_rows(HEADER, lines, source="t"), dataset="<lab>")


def test_the_json_pages_filters_and_sorts(page, filled, store, farm):
    document = page.get("/api/measurements").json()
    assert (document["total"], document["count"], document["limit"]) == (122, 100, 100)
    one = page.get(
        "/api/measurements", params={"limit": 2, "offset": 1, "sort": "-energy_joules", "model": "sd2"}
    ).json()
    assert [row["energy_joules"] for row in one["results"]] == [11900.0, 11800.0]
    url = store.url.render_as_string(hide_password=False)
    listed = json.loads(farm("results", "list", "--db", url, "--json").out)["results"]
    whole = page.get("/api/measurements", params={"limit": 1000, "sort": "added_at"}).json()["results"]
    assert whole == listed


def test_a_reader_who_has_the_page_is_sent_nothing_until_a_row_comes(page, filled, store):
    first = page.get("/api/measurements?limit=5")
    again = {"if-none-match": first.headers["etag"]}
    assert page.get("/api/measurements?limit=5", headers=again).status_code == 304
    row = ["sd2", "a100", "512", "3", "fp16", "1", "1", "1", "", "new", "", ""]
    Results(store).add(parse_rows(HEADER, [row], source="t"), dataset="later")
    page.app.state.site.recent.forget()
    changed = page.get("/api/measurements?limit=5", headers=again)
    assert (changed.status_code, changed.json()["total"]) == (200, 123)


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=x", "offset=-1", "sort=x", "steps=x", "modle=flux", "cfg=2", "flag=x"]
)
def test_what_cannot_be_asked_is_one_line(page, filled, query):
    answer = page.get(f"/api/measurements?{query}")
    assert answer.status_code == 422
    assert len(answer.json()["error"].splitlines()) == 1
    assert page.get(f"/measurements?{query}").status_code == 422
    assert page.get(f"/api/measurements.csv?{query}").status_code == 422


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_download_is_what_the_command_exports(page, filled, store, farm, tmp_path: Path, suffix):
    answer = page.get(f"/api/measurements.{suffix}", params={"sort": "added_at"})
    assert f"measurements.{suffix}" in answer.headers["content-disposition"]
    there = tmp_path / f"page.{suffix}"
    there.write_bytes(answer.content)
    url = store.url.render_as_string(hide_password=False)
    assert farm("results", "export", tmp_path / f"command.{suffix}", "--db", url).code == 0
    if suffix == "csv":
        assert there.read_bytes() == (tmp_path / "command.csv").read_bytes()
    assert read_table(there) == read_table(tmp_path / f"command.{suffix}")
    few = page.get(f"/api/measurements.{suffix}", params={"flag": "simulated"})
    (tmp_path / f"few.{suffix}").write_bytes(few.content)
    assert [row.flags for row in read_table(tmp_path / f"few.{suffix}")] == [("simulated",)]


def test_one_has_its_log_its_phases_and_its_attempts(page, filled):
    html = page.get("/measurements/m-1").text
    assert "100 J" in html
    assert "simulated" in html
    assert html.count('class="window denoise"') == 1
    assert html.count('class="window idle"') == 2
    assert 'class="idle"' in html
    assert "accepted" in html
    assert "560" in html
    document = page.get("/api/measurements/m-1").json()
    assert (document["energy_joules"], document["dataset"], document["job"]) == (100.0, "farm", 1)
    assert [attempt["worker"] for attempt in document["attempts"]] == ["w"]
    assert "prediction" in document


def test_ids_and_texts_of_strangers_are_text(page, filled):
    html = page.get("/measurements", params={"model": "<b>"}).text
    assert "<b>" not in html
    (href,) = re.findall(r'<td data-head="model"><a href="([^"]+)"', html)
    one = page.get(unescape(href))
    assert one.status_code == 200
    assert "<b>" not in one.text
    assert "<i>" not in one.text
    slashed = page.get("/api/measurements/row/7").json()
    assert (slashed["steps"], slashed["<room>"]) == (7, "=1+1")
    assert page.get("/api/measurements/row/7", params={"dataset": "nobody"}).status_code == 404
    assert page.get("/measurements/nobody").status_code == 404


def test_the_list_keeps_its_state_in_the_address(page, filled):
    html = page.get("/measurements", params={"model": "sd2", "sort": "-steps", "max_joules": "1000"}).text
    assert '<option value="sd2" selected>' in html
    assert 'aria-sort="descending"' in html
    assert "1 to 50" in html
    following = unescape(re.search(r'rel="next" href="([^"]+)"', html)[1])
    assert "offset=50" in following
    assert "model=sd2" in following
    assert "51 to 100" in page.get(f"/measurements{following}").text
    assert "No row is like that" in page.get("/measurements?min_joules=1e9").text


def test_a_log_shows_idle_as_a_line_and_loses_no_peak():
    drawn = power_log.drawing(encode_samples(LOG, SPANS), 60.0)
    assert drawn is not None
    line = re.search(r'<line class="idle" x1="([\d.]+)" x2="([\d.]+)" y1="([\d.]+)" y2="([\d.]+)"', drawn)
    left, right, first, last = map(float, line.groups())
    assert left < right
    assert first == last  # 60 W on both sides
    points = [tuple(map(float, pair.split(","))) for pair in re.search(r'points="([^"]+)"', drawn)[1].split()]
    assert min(abs(y - first) for _, y in points) < 0.2
    spike = Recording(power=tuple((t / 100, 1000.0 if t == 4321 else 50.0) for t in range(10_000)))
    drawn = power_log.drawing(encode_samples(spike), None)
    points = [float(pair.split(",")[1]) for pair in re.search(r'points="([^"]+)"', drawn)[1].split()]
    assert len(points) < 800
    assert min(points) < max(points) - 200
    assert power_log.drawing(encode_samples(Recording()), 60.0) is None


def test_a_log_of_one_moment_is_no_drawing():
    assert power_log.drawing(encode_samples(Recording(power=((3.0, 60.0), (3.0, 61.0)))), 60.0) is None


def test_power_of_a_counter_alone_is_what_it_rose_by():
    counter = tuple((t / 10, t / 10, 20.0 * (t / 10)) for t in range(50))
    drawn = power_log.drawing(encode_samples(Recording(counter=counter)), 20.0)
    points = {float(pair.split(",")[1]) for pair in re.search(r'points="([^"]+)"', drawn)[1].split()}
    assert max(points) - min(points) < 0.5  # 20 W throughout
