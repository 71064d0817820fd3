"""What README and docs/ show of commands' output is what the commands print."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Outcome

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```console\n(.*?)^```", re.M | re.S)
VARIES = {"make"}  # takes minutes, and prints energies of the host


def shown() -> Iterator[tuple[str, str, str]]:
    """Document, command and the lines that are shown to follow it."""
    for document in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for block in BLOCK.findall(document.read_text()):
            for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
                command, _, output = part.partition("\n")
                if output.strip() and command.split()[0] not in VARIES:
                    yield document.name, command, output


@pytest.mark.parametrize(("document", "command", "output"), list(shown()))
def test_a_command_prints_what_is_shown(farm: Callable[..., Outcome], document: str, command: str, output: str) -> None:
    program, *words = shlex.split(command)
    assert program == "farm", f"{document} shows the output of {program}"
    outcome = farm(*words)
    assert outcome.code == 0
    assert outcome.out.split() == output.split()  # long lines are broken in a document


def test_some_outputs_are_shown() -> None:
    assert {command.split()[1] for _, command, _ in shown()} >= {"predict", "plan"}
