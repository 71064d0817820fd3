"""``farm workers``: who works on what; ask them to finish and stop, take their devices off and back."""

from __future__ import annotations

import click

from farm.alerts import JOBS_FAILED
from farm.cli.options import db_option, emit_json, json_option
from farm.database import opened
from farm.domain import RequestError, words
from farm.domain.text import one_line
from farm.domain.worker import NO_REASON, WorkerInfo
from farm.hosts import Hosts


@click.group()
def workers() -> None:
    """List, drain and restart workers; take their devices off and back."""


@workers.command("list")
@db_option
@json_option
def list_(db: str | None, as_json: bool) -> None:
    """Every registered worker, what it does, and since when it is silent."""
    with opened(db, create=False) as store:
        hosts = Hosts(store)
        if as_json:
            emit_json(hosts.document())
            return
        workers, coordinator, waiting = hosts.workers(), hosts.coordinator(), hosts.waiting()
        off, alerts = hosts.devices_off(), hosts.alerts()
    for info in workers:
        state = info.state if info.alive else "silent"
        job = f"job {info.job_id}" if info.job_id else ""
        notes = [_power(info), job, f"{info.spool_waiting} in spool" if info.spool_waiting else ""]
        notes += ["asked to drain" if info.drain_requested else "", f"off for {info.off}" if info.off else ""]
        notes.append("results since its last good health check are suspect" if info.suspect_since else "")
        note = ", ".join(filter(None, notes))
        line = f"{one_line(info.name):32} {info.gpu:12} {state:9} seen {info.silent_seconds:.0f} s ago  {note}"
        click.echo(line.rstrip())
    for device in off:
        if device["worker"] not in {info.name for info in workers}:
            why = one_line(f"{device['kind']}: {device['reason']}")
            click.echo(f"{one_line(device['worker']):32} {device['gpu']:12} gone      off for {why}")
    if not workers:
        click.echo("no workers; `farm worker --gpu TYPE --device N` starts one, `farm up` a whole farm")
    if not coordinator.alive:
        click.echo(str(coordinator))
    for row in waiting:
        if row.stuck:
            click.echo(f"{row.count} job(s) on {row.gpu} wait: {one_line(row.why)}")
    for alert in alerts:
        if alert.kind == JOBS_FAILED:  # all other alerts are on the lines above
            click.echo(f"{alert.text}: {alert.remedy}")


def _power(worker: WorkerInfo) -> str:
    """What its device drew and how warm it was when it was last heard of."""
    said = [] if worker.power_watts is None else [words.watts(worker.power_watts)]
    said += [] if worker.temperature_celsius is None else [f"{worker.temperature_celsius:.0f} °C"]
    return ", ".join(said) + (", simulated" if worker.power_origin == "simulated" else "")


@workers.command()
@click.argument("name", required=False)
@db_option
@json_option
def drain(name: str | None, db: str | None, as_json: bool) -> None:
    """Ask worker NAME, or all, to finish the job at hand and stop."""
    with opened(db, create=False) as store:
        hosts = Hosts(store)
        asked = hosts.request_drain(name)
        if name is not None and not asked:
            known = ", ".join(info.name for info in hosts.workers()) or "no worker is registered"
            raise RequestError("worker", name, f"known: {known}")
    if as_json:
        emit_json({"asked": asked})
    else:
        click.echo(f"{asked} {'worker' if asked == 1 else 'workers'} asked to drain")


@workers.command()
@click.argument("name")
@click.option("--reason", metavar="TEXT", help=f"Why, for everybody who wonders.  [default: {NO_REASON}]")
@click.option("--end", is_flag=True, help="Put the device back, whether a person or its health checks took it off.")
@click.option("--new-baseline", is_flag=True, help="With --end: its health series begins anew, as after a repair.")
@db_option
@json_option
def maintenance(name: str, reason: str | None, end: bool, new_baseline: bool, db: str | None, as_json: bool) -> None:
    """Take the device of worker NAME off, or back: its worker ends the job at hand and takes no more.

    It is the device that is off, so that restarts of the worker change nothing. NAME as in `farm workers list`, or the
    device's UUID.
    """
    if end and reason is not None:
        raise RequestError("--reason", reason, "goes without --end")
    if new_baseline and not end:
        raise RequestError("--new-baseline", "on", "goes with --end")
    if reason is not None and not reason.strip():
        raise RequestError("--reason", reason, "some words")
    with opened(db, create=False) as store:
        hosts = Hosts(store)
        if end:
            device = hosts.put_back(name, new_baseline=new_baseline)
        else:
            device = hosts.take_off(name, (reason or NO_REASON).strip())
    if as_json:
        emit_json({**device, "off": not end})
    elif not end:
        click.echo(f"{device['worker']} takes no more jobs: {device['reason']}")
    else:
        was = f" (was off for {device['kind']}: {device['reason']})" if device["kind"] else " (it was not off)"
        click.echo(f"{device['worker']} takes jobs{was}")


@workers.command()
@click.argument("name", required=False)
@json_option
def restart(name: str | None, as_json: bool) -> None:
    """Start worker NAME of this home's `farm up` again, or all that ended: drained ones."""
    from farm.local import farm, restarts
    from farm.settings import load

    settings = load()
    if not farm.is_running(settings):
        raise RequestError("FARM_HOME", str(settings.home), "the home of a running `farm up`")
    restarted = restarts.request(settings, name)
    if as_json:
        emit_json({"restarted": restarted})
    else:
        click.echo(f"started again: {', '.join(restarted) or 'none had ended'}")


@workers.command()
@click.argument("name", required=False)
@db_option
@json_option
def health(name: str | None, db: str | None, as_json: bool) -> None:
    """The health checks of every device, or of worker NAME's: joules, deviation from the baseline, verdict."""
    from farm.health import series

    with opened(db, create=False) as store:
        devices = series(store, name)
    if as_json:
        emit_json({"devices": devices})
        return
    for device in devices:
        off = f", off for {device['off']}" if device["off"] else ""
        joules = device["baseline_joules"]
        baseline = f"{words.significant(joules, 4)} J" if joules else "not made yet"
        click.echo(one_line(f"{device['worker']} ({device['facts'] or device['gpu']}): baseline {baseline}{off}"))
        for check in device["checks"]:
            joules = "" if check["energy_joules"] is None else f"{words.significant(check['energy_joules'], 4)} J"
            percent = "" if check["deviation_percent"] is None else f"{check['deviation_percent']:+.1f} %"
            what = one_line(check["why"] or check["cause"])
            click.echo(f"  {check['at']}  {check['verdict'] or 'open':9} {joules:>10} {percent:>8}  {what}")
    if not devices:
        click.echo("no health checks yet: FARM_HEALTH_HOUR of the coordinator asks for them")
