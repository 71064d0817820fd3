"""Every command with words that nobody meant: a clear line and exit 2, or an answer; no traceback, no half a file."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from hypothesis import strategies as st

from farm.broker.embedded import EmbeddedBroker
from farm.cli import cli, run
from farm.domain.worker import WorkerInfo
from farm.settings import load
from farm.store.engine import Store
from tests.both_sides import Jobs
from tests.integration.farm.conftest import measured
from tests.rude import BOTH_FORMS, TEXTS, ask, assert_polite, contents, end_at_once, hold
from workers.meters.base import Recording
from workers.meters.samples import encode_samples

PLAUSIBLE = {
    "model": ["flux", "sd35,qwen", "SDXL", "sd2"],
    "gpu": ["a100", "h100,a6000", "rtx4090", "cpu"],
    "gpus": ["a100", "h100"],
    "resolution": ["512", "1024x768", "256,512"],
    "steps": ["10", "10,20"],
    "precision": ["fp16", "bf16,fp32"],
    "prompts": ["1", "25"],
    "batch": ["1", "1,4"],
    "level": ["0.9"],
    "law_name": ["work", "paper"],
    "budget": ["3"],
    "country": ["DE", "USA", "usa/california"],
    "countries": ["DE,FR"],
    "where": ["model=flux", "cfg=1"],
    "out": ["out.csv", "out.html", "out.yaml", "out.md", "out.parquet", "folder"],
    "plot": ["out.png", "out.svg"],
    "in_file": ["rows.csv"],
    "data": ["rows.csv"],
    "file": ["rows.csv", "out.csv", "farm.db"],
    "candidates": ["rows.csv"],
    "quality": ["rows.csv"],
    "spec": ["sweep.yaml", "-"],
    "sweep_id": ["1", "weekend"],
    "job_id": ["1"],
    "leave_out": ["model"],
    "train": ["flux,qwen"],
    "test": ["sd35"],
    "db": ["sqlite:///farm.db", "sqlite:///rows.csv", "sqlite://", "postgresql://127.0.0.1:1/farm", "mysql://a/b"],
    "broker": ["redis://127.0.0.1:1/0", "amqp://127.0.0.1:1//", "sentinel://127.0.0.1:1", "redis+socket:///x", "kafka://a"],
    "command": ["true", "false"],
    "host": ["127.0.0.1", "::1", "lab.example", "127.0.0.1:6379"],
    "port": ["0", "8600"],
    "token_file": ["token", "rows.csv"],
    "simulate": ["a100", "a100,a6000"],
    "cpu": ["cpu"],
    "name": ["gpu-host-1", "someone"],
    "role": ["someone"],
    "words": ["sweep.yaml", "sd2", "1"],
    "db backup file": ["farm.db", "backup.db"],
    "db restore file": ["farm.db", "rows.csv"],
    "report out": ["out.md", "out.html", "out.csv"],
    "law plot out": ["out.png", "out.svg", "out.html"],
    "plan gpu": ["h200", "a100", "h100,a6000"],
    "worker gpu": ["h100", "a100", "cpu"],
    "results export file": ["out.csv", "out.parquet", "farm.db"],
    "plan out": ["out.yaml", "-"],
    "broker acl out": ["folder"],
    "reproduce out": ["folder"],
    "revoke name": ["worker-t4", "someone"],
    "results samples out": ["samples.csv", "samples.parquet"],
    "prompts_file": ["rows.csv", "sweep.yaml"],
    "samples": ["samples.bin"],
    "size": ["full", "nano"],
    "weights": ["random", "pretrained"],
    "meter_name": ["auto", "nvml", "codecarbon", "both"],
    "figures": ["1", "3"],
    "tables": ["1", "7"],
    "dataset": ["mine", "paper"],
    "fit_id": ["1"],
    "reason": ["new fans"],
    "ids": ["m-1", "1"],
    "measurement_id": ["m-1"],
}  # fmt: skip
ROWS = (
    "model,gpu,resolution,steps,precision,cfg,prompts,energy_joules\n"
    "flux,a100,512,10,fp16,0,25,12000\nflux,a100,512,20,fp16,0,25,23000\nsd35,a6000,512,10,fp16,1,25,31000\n"
)
SPEC = (
    "name: weekend\nmodels: [sd2]\ngpus: [a100]\nresolutions: [512]\nsteps: [10]\nprecisions: [fp16]\nprompts: [25]\n"
)


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        child = command.get_command(context, name)
        assert child is not None
        yield from leaves(child, (*path, name))


COMMANDS = dict(leaves(cli))
# What the plainest line of a command ends with, where that is not an answer: no GPU, receiver or PostgreSQL is here.
LACKING = {
    ("db", "grant-reader"): 2, ("db", "grant-worker"): 2, ("demo",): 1, ("events", "test"): 2, ("meter",): 1,
    ("workers", "restart"): 2,
}  # fmt: skip
# What a command needs beside what it requires always.
NEEDED = {
    ("calibrate",): ["--simulate", "--idle-seconds", "0.1", "--db", "sqlite:///simulated.db"],
    ("db", "restore"): ["--db", "sqlite:///new.db"],
    ("law", "plot"): ["--data", "rows.csv"],
    ("law", "validate"): ["--leave-out", "model", "--data", "rows.csv"],
    ("measure",): ["--simulate"],
    ("plan",): ["--budget", "3"],
    ("predict",): ["--in", "rows.csv"],
    ("report",): ["--data", "rows.csv"],
    ("reproduce",): ["--table", "7"],
    ("results", "remove"): ["--dataset", "mine"],
    ("serve",): ["--port", "0"],
    ("worker",): ["--device", "0", "--simulate"],
}


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """A command with options and arguments of which one is rude and the others are plausible, or rude too."""
    path = draw(st.sampled_from(sorted(COMMANDS)))
    words = [*path]
    for parameter in COMMANDS[path].params:
        if not (parameter.required or draw(st.integers(0, 3)) == 0):
            continue
        value = _value(draw, path, str(parameter.name))
        if isinstance(parameter, click.Argument):
            words.append(value)
        elif getattr(parameter, "is_flag", False):
            words.append(parameter.opts[0])
        else:
            words += [parameter.opts[0], value]
    if draw(st.integers(0, 9)) == 0:
        words.append(draw(TEXTS))
    return words


def _value(draw: st.DrawFn, path: tuple[str, ...], name: str) -> str:
    return draw(st.sampled_from(plausible(path, name))) if draw(st.integers(0, 2)) else draw(TEXTS)


def plausible(path: tuple[str, ...], name: str) -> list[str]:
    """Values of a parameter that are what is meant, at least in some command."""
    return PLAUSIBLE.get(f"{' '.join(path)} {name}") or PLAUSIBLE.get(name, ["1"])


@pytest.fixture
def farm_folder(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder, and a farm that has something of everything, with a broker.

    Commands that run until they are stopped end where their work begins; what they check before is the real thing.
    """
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path))
    fill(folder)
    assert run(["sweep", "submit", "sweep.yaml"]) == 0
    assert run(["results", "import", "rows.csv", "--dataset", "mine"]) == 0
    assert run(["law", "fit"]) == 0
    with contextlib.closing(Store.open(load())) as store:
        jobs = Jobs(store, load())
        jobs.register(
            WorkerInfo(name="gpu-host-1", gpu="a100", queue="a100", device_name="d", device_uuid="u", host="h", pid=1)
        )
        job = jobs.claim(1, worker="gpu-host-1", queue="a100")
        assert job is not None
        found = measured(job)
        log = encode_samples(Recording(power=((1.0, 90.0), (1.5, 95.0))))
        assert jobs.record(1, job.attempt, "gpu-host-1", found, samples=log)
    broker = EmbeddedBroker(load())
    broker.start()
    end_at_once(monkeypatch)
    yield folder
    broker.kill()


