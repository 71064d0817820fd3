"""A document as blocks, and the two ways to write it: Markdown, and a page of HTML that needs no other file.

Names in it come from files of strangers. They are text: no renderer lets them be markup.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

TEMPLATES: Final = Path(__file__).resolve().parent / "templates"

# What Markdown might take for markup; an underscore only outside of a word (`ln_a` stays readable).
_MARKUP: Final = re.compile(r"[\\`*\[\]<>|&~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_NUMBER: Final = re.compile(r"-?[\d.,]+(e[+-]?\d+)?%?|unknown|")


@dataclass(frozen=True, slots=True)
class Heading:
    text: str
    level: int = 2


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Plain text that begins with words of ours, so that Markdown takes it for nothing else."""

    text: str


@dataclass(frozen=True, slots=True)
class Grid:
    """A table of text; one without lines says so."""

    head: Sequence[str]
    lines: Sequence[Sequence[str]]

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Which columns hold numbers only, and are aligned to the right."""
        return tuple(
            any(column) and all(_NUMBER.fullmatch(cell) for cell in column) for column in zip(*self.lines, strict=True)
        )


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG."""

    caption: str
    png: bytes


Block = Heading | Paragraph | Grid | Picture


def to_markdown(blocks: Sequence[Block], picture_file: str) -> str:
    """CommonMark with tables. The picture, at most one, is in a file of that name beside the document."""
    return "\n\n".join(_markdown(block, picture_file) for block in blocks) + "\n"


def to_html(blocks: Sequence[Block], title: str) -> str:
    """A page that needs no other file, pictures embedded, without scripts."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["base64"] = lambda content: b64encode(content).decode()
    named = [(type(block).__name__.lower(), block) for block in blocks]
    return environment.get_template("document.html.j2").render(title=title, blocks=named)


def _markdown(block: Block, picture_file: str) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {_escaped(text)}"
        case Paragraph(text):
            return _escaped(text)
        case Grid(head, lines):
            if not lines:
                return "No rows."
            rule = ["---:" if number else "---" for number in block.numeric]
            rows = [[_escaped(cell) for cell in line] for line in (head, *lines)]
            return "\n".join(f"| {' | '.join(line)} |" for line in (rows[0], rule, *rows[1:]))
        case Picture(caption):
            return f"![{_escaped(caption)}]({quote(picture_file)})"


def _escaped(text: str) -> str:
    """The text in one line, nothing in it markup."""
    return _MARKUP.sub(r"\\\g<0>", " ".join(text.split()))
