"""``farm calibrate``: a minute on a new GPU, kept as a data set that every later fit uses."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing, redirect_stdout
from typing import TYPE_CHECKING, Any, Final

import click

from farm import catalog, settings
from farm.cli.options import GPU, FiniteRange, db_option, emit_json, json_option
from farm.database import opened
from farm.domain import Configuration, RequestError
from farm.domain.words import significant

if TYPE_CHECKING:
    from workers.procedure.calibration import Calibration
    from workers.workload import Workload

# Of a simulated device whose type states no other: shares of the published peaks.
USUAL_REACH: Final = {"matmul": 0.8, "attention": 0.7, "convolution": 0.45, "memory": 0.9}


@click.command("calibrate")
@click.option("--gpu", type=GPU, required=True, metavar="TYPE", help="GPU type of the catalog.")
@click.option("--device", default=0, show_default=True, type=click.IntRange(0, 1023), metavar="N", help="Its index.")
@click.option(
    "--idle-seconds", type=FiniteRange(0.1, 3600.0), default=5.0, show_default=True, help="Idle baseline on each side."
)
@click.option(
    "--size", type=click.Choice(["full", "nano"]), default="full", show_default=True, help="Of the pipelines."
)
@click.option("--dataset", metavar="NAME", help="Data set of the rows (default: named by type and device).")
@click.option("--simulate", is_flag=True, help="A simulated device of that type; its rows are flagged.")
@db_option
@json_option
def command(
    gpu: str,
    device: int,
    idle_seconds: float,
    size: str,
    dataset: str | None,
    simulate: bool,
    db: str | None,
    as_json: bool,
) -> None:
    """A minute on a new GPU, kept as a data set that every later fit uses.

    Measures idle, what the kernels of matmul, attention, convolution and copy reach, and one or two cheap pipelines
    with random weights: enough to tell a law that never saw this GPU how far it is off.
    """
    entry = catalog.gpu(gpu)
    if entry.is_processor:
        raise RequestError("gpu", gpu, "a GPU type: a processor's energy is an estimate, which calibrates nothing")
    from farm.results import Results, check_dataset
    from workers.procedure.calibration import configurations

    if dataset is not None:
        check_dataset(dataset)
    if not configurations(gpu, size=size):
        raise RequestError("gpu", gpu, f"a GPU with more memory: no calibration pipeline fits {entry.title}")

    with opened(db) as store:  # before a minute is spent
        with redirect_stdout(sys.stderr):
            done, uuid = _calibrate(gpu, device, idle_seconds, size, simulate)
        name = dataset or f"calibration-{gpu}-{uuid.removeprefix('GPU-')[:8]}"
        rows = done.rows(name)
        Results(store).add(rows)
    if as_json:
        emit_json(_document(done, name))
    else:
        _show(done, name)


def _calibrate(gpu: str, device: int, idle_seconds: float, size: str, simulate: bool) -> tuple[Calibration, str]:
    from workers.device import host
    from workers.device.pinning import pinned_to
    from workers.meters import open_meter
    from workers.procedure.calibration import calibrate

    with ExitStack() as stack:
        board: int | str = device
        environment: dict[str, Any] = {}
        if not simulate:
            ours = stack.enter_context(pinned_to(gpu, device, foreign=settings.load().foreign_processes))
            board, environment = ours.uuid, host.environment(ours)
        meter = stack.enter_context(closing(open_meter(gpu, board, simulate=simulate)))
        if simulate:
            from workers.meters import simulated_workload

            def load(configuration: Configuration) -> tuple[Workload, Callable[[], None]]:
                return simulated_workload(configuration, meter), lambda: None

            def rates() -> tuple[Mapping[str, float], float | None]:
                return _specified(gpu), None
        else:
            from workers import pipelines
            from workers.pipelines import kernels

            def load(configuration: Configuration) -> tuple[Workload, Callable[[], None]]:
                pipeline = pipelines.load(configuration, "cuda")
                return pipeline, pipeline.close

            def rates() -> tuple[Mapping[str, float], float | None]:
                return kernels.reached_rates("cuda"), kernels.launch_seconds("cuda")

        done = calibrate(gpu, meter, load, rates=rates, idle_seconds=idle_seconds, size=size, environment=environment)
        return done, str(meter.device.uuid or board)


def _specified(gpu: str) -> dict[str, float]:
    """Rates of a simulated device: its type's peaks times what is published, or usual, of what kernels reach."""
    entry = catalog.gpu(gpu)
    reach = {**USUAL_REACH, **{k: v for k, v in entry.reach.items() if k in USUAL_REACH}}
    peaks = dict.fromkeys(("matmul", "attention", "convolution"), entry.peak["fp16"]) | {"memory": entry.bandwidth}
    return {name: reach[name] * peak for name, peak in peaks.items()}


def _document(done: Calibration, dataset: str) -> dict[str, Any]:
    return {
        "gpu": done.gpu,
        "device_name": done.device_name,
        "seconds": done.seconds,
        "idle_watts": done.idle_watts,
        "power_limit_watts": done.power_limit_watts,
        "rows": len(done.measurements),
        "reached": dict(done.reached),
        "launch_seconds": done.launch_seconds,
        "level": level(done),
        "dataset": dataset,
        "flags": sorted({flag for m in done.measurements for flag in m.flags}),
        "measurements": [m.to_dict() for m in done.measurements],
    }


def level(done: Calibration) -> float | None:
    """How much more energy the measured pipelines took than the default law says of the GPU's specification alone.

    Geometric mean of the quotients; None where nothing was measured, or without joulefarm[analysis].
    """
    known = [m for m in done.measurements if not m.spoiled and (m.energy_joules or 0.0) > 0]
    if not known:
        return None
    try:
        from analysis import laws
        from analysis.fitted import fit_once
        from analysis.shipped import shipped_rows
        from analysis.table import Table
    except ImportError:
        return None
    predicted = fit_once(laws.DEFAULT, shipped_rows()).predict(Table.from_rows(known))  # above the same idle
    logs = [math.log(float(m.energy_joules or 0.0) / float(p)) for m, p in zip(known, predicted, strict=True)]
    return math.exp(sum(logs) / len(logs))


def _show(done: Calibration, dataset: str) -> None:
    def number(value: float | None, unit: str) -> str:
        return "unknown" if value is None else f"{significant(value, 4)} {unit}"

    flags = " ".join(sorted({flag for m in done.measurements for flag in m.flags}))
    click.echo(f"{done.gpu}: {done.device_name}, {done.seconds:.0f} s{f', {flags}' if flags else ''}")
    click.echo(f"idle         {number(done.idle_watts, 'W')}, power limit {number(done.power_limit_watts, 'W')}")
    for name, rate in done.reached.items():
        scale, unit = (1e9, "GB/s") if name == "memory" else (1e12, "TFLOP/s")
        click.echo(f"{name:12} {significant(rate / scale, 4)} {unit}")
    if done.launch_seconds is not None:
        click.echo(f"launch       {1e6 * done.launch_seconds:.2g} us a kernel")
    for m in done.measurements:
        took = f"{significant(m.duration_seconds)} s"
        click.echo(f"measured     {m.configuration.label()}: {number(m.energy_joules, 'J')}, {took}")
    factor = level(done)
    if factor is not None:
        click.echo(f"level        {factor:.2f} times what the law says of its specification alone")
    click.echo(f"kept as      {dataset}, {len(done.measurements)} rows")
