"""``farm worker``: one long-running worker, pinned to one device."""

from __future__ import annotations

from contextlib import AbstractContextManager, closing
from typing import Any

import click

from farm import catalog
from farm.cli.options import GPU, SPEED, broker_option, db_option
from farm.domain import RequestError
from farm.settings import load
from workers.meters import check_host, check_meter


@click.command()
@click.option(
    "--gpu", type=GPU, required=True, metavar="TYPE", help="GPU type, a name of the catalog; `cpu` needs no device."
)
@click.option("--device", type=click.IntRange(0, 1023), metavar="N", help="Index of the device, as nvidia-smi counts.")
@click.option("--simulate", is_flag=True, help="A simulated device of that type; its rows are flagged.")
@click.option("--speed", type=SPEED, help="Simulated seconds a second (default: unlimited).")
@db_option
@broker_option
def worker(
    gpu: str, device: int | None, simulate: bool, speed: float | None, db: str | None, broker: str | None
) -> None:
    """Measure the jobs of one GPU type on one device until SIGTERM."""
    entry = catalog.gpu(gpu)
    if speed is not None and not simulate:
        raise RequestError("--speed", speed, "goes with --simulate")
    if entry.is_processor and device is not None and not simulate:
        raise RequestError("--device", device, f"--gpu {gpu} has no device number")
    if device is None and not entry.is_processor:
        raise RequestError("--device", None, f"the index of the {gpu} to measure on, as nvidia-smi counts")
    settings = load(database_url=db, broker_url=broker)
    check_meter(settings.meter, gpu, simulate=simulate, asked_by="FARM_METER")
    settings.prepare_home()
    from farm import logs
    from farm.broker import acl
    from farm.broker.app import check_queue, resolve_url
    from farm.jobs import WorkerJobs
    from farm.processes import machine
    from workers.device.identity import WorkerIdentity
    from workers.device.lock import DeviceLock
    from workers.device.pinning import pinned
    from workers.meters.simulated.faults import of_device

    logs.configure(settings)
    on_gpu = not simulate and not entry.is_processor
    if on_gpu:  # the board first: that it is the wrong one is wrong whatever else is missing
        from workers.device import host

        check_host(settings.meter, gpu)
        host.of_type(gpu, device or 0)
    url = resolve_url(settings, user=acl.worker(entry.queue))
    with closing(WorkerJobs.open(settings)) as jobs:  # what cannot be is refused here, before anything runs
        jobs.refuse_mixing(gpu, simulate=simulate)
    if not on_gpu:
        driver = of_device(gpu, device or 0).driver if simulate else None
        stated = {"driver": driver} if driver else {}
        identity = WorkerIdentity.plain(gpu, device, settings.home, simulate=simulate, speed=speed, environment=stated)
        # A host has one processor, by whatever type of the catalog its workers call it.
        held: AbstractContextManager[Any] = DeviceLock(
            identity.device_uuid if simulate else "processor", settings.run / "locks"
        )
    else:
        verified = host.verify(gpu, device or 0, foreign=settings.foreign_processes)
        identity = WorkerIdentity.verified(gpu, verified, host.environment(verified))
        held = pinned(verified)  # inherited by the child, which imports torch after the fork
    check_queue(url, settings, entry.queue)
    with held:
        with closing(WorkerJobs.open(settings, create=False)) as jobs:
            jobs.refuse_namesake(identity.name, machine=machine(), device_uuid=identity.device_uuid)
        from workers.runtime.listener import Listener

        status = Listener(url, settings, identity).run()
    raise click.exceptions.Exit(status)
