"""``farm serve``."""

from __future__ import annotations

import click

from farm import settings
from farm.cli.options import db_option
from farm.database import opened
from farm.domain.errors import OperationError
from farm.web.listen import HOST, PORT, listen


@click.command()
@db_option
@click.option("--host", default=HOST, show_default=True, help="Address to listen on.")
@click.option("--port", default=PORT, show_default=True, type=click.IntRange(0, 65535), help="0: any free one.")
def serve(db: str | None, host: str, port: int) -> None:
    """What is known, as a live page."""
    try:
        import uvicorn

        from farm.web.app import create_app
    except ImportError as error:
        raise OperationError(f"farm serve needs {error.name}: pip install 'joulefarm[web]'") from None
    configuration = settings.load()
    with opened(db, settings=configuration, create=False) as store, listen(host, port) as listener:
        bound = listener.getsockname()
        click.echo(f"http://{bound[0]}:{bound[1]}/", err=True)
        server = uvicorn.Server(uvicorn.Config(create_app(store, configuration), log_level="warning"))
        server.run(sockets=[listener])
