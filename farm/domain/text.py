"""Text of strangers (file headers, names of workers, messages of errors) as it may be shown."""

from __future__ import annotations


def one_line(text: object, limit: int = 2000) -> str:
    """The text in one line of printable characters: nothing in it moves a terminal's cursor, rings or forges a line."""
    shown = "".join(c if c.isprintable() else "?" for c in " ".join(str(text).split()))
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
