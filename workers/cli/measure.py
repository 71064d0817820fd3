"""``farm measure``: one configuration, here, without a queue."""

from __future__ import annotations

import sys
from contextlib import ExitStack, closing, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from farm import catalog, settings
from farm.catalog import memory
from farm.cli.options import GPU, MODEL, FiniteRange, emit_json, json_option
from farm.domain import Configuration, Measurement, RequestError
from farm.domain.words import significant, with_prefix
from farm.files.atomic import atomic_write
from workers.cli.options import meter_option
from workers.meters import check_meter

if TYPE_CHECKING:
    from workers.procedure.measure import Measured


@click.command()
@click.option("--model", type=MODEL, required=True, metavar="M", help="A model of the catalog.")
@click.option(
    "--gpu", type=GPU, required=True, metavar="TYPE", help="GPU type of the catalog; `cpu` estimates, by CodeCarbon."
)
@click.option("--resolution", required=True, metavar="R", help="Pixels of a side, or WIDTHxHEIGHT.")
@click.option("--steps", required=True, metavar="T", help="Denoising steps.")
@click.option("--precision", required=True, metavar="P", help="fp16, bf16 or fp32.")
@click.option("--cfg", is_flag=True, help="Classifier-free guidance.")
@click.option("--prompts", required=True, metavar="N", help="Images in total.")
@click.option("--batch", default="1", metavar="B", help="Images at once.", show_default=True)
@click.option("--weights", default="random", metavar="W", help="random or pretrained.", show_default=True)
@click.option("--size", default="full", metavar="S", help="full or nano.", show_default=True)
@click.option(
    "--seed", default="0", metavar="N", help="Of the first image; each further one adds 1.", show_default=True
)
@click.option("--prompts-file", type=click.Path(path_type=Path), help="COCO captions or text (default: those shipped).")
@click.option("--device", default=0, type=click.IntRange(0, 1023), metavar="N", help="Index of the device.")
@meter_option
@click.option(
    "--idle-seconds",
    type=FiniteRange(0.1, 3600.0),
    help="Idle baseline on each side (default: FARM_IDLE_SECONDS; 1 on a CPU).",
)
@click.option(
    "--settle-seconds",
    type=FiniteRange(0.0, 3600.0),
    help="At most so long until power and temperature are steady (default: FARM_SETTLE_SECONDS).",
)
@click.option(
    "--repeat-seconds",
    type=FiniteRange(0.0, 86400.0),
    help="No further pass is begun after so long (default: FARM_REPEAT_SECONDS).",
)
@click.option("--samples", type=click.Path(path_type=Path), help="Keep the meter's raw log in this file.")
@click.option("--simulate", is_flag=True, help="A simulated device of that type; the row is flagged.")
@json_option
def measure(
    resolution: str,
    prompts_file: Path | None,
    device: int,
    meter_name: str,
    idle_seconds: float | None,
    settle_seconds: float | None,
    repeat_seconds: float | None,
    samples: Path | None,
    simulate: bool,
    as_json: bool,
    **row: Any,
) -> None:
    """Measure one configuration, here, without a queue."""
    configuration = _configuration(resolution, row)
    check_meter(meter_name, configuration.gpu, simulate=simulate)
    setting = settings.load(
        meter=meter_name, idle_seconds=idle_seconds, settle_seconds=settle_seconds, repeat_seconds=repeat_seconds
    )
    with ExitStack() as stack:
        # Opened first: a file that cannot be written is refused before the measurement, not after it.
        log = None if samples is None else stack.enter_context(atomic_write(samples, "--samples"))
        with redirect_stdout(sys.stderr):  # libraries that look for devices print; stdout is for the result
            measured = _measure(configuration, prompts_file, device, setting, idle_seconds, simulate)
        if log is not None:
            log.write_bytes(measured.samples())
    measurement = measured.measurement
    if as_json:
        emit_json(measurement.to_dict())
    else:
        _show(measurement)


def _configuration(resolution: str, row: dict[str, Any]) -> Configuration:
    """What the options say, checked against the catalog."""
    width, pair, height = resolution.lower().partition("x")
    configuration = Configuration.from_mapping({**row, "width": width, "height": height if pair else width})
    catalog.check(configuration)
    if why := memory.explain(configuration):
        raise RequestError("configuration", configuration.label(), f"on {configuration.gpu}: {why}")
    return configuration


def _measure(
    configuration: Configuration,
    prompts_file: Path | None,
    device: int,
    setting: settings.Settings,
    idle_seconds: float | None,
    simulate: bool,
) -> Measured:
    from farm.sweeps.prompts import read_prompts
    from workers.device import host
    from workers.device.pinning import pinned_to

    prompts = read_prompts(prompts_file, configuration.prompts)
    on_cpu = catalog.gpu(configuration.gpu).is_processor
    with ExitStack() as stack:
        board: int | str | None = None if on_cpu else device
        environment: dict[str, Any] = {}
        if not on_cpu and not simulate:
            ours = stack.enter_context(pinned_to(configuration.gpu, device, foreign=setting.foreign_processes))
            board, environment = ours.uuid, host.environment(ours)

        # Imported only now: torch must not see the devices before one is chosen.
        from workers.device.identity import Place
        from workers.runtime.device_session import DeviceSession

        environment = {"prompts_sha256": prompts.sha256, **environment}
        place = Place(gpu=configuration.gpu, device=board, simulate=simulate, environment=environment)
        session = stack.enter_context(closing(DeviceSession(place, setting, idle_seconds=idle_seconds)))
        session.prepare(configuration)
        return session.measure_configuration(configuration, prompts.prompts)


def _show(measurement: Measurement) -> None:
    def joules(value: float | None, std: float | None) -> str:
        if value is None:
            return "unknown"
        return with_prefix(value, "J", 4) + (f" ± {with_prefix(std, 'J', 2)}" if std is not None else "")

    idle = "unknown" if measurement.idle_watts is None else f"{measurement.idle_watts:.3g} W"
    total = joules(measurement.energy_joules, measurement.energy_std_joules)
    click.echo(f"{measurement.configuration.gpu} {measurement.configuration.label()}")
    click.echo(f"energy   {total}, idle of {idle} subtracted")
    for name, phase in measurement.phases.items():
        click.echo(f"{name:8} {joules(phase.joules, phase.std_joules)}, {significant(phase.seconds, 4)} s")
    if comparison := measurement.environment.get("comparison"):
        failed = f", failed: {comparison['error']}" if comparison["error"] else ""
        above = joules(comparison["dynamic_joules"], comparison["dynamic_joules_std"])
        gross = joules(comparison["gross_joules"], None)
        click.echo(f"compared {above} by {comparison['meter']}, {gross} with idle{failed}")
    click.echo(f"duration {significant(measurement.duration_seconds, 4)} s a pass, {measurement.repeats} passes")
    click.echo(f"forwards {measurement.forwards} of {measurement.forward_batch}")
    click.echo(f"meter    {measurement.meter}, flags: {' '.join(measurement.flags) or 'none'}")
