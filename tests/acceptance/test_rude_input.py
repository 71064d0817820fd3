"""Every command with words that nobody meant: a clear line and exit 2, or an answer; no traceback, no half a file."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import click
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from farm.cli import cli, run

# They run until they are stopped, start processes, reach for the network or compute for minutes.
LEFT_OUT = {
    ("calibrate",), ("coordinator",), ("demo",), ("doctor",), ("down",), ("measure",), ("meter",), ("reproduce",),
    ("revoke",), ("serve",), ("sweep", "watch"), ("up",), ("weights", "fetch"), ("worker",),
}  # fmt: skip
RUDE = [
    "", " ", "-", "0", "-1", "1", "2", "1.5", "nan", "inf", "-inf", "1e999", "1e-400", "0x10", "1_000", "٣", "９",
    "99999999999999999999", "9" * 400, "true", "null", "[]", "{}", "{{7*7}}", "%s%n", "$(id)", "`id`", "a" * 5000,
    "../../etc/passwd", "/dev/null", "/", ".", "~", "a,b", ",", ",,,", "flux,", "1024x", "x", "1024xx1024", "0x0",
    "-5x5", "💥", "Ünïcode", "\u202etxt", "\x1b[31mred", "two\nlines", "tab\there", "'; DROP TABLE job;--", "=1+1",
    "model=", "=flux", "model=flux=flux", "\udcff", "None", "NaN J", "1 kWh", "1e3", "+7", "１０２４", "flux flux",
]  # fmt: skip
PLAUSIBLE = {
    "model": ["flux", "sd35,qwen", "SDXL", "sd2"],
    "gpu": ["a100", "h100,a6000", "rtx4090", "cpu"],
    "resolution": ["512", "1024x768", "256,512"],
    "steps": ["10", "10,20"],
    "precision": ["fp16", "bf16,fp32"],
    "prompts": ["1", "25"],
    "batch": ["1", "1,4"],
    "level": ["0.9"],
    "law_name": ["work", "paper"],
    "budget": ["3"],
    "country": ["DE", "USA", "usa/california"],
    "where": ["model=flux", "cfg=1"],
    "out": ["out.csv", "out.html", "out.yaml", "out.md", "out.parquet"],
    "plot": ["out.png", "out.svg"],
    "in_file": ["rows.csv"],
    "data": ["rows.csv"],
    "file": ["rows.csv", "out.csv"],
    "candidates": ["rows.csv"],
    "quality": ["rows.csv"],
    "spec": ["sweep.yaml"],
    "sweep_id": ["1", "weekend"],
    "job_id": ["1"],
    "leave_out": ["model"],
    "train": ["flux,qwen"],
    "test": ["sd35"],
}
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


COMMANDS = {path: command for path, command in leaves(cli) if path not in LEFT_OUT}


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """A command with options and arguments of which one is rude and the others are plausible, or rude too."""
    path = draw(st.sampled_from(sorted(COMMANDS)))
    parameters = [p for p in COMMANDS[path].params if p.name not in ("db", "broker")]
    words, given_names = [*path], []
    for parameter in parameters:
        if not (parameter.required or draw(st.integers(0, 3)) == 0):
            continue
        given_names.append(parameter.name)
        value = _value(draw, str(parameter.name))
        if isinstance(parameter, click.Argument):
            words.append(value)
        elif getattr(parameter, "is_flag", False):
            words.append(parameter.opts[0])
        else:
            words += [parameter.opts[0], value]
    if draw(st.integers(0, 9)) == 0:
        words.append(draw(st.sampled_from(RUDE)))
    return words


def _value(draw: st.DrawFn, name: str) -> str:
    plausible = PLAUSIBLE.get(name, ["1"])
    if draw(st.integers(0, 2)):
        return draw(st.sampled_from(plausible))
    return draw(st.one_of(st.sampled_from(RUDE), st.text(max_size=12).filter(lambda text: "\0" not in text)))


@pytest.fixture
def farm_folder(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a table and a sweep file, and a farm in which that sweep was submitted."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "rows.csv").write_text(ROWS)
    (folder / "sweep.yaml").write_text(SPEC)
    assert run(["sweep", "submit", "sweep.yaml"]) == 0
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def check(words: list[str], folder: Path) -> None:
    before = contents(folder)
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run(words)
    said = err.getvalue()
    assert code in (0, 1, 2), (code, said)
    assert "Traceback" not in said
    assert "FARM_DEBUG" not in said, said  # an error that no command foresaw
    assert "\x1b" not in said + out.getvalue()
    if code == 2:
        lines = said.splitlines()
        assert lines, "refused without a word"
        assert lines[-1].startswith("farm: "), said
        assert len(lines[-1]) < 2000, said
        assert not out.getvalue(), "refused, and answered"
        assert contents(folder) == before, "refused, and written"
    if code == 0 and "--json" in words:
        json.loads(out.getvalue())


QUICK = settings(
    max_examples=60,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@QUICK
@given(words=command_lines())
def test_rude_words(farm_folder: Path, words: list[str]) -> None:
    check(words, farm_folder)


@pytest.mark.chaos
@pytest.mark.timeout(3600)
@settings(QUICK, max_examples=600, derandomize=False)
@given(words=command_lines())
def test_many_rude_words(farm_folder: Path, words: list[str]) -> None:
    check(words, farm_folder)
