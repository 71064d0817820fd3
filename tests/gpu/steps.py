"""The checks of the acceptance, in the order in which they are worth their time."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Final

from farm import catalog
from farm.catalog import memory
from farm.domain import SPOILING_FLAGS, Configuration
from tests.gpu import power_limit, settings, sweep
from tests.gpu.acceptance import Check, Failed, Run, temporary_home

# Seconds of idle on each side, of settling, after which no pass is begun; at nano size as short as can be.
PROCEDURE: Final = {"full": (2.5, 6.0, 8.0), "nano": (0.7, 0.0, 1.0)}
DEEP_MINUTES: Final = {"full": 4.0, "nano": 0.5}  # of farm doctor --deep; fewer where less is left
DEEP_MINUTES_LEAST: Final = {"full": 2.0, "nano": 0.5}
WEIGHTS_SECONDS: Final = {"full": 3.0, "nano": 0.3}  # of work with each kind of weights


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
        Check(name="sweep", step=5, title="a sweep, a worker killed, a batch too large", seconds=120, run=sweep.check),
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
    with temporary_home() as home:
        table = home / "pipelines.csv"
        table.write_text(settings.table(settings.full_pipelines(run.gpu, "full")))
        done = run.farm("predict", "--in", str(table), "--json", seconds=60, FARM_HOME=str(home))
    answers = done.document()["predictions"]
    by_model = {answer["model"]: {name: answer[name] for name in PREDICTED} for answer in answers}
    return {"by_model": by_model, "memory_bytes": _estimates(run)}


PREDICTED: Final = (
    "energy_joules", "low_joules", "high_joules", "level", "duration_seconds", "phases", "rests_on", "law",
)  # fmt: skip


def doctor(run: Run) -> dict[str, Any]:
    """Steps 1 and 2: what NVML says, counter, idle, windows from 50 ms to 5 s, repeats of a long job."""
    minutes = max(DEEP_MINUTES_LEAST[run.size], min(DEEP_MINUTES[run.size], (run.left - 20) / 60))
    with temporary_home() as home:
        done = run.farm(
            "doctor", "--deep", "--minutes", f"{minutes:.2f}", "--json", seconds=60 * minutes + 60, FARM_HOME=str(home)
        )
    document: dict[str, Any] = done.document()
    if not document["devices"]:
        findings = "; ".join(f"{c['check']}: {c['found']}" for c in document["checks"] if c["level"] != "ok")
        raise Failed(f"no device was checked deeply: {findings}")
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
    with temporary_home() as home:
        done = run.farm(
            "measure", *settings.options(configuration), "--batch", str(configuration.batch), "--size", run.size,
            "--device", str(run.device), *quick, "--samples", str(samples), "--json", seconds=150, FARM_HOME=str(home),
        )  # fmt: skip
    document: dict[str, Any] = done.document()
    return {
        "measurement": document,
        "predicted": run.result("predictions").get("by_model", {}).get(configuration.model),
        "estimated_bytes": memory.estimate_bytes(configuration),
        "peak_bytes": document["environment"].get("peak_bytes"),
        "command_seconds": done.seconds,
    }


def calibrated(run: Run) -> dict[str, Any]:
    """Step 6: ``farm calibrate`` in a home of its own; its rows come with the document."""
    words = ["--gpu", run.gpu, "--device", str(run.device), "--size", run.size]
    words += ["--idle-seconds", str(PROCEDURE[run.size][0])]
    with temporary_home() as home:
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
    calibration = [d for d in run.result("calibrate").get("table", []) if not d["flags"]]
    if not test_rows or not calibration:
        raise Failed("steps 4 to 6 left no rows to compare")
    test = Table.from_rows(test_rows)
    shipped = shipped_rows()
    errors = {}
    after = Table.joined([shipped, Table.from_rows(calibration)])
    for name, rows in (("before", shipped), ("after", after)):
        law = laws.get(laws.DEFAULT)().fit(rows)
        joules, low, high = law.predict(test, level=LEVEL)
        seconds = law.predict_seconds(test)
        assert seconds is not None
        timed = test.duration_seconds > 0  # false where it is not known
        slower = float(100 * (seconds / test.duration_seconds - 1)[timed].mean()) if timed.any() else None
        errors[name] = {
            **metrics(test.energy_joules, joules),
            **interval_metrics(test.energy_joules, low, high, LEVEL),
            "bias_percent": float(100 * (joules / test.energy_joules - 1).mean()),
            "seconds_bias_percent": slower,
        }
    return {"rows": len(test), "law": laws.DEFAULT, **errors}


def measured_documents(run: Run) -> list[dict[str, Any]]:
    """Good rows of steps 4 and 5, as ``farm measure --json`` and ``farm results list --json`` print them."""
    pipelines = [run.result(name) for name in run.done if name.startswith("measure ")]
    documents = [result["measurement"] for result in pipelines if result]
    documents += run.result("sweep").get("rows", [])
    return [d for d in documents if d["energy_joules"] is not None and SPOILING_FLAGS.isdisjoint(d["flags"])]


def _estimates(run: Run) -> dict[str, float]:
    board = catalog.gpu(run.gpu).memory_bytes
    needed = {c.model: memory.estimate_bytes(c) for c in settings.full_pipelines(run.gpu, run.size)}
    return {**needed, "board": board}
