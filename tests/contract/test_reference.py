"""The reference of commands is what the commands say of themselves."""

from __future__ import annotations

from pathlib import Path

from farm.cli import COMMANDS
from farm.cli.reference import render

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "commands.md"


def test_every_command_is_documented_as_it_is():
    text = render()
    assert all(f"\n## farm {name}\n" in text for name in COMMANDS)
    assert text == DOCUMENT.read_text(), "run: python -m farm.cli.reference > docs/commands.md"
