"""What an acceptance result, as one JSON and one Markdown document, and the good rows as a table."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from farm.domain.row import parse_row
from farm.files.atomic import atomic_write
from farm.files.table import write_table
from tests.gpu.acceptance import Run
from tests.gpu.steps import measured_documents

# Of a measurement's environment: what is alike for all rows of a run, and belongs beside the table.
ENVIRONMENT: Final = (
    "device_name", "driver", "architecture", "power_limit_watts", "persistence", "python", "torch", "cuda",
    "cudnn", "diffusers", "transformers", "tf32_convolutions", "tf32_matmuls", "cpu_threads", "probe",
)  # fmt: skip
IDENTIFYING: Final = ("host", "kernel", "slurm_job", "device_uuid", "uuid", "pci_bus_id", "trace")
HOST_CHECKS: Final = ("python", "home", "passwords", "disk", "database", "broker", "spool")  # of `farm doctor`
CIRCUMSTANCES: Final = ("sm_clock_mhz", "temperature_celsius", "power_limit_watts", "peak_bytes")


def write(run: Run, rows_folder: Path) -> list[Path]:
    """report.json and report.md in the run's folder; with rows, TYPE.csv and the report as TYPE.json and TYPE.md in
    the rows' folder."""
    report = {"json": json.dumps(document(run), indent=1, default=str) + "\n", "md": markdown(run) + "\n"}
    written = [run.out / f"report.{suffix}" for suffix in report]
    rows = [parse_row(_row(d)) for d in all_documents(run)]
    if rows:
        rows_folder.mkdir(parents=True, exist_ok=True)
        written += [rows_folder / f"{run.gpu}.{suffix}" for suffix in report]
        write_table(rows_folder / f"{run.gpu}.csv", rows)
    for path in written:
        with atomic_write(path, "--out") as file:
            file.write_text(report[path.suffix[1:]])
    return [*written, rows_folder / f"{run.gpu}.csv"] if rows else written


def document(run: Run) -> dict[str, Any]:
    """Everything result, with what was left out; nothing that tells whose host it was."""
    everything = {
        "gpu": run.gpu,
        "size": run.size,
        "rehearsed": run.rehearsed,
        "environment": environment(run),
        "checks": run.done,
        "left_out": run.skipped,
    }
    public: dict[str, Any] = _public(everything)
    return public


def _public(value: Any) -> Any:
    """A document without what identifies a host: a report is there to be shown around."""
    if isinstance(value, dict):
        return {k: _public(v) for k, v in value.items() if k not in IDENTIFYING}
    if isinstance(value, str):
        return _without_uuid(value)
    if isinstance(value, list):
        return [_public(v) for v in value if not (isinstance(v, dict) and v.get("check") in HOST_CHECKS)]
    return value


def all_documents(run: Run) -> list[dict[str, Any]]:
    """Rows of steps 4, 5 and 6: the calibration's, too."""
    return measured_documents(run) + run.result("calibrate").get("measurements", [])


def environment(run: Run) -> dict[str, Any]:
    """Of the first measurement, what all of them share."""
    for measured in all_documents(run):
        if "environment" in measured:
            return {name: measured["environment"].get(name) for name in ENVIRONMENT}
    return {}


def markdown(run: Run) -> str:
    """The report for people."""
    lines = [f"# Acceptance on {environment(run).get('device_name') or run.gpu}", ""]
    if run.rehearsed:
        lines += ["**Rehearsed over the fake driver: no number here says anything of a real board.**", ""]
    lines += ["| step | check | took | came out |", "| --- | --- | --- | --- |"]
    for name, entry in run.done.items():
        outcome = "done" if entry["ok"] else f"**failed**: {_cell(entry['why'])}"
        lines.append(f"| {entry['step']} | {name} | {entry['seconds']:.0f} s | {outcome} |")
    lines += [f"| | {name} | | left out: {why} |" for name, why in run.skipped.items()]
    for section in (_doctor, _weights, _pipelines, _sweep, _calibration, _laws, _power_limit):
        lines += section(run)
    return "\n".join(lines)


