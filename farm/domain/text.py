"""Text that strangers wrote (files, headers, names of workers, messages of errors): read it, and show it."""

from __future__ import annotations

import codecs
from typing import Final

# A mark at the beginning, and the encoding it stands for. That of UTF-32 begins with that of UTF-16, so it comes first.
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip


FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet takes a cell that begins so for something to compute


def decode(raw: bytes) -> str:
    """The text in the encoding that its byte order mark states, in UTF-8 where it has none; UnicodeDecodeError."""
    return raw.decode(next((encoding for mark, encoding in _MARKS if raw.startswith(mark)), "utf-8"))


def one_line(text: object, limit: int = 2000) -> str:
    """The text in one line of printable characters: nothing in it moves a terminal's cursor, rings or forges a line."""
    shown = "".join(c if c.isprintable() else "?" for c in " ".join(str(text).split()))
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def storable(text: str) -> str:
    """The text as every database takes it: PostgreSQL stores no NUL, and none stores half of a character, as there is
    in messages that name a file whose name is no UTF-8."""
    return text.replace("\0", "?").encode("utf-8", "replace").decode()


def plain_cell(value: object) -> object:
    """A cell of a CSV file; a text that a spreadsheet would compute is quoted with an apostrophe, as it is there."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def read_cell(text: str) -> str:
    """Undo :func:`plain_cell`."""
    return text[1:] if text[:1] == "'" and text[1:].startswith(FORMULA) else text
