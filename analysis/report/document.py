"""A document as blocks, and the two ways to write it: Markdown, and a page of HTML that needs no other file.

Names in it come from files of strangers. They are text: no renderer lets them be markup.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from analysis.report.figures import Picture, render, theme
from farm import style

VECTOR_ROWS: Final = 1500  # with more, a picture of points is smaller as PNG
TEMPLATES: Final = Path(__file__).resolve().parent / "templates"

# What Markdown might take for markup; an underscore only outside of a word (`ln_a` stays readable).
_MARKUP: Final = re.compile(r"[\\`*\[\]<>|&~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_NUMBER: Final = re.compile(r"[-+]?[\d.,]+(e[+-]?\d+)?%?( ?[GMkmµ]?(J|g|s|W)( \([^)]*Wh\))?)?|unknown|")


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
class Illustration:
    """A figure with its caption."""

    caption: str
    picture: Picture


@dataclass(frozen=True, slots=True)
class Link:
    """A file beside the document."""

    text: str
    file: str


@dataclass(frozen=True, slots=True)
class Folded:
    """What only some readers want: closed in a page until it is opened."""

    heading: str
    blocks: Sequence[Block]


Block = Heading | Paragraph | Grid | Illustration | Link | Folded


def to_markdown(blocks: Sequence[Block], picture_files: Sequence[str] = ()) -> str:
    """CommonMark with tables; the pictures are in files of those names beside the document, in their order."""
    names = iter(picture_files)
    return "\n\n".join(part for block in blocks for part in _markdown(block, names)) + "\n"


def illustrations(blocks: Sequence[Block]) -> list[Illustration]:
    """The figures of a document, in their order."""
    return [block for block in blocks if isinstance(block, Illustration)]


def to_html(blocks: Sequence[Block], title: str) -> str:
    """A page that needs no other file and runs no script, with each picture in it for a light and for a dark ground."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(kind=lambda block: type(block).__name__.lower(), image=_image)
    environment.filters["quoted"] = quote
    return environment.get_template("document.html.j2").render(
        title=title, blocks=blocks, light=theme.LIGHT, dark=theme.DARK, sheet=style.sheet()
    )


def _image(picture: Picture, colours: Mapping[str, str]) -> str:
    """The picture as the address of an image: SVG, PNG where it would be large."""
    if len(picture.rows) > VECTOR_ROWS:
        return "data:image/png;base64," + b64encode(render.png(picture, colours)).decode()
    return "data:image/svg+xml;base64," + b64encode(render.svg(picture, colours).encode()).decode()


def _markdown(block: Block, picture_files: Iterator[str]) -> Iterator[str]:
    match block:
        case Heading(text, level):
            yield f"{'#' * level} {_escaped(text)}"
        case Paragraph(text):
            yield _escaped(text)
        case Link(text, file):
            yield f"[{_escaped(text)}]({quote(file)})"
        case Grid(head, lines):
            yield _markdown_table(block.numeric, [head, *lines]) if lines else "No rows."
        case Illustration(caption, picture):
            yield f"![{_escaped(picture.alt)}]({quote(next(picture_files))})"
            yield _escaped(caption)
        case Folded(heading, blocks):
            yield f"## {_escaped(heading)}"
            for inner in blocks:
                yield from _markdown(inner, picture_files)


def _markdown_table(numeric: Sequence[bool], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---:" if number else "---" for number in numeric]
    head, *rest = [[_escaped(cell) for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *rest))


def _escaped(text: str) -> str:
    """The text in one line, nothing in it markup."""
    return _MARKUP.sub(r"\\\g<0>", " ".join(text.split()))
