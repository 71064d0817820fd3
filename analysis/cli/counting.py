"""Shows on stderr that the work of a model is being counted: the first time takes a while, with nothing to see."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click


@contextmanager
def shown(what: str) -> Iterator[None]:
    """A turning sign with the words on a terminal, one line of them elsewhere."""
    if not sys.stderr.isatty():
        click.echo(f"{what} ...", err=True)
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(f"{what} ..."):
        yield


def announce() -> None:
    """From now on every count of this process is shown."""
    from analysis.work import ondemand

    ondemand.announced = shown
