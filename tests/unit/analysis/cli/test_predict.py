"""farm predict with lists, files, limits, fronts and costs."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from farm.files.table import read_table
from tests.outcomes import document, refused

Farm = Callable[..., Any]
ONE = ("--model", "flux", "--gpu", "a100", "--resolution", "512", "--steps", "20", "--precision", "fp16")
MANY = (
    "--model", "flux,sd2", "--gpu", "a100,h100,a4000", "--resolution", "512,1024x768", "--steps", "10,50",
    "--precision", "fp16",
)  # fmt: skip


def test_lists_are_a_line_for_each_combination_and_say_what_one_question_says(farm: Farm) -> None:
    found = document(farm("predict", *MANY, "--cfg-both", "--json"))
    assert len(found["predictions"]) == 2 * 3 * 2 * 2 * 2
    assert found["left_out"] == []
    for each in found["predictions"]:
        assert each["watt_hours"] == pytest.approx(each["energy_joules"] / 3600)
        assert each["energy_joules_with_idle"] > each["energy_joules"]
        assert each["cfg"] in (True, False)
        assert (each["grams_co2e"], each["cost"]) == (None, None)
        assert each["fits"] is ((each["model"], each["gpu"]) != ("flux", "a4000"))
    one = document(farm("predict", *ONE[:8], "--precision", "fp16", "--steps", 10, "--json"))
    same = next(p for p in found["predictions"] if all(p[k] == one[k] for k in one["configuration"]))
    assert one["energy_joules"] == pytest.approx(same["energy_joules"], rel=1e-12)
    assert one["rests_on"] == same["rests_on"]


def test_frames_are_a_list_too(farm: Farm) -> None:
    asked = ("--model", "ltx-video", "--gpu", "h100", "--resolution", "768x512", "--steps", 20, "--precision", "bf16")
    found = document(farm("predict", *asked, "--frames", "1,121", "--json"))["predictions"]
    assert [each["frames"] for each in found] == [1, 121]
    assert found[1]["energy_joules"] > 4 * found[0]["energy_joules"]
    assert "a video)" in farm("predict", *asked, "--frames", 121).out
    refused(farm("predict", *asked, "--frames", 121, "--law", "paper"), "law", "paper", "frames")
    refused(farm("plan", "--model", "ltx-video", "--gpu", "h100", "--budget", 3), "ltx-video", "not measured yet")


def test_names_are_taken_as_people_spell_them(farm: Farm) -> None:
    spelled = ("--model", "FLUX.1-dev", "--gpu", "NVIDIA A100-SXM4-80GB", "--resolution", "512x512", *ONE[6:])
    assert document(farm("predict", *spelled, "--json")) == document(farm("predict", *ONE, "--json"))


def test_what_cannot_be_answered_is_left_out_with_its_reason(farm: Farm) -> None:
    asked = ("--model", "flux,fluxx", "--gpu", "a100", "--resolution", "512,1000", *ONE[6:])
    found = document(farm("predict", *asked, "--json"))
    assert [(p["model"], p["width"]) for p in found["predictions"]] == [("flux", 512)]
    whys = {(e["model"], e["resolution"]): e["why"] for e in found["left_out"]}
    assert "multiples of 16" in whys["flux", "1000x1000"]
    assert "did you mean flux" in whys["fluxx", "512x512"]
    words = farm("predict", *asked)
    assert "left out: 2, for model" in words.out
    refused(farm("predict", *asked[:1], "fluxx,fluy", *asked[2:], "--json"), "model", "fluxx", "none of 4")


@pytest.mark.parametrize("name", ["energy", "seconds", "grams", "cost"])
def test_sort(farm: Farm, name: str) -> None:
    key = {"energy": "energy_joules", "seconds": "duration_seconds", "grams": "grams_co2e", "cost": "cost"}[name]
    found = document(farm("predict", *MANY, "--sort", name, "--country", "DE", "--price", 0.3, "--json"))
    values = [p[key] for p in found["predictions"]]
    assert values == sorted(values)
    assert values[0] < values[-1]


def test_limits_leave_what_meets_them_and_surely_so_where_asked(farm: Farm) -> None:
    every = document(farm("predict", *MANY, "--prompts", 4, "--json"))["predictions"]
    limit = sorted(p["energy_joules"] / 4 for p in every)[10] * 1.001
    found = document(farm("predict", *MANY, "--prompts", 4, "--max-joules", limit, "--json"))
    assert len(found["predictions"]) == 11
    assert len(found["left_out"]) == len(every) - 11
    assert all("--max-joules" in entry["why"] for entry in found["left_out"])
    sure = document(farm("predict", *MANY, "--prompts", 4, "--max-joules", limit, "--sure", "--json"))["predictions"]
    assert 0 < len(sure) < 11
    assert all(p["high_joules"] / 4 <= limit for p in sure)
    seconds = document(farm("predict", *MANY, "--max-seconds", 1.5, "--json"))["predictions"]
    assert all(p["duration_seconds"] <= 1.5 for p in seconds)


def test_the_front_is_of_what_fits(farm: Farm) -> None:
    found = document(farm("predict", *MANY, "--pareto", "seconds", "--json"))["predictions"]
    points = [(p["energy_joules_per_image"], p["duration_seconds"]) for p in found]
    for each, point in zip(found, points, strict=True):
        better = any(
            o["fits"] and q != point and q[0] <= point[0] and q[1] <= point[1]
            for o, q in zip(found, points, strict=True)
        )
        assert each["on_front"] is (each["fits"] and not better)


def test_a_front_of_a_users_score_and_its_plot(farm: Farm, tmp_path: Path) -> None:
    quality = tmp_path / "quality.csv"
    quality.write_text("model,steps,clip,fid\nflux,10,0.2,40\nflux,50,0.3,20\nsd2,50,0.1,60\n")
    for suffix, start in ((".png", b"\x89PNG"), (".svg", b"<svg"), (".html", b"<!DOCTYPE html>")):
        out = tmp_path / f"front{suffix}"
        asked = ("--pareto", "clip", "--quality", quality, "--plot", out, "--json")
        found = document(farm("predict", *MANY, *asked))["predictions"]
        assert out.read_bytes().lower().startswith(start.lower())
        assert {(p["model"], p["steps"]) for p in found if p["on_front"]} == {
            ("flux", 10), ("flux", 50), ("sd2", 50),
        }  # fmt: skip
        assert {p["score"] for p in found if (p["model"], p["steps"]) == ("sd2", 10)} == {None}
    less = document(farm("predict", *MANY, "--pareto", "-fid", "--quality", quality, "--json"))["predictions"]
    assert [p["on_front"] for p in less] == [p["on_front"] for p in found]


def test_a_file_in_and_files_out(farm: Farm, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text(
        "model,resolution,steps,precision,cfg,prompts,energy_joules\n"
        "FLUX,512,20,fp16,0,2,much\nsd2,512x768,20,fp32,yes,1,\nqwen,512,0,fp16,0,1,\nqwen,512,ten,fp16,0,1,\n"
    )
    out = tmp_path / "answers.csv"
    found = document(farm("predict", "--in", rows, "--gpu", "A100", "--out", out, "--json"))
    assert [(p["model"], p["gpu"], p["height"], p["cfg"]) for p in found["predictions"]] == [
        ("flux", "a100", 512, False),
        ("sd2", "a100", 768, True),
    ]
    assert [(entry["row"], entry["field"]) for entry in found["left_out"]] == [(3, "steps"), (4, "steps")]
    with out.open() as file:
        written = list(csv.DictReader(file))
    assert [float(row["energy_joules"]) for row in written] == [p["energy_joules"] for p in found["predictions"]]
    assert {row.origin for row in read_table(out)} == {"estimated"}
    again = tmp_path / "answers.parquet"
    assert document(farm("predict", "--in", out, "--out", again, "--json"))["predictions"] == found["predictions"]
    assert parquet.read_table(again)["fits"].to_pylist() == [True, True]


def test_limits_that_are_enforced_are_asked_with(farm: Farm, tmp_path: Path) -> None:
    one = ("--model", "flux", "--gpu", "a100", "--resolution", 1024, "--steps", 28, "--precision", "fp16")
    plain = document(farm("predict", *one, "--json"))
    capped = document(farm("predict", *one, "--power-limit-watts", 250, "--json"))
    slow = document(farm("predict", *one, "--clock-limit-mhz", 1000, "--json"))
    for found in (capped, slow):
        assert found["energy_joules"] < 0.9 * plain["energy_joules"]
        assert found["duration_seconds"] > 1.02 * plain["duration_seconds"]
    rows = tmp_path / "rows.csv"
    rows.write_text(
        "model,gpu,resolution,steps,precision,cfg,prompts,power_limit_watts,clock_limit_mhz\n"
        + "".join(f"flux,a100,1024,28,fp16,0,1,{limits}\n" for limits in (",", "250,", ",1000", "0,", ",much"))
    )
    found = document(farm("predict", "--in", rows, "--json"))
    assert [p["energy_joules"] for p in found["predictions"]] == [
        pytest.approx(each["energy_joules"]) for each in (plain, capped, slow)
    ]
    assert [entry["field"] for entry in found["left_out"]] == ["power_limit_watts", "clock_limit_mhz"]
    wrong = farm("predict", *one, "--clock-limit-mhz", 0)
    assert (wrong.code, wrong.err.count("\n")) == (2, 1)


def test_rows_of_a_file_that_say_above_which_idle_are_answered_above_it(farm: Farm, tmp_path: Path) -> None:
    """A context keeps an H200's clocks up: 122 W, 77 W at rest; this project's meter takes the former off."""
    rows = tmp_path / "rows.csv"
    rows.write_text(
        "model,gpu,resolution,steps,precision,cfg,prompts,idle_watts,meter\n"
        + "".join(f"sd2,h200,512,20,fp16,1,4,{stated}\n" for stated in (",", "77,", "124,", ",nvml"))
    )
    rest, same, stated, own = document(farm("predict", "--in", rows, "--json"))["predictions"]
    assert same["energy_joules"] == pytest.approx(rest["energy_joules"])
    for each, watts in ((stated, 124), (own, 121.7)):
        less = (watts - 77) * rest["duration_seconds"]
        assert each["energy_joules"] == pytest.approx(rest["energy_joules"] - less)
        assert each["energy_joules_with_idle"] == pytest.approx(rest["energy_joules_with_idle"])
        assert f"{round(watts)} W" in each["counted"]


def test_the_circumstances_of_a_row_are_options_too(farm: Farm, tmp_path: Path) -> None:
    """An H200 with today's kernels above a context's idle needs less than one of 2024 above rest."""
    one = ("--model", "flux", "--gpu", "h200", "--resolution", 1024, "--steps", 28, "--precision", "bf16")
    stated = [("idle_watts", 124), ("meter", "nvml"), ("measured_at", "2026-11-28")]
    plain = document(farm("predict", *one, "--json"))
    for name, value in stated:
        rows = tmp_path / f"{name}.csv"
        rows.write_text(f"model,gpu,resolution,steps,precision,{name}\nflux,h200,1024,28,bf16,{value}\n")
        (of_row,) = document(farm("predict", "--in", rows, "--json"))["predictions"]
        option = "--" + name.replace("_", "-")
        of_option = document(farm("predict", *one, option, value, "--json"))
        assert of_option["energy_joules"] == pytest.approx(of_row["energy_joules"])
        assert of_option["energy_joules"] < 0.95 * plain["energy_joules"]
        assert (of_option["energy_joules_with_idle"] < 0.95 * plain["energy_joules_with_idle"]) == (
            name == "measured_at"
        )
        refused(farm("predict", "--in", rows, option, value), name)
    for name, value in (("idle_watts", "cold"), ("idle_watts", -1), ("measured_at", "today"), ("meter", "mine")):
        refused(farm("predict", *one, "--" + name.replace("_", "-"), value), name)


@pytest.mark.parametrize("watts", [-1.0, 1e9, float("inf")])
def test_an_idle_power_that_no_board_has_is_refused(farm: Farm, tmp_path: Path, watts: float) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text(f"model,gpu,resolution,steps,precision,cfg,prompts,idle_watts\nsd2,h200,512,20,fp16,1,4,{watts}\n")
    refused(farm("predict", "--in", rows), "idle_watts")
    columns = {"model": ["sd2"], "gpu": ["h200"], "resolution": [512], "steps": [20], "precision": ["fp16"]}
    parquet.write_table(pa.table({**columns, "idle_watts": [watts]}), tmp_path / "rows.parquet")
    refused(farm("predict", "--in", tmp_path / "rows.parquet"), "idle_watts")


def test_twenty_thousand_rows(farm: Farm, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    lines = [
        f"{m},{g},{r},{t},{p},{c},{n}"
        for m in ("flux", "sd35") for g in ("a100", "h100") for r in (256, 512, 768, 1024) for t in range(1, 51)
        for p in ("fp16", "fp32") for c in (0, 1) for n in range(1, 8)
    ]  # fmt: skip
    rows.write_text("model,gpu,resolution,steps,precision,cfg,prompts\n" + "\n".join(lines[:20_000]) + "\n")
    found = document(farm("predict", "--in", rows, "--json"))
    assert len(found["predictions"]) == 20_000
    text = farm("predict", "--in", rows)
    assert text.out.count("\n") < 80
    assert "19,940 more" in text.out


def test_one_in_words_with_all_that_it_stands_for(farm: Farm) -> None:
    asked = ("--country", "US-CA", "--price", 0.25, "--per-day", 5000, "--host-watts", 300, "--pue", 1.3)
    words = farm("predict", *ONE, *asked).out
    for word in ("California", "kilowatt hours", "300 W of the rest of the host", "PUE of 1.3", "g CO2e", "cost"):
        assert word in words
    found = document(farm("predict", *ONE, *asked, "--json"))
    assert found["per_day"]["images"] == 5000
    assert found["grams_co2e"] > 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--country", "XX"), ["country", "XX"]),
        (("--country", "FR", "--grams-per-kwh", 5), ["country", "alone"]),
        (("--pue", 0.9), ["pue", "0.9"]),
        (("--per-day", 0), ["per-day", "0"]),
        (("--max-joules", 1), ["max-joules", "1", "at least"]),
        (("--max-joules", 0), ["max-joules"]),
        (("--max-joules", "nan"), ["max-joules"]),
        (("--max-grams", 1), ["max-grams: 1", "--country"]),
        (("--max-seconds", 1, "--law", "paper"), ["max-seconds", "a law that knows time"]),
        (("--sure",), ["sure", "--max-joules"]),
        (("--sort", "cost"), ["sort", "--price"]),
        (("--sort", "beauty"), ["sort", "beauty"]),
        (("--pareto", "beauty"), ["pareto", "beauty", "--quality"]),
        (("--pareto", "grams"), ["pareto", "--country"]),
        (("--quality", "/no/such.csv"), ["quality", "/no/such.csv"]),
        (("--out", "x.txt"), ["out", "x.txt", ".csv"]),
        (("--plot", "x.gif"), ["plot", "x.gif", ".png"]),
        (("--out", "/no/such/folder/x.csv"), ["out", "/no/such/folder"]),
        (("--plot", "/no/such/folder/x.png"), ["plot", "/no/such/folder"]),
        (("--data", "/no/such/rows.csv"), ["data: /no/such/rows.csv", "readable"]),
        (("--model", "~nosuchuser"), ["model: ~nosuchuser", "known: "]),
        (("--steps", "ten"), ["steps", "ten"]),
        (("--steps", ","), ["steps", "at least one"]),
        (("--frames", 5), ["frames", "5", "flux makes images"]),
        (("--frames", 5000), ["frames", "5000", "4096"]),
        (("--in", "/no/such.csv"), ["--model", "one value", "--in"]),
    ],
)
def test_a_wrong_question_is_refused_in_one_line(farm: Farm, options: tuple[Any, ...], words: list[str]) -> None:
    asked = MANY if options[0] == "--in" else ONE
    refused(farm("predict", *asked, *options), *words)


def test_a_number_that_is_none_is_null_in_the_document(farm: Farm, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    columns = {"model": ["flux"] * 2, "gpu": ["a100"] * 2, "resolution": [512] * 2, "precision": ["fp16"] * 2}
    parquet.write_table(pa.table({**columns, "steps": [20.0, math.nan]}), path)
    text = farm("predict", "--in", path, "--json").out
    entry = json.loads(text, parse_constant=pytest.fail)["left_out"][0]
    assert (entry["row"], entry["field"], entry["steps"]) == (2, "steps", None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["in", "header"]),
        ("model,gpu,steps,precision\nflux,a100,20,fp16\n", ["resolution", "required"]),
        ("model,gpu,resolution,steps,precision\n", ["at least one row"]),
        ("model,model,resolution,steps,precision\nflux,flux,1,1,fp16\n", ["model", "once"]),
        ("model,gpu,resolution,steps,precision\nflux,a100,512,20\n", ["row 1", "5"]),
        ("model,gpu,resolution,steps,precision\nfluxx,a100,512,20,fp16\n", ["model", "fluxx", "did you mean"]),
    ],
)
def test_a_bad_file_is_refused_in_one_line(farm: Farm, tmp_path: Path, text: str, words: list[str]) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(text)
    refused(farm("predict", "--in", path, "--json"), *words)


def test_many_in_lines_with_what_they_stand_for_a_day_a_score_and_the_front(farm: Farm, tmp_path: Path) -> None:
    quality = tmp_path / "quality.csv"
    quality.write_text("model,steps,clip\nflux,10,0.2\nflux,50,0.3\nsd2,10,0.1\nsd2,50,0.15\n")
    asked = ("--country", "DE", "--price", 0.3, "--quality", quality, "--pareto", "clip")
    head = farm("predict", *MANY, *asked).out.splitlines()[1]
    assert [name for name in ("g CO2e a 1000", "cost a 1000", "score", "fits", "front") if name in head] == [
        "g CO2e a 1000", "cost a 1000", "score", "fits", "front",
    ]  # fmt: skip
    lines = farm("predict", *MANY, *asked, "--per-day", 5000).out.splitlines()
    assert all(name in lines[1] for name in ("kWh a day", "g CO2e a day", "cost a day"))
    assert any(line.rstrip().endswith("*") for line in lines), "somebody is on the front"
    refused(farm("predict", *ONE, "--quality", quality, "--pareto", "clip"), "quality", "asked for")
    one = ("--model", "flux", "--gpu", "a100", "--resolution", 512, "--steps", 10, "--precision", "fp16")
    assert "score     0.2\n" in farm("predict", *one, "--quality", quality, "--pareto", "clip").out


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        (("--sure",), "sure"),
        (("--max-joules", "1e-6"), "max-joules"),
        (("--max-joules", "nan"), "max-joules"),
        (("--max-grams", 1), "max-grams"),
        (("--sort", "cost"), "sort"),
        (("--pareto", "clip"), "pareto"),
    ],
)
def test_limits_and_orders_that_cannot_be_are_refused(farm: Farm, asked: tuple[Any, ...], field: str) -> None:
    refused(farm("predict", *MANY, *asked), field)


def test_limits_that_no_configuration_meets_at_once_are_refused(farm: Farm) -> None:
    two = ("--model", "sd2", "--gpu", "a4000,h100", "--resolution", 512, "--steps", 20, "--precision", "fp16")
    a4000, h100 = document(farm("predict", *two, "--json"))["predictions"]
    assert (a4000["energy_joules"] < h100["energy_joules"], a4000["duration_seconds"] < h100["duration_seconds"]) == (
        True, False,
    )  # fmt: skip
    limits = ("--max-joules", 1.01 * a4000["energy_joules"], "--max-seconds", 1.01 * h100["duration_seconds"])
    refused(farm("predict", *two, *limits), "limits", "none does")


@pytest.mark.parametrize(
    ("table", "field"),
    [
        ("model,clip\n", "quality"),
        ("model,clip\n,0.3\n", "model"),
        ("model,clip,fid\nflux,0.3,20\n", "quality"),
    ],
)
def test_a_table_of_scores_that_tells_nothing_is_refused(farm: Farm, tmp_path: Path, table: str, field: str) -> None:
    quality = tmp_path / "quality.csv"
    quality.write_text(table)
    refused(farm("predict", *MANY, "--quality", quality, "--pareto", "seconds"), field)
