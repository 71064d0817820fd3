"""The checks of the acceptance, in the order in which they are worth their time."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import psutil

from farm import catalog
from farm.catalog import SHIPPED, memory
from farm.database import opened
from farm.domain import SPOILING_FLAGS, Configuration
from farm.sweeps import control
from tests.gpu import power_limit, settings
from tests.gpu.acceptance import Check, Failed, Run

# Seconds of idle on each side, of settling, after which no pass is begun; at nano size as short as can be.
PROCEDURE: Final = {"full": (2.5, 6.0, 8.0), "nano": (0.7, 0.0, 1.0)}
DEEP_MINUTES: Final = {"full": 4.0, "nano": 0.5}  # of farm doctor --deep; fewer where less is left
DEEP_MINUTES_LEAST: Final = {"full": 2.0, "nano": 0.5}
WEIGHTS_SECONDS: Final = {"full": 3.0, "nano": 0.3}  # of work with each kind of weights
SWEEP_SECONDS: Final = 240.0
POLL_SECONDS: Final = 0.5
CLOSING_SECONDS: Final = 20.0  # of a farm: what it measured is read out, and it is ended
# A worker that measures in seconds: the sweep shows that nothing is lost, the other checks how true the numbers are.
QUICK: Final = {"FARM_IDLE_SECONDS": "1", "FARM_SETTLE_SECONDS": "0", "FARM_REPEAT_SECONDS": "1.5"}


def checks(run: Run) -> list[Check]:
    """All of them; those for which this board has no memory are not among them."""
    pipelines = settings.full_pipelines(run.gpu, run.size)
    listed = [
        Check(name="predictions", step=4, title="what the laws say beforehand", seconds=10, run=predictions),
        Check(
            name="doctor",
            step=1,
            title="farm doctor --deep (steps 1 and 2)",
            seconds=60 * DEEP_MINUTES_LEAST[run.size] + 20,
            run=doctor,
        ),
        Check(name="weights", step=3, title="what weights do to power", seconds=45, run=weights),
    ]
    listed += [
        *map(_pipeline_check, pipelines),
        Check(name="calibrate", step=6, title="farm calibrate", seconds=60, run=calibrated),
        Check(name="sweep", step=5, title="a sweep, a worker killed, a batch too large", seconds=120, run=sweep),
        Check(
            name="laws", step=6, title="the law's error before and after it", seconds=5, run=law_errors,
            needs=("calibrate",),
        ),
    ]  # fmt: skip
    if run.set_power_limit:
        listed.append(
            Check(
                name="power limit",
                step=7,
                title="three power limits for one pipeline",
                seconds=150,
                run=partial(power_limit.check, configuration=pipelines[0]),
            )
        )
    return listed


def _pipeline_check(configuration: Configuration) -> Check:
    return Check(
        name=f"measure {configuration.model}",
        step=4,
        title=f"farm measure {configuration.label()}",
        seconds=60 if configuration.model == "flux" else 42,
        run=partial(measured, configuration=configuration),
    )


def grid(run: Run, spec: Path) -> list[Check]:
    """Every configuration of a sweep file that is for this GPU type, one check each: batches beyond the list above."""
    from farm.sweeps.read import read_spec

    chosen = [c for c, _ in read_spec(spec).jobs() if c.gpu == run.gpu and memory.objection(c) is None]
    return [
        Check(
            name=f"measure {c.label()}",
            step=9,
            title="of the sweep",
            seconds=60,
            run=partial(measured, configuration=c),
        )
        for c in dict.fromkeys(chosen)
    ]


def predictions(run: Run) -> dict[str, Any]:
    """What ``farm predict`` says of every pipeline of step 4, from the rows that ship alone."""
    with _home() as home:
        table = home / "pipelines.csv"
        table.write_text(settings.table(settings.full_pipelines(run.gpu, "full")))
        done = run.farm("predict", "--in", str(table), "--json", seconds=60, FARM_HOME=str(home))
    answers = done.document()["predictions"]
    found = {answer["model"]: {name: answer[name] for name in PREDICTED} for answer in answers}
    return {"by_model": found, "memory_bytes": _estimates(run)}


PREDICTED: Final = (
    "energy_joules", "low_joules", "high_joules", "level", "duration_seconds", "phases", "rests_on", "law",
)  # fmt: skip


def doctor(run: Run) -> dict[str, Any]:
    """Steps 1 and 2: what NVML says, counter, idle, windows from 50 ms to 5 s, repeats of a long job."""
    minutes = max(DEEP_MINUTES_LEAST[run.size], min(DEEP_MINUTES[run.size], (run.left - 20) / 60))
    with _home() as home:
        done = run.farm(
            "doctor", "--deep", "--minutes", f"{minutes:.2f}", "--json", seconds=60 * minutes + 60, FARM_HOME=str(home)
        )
    document: dict[str, Any] = done.document()
    if not document["devices"]:
        said = "; ".join(f"{c['check']}: {c['found']}" for c in document["checks"] if c["level"] != "ok")
        raise Failed(f"no device was checked deeply: {said}")
    return document


def weights(run: Run) -> dict[str, Any]:
    """Step 3: joules a step with five kinds of weights, and what was in the activations."""
    from workers.device import host

    uuid = host.of_type(run.gpu, run.device).uuid
    words = (run.gpu, uuid, run.size, str(WEIGHTS_SECONDS[run.size]))
    done = run.python("-m", "tests.gpu.weights", *words, seconds=180, CUDA_VISIBLE_DEVICES=uuid)
    document: dict[str, Any] = done.document()
    return document


def measured(run: Run, configuration: Configuration) -> dict[str, Any]:
    """Step 4: one full-size pipeline through ``farm measure``; its raw log is kept beside the report."""
    samples = run.out / f"{configuration.label().replace(chr(32), chr(45))}.samples"
    names = ("--idle-seconds", "--settle-seconds", "--repeat-seconds")
    quick = [word for pair in zip(names, map(str, PROCEDURE[run.size]), strict=True) for word in pair]
    with _home() as home:
        done = run.farm(
            "measure", *settings.options(configuration), "--batch", str(configuration.batch), "--size", run.size,
            "--device", str(run.device), *quick, "--samples", str(samples), "--json", seconds=150, FARM_HOME=str(home),
        )  # fmt: skip
    document: dict[str, Any] = done.document()
    return {
        "measurement": document,
        "predicted": run.found("predictions").get("by_model", {}).get(configuration.model),
        "estimated_bytes": memory.estimate_bytes(configuration),
        "peak_bytes": document["environment"].get("peak_bytes"),
        "command_seconds": done.seconds,
    }


def sweep(run: Run) -> dict[str, Any]:
    """Steps 5 and 8: twelve jobs through queue, coordinator and worker, kill -9 in the middle; then out of memory."""
    with _home() as home:
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
    found = {**{name: swept[name] for name in ("complete", "counts", "lost", "seconds")}, "rows": rows}
    if large is None or not large["complete"]:
        raise Failed(f"time was up: {_words(swept['counts'] if large is None else large['counts'])}", found)
    jobs = {job["model"]: job for job in large["jobs"]}
    failed = jobs.pop(settings.TOO_LARGE["model"])
    after = next(iter(jobs.values()))["state"]
    return {**found, "too_large": {"state": failed["state"], "reason": failed["reason"], "after_it": after}}


def _keep(home: Path, folder: Path) -> None:
    """Logs and database of a farm, also of one that still runs: its database by SQLite's own backup."""
    for path in (home / "run" / "logs").glob("*.log"):
        shutil.copy(path, folder / path.name)
    with closing(sqlite3.connect(home / "farm.db")) as source, closing(sqlite3.connect(folder / "farm.db")) as target:
        source.backup(target)


