"""Rows in and out: import, export, list, on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from farm.domain import RequestError
from farm.domain.table import parse_rows
from farm.files.table import read_table, write_table
from farm.measurements import Measurements, parse
from farm.results import Results, newest

HEADER = [
    "model",
    "gpu",
    "resolution",
    "steps",
    "precision",
    "cfg",
    "prompts",
    "energy_joules",
    "measurement_id",
    "room",
]


def row(measurement_id: str = "", energy: str = "5", room: str = "") -> list[str]:
    return ["flux", "a100", "512", "20", "fp16", "1", "10", energy, measurement_id, room]


def read(*values: list[str]):
    return parse_rows(HEADER, values, source="t.csv")


@pytest.fixture
def results(store) -> Results:
    return Results(store)


def test_rows_come_back_as_they_went_in(results):
    rows = read(row("a", room="B12"), row("b", energy="6"))
    done = results.add(rows, dataset="lab")
    assert (done.rows, done.imported, done.duplicates, done.datasets) == (2, 2, 0, ("lab",))
    assert [r.measurement_id for r in results.rows("lab")] == ["a", "b"]
    assert next(results.rows("lab")).extra == {"room": "B12"}
    assert results.datasets() == {"lab": 2}


def test_same_id_is_imported_once_a_data_set(results):
    rows = read(row("a"), row("a"), row("b"))
    assert results.add(rows, dataset="x").duplicates == 1
    assert results.add(rows, dataset="x").imported == 0
    assert results.add(rows, dataset="y").imported == 2


def test_rows_without_id_are_imported_once_a_file_and_twice_when_there_twice(results):
    rows = read(row(), row(), row(energy="7"))
    assert results.add(rows, dataset="x").imported == 3
    assert results.add(rows, dataset="x").imported == 0


def test_the_farms_own_measurement_is_no_new_row(results, jobs, sweep, measure):
    sweep()
    job = jobs.claim(1, worker="w", queue="a100")
    jobs.record(1, 1, "w", measure(job))
    assert results.add(read(row("m-1"), row("other")), dataset="x").imported == 1


def test_own_and_imported_stay_apart(results, jobs, sweep, measure):
    results.add(read(row("a")), dataset="x")
    assert sweep(models=["flux"], resolutions=[512], steps=[20], cfg=[True], prompts=[10]).already_measured == 0
    job = jobs.claim(1, worker="w", queue="a100")
    jobs.record(1, 1, "w", measure(job))
    assert [r.dataset for r in results.rows()] == ["farm", "x"]
    assert [r.measurement_id for r in results.rows("farm")] == ["m-1"]
    assert [r.measurement_id for r in results.rows("x")] == ["a"]
    assert list(results.rows(model="sd2")) == list(results.rows(gpu="h100")) == []
    assert [m["measurement_id"] for m in newest(results.store, 5)] == ["m-1"]
    with pytest.raises(RequestError, match="the farm's own"):
        results.add(read(row("b")), dataset="farm")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_export_and_import_are_inverse(results, jobs, sweep, measure, tmp_path: Path, suffix):
    sweep()
    for job_id, values in ((1, {"flags": ("simulated",)}), (2, {"energy_joules": None, "flags": ("gpu_lost",)})):
        job = jobs.claim(job_id, worker="w", queue="a100")
        jobs.record(job_id, 1, "w", measure(job, **values))
    results.add(read(row("a", room="B12")), dataset="x")
    path = tmp_path / f"out{suffix}"
    assert write_table(path, results.rows()) == 3
    back = read_table(path)
    for before, after in zip(results.rows(), back, strict=True):
        assert after.configuration == before.configuration
        assert after.to_dict().items() >= {k: v for k, v in before.to_dict().items() if k not in before.extra}.items()
    assert back[1].energy_joules is None
    assert back[2].extra["room"] == "B12"


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_an_empty_farm_exports_a_header(results, tmp_path: Path, suffix):
    path = tmp_path / f"out{suffix}"
    assert write_table(path, results.rows()) == 0
    assert read_table(path) == []


def test_export_says_what_it_cannot_write(results, tmp_path: Path):
    with pytest.raises(RequestError, match=r"\.csv or \.parquet"):
        write_table(tmp_path / "out.xlsx", results.rows())
    with pytest.raises(RequestError, match="No such file"):
        write_table(tmp_path / "none" / "out.csv", results.rows())


def test_parquet_that_is_none(tmp_path: Path):
    path = tmp_path / "t.parquet"
    with pytest.raises(RequestError, match="No such file"):
        read_table(path)
    path.write_bytes(b"PAR1 not really")
    with pytest.raises(RequestError, match="Parquet"):
        read_table(path)


def test_parquet_rows_are_checked_too(tmp_path: Path):
    import pyarrow
    from pyarrow import parquet

    values = dict(zip(HEADER, row("a"), strict=True)) | {"energy_joules": float("nan"), "steps": 20, "cfg": True}
    path = tmp_path / "t.parquet"
    parquet.write_table(pyarrow.Table.from_pylist([values]), path)
    with pytest.raises(RequestError, match="row 1, energy_joules: nan"):
        read_table(path)


def test_the_raw_log_of_a_measurement_comes_out_as_a_table(jobs, sweep, measure, farm, tmp_path: Path) -> None:
    from workers.meters.base import Recording
    from workers.meters.samples import encode_samples

    sweep(models=["sd2"], steps=[1])
    job = jobs.claim(1, worker="w", queue="a100")
    jobs.record(1, 1, "w", measure(job), samples=encode_samples(Recording(power=((1.0, 90.0), (1.5, 95.0)))))
    url = jobs.store.url.render_as_string(hide_password=False)
    out = tmp_path / "log.csv"
    assert json.loads(farm("results", "samples", "m-1", "--out", out, "--db", url, "--json").out)["rows"] == 2
    assert out.read_text().splitlines() == [
        "seconds,power_watts,energy_joules,temperature_c,clock_mhz,window", "0.0,90.0,,,,", "0.5,95.0,,,,",
    ]  # fmt: skip
    refused = farm("results", "samples", "nobody", "--out", tmp_path / "x.csv", "--db", url)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert not (tmp_path / "x.csv").exists()


def test_data_sets_say_where_they_are_from(results, farm) -> None:
    results.add(read(row("a")), dataset="lab")
    url = results.store.url.render_as_string(hide_password=False)
    entries = {e["name"]: e for e in json.loads(farm("results", "datasets", "--db", url, "--json").out)["datasets"]}
    assert (entries["lab"]["origin"], entries["lab"]["rows"], entries["lab"]["models"]) == ("imported", 1, ["flux"])
    assert (entries["paper"]["origin"], entries["paper"]["rows"]) == ("shipped", 280)
    assert entries["mlenergy"]["origin"] == "shipped"


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_what_a_row_says_of_idle_and_limit_goes_out_and_comes_in_again(store, tmp_path, suffix):
    header = "model,gpu,resolution,steps,precision,cfg,prompts,energy_joules,duration_seconds,includes_idle"
    lines = ["sd15,h100,512,25,fp16,1,4,600,1.1,1,650,1,1600", "sd15,h100,512,25,fp16,1,4,500,1.1,0,,,"]
    (tmp_path / "in.csv").write_text("\n".join([f"{header},power_limit_watts,frames,clock_limit_mhz", *lines]) + "\n")
    Results(store).add(read_table(tmp_path / "in.csv"), dataset="lab")
    write_table(tmp_path / f"out{suffix}", Results(store).rows("lab"))
    rows = read_table(tmp_path / f"out{suffix}")
    assert [row.includes_idle for row in rows] == [True, False]
    assert [row.power_limit_watts for row in rows] == [650.0, None]
    assert [row.clock_limit_mhz for row in rows] == [1600.0, None]
    assert {row.configuration.frames for row in rows} == {1}
    assert Results(store).add(rows).duplicates == 2


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_seconds_without_an_energy_come_in_are_listed_fitted_and_go_out(store, farm, tmp_path, suffix):
    url = store.url.render_as_string(hide_password=False)
    header = "model,gpu,resolution,steps,precision,cfg,prompts,energy_joules,duration_seconds"
    lines = [f"sdxl,l40s,1024,{steps},fp16,1,4,,{seconds}" for steps, seconds in ((20, 12.5), (40, 24.5))]
    (tmp_path / "in.csv").write_text("\n".join([header, *lines]) + "\n")
    assert json.loads(farm("results", "import", tmp_path / "in.csv", "--db", url, "--json").out)["imported"] == 2
    listed = json.loads(farm("results", "list", "--dataset", "in", "--db", url, "--json").out)["results"]
    assert [(row["energy_joules"], row["duration_seconds"]) for row in listed] == [(None, 12.5), (None, 24.5)]
    page = Measurements(store).page(parse([("dataset", "in")])).rows
    assert [(row["energy_joules"], row["spoiled"]) for row in page] == [(None, False)] * 2
    assert farm("results", "export", tmp_path / f"out{suffix}", "--dataset", "in", "--db", url).code == 0
    rows = read_table(tmp_path / f"out{suffix}")
    assert [(row.energy_joules, row.duration_seconds) for row in rows] == [(None, 12.5), (None, 24.5)]
    asked = ("predict", "--model", "sdxl", "--gpu", "l40s", "--resolution", 1024, "--steps", 20, "--precision", "fp16")
    answer = json.loads(farm(*asked, "--cfg", "--prompts", 4, "--db", url, "--json").out)
    assert answer["duration_seconds"] == pytest.approx(12.5, rel=0.03)
    assert answer["energy_joules"] > 0


def test_a_row_of_neither_energy_nor_seconds_is_refused_and_nothing_comes_in(store, farm, tmp_path):
    url = store.url.render_as_string(hide_password=False)
    header = "model,gpu,resolution,steps,precision,cfg,prompts,energy_joules,duration_seconds"
    (tmp_path / "in.csv").write_text(f"{header}\nsdxl,l40s,1024,20,fp16,1,4,,12\nsdxl,l40s,1024,20,fp16,1,4,,\n")
    refused = farm("results", "import", tmp_path / "in.csv", "--db", url)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "row 2, energy_joules" in refused.err
    assert "duration_seconds above 0" in refused.err
    assert Results(store).datasets() == {}


def test_power_logs_are_bounded_and_measurements_stay(farm, store, jobs, sweep, measure, settings):
    sweep()
    for number in (1, 2, 3):
        job = jobs.claim(number, worker="w", queue="a100")
        assert jobs.record(number, job.attempt, "w", measure(job), samples=b"x" * 1000)
    late = jobs.claim(4, worker="w", queue="a100")
    assert not jobs.record(4, late.attempt, "w", measure(late), samples=b"x" * 1000, accept=False)
    assert jobs.bound_raw_logs() == 0
    bounded = type(jobs)(store, settings.model_copy(update={"raw_logs_bytes": 3500}))
    assert bounded.bound_raw_logs() == 1
    assert bounded.bound_raw_logs() == 0
    assert len(list(Results(store).rows())) == 3
    with pytest.raises(RequestError, match="FARM_RAW_LOGS_BYTES"):
        Results(store).samples("m-1")
    assert Results(store).samples("m-2") == b"x" * 1000
    found = farm("doctor", "--db", store.url.render_as_string(hide_password=False)).out
    assert "0.00 GB of power logs, at most 20.0 GB are kept" in found
