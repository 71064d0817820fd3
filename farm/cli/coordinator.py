"""``farm coordinator``: the loop that sends jobs to the queues and takes back lost ones."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading

import click

from farm.cli.options import broker_option, db_option
from farm.settings import load

logger = logging.getLogger(__name__)


@click.command()
@db_option
@broker_option
def coordinator(db: str | None, broker: str | None) -> None:
    """Send jobs to the queues, take back lost ones, refit when results came. Safe to run twice."""
    settings = load(database_url=db, broker_url=broker)
    settings.prepare_home()
    from farm import logs
    from farm.broker.app import Broker
    from farm.broker.embedded import EmbeddedBroker
    from farm.coordinator import adapt, refit
    from farm.coordinator.dispatcher import Dispatcher
    from farm.coordinator.outbox import OutboxTicker
    from farm.jobs import CoordinatorJobs

    logs.configure(settings)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    jobs = CoordinatorJobs.open(settings)
    outbox, health = OutboxTicker(settings), jobs.health_checks()
    embedded = EmbeddedBroker(settings) if settings.broker() is None else None
    started_here = embedded is not None and not embedded.running
    if embedded is not None:
        embedded.start()
    try:
        sender = Broker(settings)
        sender.ping()
        can_fit = refit.available()
        if not can_fit:
            logger.warning("no refits and no adaptive sweeps here: they need joulefarm[analysis]")
        name = f"{socket.gethostname()}-{os.getpid()}"
        dispatcher = Dispatcher(
            jobs,
            sender,
            settings,
            name=name,
            refit=refit.RefitTicker(settings) if can_fit else None,
            outbox=outbox,
            health=health,
            adapt=adapt.AdaptiveTicker(settings) if can_fit else None,
        )
        logger.info("coordinator %s: ready", name)
        try:
            dispatcher.run(stop)
        finally:
            dispatcher.close()
    finally:
        if embedded is not None and started_here:
            embedded.stop()
        jobs.close()
    logger.info("coordinator: ended")
