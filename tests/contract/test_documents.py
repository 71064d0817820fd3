"""What the documents point at is there: every link leads somewhere, every command and option of theirs exists."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from farm.cli import cli
from farm.settings import NOT_SETTINGS, RENAMED, Settings

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)|(?:src|srcset|href)=\"([^\"]+)\"")
SETTING = re.compile(r"\bFARM_[A-Z][A-Z0-9_]+\b")
# Read elsewhere than in the settings.
OTHER_SETTINGS = {*NOT_SETTINGS, *(f"FARM_{old.upper()}" for old in RENAMED)}
SHELL = {"console", "sh", "bash"}


def documents() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    paths = [ROOT / line for line in listed.splitlines()] or [ROOT / "README.md", *ROOT.rglob("docs/*.md")]
    return sorted(path for path in paths if path.exists())


def anchors(path: Path) -> set[str]:
    """Names of a document's headings, as Git hosts make them."""
    names: set[str] = set()
    for line in outside_code(path):
        if line.startswith("#"):
            words = re.sub(r"[^\w\- ]", "", line.lstrip("#").strip().lower())
            names.add(words.replace(" ", "-"))
    return names


def outside_code(path: Path) -> Iterator[str]:
    fenced = False
    for line in path.read_text().splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced:
            yield line


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path: Path) -> None:
    dead = []
    for line in outside_code(path):
        for target in (first or second for first, second in LINK.findall(line)):
            if target.startswith(("http://", "https://", "mailto:")):
                continue
            name, _, anchor = target.partition("#")
            file = (path.parent / name).resolve() if name else path
            lost = anchor and file.suffix == ".md" and file.exists() and anchor not in anchors(file)
            if lost or not file.exists():
                dead.append(target)
    assert not dead


def commands(path: Path) -> Iterator[list[str]]:
    """The ``farm`` commands in a document's shell blocks and inline code, split into words."""
    language = None
    for line in path.read_text().replace("\\\n", " ").splitlines():
        if line.lstrip().startswith("```"):
            language = None if language is not None else line.strip().strip("`")
        elif language is None:
            for code in re.findall(r"`([^`]+)`", line):
                yield from _commands_of(code)
        elif language in SHELL:
            yield from _commands_of(line.strip().removeprefix("$ "))


def _commands_of(line: str) -> Iterator[list[str]]:
    for part in re.split(r"&&|\|\||[|;]", line):
        try:
            words = shlex.split(part, comments=True)
        except ValueError:  # an apostrophe in prose
            continue
        while words and ("=" in words[0] or words[0] in {"sudo", "nohup", "env", "exec"}):
            words = words[1:]
        if words[:1] == ["farm"] and len(words) > 1 and re.fullmatch(r"[a-z-]+", words[1]):
            yield words


def objection(words: list[str]) -> str:
    """What of a command does not exist; empty where all of it does."""
    command: click.Command = cli
    rest = words[1:]
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        found = command.get_command(click.Context(command), rest[0])
        if found is None:
            return "" if re.search(r"[|\[<]|^[A-Z]", rest[0]) else f"no command {rest[0]}"
        command, rest = found, rest[1:]
    if "--" in rest:
        rest = rest[: rest.index("--")]
    options = {name for parameter in command.params for name in [*parameter.opts, *parameter.secondary_opts]}
    given = {word.split("=")[0].rstrip(",.]") for word in rest if re.match(r"--[a-z]", word)}
    unknown = given - options - {"--help", "--version"}
    return f"no option {', '.join(sorted(unknown))}" if unknown else ""


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_exists_with_its_options(path: Path) -> None:
    if path.name in {"CHANGELOG.md", "commands.md"}:  # what was; what is generated
        return
    wrong = [f"{shlex.join(words)}: {why}" for words in commands(path) if (why := objection(words))]
    assert not wrong


def test_the_check_knows_a_command_that_does_not_exist() -> None:
    assert objection(["farm", "predict", "--model", "flux", "--gpu", "a100"]) == ""
    assert objection(["farm", "predict", "--modell", "flux"]) == "no option --modell"
    assert objection(["farm", "sweep", "resubmit", "1"]) == "no command resubmit"


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_setting_exists(path: Path) -> None:
    if path.name == "CHANGELOG.md":
        return
    known = {f"FARM_{name.upper()}" for name in Settings.model_fields} | OTHER_SETTINGS
    named = {name for name in SETTING.findall(path.read_text()) if not name.endswith("_")}
    assert named <= known
