"""A name that nobody has is refused with the one that was meant; it does not answer with nothing and exit 0."""

from __future__ import annotations

import csv
import os
import subprocess

import pytest

from tests.conftest import FARM

HEADER = "model,gpu,resolution,steps,precision,cfg,prompts,energy_joules,device_name"


@pytest.fixture
def known(farm, tmp_path):
    """A farm that has one data set, of a model that no catalog has."""
    path = tmp_path / "table.csv"
    path.write_text(f"{HEADER}\nours,a100,512,20,fp16,1,10,5,=HYPERLINK(1)\n")
    assert farm("results", "import", path, "--dataset", "theirs").code == 0


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("results list --model flx", "did you mean flux?"),
        ("results list --gpu a1000", "did you mean a100?"),
        ("results list --dataset their", "did you mean theirs?"),
        ("results export out.csv --dataset nope", "known: farm, theirs"),
        ("jobs list --gpu a1000", "did you mean a100?"),
        ("results list --db sqlite:////nonexistent/x.db", "a file that is there"),
        ("predict --model flux --gpu a100 --resolution 512 --steps 20 --precision fp16 --db sqlite:////nonexistent/x.db",
         "a file that is there"),
        ("law list --db sqlite:////nonexistent/x.db", "a file that is there"),
        ("sweep cancel --db sqlite:////nonexistent/x.db", "a file that is there"),
        ("workers drain --db sqlite:////nonexistent/x.db", "a file that is there"),
        ("serve --port 0 --db sqlite:////nonexistent/x.db", "a file that is there"),
    ],
)  # fmt: skip
def test_a_typo_is_refused(farm, known, tmp_path, monkeypatch, command, says):
    monkeypatch.chdir(tmp_path)
    done = farm(*command.split())
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert says in done.err
    assert not (tmp_path / "out.csv").exists()


def test_a_name_that_only_a_table_has_is_none(farm, known):
    assert "ours" in farm("results", "list", "--model", "ours", "--gpu", "a100").out


def test_what_a_spreadsheet_would_compute_is_quoted_and_comes_back(farm, known, tmp_path):
    path = tmp_path / "out.csv"
    assert farm("results", "export", path).code == 0
    (row,) = csv.DictReader(path.read_text().splitlines())
    assert row["device_name"] == "'=HYPERLINK(1)"
    assert farm("results", "import", path, "--dataset", "again").code == 0
    assert farm("results", "export", tmp_path / "again.csv", "--dataset", "again").code == 0
    (again,) = csv.DictReader((tmp_path / "again.csv").read_text().splitlines())
    assert again["device_name"] == "'=HYPERLINK(1)"


def test_columns_stand_below_each_other(farm, known, tmp_path):
    long = tmp_path / "long.csv"
    long.write_text(f"{HEADER}\nsd2,rtx6000-ada,512,20,fp16,1,10,12345.678,d\n")
    farm("results", "import", long, "--dataset", "a data set with quite a long name")
    head, *rows = farm("results", "list").out.splitlines()
    ends = {line.index(joules) + len(joules) for line, joules in zip(rows, ("5", "12350"), strict=True)}
    assert len(rows) == 2
    assert {line[head.index("gpu") - 1] for line in rows} == {" "}
    assert head.index("joules") + len("joules") in ends


def test_a_date_in_a_message_is_a_date(farm, tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text("models: [2020-01-01]\ngpus: [a100]\n")
    done = farm("sweep", "submit", path)
    assert done.code == 2
    assert "2020-01-01" in done.err
    assert "datetime" not in done.err


def test_a_sweep_comes_from_the_standard_input_and_a_pipe_without_a_writer_is_not_waited_for(farm_process, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    refused = farm_process("sweep", "submit", pipe, timeout=20)
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1)
    spec = (
        "models: [sd2]\ngpus: [a100]\nresolutions: [512]\nsteps: [1]\nprecisions: [fp16]\ncfg: [false]\nprompts: [1]\n"
    )
    done = subprocess.run([FARM, "sweep", "submit", "-", "--dry-run"], input=spec, capture_output=True, text=True)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "dry run (sweep): 1 configurations")
