"""``farm meter``: the GPU energy of any command, as `perf stat` is for cycles."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any, Final

import click

from farm.cli.options import emit_json, json_option
from farm.domain import RequestError
from farm.domain.words import significant
from workers.cli.options import meter_option
from workers.meters.energy.statistics import Z_975

if TYPE_CHECKING:
    from workers.command.boards import BoardWatch
    from workers.command.foreground import Interruptions
    from workers.command.process import Command
    from workers.device.host import Host
    from workers.meters.base import Energy, Meter
    from workers.procedure.window import Window

COMMAND: Final = "command"  # the label of its window


def _idle_seconds(_ctx: click.Context, _param: click.Parameter, value: float) -> float:
    if not math.isfinite(value) or not 0.2 <= value <= 3600:
        raise RequestError("--idle-seconds", value, "seconds of idle on each side of the command, from 0.2 to 3600")
    return value


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--device", default="0", metavar="N", show_default=True, help="Number among visible devices, or a UUID.")
@click.option(
    "--idle-seconds",
    type=float,
    default=5.0,
    metavar="S",
    show_default=True,
    callback=_idle_seconds,
    help="Idle measured before and after the command; longer idle, smaller uncertainty.",
)
@meter_option
@json_option
@click.argument("command", nargs=-1, type=click.UNPROCESSED, required=True, metavar="-- CMD ...")
def meter(device: str, idle_seconds: float, meter_name: str, as_json: bool, command: tuple[str, ...]) -> None:
    """The GPU energy of a command: what it drew above idle, with a 95 % interval.

    Idle is measured before and after. The command's exit code is returned (128 and the signal's number where a signal
    ended it); 1 where the meter failed. Without --json the report goes to stderr, as the command's own output may be
    piped; with --json the command's stdout goes there.
    """
    from workers.command.boards import BoardWatch
    from workers.command.foreground import Interruptions
    from workers.command.process import Command, check
    from workers.device.host import identify
    from workers.device.lock import DeviceLock
    from workers.interrupted import Interrupted
    from workers.meters import check_meter, open_meter
    from workers.procedure.window import measure_window

    check(command)
    check_meter(meter_name, None)
    interruptions = Interruptions()
    try:
        with ExitStack() as taken:
            prepared = taken.enter_context(Command(command, stdout=2 if as_json else 1))
            with interruptions.allowed():
                host = identify(device)
                lock = taken.enter_context(DeviceLock(host.uuid))
                reading = taken.enter_context(closing(open_meter(_type(host), host.uuid, name=meter_name)))
                watch = taken.enter_context(BoardWatch(host, reading.clock))
            work = _work(prepared, lock.shared(), watch, interruptions)
            window = measure_window(reading, COMMAND, work, idle_seconds=idle_seconds, interruptions=interruptions)
            code = prepared.wait()
        report = _report(reading, host, window, watch, code)
        failed = "" if window.interrupted else _failure(window.energy)
        status = 1 if failed else code
        for line in filter(None, (failed, watch.remark)):
            click.echo(f"farm: {line}", err=True)
    except Interrupted:
        click.echo("farm: interrupted before the command ran: nothing was measured", err=True)
        status = interruptions.exit_code or 1
    else:
        if as_json:
            emit_json(report)
        else:
            click.echo(_text(report, command), err=True)
    interruptions.over()
    raise click.exceptions.Exit(interruptions.exit_code or status)


def _type(host: Host) -> str | None:
    """Which type of the catalog the device is; None for a board that it lacks."""
    return next(iter(host.device.types), None)


def _work(
    command: Command, environment: Mapping[str, str], watch: BoardWatch, interruptions: Interruptions
) -> Callable[[], bool]:
    """Return what happens in the window: the command runs from its begin to its end. False where it was cut short."""
    from workers.interrupted import Interrupted

    def run() -> bool:
        watch.command_runs(True)
        try:
            with interruptions.allowed():
                command.start(environment)
                command.until_ended()
            command.wait()
        except Interrupted:
            assert interruptions.number is not None
            command.end(interruptions.number, impatient=lambda: interruptions.impatient)
            return False
        finally:
            watch.command_runs(False)
        return True

    return run


def _failure(energy: Energy) -> str:
    """What the meter failed at; empty where it did not. That a window is too short to be resolved is an answer."""
    if not energy.complete:
        return "the device was lost on the way: the energy is that until then"
    if energy.total_joules is None and "window_too_short" not in energy.flags:
        return "neither the energy counter nor the power could be read: the energy is not known"
    return ""


def _report(meter: Meter, host: Host, window: Window, watch: BoardWatch, code: int) -> dict[str, Any]:
    """The document of `farm meter --json`. What is not known is null."""
    energy = window.energy
    joules, std = energy.total_joules, energy.total_std_joules
    interval = None
    if joules is not None and std is not None:
        interval = [joules - Z_975 * std, joules + Z_975 * std]
    return {
        "meter": meter.name,
        "device": {"index": host.number, "name": host.name, "uuid": host.device.uuid},
        "exit_code": code,
        "seconds": window.seconds,
        "energy_joules": energy.gross_joules,
        "idle_watts": energy.idle_watts,
        "idle_watts_std": energy.idle_watts_std,
        "dynamic_joules": joules,
        "dynamic_joules_std": std,
        "interval_joules": interval,
        "power_joules": energy.power_joules,
        "systematic_percent": energy.systematic_percent,
        "flags": sorted({*energy.flags, *watch.flags}),
        "complete": window.complete,
        "devices_used": [
            {"index": board.number, "name": board.facts.name, "uuid": board.facts.uuid} for board in watch.used
        ]
        or None,
        "unknown_processes": watch.unknown_processes,
        "shortest_seconds": energy.notes.get("shortest_seconds", meter.shortest_seconds),
        "comparison": energy.notes.get("comparison"),
        "twin": energy.notes.get("comparison"),  # the same under its name of 0.1.0
    }


def _text(report: Mapping[str, Any], command: Sequence[str]) -> str:
    """The same for people."""
    device = report["device"]
    lines = [
        "",
        f" {' '.join(command)}",
        f" on {device['name']} (device {device['index']}), by {report['meter']}, exit code {report['exit_code']}",
        "",
        f"   {_joules(report['dynamic_joules'], report['interval_joules'])}   above idle",
        f"   {_joules(report['energy_joules'])}   in all",
        f"   {_number(report['idle_watts'])} W   idle",
        f"   {report['seconds']:.3f} s",
        *_comparison_text(report["comparison"]),
    ]
    if report["flags"]:
        lines.append(f"   flags: {', '.join(report['flags'])}")
    if unknown := report["unknown_processes"]:
        lines.append(f"   whose they are cannot be known here: processes {', '.join(map(str, unknown))}, by NVML's ids")
    if "window_too_short" in report["flags"]:
        lines.append(f"   the device resolves windows from {report['shortest_seconds']:.2g} s on: let it run longer")
    if not report["complete"]:
        lines.append("   not complete: this is a part")
    return "\n".join([*lines, ""])


def _comparison_text(comparison: Mapping[str, Any] | None) -> list[str]:
    """What the other meter says, where one was asked for."""
    if comparison is None:
        return []
    if comparison["error"] is not None:
        return [f"   {comparison['meter']} failed: {comparison['error']}"]
    joules, std = comparison["dynamic_joules"], comparison["dynamic_joules_std"]
    interval = None if joules is None or std is None else [joules - Z_975 * std, joules + Z_975 * std]
    flags = f", flags: {', '.join(comparison['flags'])}" if comparison["flags"] else ""
    return [
        f"   {_joules(joules, interval)}   above idle, by {comparison['meter']}{flags}",
        f"   {_joules(comparison['gross_joules'])}   in all, by {comparison['meter']}, "
        f"in {_number(comparison['gross_seconds'])} s",
        *(["   the counter loses energy by being read: that may be too little"] * comparison["poll_sensitive"]),
    ]


def _joules(value: float | None, interval: Sequence[float] | None = None) -> str:
    if value is None:
        return "unknown"
    text = f"{significant(value, 4)} J"
    return text if interval is None else f"{text} (95 %: {' to '.join(significant(end, 4) for end in interval)})"


def _number(value: float | None) -> str:
    return "unknown" if value is None else significant(value, 4)