def _words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count)


def calibrated(run: Run) -> dict[str, Any]:
    """Step 6: ``farm calibrate`` in a home of its own; its rows come with the document."""
    words = ["--gpu", run.gpu, "--device", str(run.device), "--size", run.size]
    words += ["--idle-seconds", str(PROCEDURE[run.size][0])]
    with _home() as home:
        document: dict[str, Any] = run.farm("calibrate", *words, "--json", seconds=150, FARM_HOME=str(home)).document()
        rows = run.farm("results", "list", "--json", seconds=60, FARM_HOME=str(home)).document()["results"]
    return {**document, "table": rows}


def law_errors(run: Run) -> dict[str, Any]:
    """The default law against what was measured in steps 4 and 5, before and after the rows of ``farm calibrate``."""
    from analysis import laws
    from analysis.laws.base import LEVEL
    from analysis.metrics import interval_metrics, metrics
    from analysis.shipped import shipped_rows
    from analysis.table import Table

    test_rows = measured_documents(run)
    calibration = [d for d in run.found("calibrate").get("table", []) if not d["flags"]]
    if not test_rows or not calibration:
        raise Failed("steps 4 to 6 left no rows to compare")
    test = Table.from_rows(test_rows)
    shipped = shipped_rows()
    found = {}
    after = Table.joined([shipped, Table.from_rows(calibration)])
    for name, rows in (("before", shipped), ("after", after)):
        law = laws.get(laws.DEFAULT)().fit(rows)
        joules, low, high = law.predict(test, level=LEVEL)
        seconds = law.predict_seconds(test)
        assert seconds is not None
        timed = test.duration_seconds > 0  # false where it is not known
        slower = float(100 * (seconds / test.duration_seconds - 1)[timed].mean()) if timed.any() else None
        found[name] = {
            **metrics(test.energy_joules, joules),
            **interval_metrics(test.energy_joules, low, high, LEVEL),
            "bias_percent": float(100 * (joules / test.energy_joules - 1).mean()),
            "seconds_bias_percent": slower,
        }
    return {"rows": len(test), "law": laws.DEFAULT, **found}


def measured_documents(run: Run) -> list[dict[str, Any]]:
    """Good rows of steps 4 and 5, as ``farm measure --json`` and ``farm results list --json`` print them."""
    pipelines = [run.found(name) for name in run.done if name.startswith("measure ")]
    documents = [found["measurement"] for found in pipelines if found]
    documents += run.found("sweep").get("rows", [])
    return [d for d in documents if d["energy_joules"] is not None and SPOILING_FLAGS.isdisjoint(d["flags"])]


def _swept(run: Run, farm: Callable[..., Any], home: Path, text: str, *, kill: bool = False) -> dict[str, Any]:
    """Submit a sweep and wait for it while there is time; kill -9 of the worker and its child when a third is done."""
    spec = home / "spec.yaml"
    spec.write_text(text)
    sweep_id = str(farm("sweep", "submit", str(spec), "--json", seconds=60).document()["sweep"])
    began = time.monotonic()
    ends = began + min(run.left - CLOSING_SECONDS, SWEEP_SECONDS if run.size == "full" else 600.0)
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


def _estimates(run: Run) -> dict[str, float]:
    board = catalog.gpu(run.gpu).memory_bytes
    needed = {c.model: memory.estimate_bytes(c) for c in settings.full_pipelines(run.gpu, run.size)}
    return {**needed, "board": board}


@contextmanager
def _home() -> Iterator[Path]:
    """A FARM_HOME of its own, with a short name, as sockets want one."""
    folder = Path(tempfile.mkdtemp(prefix="jf-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
