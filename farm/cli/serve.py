"""``farm serve``: the page, served until SIGTERM or Ctrl-C."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Final

import click

from farm import settings
from farm.cli.options import db_option
from farm.domain.errors import OperationError, RequestError
from farm.domain.text import decode
from farm.web.listen import HOST, PORT, address, is_loopback, listen

LEAST_TOKEN: Final = 16  # characters


@click.command()
@db_option
@click.option("--host", default=HOST, show_default=True, help="Address to listen on; others than this need a token.")
@click.option("--port", default=PORT, show_default=True, type=click.IntRange(0, 65535), help="0: any free one.")
@click.option("--token-file", metavar="FILE", help="A secret; who sends it as bearer may change things.")
@click.option("--allow-host", multiple=True, metavar="NAME", help="A name it is reached by, such as a proxy's.")
@click.option("--demo", is_flag=True, help="Show a small simulated farm at work, in a temporary home.")
def serve(
    db: str | None, host: str, port: int, token_file: str | None, allow_host: tuple[str, ...], demo: bool
) -> None:
    """What is known, as a live page."""
    try:
        import uvicorn  # noqa: F401 - both are there

        import farm.web.app  # noqa: F401
    except ImportError as error:
        raise OperationError(f"farm serve needs {error.name}: pip install 'joulefarm[web]'") from None
    token = None if token_file is None else _token(token_file)
    if token is None and not is_loopback(host):
        remedy = f"{HOST}, which only this machine reaches, or --token-file FILE beside it"
        raise RequestError("--host", host, remedy)
    if demo and db is not None:
        raise RequestError("--demo", "on", "goes without --db: it has a database of its own")
    with _ended_by_sigterm(), _simulated() if demo else nullcontext():
        _serve(db, host, port, token, allow_host)


def _serve(db: str | None, host: str, port: int, token: str | None, names: tuple[str, ...]) -> None:
    """Serve the page until the process is told to end."""
    import uvicorn

    from farm.coordinator.watch import CoordinatorWatch
    from farm.web.app import create_app
    from farm.web.database import Database

    configuration = settings.load()
    missing_is_empty = db is None and not configuration.names_database
    with closing(Database(configuration, db, missing_is_empty=missing_is_empty)) as database:
        with suppress(OperationError):  # what is away now may come; what is wrong is said now
            database.store()
        watch = CoordinatorWatch(configuration, db)
        with listen(host, port) as listener:
            click.echo(address(listener), err=True)
            application = create_app(database, configuration, token=token, names=names)
            server = uvicorn.Server(uvicorn.Config(application, log_level="warning"))
            application.state.site.live.ends = lambda: server.should_exit  # it would wait for readers that stay
            watch.start()
            try:
                server.run(sockets=[listener])
            finally:
                watch.stop()


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends what is done within in order, with exit 0: uvicorn sends itself the signal again once it has ended,
    and the default action would end the process before anything is closed."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _simulated() -> Iterator[None]:
    """A simulated farm to look at, ended with the page."""
    from farm.local.showcase import simulated

    click.echo("a simulated farm begins; every number that it measures is simulated", err=True)
    with simulated():
        yield


def _token(path: str) -> str:
    """The secret in a file. RequestError where there is none, or one that could be guessed."""
    try:
        token = decode(Path(path).read_bytes()).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError("--token-file", path, f"a file of text that can be read ({error})") from None
    if len(token) < LEAST_TOKEN or not token.isascii() or not token.isprintable():
        remedy = f"one line of at least {LEAST_TOKEN} ASCII characters, such as `openssl rand -hex 32` writes"
        raise RequestError("--token-file", path, remedy)
    return token
