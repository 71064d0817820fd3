"""Receivers of events: a real web server and a real mail server that keep what they are given."""

from __future__ import annotations

import email
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from aiosmtpd.controller import Controller

from farm.broker.embedded import free_port

SECRET = "Recognisable-Receiver-Secret"


class Webhook:
    """A web server that keeps what is posted to it; ``status`` is what it answers."""

    def __init__(self) -> None:
        self.status = 200
        self.posted: list[dict[str, object]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if outer.status == 200:
                    outer.posted.append(json.loads(body))
                self.send_response(outer.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://user:{SECRET}@127.0.0.1:{self.server.server_address[1]}/farm"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def text(self) -> str:
        return "\n".join(str(post["message"]) for post in self.posted)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Mailbox:
    """A mail server that keeps what it is given."""

    def __init__(self) -> None:
        self.letters: list[bytes] = []
        self.controller = Controller(self, hostname="127.0.0.1", port=(port := free_port()))
        self.controller.start()
        self.url = f"mailto://127.0.0.1:{port}?smtp=127.0.0.1&from=farm@lab.example&to=me@lab.example&mode=insecure"

    async def handle_DATA(self, _server: object, _session: object, envelope: object) -> str:  # noqa: N802
        self.letters.append(envelope.content)
        return "250 OK"

    @property
    def text(self) -> str:
        parts = [part for letter in self.letters for part in email.message_from_bytes(letter).walk()]
        return "\n".join((part.get_payload(decode=True) or b"").decode() for part in parts)

    def close(self) -> None:
        self.controller.stop()
