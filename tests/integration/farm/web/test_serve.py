"""``farm serve`` as a process of its own, asked over HTTP."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from farm.jobs import CoordinatorJobs
from farm.settings import load
from tests.processes import wait_until

PAPER = Path(__file__).resolve().parents[4] / "analysis" / "data" / "paper_a100_energy.csv"


@pytest.fixture
def page(home: Path, farm) -> Iterator[str]:
    """Address of a served farm that holds one queued sweep and the paper's rows."""
    spec = home.parent / "spec.yaml"
    spec.write_text("models: [sd2]\ngpus: [a100]\nresolutions: [256]\nsteps: [10]\nprompts: [25]\n")
    assert farm("sweep", "submit", spec).code == 0
    assert farm("results", "import", PAPER, "--dataset", "<paper>").code == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "farm", "serve", "--port", "0"], stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        yield process.stderr.readline().strip()
    finally:
        process.terminate()
        process.wait(timeout=20)
        process.stderr.close()


def get(address: str) -> str:
    with urllib.request.urlopen(address, timeout=20) as answer:
        return answer.read().decode()


def test_what_is_known_is_there_as_json_and_as_metrics(page):
    document = json.loads(get(page + "api/status"))
    assert document["status"]["by_gpu"]["a100"]["queued"] == 4
    assert 'joulefarm_jobs{gpu="a100",state="queued"} 4.0' in get(page + "metrics")


def test_who_is_missing_is_said_by_the_page_its_health_and_its_metrics(page):
    assert "4 jobs wait, no coordinator" in get(page)
    silent = '<span class="state silent">4 jobs wait, no coordinator</span>'
    assert get(page + "now").strip() == f'{silent} <a href="/devices">2 to see to</a>'
    health = json.loads(get(page + "healthz"))
    assert (health["ok"], health["open_jobs"], health["coordinator"]["alive"]) == (False, 4, False)
    metrics = get(page + "metrics")
    assert "joulefarm_coordinator_up 0.0" in metrics
    assert 'joulefarm_jobs_stuck{gpu="a100"} 4.0' in metrics
    with closing(CoordinatorJobs.open(load())) as jobs:
        jobs.touch_coordinator("c")
    assert json.loads(get(page + "healthz"))["ok"]
    wait_until(lambda: "no coordinator" not in get(page), 5, "the page sees the coordinator")  # it looks twice a second
    assert "joulefarm_coordinator_up 1.0" in get(page + "metrics")


def test_a_taken_port_is_one_line(page, farm):
    port = page.rstrip("/").rpartition(":")[2]
    outcome = farm("serve", "--port", port)
    assert outcome.code == 2
    assert "taken" in outcome.err
    assert len(outcome.err.splitlines()) == 1


def test_a_receiver_that_is_none_is_one_line_and_no_address(farm, monkeypatch):
    monkeypatch.setenv("FARM_EVENTS_URLS", "nonsense")
    outcome = farm("serve", "--port", "0")
    assert outcome.code == 2
    assert len(outcome.err.splitlines()) == 1


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::"])
def test_another_address_than_loopback_needs_a_token(farm, host):
    outcome = farm("serve", "--host", host, "--port", "0")
    assert outcome.code == 2
    assert (
        outcome.err
        == f"farm: --host: {host}: 127.0.0.1, which only this machine reaches, or --token-file FILE beside it\n"
    )


@pytest.mark.parametrize(
    ("content", "said"), [(None, "can be read"), (b"short", "at least 16"), (b"\xff" * 40, "of text")]
)
def test_a_token_that_is_none_is_one_line(farm, tmp_path, content, said):
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    outcome = farm("serve", "--host", "0.0.0.0", "--token-file", file)
    assert outcome.code == 2
    assert said in outcome.err
    assert len(outcome.err.splitlines()) == 1


def test_a_demonstration_works_in_a_home_of_its_own_and_leaves_nothing(home, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    process = subprocess.Popen(
        [sys.executable, "-m", "farm", "serve", "--demo", "--port", "0"], stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        assert "simulated" in process.stderr.readline()
        address = process.stderr.readline().strip()
        while not json.loads(get(address + "api/status"))["status"]["jobs"]["done"]:
            assert process.poll() is None
        newest = json.loads(get(address + "api/status"))["measurements"][0]
        assert "simulated" in newest["flags"]
    finally:
        process.terminate()
        process.wait(timeout=60)
        process.stderr.close()
    assert list(tmp_path.glob("joulefarm-demo-*")) == []
    assert not (home / "farm.db").exists()


@pytest.mark.parametrize("options", [[], ["--demo"]])
def test_sigterm_ends_it_in_order(home, tmp_path, monkeypatch, options):
    """What a page opened is closed, and the exit code says that it did what it was asked for."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    command = [sys.executable, "-m", "farm", "serve", "--port", "0", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        address = next(line.strip() for line in process.stderr if line.startswith("http"))
        get(address + "api/status")
        process.terminate()
        assert process.wait(timeout=60) == 0
        assert process.stderr.read() == ""
    assert list(tmp_path.glob("joulefarm-*")) == []


def test_a_farm_says_where_its_page_is(home, farm):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ["up", "--simulate", "a100", "--web", "--port", str(port), "--detach"]
    done = subprocess.run([sys.executable, "-m", "farm", *words], capture_output=True, text=True, timeout=120)
    try:
        assert done.returncode == 0
        assert done.stderr.splitlines()[-1] == f"page: http://127.0.0.1:{port}/"
        for _ in range(1000):
            try:
                assert json.loads(get(f"http://127.0.0.1:{port}/healthz"))["open_jobs"] == 0
                break
            except urllib.error.URLError:
                time.sleep(0.05)
        else:
            raise AssertionError("nothing answers there")
    finally:
        assert farm("down").code == 0
    assert farm("up", "--port", "8601").err == "farm: --port: 8601: goes with --web\n"
