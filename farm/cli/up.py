"""``farm up`` and ``farm down``: a whole farm on this machine."""

from __future__ import annotations

import logging
import signal
import threading
from typing import Final

import click

from farm import catalog
from farm.cli.completion import complete_gpus
from farm.cli.options import SPEED, broker_option, db_option
from farm.domain.errors import OperationError, RequestError
from farm.settings import load
from farm.web.listen import PORT, page_address

logger = logging.getLogger(__name__)

START_SECONDS: Final = 60.0  # until a detached farm must be ready
STOP_SECONDS: Final = 30.0  # for a worker to hand its job back


@click.command()
@click.option(
    "--simulate",
    metavar="TYPES",
    shell_complete=complete_gpus,
    help="Simulated devices instead of those found: a100,a4000,a6000. A type is "
    "simulated or real in a FARM_HOME (and database), never both.",
)
@click.option("--speed", type=SPEED, help="Simulated seconds a second (default: unlimited).")
@click.option(
    "--cpu",
    is_flag=False,
    flag_value=catalog.PROCESSOR,
    metavar="[TYPE]",
    shell_complete=complete_gpus,
    help="One worker, for the processor, whatever GPUs there are; TYPE as in the catalog (default: "
    f"{catalog.PROCESSOR}).",
)
@click.option("--web", is_flag=True, help="Serve the live page too, and say where.")
@click.option("--port", type=click.IntRange(1, 65535), metavar="N", help=f"Of the live page (default: {PORT}).")
@click.option("--detach", is_flag=True, help="Return when the farm runs; end it with `farm down`.")
@db_option
@broker_option
def up(
    simulate: str | None,
    speed: float | None,
    cpu: str | None,
    web: bool,
    port: int | None,
    detach: bool,
    db: str | None,
    broker: str | None,
) -> None:
    """Run a whole farm on this machine: broker, coordinator, and a worker for every device."""
    if speed is not None and simulate is None:
        raise RequestError("--speed", speed, "goes with --simulate")
    if cpu is not None and simulate is not None:
        raise RequestError("--cpu", cpu, "goes without --simulate")
    if cpu is not None and not catalog.gpu(cpu).is_processor:
        processors = [name for name, entry in catalog.gpus().items() if entry.is_processor]
        raise RequestError("--cpu", cpu, f"a processor of the catalog: {', '.join(processors)}")
    if port is not None and not web:
        raise RequestError("--port", port, "goes with --web")
    types = _types(simulate) if simulate is not None else None
    settings = load(database_url=db, broker_url=broker)
    settings.prepare_home()
    from farm import logs
    from farm.local import farm as local_farm

    logs.configure(settings)
    if web and not local_farm.can_serve():
        raise RequestError("--web", "on", "this installation has no `farm serve` (pip install 'joulefarm[web]')")
    if not local_farm.can_work():
        remedy = "pip install 'joulefarm[worker]', or 'joulefarm[analysis]' for simulated devices alone"
        raise OperationError(f"workers need numpy: {remedy}")
    if detach:
        arguments = [*(["--simulate", simulate] if simulate is not None else [])]
        arguments += [*(["--speed", str(speed)] if speed is not None else []), *(["--web"] if web else [])]
        arguments += [*(["--port", str(port)] if port is not None else [])]
        arguments += ["--cpu", cpu] if cpu is not None else []
        click.echo(local_farm.detach(settings, arguments, timeout_seconds=START_SECONDS), err=True)
        if web:
            click.echo(f"page: {page_address(port or PORT)}", err=True)
        return
    plan = local_farm.Plan(simulate=types, speed=speed, web=web, port=port or PORT, processor=cpu)
    stop = threading.Event()
    again = threading.Event()  # a second signal: at once

    def on_signal(*_: object) -> None:
        (again if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, on_signal)
    grace = STOP_SECONDS if settings.on_sigterm == "requeue" else None
    local_farm.run(settings, plan, stop=stop, hurry=again, grace_seconds=grace)


@click.command()
def down() -> None:
    """Stop the embedded farm of this FARM_HOME."""
    settings = load()
    from farm.local import farm as local_farm

    seconds = STOP_SECONDS + 15.0 if settings.on_sigterm == "requeue" else None
    click.echo("stopped" if local_farm.end(settings, seconds) else f"no farm runs in {settings.home}", err=True)


def _types(text: str) -> list[str]:
    return [catalog.find_gpu(name).name for name in text.split(",")]
