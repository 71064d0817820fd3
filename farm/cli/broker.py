"""``farm broker``: what a lab's own broker is set up with."""

from __future__ import annotations

from pathlib import Path

import click

from farm import catalog
from farm.broker.provision import provision
from farm.cli.options import GPU, emit_json, json_option


@click.group()
def broker() -> None:
    """Set up a lab's own Redis or Valkey."""


@broker.command()
@click.option(
    "--gpu", "gpus", type=GPU, multiple=True, required=True, metavar="TYPE", help="A type of the lab; again for more."
)
@click.option("--host", required=True, metavar="HOST[:PORT]", help="What the server is reached by.")
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="FOLDER", help="Where the files go.")
@click.option("--rotate", multiple=True, metavar="USER", help="Give a user another password; again for more.")
@click.option("--plain", is_flag=True, help="URLs without TLS, for a server on a network that is trusted.")
@json_option
def acl(gpus: tuple[str, ...], host: str, out: Path, rotate: tuple[str, ...], plain: bool, as_json: bool) -> None:
    """Write users.acl for the server and a URL for each of its users.

    FOLDER/users.acl is what `aclfile` names, FOLDER/urls/USER what FARM_BROKER_URL_FILE names on a host. Who has a URL
    there already keeps its password.
    """
    queues = [catalog.gpu(gpu).queue for gpu in gpus]
    written = provision(out, host, queues, tls=not plain, rotate=rotate)
    if as_json:
        emit_json(
            {
                "acl": str(written.acl),
                "users": {
                    name: {"url_file": str(path), "new_password": name in written.renewed}
                    for name, path in written.urls.items()
                },
            }
        )
        return
    click.echo(f"{written.acl}: for the server, then ACL LOAD (or a restart) there")
    for name, path in written.urls.items():
        click.echo(f"{path}: {'a new password' if name in written.renewed else 'as before'}")
