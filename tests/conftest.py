"""Shared by all tests: one thread a process, a home of its own for every test, the command line in process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
# Nobody who types a command has it: what is left in a buffer would not be seen.
os.environ.pop("PYTHONUNBUFFERED", None)

import hypothesis  # noqa: E402  (after the threads are set)
import pytest  # noqa: E402

from tests.alone import OneAtATime  # noqa: E402

# How long an example takes says how busy the host is; nothing is kept from one run to the next.
hypothesis.settings.register_profile(
    "joulefarm", deadline=None, database=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("joulefarm")

FARM = str(Path(sys.executable).with_name("farm"))
ROOT = Path(__file__).resolve().parent.parent


def pytest_configure(config: pytest.Config) -> None:
    if not config.getoption("numprocesses", None):  # it runs tests itself, rather than hand them to others
        config.pluginmanager.register(OneAtATime(ROOT))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """FARM_HOME of this test; no FARM_* setting of the host reaches it."""
    for name in list(os.environ):
        if name.startswith("FARM_"):
            monkeypatch.delenv(name)
    path = tmp_path / "home"
    monkeypatch.setenv("FARM_HOME", str(path))
    return path


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def farm(capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run the command line in this process: ``farm("flops", "flux", "--json")``."""
    from farm.cli import run

    def call(*argv: object) -> Outcome:
        capfd.readouterr()
        code = run([str(a) for a in argv])
        out, err = capfd.readouterr()
        return Outcome(code, out, err)

    return call


@pytest.fixture
def farm_process() -> Callable[..., Outcome]:
    """Run the installed command as a process of its own."""

    def call(*argv: object, timeout: float = 120, **environment: str) -> Outcome:
        done = subprocess.run(
            [FARM, *map(str, argv)],
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, **environment},
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return call