def _doctor(run: Run) -> Iterator[str]:
    result = run.result("doctor")
    if not result:
        return
    yield from ("", "## The meter (steps 1 and 2)", "", "| | |", "| --- | --- |")
    for check in result["checks"]:
        if check["check"] not in HOST_CHECKS:
            yield f"| {check['level']} | {_cell(check['check'] + ': ' + _without_uuid(check['found']))} |"
    for device in result["devices"]:
        yield from ("", "| window | n | refused | W above idle | scatter | power log against counter | stated |")
        yield "| --- | --- | --- | --- | --- | --- | --- |"
        for w in device["windows"]:
            yield (
                f"| {w['seconds']:g} s | {w['windows']} | {w['unknown']} | {_figure(w['watts'], '.1f')} "
                f"| {_figure(w['scatter_percent'], '.2f')} % | {_figure(w['power_percent'], '+.2f')} % "
                f"| {_figure(w['stated_percent'], '.2f')} % |"
            )


def _weights(run: Run) -> Iterator[str]:
    result = run.result("weights")
    if not result:
        return
    yield from ("", "## What weights do to power (step 3)", "", f"{result['configuration']}, denoising alone.", "")
    yield "| weights | J a step | s a step | W above idle | SM clock | zeros | not finite | flags |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for name, k in result["kinds"].items():
        yield (
            f"| {name} | {_figure(k['step_joules'], '.4g')} ± {_figure(k['step_joules_std'], '.2g')} "
            f"| {k['step_seconds']:.4g} | {_figure(k['watts_above_idle'], '.0f')} | {k['sm_clock_mhz'] or '?'} MHz "
            f"| {k['zeros_percent']:.2g} % | {k['nonfinite_percent']:.2g} % | {' '.join(k['flags'])} |"
        )
    memory = result["memory"]
    if memory["held_bytes"] is not None:
        before, after = memory["held_bytes"] / 2**30, memory["after_unload_bytes"] / 2**30
        yield from (
            "",
            f"Memory held by torch: {before:.2f} GiB with the pipeline, {after:.2f} GiB after unloading it.",
        )


def _pipelines(run: Run) -> Iterator[str]:
    names = [name for name in run.done if name.startswith("measure ") and run.result(name)]
    if not names:
        return
    yield from ("", "## Pipelines (step 4)", "")
    yield "| configuration | predicted beforehand | measured | text, denoise, decode | s predicted, measured | GB |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name in names:
        result = run.result(name)
        m, p = result["measurement"], result["predicted"]
        predicted = (
            "-" if p is None else f"{p['energy_joules']:.4g} J ({p['low_joules']:.4g} to {p['high_joules']:.4g})"
        )
        phases = ", ".join(_figure(part["joules"], ".3g") for part in m["phases"].values())
        seconds = f"{_figure(p and p['duration_seconds'], '.3g')}, {m['duration_seconds']:.3g}"
        peak = result["peak_bytes"]
        sizes = f"{result['estimated_bytes'] / 1e9:.1f} estimated, {peak / 1e9:.1f} seen" if peak else "-"
        what = f"{m['model']} {m['width']} T{m['steps']} {m['precision']}{' cfg' if m['cfg'] else ''} N{m['prompts']}"
        flags = f" [{' '.join(m['flags'])}]" if m["flags"] else ""
        joules = f"{_figure(m['energy_joules'], '.5g')} ± {_figure(m['energy_std_joules'], '.2g')} J"
        yield f"| {what} | {predicted} | {joules}{flags} | {phases} J | {seconds} | {sizes} |"


