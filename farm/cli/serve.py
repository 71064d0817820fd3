"""``farm serve``."""

from __future__ import annotations

import errno
import socket

import click

from farm import settings
from farm.cli.options import db_option
from farm.domain.errors import OperationError, RequestError
from farm.store import Store


@click.command()
@db_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8600, show_default=True, type=click.IntRange(0, 65535), help="0: any free one.")
def serve(db: str | None, host: str, port: int) -> None:
    """What is known, as a live page."""
    try:
        import uvicorn

        from farm.web.app import create_app
    except ImportError as error:
        raise OperationError(f"farm serve needs {error.name}: pip install 'joulefarm[web]'") from None
    configuration = settings.load()
    store = Store.open(configuration, db)
    with _listen(host, port) as listener:
        bound = listener.getsockname()
        click.echo(f"http://{bound[0]}:{bound[1]}/", err=True)
        server = uvicorn.Server(uvicorn.Config(create_app(store, configuration), log_level="warning"))
        server.run(sockets=[listener])
    store.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port))
    except OSError as error:
        remedy = "another --port: it is taken" if error.errno == errno.EADDRINUSE else f"an address here ({error})"
        raise RequestError("--host, --port", f"{host}:{port}", remedy) from None
