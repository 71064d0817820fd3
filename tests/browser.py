"""A real browser for tests: Chromium, driven by playwright. Without them the tests that want one say so."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WAIT = 60_000  # milliseconds, on a busy machine
NEEDS_BROWSER = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH: apt install chromium"),
]


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser without windows."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def said_on_console(page: Any, into: list[str]) -> None:
    """Note every error and warning of a window's console, and what its scripts do not catch."""
    page.on("console", lambda message: into.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: into.append(str(error)))


@contextmanager
def served(environment: Mapping[str, str], *options: str) -> Iterator[str]:
    """The address of a page that a `farm serve` of its own serves; it may say more before that."""
    command = [sys.executable, "-m", "farm", "serve", "--port", "0", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(environment)) as process:
        assert process.stderr is not None
        try:
            yield next((line for line in process.stderr if line.startswith("http")), "").strip().rstrip("/")
        finally:
            process.terminate()
            process.wait(timeout=20)  # though readers stay connected
