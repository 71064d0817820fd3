"""Where the page is served."""

from __future__ import annotations

import errno
import ipaddress
import socket
from functools import lru_cache
from typing import Final

from farm.domain.errors import RequestError

HOST: Final = "127.0.0.1"
PORT: Final = 8600
LOCALHOST: Final = "localhost"


def listen(host: str = HOST, port: int = PORT) -> socket.socket:
    """A listening socket; RequestError where the address is taken or none of this host's.

    Its connections inherit that nothing is held back until the reader acknowledged what came before: an answer's body
    would wait 40 ms for its head.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        remedy = "another --port: it is taken" if error.errno == errno.EADDRINUSE else f"an address here ({error})"
        raise RequestError("--host, --port", f"{host}:{port}", remedy) from None
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def address(listener: socket.socket) -> str:
    """Of a listening socket, what a browser on this machine opens."""
    host, port = listener.getsockname()[:2]
    return page_address(port, host)


def page_address(port: int, host: str = HOST) -> str:
    """What a browser on this machine opens."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


@lru_cache(256)
def is_address(host: str) -> bool:
    """Whether it is an IP address rather than a name."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    return host == LOCALHOST or (is_address(host) and ipaddress.ip_address(host.strip("[]")).is_loopback)
