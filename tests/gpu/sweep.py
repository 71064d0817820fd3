"""A sweep through queue, coordinator and worker, with a worker killed in the middle and a batch that cannot fit."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Final

import psutil

from farm.catalog import SHIPPED
from farm.database import opened
from farm.sweeps import control
from tests.gpu import settings
from tests.gpu.acceptance import Failed, Run, temporary_home

LONGEST_SECONDS: Final = {"full": 240.0, "nano": 600.0}
POLL_SECONDS: Final = 0.5
CLOSING_SECONDS: Final = 20.0  # of a farm: what it measured is read out, and it is ended
# A worker that measures in seconds: the sweep shows that nothing is lost, the other checks how true the numbers are.
QUICK: Final = {"FARM_IDLE_SECONDS": "1", "FARM_SETTLE_SECONDS": "0", "FARM_REPEAT_SECONDS": "1.5"}


def check(run: Run) -> dict[str, Any]:
    """Steps 5 and 8: twelve jobs through queue, coordinator and worker, kill -9 in the middle; then out of memory."""
    with temporary_home() as home:
        _pretend_memory(run.gpu, home)
        farm = partial(run.farm, FARM_HOME=str(home), **QUICK)
        started = farm("up", "--detach", seconds=90)
        if started.code:
            raise Failed(f"farm up: {started.err.strip()}")
        try:
            swept = _swept(run, farm, home, settings.sweep_text(run.gpu, run.size), kill=True)
            large = _swept(run, farm, home, settings.too_large_text(run.gpu, run.size)) if swept["complete"] else None
            rows = farm("results", "list", "--dataset", "farm", "--json", seconds=60, closing=True).document()[
                "results"
            ]
        finally:
            _keep(home, run.out)
            farm("down", seconds=60, closing=True)
    result = {**{name: swept[name] for name in ("complete", "counts", "lost", "seconds")}, "rows": rows}
    if large is None or not large["complete"]:
        raise Failed(f"time was up: {_words(swept['counts'] if large is None else large['counts'])}", result)
    jobs = {job["model"]: job for job in large["jobs"]}
    failed = jobs.pop(settings.TOO_LARGE["model"])
    after = next(iter(jobs.values()))["state"]
    return {**result, "too_large": {"state": failed["state"], "reason": failed["reason"], "after_it": after}}


def _keep(home: Path, folder: Path) -> None:
    """Logs and database of a farm, also of one that still runs: its database by SQLite's own backup."""
    for path in (home / "run" / "logs").glob("*.log"):
        shutil.copy(path, folder / path.name)
    with closing(sqlite3.connect(home / "farm.db")) as source, closing(sqlite3.connect(folder / "farm.db")) as target:
        source.backup(target)


def _words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count)


def _swept(run: Run, farm: Callable[..., Any], home: Path, text: str, *, kill: bool = False) -> dict[str, Any]:
    """Submit a sweep and wait for it while there is time; kill -9 of the worker and its child when a third is done."""
    spec = home / "spec.yaml"
    spec.write_text(text)
    sweep_id = str(farm("sweep", "submit", str(spec), "--json", seconds=60).document()["sweep"])
    began = time.monotonic()
    ends = began + min(run.left - CLOSING_SECONDS, LONGEST_SECONDS[run.size])
    victims: list[int] = []
    with opened(f"sqlite:///{home / 'farm.db'}", create=False) as store:  # a command each time would cost the worker
        while True:
            counts = control.document(store, sweep_id)["jobs"]
            complete = not counts["queued"] and not counts["running"]
            if complete or time.monotonic() > ends:
                break
            if kill and not victims and counts["done"] >= sum(counts.values()) // 3 and counts["running"]:
                workers = farm("workers", "list", "--json", seconds=30).document()["workers"]
                victims = [pid for worker in workers for pid in _family(worker["pid"])]
                for pid in victims:
                    os.kill(pid, signal.SIGKILL)
            time.sleep(POLL_SECONDS)
    if complete and kill and not victims:
        raise Failed("the sweep ended before its worker could be killed")
    jobs = farm("jobs", "list", "--sweep", sweep_id, "--json", seconds=30, closing=True).document()["jobs"]
    again = [str(job["id"]) for job in jobs if job["attempt"] > 1]
    shown = [farm("jobs", "show", job, "--json", seconds=30, closing=True).document() for job in again]
    lost = sum(attempt["end"] not in (None, "accepted") for job in shown for attempt in job["attempts"])
    seconds = time.monotonic() - began
    return {"complete": complete, "counts": counts, "jobs": jobs, "lost": lost, "seconds": seconds}


def _family(pid: int) -> list[int]:
    process = psutil.Process(pid)
    return [pid, *(child.pid for child in process.children(recursive=True))]


def _pretend_memory(gpu: str, home: Path) -> None:
    """A catalog entry of the lab's own by which everything fits: only so is a batch queued that does not."""
    text = (SHIPPED / "gpus" / f"{gpu}.toml").read_text()
    folder = home / "catalog" / "gpus"
    folder.mkdir(parents=True)
    larger = re.sub(r"^memory_bytes = .*$", "memory_bytes = 1e13", text, count=1, flags=re.MULTILINE)
    (folder / f"{gpu}.toml").write_text(larger)
