"""The command line as agreed: every command is there, answers --help, and what the root says of it is what it says."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from farm.cli import COMMANDS, cli
from farm.domain import RequestError
from farm.settings import Settings

AGREED = {
    "doctor", "demo", "up", "down", "coordinator", "worker", "workers", "jobs", "sweep", "measure", "meter", "results",
    "flops", "law", "predict", "plan", "report", "db",
}  # fmt: skip
SUBCOMMANDS = {
    "workers": {"list", "drain"},
    "jobs": {"list", "show"},
    "sweep": {"submit", "status", "watch", "pause", "resume", "cancel", "retry"},
    "results": {"list", "export", "import"},
    "law": {"fit", "validate", "show", "list", "plot"},
    "db": {"upgrade"},
}
JSON = {
    "doctor", "demo", "workers list", "workers drain", "jobs list", "jobs show", "sweep submit", "sweep status",
    "sweep watch", "sweep pause", "sweep resume", "sweep cancel", "sweep retry", "measure", "meter", "results list",
    "results export", "results import", "flops", "law fit", "law validate", "law show", "law list", "law plot",
    "predict", "plan",
}  # fmt: skip


def command(path: str) -> click.Command:
    found: click.Command = cli
    for name in path.split():
        assert isinstance(found, click.Group)
        child = found.get_command(click.Context(found), name)
        assert child is not None, f"no command '{path}'"
        found = child
    return found


def test_every_agreed_command_is_there():
    assert not AGREED - set(COMMANDS)
    for group, names in SUBCOMMANDS.items():
        found = command(group)
        assert isinstance(found, click.Group)
        assert names <= set(found.commands)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_root_says_of_a_command_what_it_says_itself(name):
    module, attribute = COMMANDS[name][0].split(":")
    found = getattr(importlib.import_module(module), attribute)
    assert found.name == name
    assert found.get_short_help_str(limit=200) == COMMANDS[name][1]


@pytest.mark.parametrize("path", sorted(JSON))
def test_commands_that_scripts_read_take_json(path):
    assert "--json" in {option for parameter in command(path).params for option in parameter.opts}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help(farm, name):
    outcome = farm(name, "--help")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith("Usage: farm " + name)


@pytest.mark.parametrize(
    ("argv", "names"),
    [
        (["no-such-command"], "no-such-command"),
        (["--no-such-option"], "--no-such-option"),
        (["flops"], "MODEL"),
        (["law"], "fit"),
        (["law", "fit", "--law", "no-such-law"], "no-such-law"),
        (["sweep", "submit", "no-such-file.yaml"], "no-such-file.yaml"),
    ],
)
def test_a_wrong_request_is_one_line_and_exit_2(farm, argv, names):
    outcome = farm(*argv)
    assert outcome.code == 2
    assert outcome.out == ""
    assert len(outcome.err.strip().splitlines()) == 1
    assert names in outcome.err


POINT = "--model flux --gpu a100 --resolution 512 --steps 9 --precision fp16 --prompts 1"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (f"predict {POINT}", "this command needs numpy: pip install 'joulefarm[analysis]'"),
        ("report --out report.html", "this command needs numpy: pip install 'joulefarm[analysis]'"),
        (f"measure {POINT} --simulate", "this command needs numpy: pip install 'joulefarm[worker]'"),
        ("serve", "farm serve needs uvicorn: pip install 'joulefarm[web]'"),
        (
            "up --simulate a100 --detach",
            "workers need numpy: pip install 'joulefarm[worker]', or 'joulefarm[analysis]' for simulated devices alone",
        ),
    ],
)
def test_a_command_whose_extra_is_not_installed_says_which(home, line, complaint):
    """The base installation has neither numpy nor uvicorn: such a command is one line, exit 1, and starts nothing."""
    code = (
        "import sys; sys.modules |= {'numpy': None, 'uvicorn': None};"
        "from farm.cli import run; sys.exit(run(sys.argv[1:]))"
    )
    done = subprocess.run([sys.executable, "-c", code, *line.split()], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"farm: {complaint}\n")
    assert not (home / "run" / "up.json").exists()


def test_no_command_shows_the_help(farm):
    outcome = farm()
    assert outcome.code == 0
    assert "Commands:" in outcome.out


def test_version(farm):
    assert farm("--version").out.startswith("joulefarm 0.")


def parameters(command: click.Command, *path: str) -> Iterator[tuple[str, click.Parameter]]:
    """Every parameter of a command and of those below it, with the words that call it."""
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            child = command.get_command(click.Context(command), name)
            assert child is not None
            yield from parameters(child, *path, name)
    for parameter in command.params:
        yield " ".join(path), parameter


NUMBERS = [
    (path, parameter)
    for path, parameter in parameters(cli)
    if isinstance(parameter.type, click.types.FloatParamType) and parameter.opts[0].startswith("-")
]


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999"])
@pytest.mark.parametrize(("path", "parameter"), NUMBERS, ids=[f"{path} {p.opts[0]}" for path, p in NUMBERS])
def test_a_number_is_finite(path, parameter, value):
    assert {"up", "worker", "measure", "meter", "sweep watch"} <= {path for path, _ in NUMBERS}
    context = click.Context(command(path))
    with pytest.raises((click.BadParameter, RequestError)):
        parameter.process_value(context, value)


@pytest.mark.parametrize("value", ["nan", "inf", "1e300", "-1"])
@pytest.mark.parametrize("name", [name for name in Settings.model_fields if name.endswith("_seconds")])
def test_so_is_a_setting(farm, monkeypatch, name, value):
    variable = f"FARM_{name.upper()}"
    monkeypatch.setenv(variable, value)
    outcome = farm("jobs", "list")
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert variable in outcome.err
