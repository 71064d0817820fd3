"""A model hub on this machine: the few addresses that huggingface_hub asks, over files of a folder."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


@dataclass
class Repository:
    """Files at one revision. ``gated``: nobody may have them yet."""

    folder: Path
    revision: str
    gated: bool = False
    says: Callable[[int], int | None] = lambda size: size  # how large a file is called
    held: str = ""  # the file whose second half is not sent until `release`
    release: threading.Event = field(default_factory=threading.Event)

    def files(self) -> dict[str, bytes]:
        return {
            path.relative_to(self.folder).as_posix(): path.read_bytes()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file()
        }


class Hub:
    """Serves repositories by name until it is closed. ``sent``: the files that were sent whole, in order."""

    def __init__(self, repositories: dict[str, Repository]) -> None:
        self.repositories = repositories
        self.sent: list[str] = []
        self.held = threading.Event()  # a file is half sent
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                outer.answer(self, urlsplit(unquote(self.path)).path)

            def do_GET(self) -> None:
                self.do_HEAD()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, request: BaseHTTPRequestHandler, path: str) -> None:
        api = path.startswith("/api/models/")
        words = path.removeprefix("/api/models" if api else "").strip("/").split("/")
        name, action, rest = "/".join(words[:2]), "".join(words[2:3]), words[3:]
        repository = self.repositories.get(name)
        if repository is None:
            return refuse(request, 401, "RepoNotFound")
        if rest and action != "auth-check" and rest[0] != repository.revision:
            return refuse(request, 404, "RevisionNotFound")
        if not api:
            return self.send_file(request, repository, "/".join(rest[1:]))
        if action == "auth-check":
            return refuse(request, 403, "GatedRepo") if repository.gated else send(request, b"{}")
        files = repository.files()
        document = listing(name, repository, files) if action in ("", "revision") else tree(files)
        return send(request, json.dumps(document).encode())

    def send_file(self, request: BaseHTTPRequestHandler, repository: Repository, name: str) -> None:
        if repository.gated:
            return refuse(request, 403, "GatedRepo")
        content = repository.files().get(name)
        if content is None:
            return refuse(request, 404, "EntryNotFound")
        headers = {"X-Repo-Commit": repository.revision, "ETag": f'"{digest(content)}"'}
        if request.command == "GET" and name == repository.held and not repository.release.is_set():
            send(request, content, headers, half=True)
            self.held.set()
            repository.release.wait(60)
            return None
        send(request, content, headers)
        if request.command == "GET":
            self.sent.append(name)
        return None

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def listing(name: str, repository: Repository, files: dict[str, bytes]) -> dict[str, object]:
    siblings = [{"rfilename": file, "size": repository.says(len(content))} for file, content in files.items()]
    return {"id": name, "sha": repository.revision, "gated": repository.gated and "manual", "siblings": siblings}


def tree(files: dict[str, bytes]) -> list[dict[str, object]]:
    return [
        {"type": "file", "path": name, "size": len(content), "oid": digest(content)} for name, content in files.items()
    ]


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def send(
    request: BaseHTTPRequestHandler, content: bytes, headers: dict[str, str] | None = None, *, half: bool = False
) -> None:
    request.send_response(200)
    for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
        request.send_header(name, value)
    request.end_headers()
    if request.command == "GET":
        request.wfile.write(content[: len(content) // 2] if half else content)
        request.wfile.flush()


def refuse(request: BaseHTTPRequestHandler, status: int, code: str) -> None:
    request.send_response(status)
    request.send_header("X-Error-Code", code)
    request.send_header("Content-Length", "0")
    request.end_headers()