def fill(folder: Path) -> None:
    """Make the files those that the plausible words name, and no others."""
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (folder / "rows.csv").write_text(ROWS)
    (folder / "sweep.yaml").write_text(SPEC)
    (folder / "token").write_text("0123456789abcdef")


def answer(words: list[str], folder: Path, home: Path) -> str:
    """How a command answered: nothing is written where it was refused, neither to files nor to the database."""
    fill(folder)
    before = contents(folder, home)
    with contextlib.closing(sqlite3.connect(home / "farm.db")) as database:
        version = database.execute("PRAGMA data_version").fetchone()
        said = ask(words, stdin=SPEC.encode())
        outcome = assert_polite(words, said, codes=range(256) if words[0] == "meter" else (0, 1, 2))
        if said.code == 2:
            assert contents(folder, home) == before, (words, "refused, and written")
            assert database.execute("PRAGMA data_version").fetchone() == version, (words, "refused, and stored")
    return outcome


@BOTH_FORMS
def test_rude_words(farm_folder: Path, home: Path, form: str) -> None:
    def check(words: list[str]) -> str:
        return answer(words, farm_folder, home)

    hold(form, command_lines(), check, short=100, long=1500)


def test_plain_words_are_answered(farm_folder: Path) -> None:
    """Every command, so that what is refused above is refused for its words."""
    wrong = {}
    for path, command in COMMANDS.items():
        words = [*path]
        for parameter in command.params:
            if parameter.required:
                words += [*parameter.opts[:1]] if isinstance(parameter, click.Option) else []
                words.append(plausible(path, str(parameter.name))[0])
        said = ask([*words, *NEEDED.get(path, [])])
        if said.code != LACKING.get(path, 0):
            wrong[" ".join(words)] = said
    assert not wrong, "\n".join(f"{words}: {said}" for words, said in wrong.items())
