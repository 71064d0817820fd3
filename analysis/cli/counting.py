"""Shows on stderr that the work of a model is being counted: the first time takes a while, with nothing to see."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer
from typing import Final, TextIO

LONG_SECONDS: Final = 4.0  # a command that only computes answers within 5


@contextmanager
def shown(what: str, *, stream: TextIO | None = None) -> Iterator[None]:
    """A turning sign with the words on a terminal; elsewhere one line of them, where it takes long."""
    out = sys.stderr if stream is None else stream
    if out.isatty():
        from rich.console import Console

        with Console(file=out).status(f"{what} ..."):
            yield
        return
    timer = Timer(LONG_SECONDS, lambda: print(f"farm: {what}", file=out, flush=True))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def announce() -> None:
    """From now on every count of this process is shown."""
    from analysis.work import ondemand

    ondemand.announced = shown
