"""farm law, predict and report through the command line: the documents agreed on, and bad input in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis.shipped import TRANSFORMERS as SHIPPED
from tests.outcomes import document, refused

PAPER = str(SHIPPED)
METRICS = {"r2_log", "mape_percent", "bias_percent", "mae_joules", "spearman", "pearson"}
HEADER = "model,gpu,resolution,steps,precision,cfg,prompts,energy_joules"
FLUX = ("--model", "flux", "--gpu", "a100", "--resolution", 1024, "--steps", 28, "--precision", "fp16")
Farm = Callable[..., Any]


def test_fit(farm: Farm) -> None:
    found = document(farm("law", "fit", "--law", "paper", "--data", PAPER, "--where", "model=flux", "--json"))
    assert {"law", "n", "params", "params_std", "left_out", "metrics"} <= set(found)
    assert found["n"] == 80
    assert set(found["metrics"]) == METRICS
    assert {name: round(value, 3) for name, value in found["params"].items()} == {
        "ln_a": -20.475,
        "alpha": 0.981,
        "beta_fp32": 2.043,
        "beta_res": -0.038,
    }
    words = farm("law", "fit", "--law", "paper", "--data", PAPER, "--where", "model=flux")
    assert "-20.475" in words.out
    assert "left out" in words.out
    assert "rows: idle power is in its energy\n" in farm("law", "fit", "--law", "paper").out


@pytest.mark.parametrize("energies", [(1e-9, 1e15, 1e-9, 1e15), (1e15,) * 4, (1e-9,) * 4])
@pytest.mark.parametrize("law", ["paper", "work"])
def test_the_most_absurd_energies_that_are_taken_give_finite_numbers_without_a_warning(
    farm: Farm, tmp_path: Path, law: str, energies: tuple[float, ...]
) -> None:
    """Warnings are errors in tests."""
    table = tmp_path / "rows.csv"
    cells = [(256, 10, "fp16"), (512, 20, "fp16"), (768, 50, "fp32"), (1024, 10, "fp32"), (512, 30, "fp32")]
    rows = [f"flux,a100,{r},{t},{p},0,10,{e!r},{e!r}" for (r, t, p), e in zip(cells, (*energies, 5.0), strict=True)]
    table.write_text("\n".join([HEADER + ",energy_std_joules", *rows]) + "\n")
    found = document(farm("law", "fit", "--law", law, "--data", table, "--json"))
    assert all(value is not None for value in found["params"].values())


@pytest.mark.parametrize("energy", ["1e300", "1e-300"])
def test_energies_that_nobody_can_measure_are_refused(farm_process: Farm, tmp_path: Path, energy: str) -> None:
    table = tmp_path / "rows.csv"
    table.write_text(f"{HEADER}\nflux,a100,512,20,fp16,0,10,{energy}\nflux,a100,512,20,fp16,1,10,5000\n")
    refused(farm_process("law", "fit", "--data", table), "row 1, energy_joules", energy, "from 1e-09 to 1e+15")


@pytest.mark.parametrize("law", ["paper", "work"])
@pytest.mark.parametrize(("flags", "why"), [(None, "rows"), ("counter_reset", "2 left out: flagged counter_reset")])
def test_a_fit_to_no_usable_row_is_refused_but_the_prior_predicts_and_plans(
    farm: Farm, tmp_path: Path, law: str, flags: str | None, why: str
) -> None:
    table = tmp_path / "rows.csv"
    rows = [] if flags is None else [f"flux,a100,{side},20,fp16,0,10,5000,{flags}" for side in (256, 512)]
    table.write_text("\n".join([HEADER + ",flags", *rows]) + "\n")
    refused(farm("law", "fit", "--law", law, "--data", table, "--json"), "rows", why if law == "work" else "rows")
    assert document(farm("predict", *FLUX, "--data", table, "--json"))["energy_joules"] > 0
    found = farm("plan", "--model", "flux", "--gpu", "a100", "--budget", 2, "--data", table, "--json")
    assert len(document(found)["configurations"]) == 2


@pytest.mark.parametrize(
    ("options", "n_train", "n_test"),
    [
        (("--train", "qwen,sd35", "--test", "flux"), 120, 80),
        (("--within", "qwen", "--folds", "2"), 20, 40),
        (("--within", "qwen", "--folds", "loo"), 39, 40),
    ],
)
@pytest.mark.parametrize("law", ["paper", "work"])
def test_validate(farm: Farm, law: str, options: tuple[str, ...], n_train: int, n_test: int) -> None:
    found = document(farm("law", "validate", "--law", law, "--data", PAPER, *options, "--json"))
    assert {"law", "train", "test", "n_train", "n_test", "metrics", "interval"} <= set(found)
    assert (found["n_train"], found["n_test"]) == (n_train, n_test)
    assert set(found["metrics"]) == METRICS
    assert set(found["interval"]) == {"level", "coverage", "median_halfwidth_percent", "interval_score"}


@pytest.mark.parametrize(
    ("column", "names"),
    [
        ("model", ["flux", "qwen", "sd15", "sd2", "sd21", "sd3-medium", "sd35", "sdxl", "ssd-1b"]),
        ("gpu", ["a100", "a100-40gb", "h100"]),
        ("dataset", ["mlenergy", "paper"]),
    ],
)
def test_each_of_a_kind_is_left_out_in_turn(farm: Farm, column: str, names: list[str]) -> None:
    found = document(farm("law", "validate", "--leave-out", column, "--json"))
    assert (found["law"], found["leave_out"], sorted(found["groups"])) == ("work", column, names)
    assert found["n_test"] == 387 == sum(group["n_test"] for group in found["groups"].values())
    for name, group in found["groups"].items():
        assert (group["n_train"], group["test"]) == (387 - group["n_test"], [name])
        assert name not in group["train"]
    for part, number in (("metrics", "mape_percent"), ("metrics", "bias_percent"), ("interval", "interval_score")):
        of_groups = [group[part][number] for group in found["groups"].values()]
        assert found[part][number] == pytest.approx(sum(of_groups) / len(names))
    timed = [group for group in found["groups"].values() if "seconds_mape_percent" in group["metrics"]]
    assert len(timed) == {"model": 5, "gpu": 2, "dataset": 1}[column]
    assert found["metrics"]["seconds_mape_percent"] < 15


def test_left_out_groups_in_words(farm: Farm) -> None:
    words = farm("law", "validate", "--law", "paper", "--data", PAPER, "--leave-out", "model")
    assert words.code == 0
    assert "mean" in words.out
    assert "qwen" in words.out


def test_a_data_set_is_predicted_by_the_others(farm: Farm) -> None:
    sides = ("--train-dataset", "paper", "--test-dataset", "mlenergy")
    found = document(farm("law", "validate", *sides, "--json"))
    assert (found["n_train"], found["n_test"]) == (280, 107)
    assert (found["train"], found["test"]) == (["paper"], ["mlenergy"])
    assert found["metrics"]["seconds_mape_percent"] < 15


def test_predict_from_nothing_but_what_ships(farm: Farm, home: Path) -> None:
    found = document(farm("predict", *FLUX, "--cfg", "--prompts", 10, "--json"))
    assert found["low_joules"] < found["energy_joules"] < found["high_joules"]
    assert found["level"] == 0.9
    assert found["duration_seconds"] > 0
    assert sum(found["phases"].values()) == pytest.approx(found["energy_joules"])
    assert "2511.17031" in found["rests_on"]
    assert found["law"] == "work"
    assert found["fit_id"] is None
    assert (found["fits"], found["fits_why"]) == (True, None)
    assert not home.exists()


def test_what_does_not_fit_the_memory_is_predicted_and_said_to_be_too_large(farm: Farm) -> None:
    flux = ["a4000" if word == "a100" else word for word in FLUX]
    why = "needs an estimated 39.9 GB with every part on the device, a4000 has 17.2 GB"
    found = document(farm("predict", *flux, "--json"))
    assert found["energy_joules"] > 0
    assert (found["fits"], found["fits_why"]) == (False, why)
    assert f"too large {why}\n" in farm("predict", *flux).out


@pytest.mark.parametrize("command", [("predict", *FLUX), ("law", "list"), ("law", "fit", "--data", PAPER)])
def test_commands_do_not_wait_for_libraries_they_do_not_need(command: tuple[Any, ...], tmp_path: Path) -> None:
    code = "import sys; from farm.cli import run; code = run(sys.argv[1:]); print(*sys.modules); sys.exit(code)"
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, command)],
        env={**os.environ, "FARM_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert not {"sklearn", "scipy", "pandas", "torch", "matplotlib", "sqlalchemy"} & set(done.stdout.split())


def test_predict_by_the_law_of_the_paper_knows_no_phases_and_no_time(farm: Farm) -> None:
    found = document(farm("predict", *FLUX, "--law", "paper", "--json"))
    assert found["phases"] == {"text": None, "denoise": None, "decode": None}
    assert found["duration_seconds"] is None


def test_predict_of_a_gpu_that_was_never_measured_says_so(farm: Farm) -> None:
    found = document(farm("predict", *FLUX[:2], "--gpu", "b200", *FLUX[4:], "--json"))
    assert "never measured" in found["rests_on"]
    known = document(farm("predict", *FLUX, "--json"))
    assert found["high_joules"] / found["low_joules"] > known["high_joules"] / known["low_joules"]


def test_predict_from_few_rows_and_from_none(farm: Farm, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f"{HEADER}\n")
    nothing = document(farm("predict", *FLUX, "--data", path, "--json"))
    path.write_text(f"{HEADER}\nflux,a100,1024,28,fp16,0,1,{2 * nothing['energy_joules']}\n")
    one = document(farm("predict", *FLUX, "--data", path, "--json"))
    assert nothing["energy_joules"] < one["energy_joules"] < 2 * nothing["energy_joules"]
    assert one["high_joules"] / one["low_joules"] < nothing["high_joules"] / nothing["low_joules"]


@pytest.mark.parametrize("law", ["paper", "work"])
def test_rows_that_no_law_can_place_are_listed_and_the_rest_is_fitted(farm: Farm, tmp_path: Path, law: str) -> None:
    path = tmp_path / "rows.csv"
    known = SHIPPED.read_text().splitlines()[1:40]
    path.write_text("\n".join([HEADER, "kandinsky-2.2,a100,512,20,fp16,0,10,7000", *known]) + "\n")
    fitted = document(farm("law", "fit", "--law", law, "--data", path, "--json"))
    assert fitted["n"] == len(known)
    assert [entry["numbers"] for entry in fitted["left_out"] if "kandinsky-2.2" in entry["name"]] == [[1]]
    assert all(value is not None for value in fitted["metrics"].values())
    found = document(farm("predict", *FLUX, "--law", law, "--data", path, "--json"))
    assert "1 more left out" in found["rests_on"]
    asked = ("law", "validate", "--law", law, "--data", path, "--train", "flux", "--test", "kandinsky-2.2")
    refused(farm(*asked), "kandinsky-2.2")
    assert farm("law", "plot", "--law", law, "--data", path, "--out", tmp_path / "fit.svg").code == 0


def test_a_gpu_that_the_catalog_does_not_have_is_listed(farm: Farm, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f"{HEADER}\nflux,tpu-v9,512,20,fp16,0,10,7000\nflux,a100,512,20,fp16,0,10,7000\n")
    fitted = document(farm("law", "fit", "--data", path, "--json"))
    assert fitted["n"] == 1
    assert [entry["numbers"] for entry in fitted["left_out"]] == [[1]]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: "\n".join(",".join(f'"{cell}"' for cell in line.split(",")) for line in text.split()),
        lambda text: text.replace(",512,", ",512x512,").replace(",256,", ",256X256,"),
        lambda text: text.replace(",0,100,", ",False,100,").replace(",1,100,", ",TRUE,100,"),
        lambda text: text.replace("\n", ",\n").replace("joules,", "joules,note"),
        lambda text: text.replace(",", " , "),
    ],
    ids=["crlf", "bom", "quoted", "sides", "switches", "extra", "blanks"],
)
def test_a_table_may_be_written_in_many_ways(farm: Farm, tmp_path: Path, change: Callable[[str], str]) -> None:
    path = tmp_path / "rows.csv"
    asked = ("law", "fit", "--law", "paper", "--data", path, "--where", "resolution=512x512", "--json")
    path.write_text(SHIPPED.read_text())
    plain = document(farm(*asked))
    path.write_bytes(change(SHIPPED.read_text()).encode())
    assert document(farm(*asked)) == plain


def test_the_farms_own_rows_are_fitted_stored_and_shown(farm: Farm) -> None:
    assert farm("results", "import", PAPER, "--dataset", "paper").code == 0
    own = document(farm("law", "fit", "--law", "paper", "--only-own", "--json"))
    assert own["n"] == 200
    made = document(farm("law", "fit", "--law", "paper", "--json"))
    assert made["n"] == 280  # with SD 2; law paper cannot take rows that have idle power in them
    assert sum(e["count"] for e in made["left_out"] if e["name"] == "idle power is in its energy") == 107
    shown = document(farm("law", "show", "--law", "paper", "--json"))
    assert shown["fit_id"] == made["fit_id"]
    assert shown["params"] == made["params"]
    listed = document(farm("law", "list", "--json"))
    assert listed["laws"] == ["paper", "work"]
    assert [fit["fit_id"] for fit in listed["fits"]] == [made["fit_id"], own["fit_id"]]
    predicted = document(farm("predict", *FLUX, "--law", "paper", "--json"))
    assert predicted["fit_id"] == made["fit_id"]
    assert "the farm's database" in predicted["rests_on"]
    for command in (("law", "list"), ("law", "show", made["fit_id"]), ("predict", *FLUX)):
        assert farm(*command).code == 0


def test_rows_of_seconds_alone_are_fitted_listed_and_reported_with_an_unknown_error(farm: Farm, tmp_path: Path) -> None:
    path, out = tmp_path / "seconds.csv", tmp_path / "report.md"
    path.write_text(
        f"{HEADER},duration_seconds\n" + "".join(f"flux,a100,512,{s},fp16,0,10,,{s}\n" for s in range(10, 40))
    )
    assert farm("results", "import", path, "--dataset", "seconds").code == 0
    assert document(farm("law", "fit", "--only-own", "--json"))["metrics"] == dict.fromkeys(METRICS)
    listed = farm("law", "list")
    assert (listed.code, listed.err) == (0, "")
    assert "30 rows  unknown  flux on a100" in listed.out
    assert document(farm("report", "--out", out, "--data", path, "--json"))["files"] == [
        str(out),
        str(out.with_suffix(".rows.csv")),
    ]
    assert "No row that a law can use states its energy." in out.read_text()
    assert "nan" not in out.read_text()


def test_one_row_of_ones_own_takes_no_shipped_row_away(farm: Farm, tmp_path: Path) -> None:
    before = document(farm("predict", *FLUX, "--json"))
    table = tmp_path / "rows.csv"
    table.write_text(f"{HEADER}\nsd15,rtx4090,512,50,fp16,1,1,450\n")
    assert farm("results", "import", table, "--dataset", "mine").code == 0
    after = document(farm("predict", *FLUX, "--json"))
    assert after["energy_joules"] == pytest.approx(before["energy_joules"], rel=0.02)
    width = {name: found["high_joules"] / found["low_joules"] for name, found in (("b", before), ("a", after))}
    assert width["a"] == pytest.approx(width["b"], rel=0.02)
    alone = document(farm("predict", *FLUX, "--only-own", "--json"))
    assert alone["high_joules"] / alone["low_joules"] > 1.2 * width["b"]
    assert "1 measured rows" in alone["rests_on"]
    refused(farm("predict", *FLUX, "--only-own", "--data", table), "only-own", "--data")


def test_plot_writes_png_and_svg(farm: Farm, tmp_path: Path) -> None:
    found = document(farm("law", "plot", "--law", "paper", "--data", PAPER, "--out", tmp_path / "fit", "--json"))
    assert found["files"] == [str(tmp_path / "fit.png"), str(tmp_path / "fit.svg")]
    assert (tmp_path / "fit.png").read_bytes().startswith(b"\x89PNG")
    first = (tmp_path / "fit.svg").read_text()
    split = ("--train", "flux,qwen", "--test", "sd35")
    document(farm("law", "plot", "--law", "paper", "--data", PAPER, *split, "--out", tmp_path / "s.svg", "--json"))
    assert "<svg" in first
    document(farm("law", "plot", "--law", "paper", "--data", PAPER, "--out", tmp_path / "fit", "--json"))
    assert (tmp_path / "fit.svg").read_text() == first


def test_report(farm: Farm, tmp_path: Path) -> None:
    out = tmp_path / "report.md"
    found = document(farm("report", "--out", out, "--data", PAPER, "--country", "fra", "--json"))
    names = [Path(name).name for name in found["files"]]
    assert names == ["report.md", "report.png", "report-2.png", "report.rows.csv"]
    text = out.read_text()
    for words in ("| flux | 80 |", "ln_a", "France", "held out", "report.png", "2 folds"):
        assert words in text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{HEADER.replace(',steps', '')}\n", ["steps", "required"]),
        (f"{HEADER}\nflux,a100,512,20,fp16,1,10,much\n", ["row 1", "energy_joules", "much"]),
        (f"{HEADER}\nflux,a100,512,20,fp16,1,10,0\n", ["row 1", "energy_joules", "above 0"]),
        (f"{HEADER}\nflux,a100,512,20,fp16,1,10,-1\n", ["row 1", "energy_joules", "above 0"]),
        (f"{HEADER}\nflux,a100,512,x,fp16,1,10,5\n", ["row 1", "steps", "whole number"]),
        (f"{HEADER},measurement_id\n" + "flux,a100,512,20,fp16,1,10,5,x\n" * 2, ["row 2", "measurement_id"]),
        (f"{HEADER}\n", ["rows", "0", "at least"]),
        (f"{HEADER},flags\nflux,a100,512,20,fp16,1,10,5,gpu_lost\n", ["rows", "0", "at least"]),
        (
            f"{HEADER},flags\nflux,a100,512,20,fp16,1,10,5,\nflux,a100,512,20,fp16,1,10,5,simulated\n",
            ["1 measured, 1 simulated", "origin"],
        ),
    ],
)
def test_a_bad_table_is_refused_in_one_line(farm: Farm, tmp_path: Path, text: str, words: list[str]) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(text)
    refused(farm("law", "fit", "--law", "paper", "--data", path, "--json"), *words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("law", "fit", "--law", "guess"), ["law", "guess", "paper, work"]),
        (("law", "fit", "--data", "no-such.csv"), ["no-such.csv"]),
        (("law", "fit", "--data", PAPER, "--where", "model"), ["where", "key=value"]),
        (("law", "fit", "--data", PAPER, "--where", "colour=red"), ["colour"]),
        (("law", "fit", "--data", PAPER, "--where", "model=sdxl"), ["model=sdxl"]),
        (("law", "fit", "--data", PAPER, "--where", "steps=few"), ["steps", "few"]),
        (("law", "validate", "--data", PAPER), ["--train", "--within"]),
        (("law", "validate", "--data", PAPER, "--train", "flux", "--test", "flux"), ["test", "flux"]),
        (("law", "validate", "--data", PAPER, "--train", "flux", "--test", "sdxl"), ["test", "sdxl", "qwen"]),
        (("law", "validate", "--data", PAPER, "--train-gpu", "a100", "--test-gpu", "h100"), ["test-gpu", "h100"]),
        (("law", "validate", "--data", PAPER, "--within", "flux", "--folds", "1"), ["folds", "1"]),
        (("law", "validate", "--data", PAPER, "--within", "flux", "--folds", "many"), ["folds", "many"]),
        (("law", "validate", "--data", PAPER, "--within", "sdxl"), ["within", "sdxl"]),
        (("law", "validate", "--data", PAPER, "--within", "flux", "--level", "90"), ["level", "90"]),
        (("law", "validate", "--leave-out", "colour"), ["leave-out", "colour", "model, gpu, dataset"]),
        (("law", "validate", "--data", PAPER, "--leave-out", "gpu"), ["leave-out", "gpu", "a100"]),
        (("law", "validate", "--leave-out", "gpu", "--train", "flux"), ["leave-out", "alone"]),
        (("law", "validate", "--train-dataset", "paper", "--test-dataset", "mine"), ["test-dataset", "mine"]),
        (("law", "show"), ["fit", "work"]),
        (("law", "show", "7"), ["fit", "7"]),
        (("law", "plot", "--data", PAPER, "--law", "paper", "--out", "/no/such/folder/x"), ["out", "/no/such/folder"]),
        (("report", "--out", "/no/such/folder/x.md", "--data", PAPER), ["out", "/no/such/folder"]),
        (("report", "--out", "x.md", "--data", PAPER, "--country", "XX"), ["country", "XX"]),
        (("predict", "--model", "fluxx", *FLUX[2:]), ["model", "fluxx", "did you mean flux"]),
        (("predict", *FLUX[:2], "--gpu", "a11", *FLUX[4:]), ["gpu", "a11"]),
        (("predict", *FLUX[:4], "--resolution", "1000", *FLUX[6:]), ["width", "1000", "multiples of 16"]),
        (("predict", *FLUX[:4], "--resolution", "big", *FLUX[6:]), ["resolution", "big"]),
        (("predict", *FLUX[:8], "--precision", "int8"), ["precision", "int8"]),
        (("predict", *FLUX, "--prompts", "0"), ["prompts", "0"]),
        (("predict", *FLUX, "--batch", "2"), ["batch", "2"]),
        (("predict", *FLUX, "--level", "1.5"), ["level", "1.5"]),
        (("predict", *FLUX[2:]), ["--model"]),
    ],
)
def test_a_bad_request_is_refused_in_one_line(farm: Farm, arguments: tuple[str, ...], words: list[str]) -> None:
    refused(farm(*arguments), *words)


def test_plan_picks_what_fits_and_looks_at_no_energy(farm: Farm, tmp_path: Path) -> None:
    known, doubled = tmp_path / "known.csv", tmp_path / "doubled.csv"
    known.write_text(f"{HEADER}\n")
    lines = SHIPPED.read_text().splitlines()
    doubled.write_text("\n".join([lines[0], *(f"{line}0" for line in lines[1:])]) + "\n")
    asked = ("plan", "--model", "sd35", "--gpu", "a100", "--budget", 4, "--data", known, "--json", "--candidates")
    found = document(farm(*asked, PAPER))
    assert {"configurations", "expected_error_percent", "expected_energy_joules"} <= set(found)
    assert len(found["configurations"]) == 4
    for pick in found["configurations"]:
        assert set(pick) == {"model", "gpu", "resolution", "steps", "precision", "cfg", "prompts"}
    assert document(farm(*asked, doubled))["configurations"] == found["configurations"]
    refused(farm(*asked[:6], 0, *asked[7:-1]), "budget", "0")
    refused(farm("plan", "--model", "flux", "--gpu", "a4000", "--budget", 2), "a4000", "memory")
    words = farm("plan", "--model", "sd2", "--gpu", "h100", "--budget", 2)
    assert words.code == 0
    assert "expected error" in words.out


def test_predict_in_a_notebook_is_what_the_command_prints(farm: Farm) -> None:
    import analysis

    asked = {"model": "flux", "gpu": "a100", "resolution": 1024, "steps": 28, "precision": "fp16"}
    here = analysis.predict(**asked)
    there = document(farm("predict", *FLUX, "--json"))
    assert here.energy_joules == pytest.approx(there["energy_joules"], rel=1e-9)
    assert here.rests_on == there["rests_on"]
    law = analysis.law("paper").fit(analysis.paper_rows())
    assert analysis.predict(**asked, law=law).law == "paper"
    wide = analysis.predict(**{**asked, "resolution": (1024, 512)}, data=[])
    assert wide.configuration.pixels == 1024 * 512
