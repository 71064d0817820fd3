"""What stands before every page: which hosts may be asked for, and what a browser may do with an answer."""

from __future__ import annotations

import re
import socket
from collections.abc import Collection
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from farm.web.listen import LOCALHOST, is_address

_HOST: Final = re.compile(r"(?P<name>\[[^\]]+\]|[^:\[\]]+)(:\d+)?")
# No script but our files, nothing from elsewhere, nobody's frame around us.
POLICY: Final = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)
HEADERS: Final = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


class Guard:
    """Refuses a request for a host that is none of ours, and adds the headers that bind browsers.

    A page of somebody else, whose name is made to lead to this address (DNS rebinding), asks for its own name: names
    are taken only where they are known. Addresses cannot be rebound and are all taken.
    """

    def __init__(self, app: ASGIApp, *, names: Collection[str] = ()) -> None:
        self._app = app
        of_this_machine = {LOCALHOST, socket.gethostname(), socket.getfqdn()}
        self._names = {name.lower().rstrip(".") for name in (*of_this_machine, *names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        host = Headers(scope=scope).get("host", "")
        if self.allows(host):
            await self._app(scope, receive, guarded)
            return
        words = f"host: {host or 'none'}: an address, or a name given by `farm serve --allow-host NAME`\n"
        await PlainTextResponse(words, status_code=421)(scope, receive, guarded)

    def allows(self, host: str) -> bool:
        """Whether a request may name this host, with its port or without."""
        parts = _HOST.fullmatch(host)
        name = parts["name"].lower().rstrip(".") if parts else ""
        return name in self._names or is_address(name)