def _sweep(run: Run) -> Iterator[str]:
    result = run.result("sweep")
    if not result:
        return
    jobs = ", ".join(f"{count} {state}" for state, count in result["counts"].items() if count)
    yield from ("", "## A sweep with a killed worker, and a batch too large (steps 5 and 8)", "")
    yield f"{jobs} in {result['seconds']:.0f} s; the worker killed once, {result['lost']} attempt(s) lost by it."
    large = result.get("too_large")
    if large is None:
        yield "A batch that cannot fit: not seen, time was up."
    else:
        reason = _cell(large["reason"])
        yield f"A batch that cannot fit: {large['state']}, {reason}; the job after it: {large['after_it']}."
    yield from ("", "| configuration | J | s a pass | flags |", "| --- | --- | --- | --- |")
    for row in result["rows"]:
        what = f"{row['model']} {row['width']} T{row['steps']} {row['precision']}{' cfg' if row['cfg'] else ''}"
        joules = f"{_figure(row['energy_joules'], '.4g')} ± {_figure(row['energy_std_joules'], '.2g')}"
        yield f"| {what} | {joules} | {_figure(row['duration_seconds'], '.3g')} | {' '.join(row['flags'])} |"


def _calibration(run: Run) -> Iterator[str]:
    result = run.result("calibrate")
    if not result:
        return
    yield from ("", "## farm calibrate (step 6)", "")
    rates, launch = result["reached"], result["launch_seconds"]
    yield (
        f"{result['seconds']:.0f} s, {result['rows']} rows; idle {_figure(result['idle_watts'], '.1f')} W. Reached: "
        f"matmul {rates['matmul'] / 1e12:.0f}, attention {rates['attention'] / 1e12:.0f}, convolution "
        f"{rates['convolution'] / 1e12:.0f} TFLOP/s, memory {rates['memory'] / 1e9:.0f} GB/s; a launch "
        f"{'?' if launch is None else f'{1e6 * launch:.1f}'} us. Level: {_figure(result['level'], '.2f')}."
    )


def _laws(run: Run) -> Iterator[str]:
    result = run.result("laws")
    if not result:
        return
    yield from ("", f"## The law {result['law']} on the {result['rows']} rows of steps 4 and 5", "")
    yield "| rows known | mean error | bias | coverage of 90 % | median half-width | bias of seconds |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name, words in (("before", "those that ship"), ("after", "those and the calibration's")):
        m = result[name]
        yield (
            f"| {words} | {m['mape_percent']:.1f} % | {m['bias_percent']:+.1f} % | {m['coverage']:.2f} "
            f"| {m['median_halfwidth_percent']:.0f} % | {_figure(m['seconds_bias_percent'], '+.1f')} % |"
        )


def _power_limit(run: Run) -> Iterator[str]:
    result = run.result("power limit")
    if not result:
        return
    yield from (
        "",
        f"## Power limits (step 7): {result['configuration']}",
        "",
        "| limit | J | s |",
        "| --- | --- | --- |",
    )
    for watts, m in result["limits"].items():
        yield f"| {watts} W | {_figure(m['energy_joules'], '.5g')} | {m['duration_seconds']:.4g} |"


def _row(result: dict[str, Any]) -> dict[str, Any]:
    """A document of a measurement, or a row, as the columns of a table."""
    environment = result.get("environment", {})
    phases = {
        f"{phase}_{unit}": part[unit]
        for phase, part in result.get("phases", {}).items()
        for unit in ("joules", "seconds")
    }
    circumstances = {name: environment[name] for name in CIRCUMSTANCES if environment.get(name) is not None}
    columns = {k: v for k, v in result.items() if not isinstance(v, (dict, list))}
    return {
        **columns,
        "flags": result["flags"],
        "device_name": environment.get("device_name", result.get("device_name", "")),
        **phases,
        **circumstances,
    }


def _figure(value: float | None, form: str) -> str:
    return "?" if value is None else format(value, form)


def _without_uuid(text: str) -> str:
    return re.sub(r"GPU-[0-9a-f-]{36} *", "", text)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
