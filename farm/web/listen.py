"""Where the page is served."""

from __future__ import annotations

import errno
import socket
from typing import Final

from farm.domain.errors import RequestError

HOST: Final = "127.0.0.1"
PORT: Final = 8600


def listen(host: str = HOST, port: int = PORT) -> socket.socket:
    """A listening socket; RequestError where the address is taken or none of this host's."""
    try:
        return socket.create_server((host, port))
    except OSError as error:
        remedy = "another --port: it is taken" if error.errno == errno.EADDRINUSE else f"an address here ({error})"
        raise RequestError("--host, --port", f"{host}:{port}", remedy) from None
