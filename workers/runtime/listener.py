"""The Celery side of a worker: a parent that listens to one queue and one child that measures.

The parent never touches the device, the database or torch; all of that is opened in the child, after the fork.
"""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from typing import Any

from celery import Celery, signals

from farm.broker import acl
from farm.broker.app import make_app, register_measure, resolve_url
from farm.settings import Settings
from workers.device.identity import WorkerIdentity
from workers.runtime.interrupt import STOP_SIGNAL
from workers.runtime.message_filter import FilteredConsumer
from workers.runtime.worker_process import WorkerProcess


class Listener:
    """One worker: connects Celery's signals to what its child holds."""

    def __init__(self, url: str, settings: Settings, identity: WorkerIdentity) -> None:
        self._settings = settings
        self._identity = identity
        self._process: WorkerProcess | None = None  # in the child only
        self._worker: Any = None
        self.app: Celery = make_app(url, settings, lambda: resolve_url(settings, user=acl.worker(identity.queue)))
        register_measure(self.app, self._handle)
        signals.setup_logging.connect(_keep_our_logging)
        logging.getLogger("celery.worker.consumer.consumer").addFilter(_without_traceback)
        signals.worker_process_init.connect(self._open_process)
        signals.worker_process_shutdown.connect(self._close_process)
        signals.worker_shutting_down.connect(self._tell_child)

    def run(self) -> int:
        """Listen until SIGTERM or SIGINT; returns the exit status."""
        # Celery warns root of pickles; this farm takes JSON only, and containers run as root.
        warnings.filterwarnings("ignore", message="You're running the worker with superuser privileges")
        self._worker = self.app.Worker(
            hostname=self._identity.name,
            pool_cls="prefork",
            consumer_cls=FilteredConsumer,
            concurrency=1,
            queues=[self._identity.queue],
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            quiet=True,
        )
        # Whenever the broker was away Celery praises a setting that would end a good measurement (farm.broker). Said
        # now, since making the worker has such warnings shown again.
        warnings.filterwarnings("ignore", message="\nIn Celery 5.1 we introduced")
        self._worker.start()
        return int(self._worker.exitcode or 0)

    def _handle(self, message: object) -> None:
        assert self._process is not None
        self._process.handle(message)

    def _open_process(self, **_: object) -> None:
        self._process = WorkerProcess(self._identity, self._settings)
        self._process.open()

    def _close_process(self, **_: object) -> None:
        if self._process is not None:
            self._process.close()

    def _tell_child(self, **_: object) -> None:
        """In the parent, on SIGTERM: Celery waits for the running task; unless that is wanted, ask it to give up."""
        if self._settings.on_sigterm == "requeue":
            for pid in self._worker.pool.info["processes"]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, STOP_SIGNAL)


def _without_traceback(record: logging.LogRecord) -> bool:
    """A broker that went away is no fault of the code: one line, with the reason, instead of a traceback."""
    if record.levelno < logging.CRITICAL and record.exc_info:
        record.msg = f"{' '.join(record.getMessage().split())} ({' '.join(str(record.exc_info[1]).split())})"
        record.args, record.exc_info = (), None
    return True


def _keep_our_logging(**_: object) -> None:
    """Keep Celery from setting up logging: where anybody answers this signal, it does not."""
