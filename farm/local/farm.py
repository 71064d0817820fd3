"""The processes of `farm up`: which there are, one farm a home, started in the background or not, and ended."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Final

from farm import catalog, imports
from farm.broker.embedded import EmbeddedBroker
from farm.coordinator.child import environment as child_environment
from farm.domain.errors import OperationError, RequestError
from farm.files.atomic import write_private
from farm.local.restarts import Restarts
from farm.local.rotation import Rotation
from farm.local.supervisor import BrokerService, ProcessService, Service, Supervisor
from farm.processes import ProcessIdentity, spawn
from farm.settings import Settings
from farm.web.listen import HOST, PORT, listen, page_address

logger = logging.getLogger(__name__)

FARM: Final = tuple(imports.python("-m", "farm"))


@dataclass(frozen=True, slots=True)
class PlannedWorker:
    """A worker that shall run, by the options of `farm worker`."""

    gpu: str  # type of the catalog
    device: int | None = None  # index; None for the processor
    simulate: bool = False
    speed: float | None = None  # simulated seconds a second; None: unlimited

    @property
    def name(self) -> str:
        return self.gpu if self.device is None else f"{self.gpu}-{self.device}"

    @property
    def arguments(self) -> list[str]:
        """What comes after `farm`."""
        arguments = ["worker", "--gpu", self.gpu]
        arguments += ["--device", str(self.device)] if self.device is not None else []
        arguments += ["--simulate"] if self.simulate else []
        return arguments + (["--speed", repr(self.speed)] if self.speed is not None else [])


@dataclass(frozen=True, slots=True)
class Plan:
    """What ``farm up`` shall run."""

    simulate: Sequence[str] | None = None  # GPU types, one simulated device each; None: the devices of this host
    speed: float | None = None  # simulated seconds a second; None: unlimited
    processor: str | None = None  # its type: a worker for it alone, whatever GPUs there are
    web: bool = False
    port: int = PORT  # of the page


def run(
    settings: Settings, plan: Plan, *, stop: threading.Event, hurry: threading.Event, grace_seconds: float | None
) -> None:
    """Run a farm until ``stop``; nothing of it is left when this returns, even by an exception.

    ``hurry``: do not wait any longer for running jobs. RequestError where one runs in this home already.
    """
    with _only_one(settings) as lock:
        workers = _planned(plan)
        _check_before(settings, plan, workers)
        _check_meters(settings, workers)
        services = _services(settings, plan, workers)
        supervisor = Supervisor(services)
        supervisor.start()
        try:
            lock.announce()
            logger.info("farm in %s: %s", settings.home, ", ".join(s.name for s in services))
            if plan.web:
                logger.info("page: %s", page_address(plan.port))
            rotation = Rotation(settings.run / "logs", settings.log_bytes)
            supervisor.run(stop, [Restarts(settings, supervisor).look, rotation.look])
            logger.info("farm: ending")
            supervisor.stop(grace_seconds, hurry)
        finally:
            supervisor.kill()
    logger.info("farm: ended")


def detach(settings: Settings, arguments: Sequence[str], *, timeout_seconds: float) -> str:
    """Start `farm up` in the background; returns one line when it is ready. OperationError with its own words when it
    ends instead."""
    state = _State(settings)
    if (identity := state.running()) is not None:
        raise RequestError("FARM_HOME", str(settings.home), _already(identity))
    log = settings.run / "logs" / "up.log"
    begin = log.stat().st_size if log.exists() else 0
    process = spawn([*FARM, "up", *arguments], log=log, env=child_environment(settings), tied=False)
    deadline = time.monotonic() + timeout_seconds
    while not state.ready(process.pid):
        status = process.poll()
        if status is not None or time.monotonic() > deadline:
            said = log.read_bytes()[begin:].decode(errors="replace").strip().splitlines()
            ended = f"nothing was said in {timeout_seconds:g} s" if status is None else f"it ended, status {status}"
            why = said[-1].removeprefix("farm: ") if said else ended
            if status is None:
                ProcessIdentity.of(process.pid).signal(signal.SIGTERM)
            error = OperationError(f"{why} (log: {log})")
            error.exit_code = RequestError.exit_code if status == RequestError.exit_code else OperationError.exit_code
            raise error
        time.sleep(0.05)
    return f"the farm runs (process {process.pid}, log {log}); `farm down` ends it"


def end(settings: Settings, seconds: float | None) -> bool:
    """End the farm of this home; False when none runs. After ``seconds`` it is killed (None: waits for ever)."""
    identity = _State(settings).running()
    if identity is None:
        return False
    identity.signal(signal.SIGTERM)
    if not identity.wait(float("inf") if seconds is None else seconds):
        identity.signal(signal.SIGKILL)  # the kernel ends its children with it
        identity.wait(5.0)
    return True


def is_running(settings: Settings) -> bool:
    """Whether a farm runs in this home."""
    return _State(settings).running() is not None


def can_serve() -> bool:
    """Whether the page can be served here: the extra [web]."""
    return all(find_spec(name) is not None for name in ("uvicorn", "fastapi"))


def can_work() -> bool:
    """Whether workers run here, simulated ones at least; what a real device needs, `farm doctor` says."""
    return find_spec("numpy") is not None


class _State:
    """``run/up.json``: which process is this home's farm, and whether it is ready."""

    def __init__(self, settings: Settings) -> None:
        self.path = settings.run / "up.json"

    def announce(self) -> None:
        """Say that this process is the farm, and ready."""
        identity = ProcessIdentity.of(os.getpid())
        write_private(self.path, json.dumps({"pid": identity.pid, "started": identity.started}))

    def running(self) -> ProcessIdentity | None:
        try:
            document = json.loads(self.path.read_text())
            identity = ProcessIdentity(int(document["pid"]), str(document["started"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return identity if identity.alive() else None

    def ready(self, pid: int) -> bool:
        identity = self.running()
        return identity is not None and identity.pid == pid


@contextmanager
def _only_one(settings: Settings) -> Iterator[_State]:
    """The lock of this home's farm, held as long as its process lives."""
    state = _State(settings)
    try:
        settings.run.mkdir(mode=0o700, exist_ok=True)
        lock = (settings.run / "up.lock").open("w")
    except OSError as error:
        raise RequestError(
            "FARM_HOME", str(settings.home), f"a folder that can be written ({error.strerror})"
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RequestError("FARM_HOME", str(settings.home), _already(state.running())) from None
        try:
            yield state
        finally:
            state.path.unlink(missing_ok=True)


def _already(identity: ProcessIdentity | None) -> str:
    which = f" (process {identity.pid})" if identity is not None else ""
    return f"a farm runs there already{which}: end it with `farm down`, or set another FARM_HOME"


def _check_before(settings: Settings, plan: Plan, workers: Sequence[PlannedWorker]) -> None:
    """Say in words, before anything is started, what would let a part of it fail."""
    from farm.jobs import WorkerJobs

    with closing(WorkerJobs.open(settings)) as jobs:
        for worker in workers:
            jobs.refuse_mixing(worker.gpu, simulate=worker.simulate)
    if plan.web:
        try:
            listen(port=plan.port).close()
        except RequestError:
            raise RequestError(
                "--web", f"{HOST}:{plan.port}", "a free port there: end what uses it, or --port"
            ) from None
    if settings.broker() is not None:
        from farm.broker.app import Broker

        with closing(Broker(settings)) as broker:
            broker.ping()


def _check_meters(settings: Settings, workers: Sequence[PlannedWorker]) -> None:
    """A setting that no worker can follow is refused here, in words, not by workers that end and are started again."""
    check = import_module("workers.meters").check_meter
    for worker in workers:
        check(settings.meter, worker.gpu, simulate=worker.simulate, asked_by="FARM_METER")


def _services(settings: Settings, plan: Plan, workers: Sequence[PlannedWorker]) -> list[Service]:
    """In the order in which they start."""
    environment = child_environment(settings)
    services: list[Service] = []
    if settings.broker() is None:
        services.append(BrokerService(EmbeddedBroker(settings)))
    commands = [("coordinator", ["coordinator"])]
    commands += [(f"worker {worker.name}", worker.arguments) for worker in workers]
    commands += [("web", ["serve", "--port", str(plan.port)])] if plan.web else []
    for name, arguments in commands:
        log = settings.run / "logs" / f"{name.replace(' ', '-')}.log"
        services.append(ProcessService(name, [*FARM, *arguments], env=environment, log=log))
    return services


def _planned(plan: Plan) -> list[PlannedWorker]:
    """Every worker that shall run."""
    if plan.simulate is not None:
        return _simulated(plan)
    return _real() if plan.processor is None else [PlannedWorker(plan.processor)]


def _simulated(plan: Plan) -> list[PlannedWorker]:
    """A worker for every simulated device; those of one type are numbered from 0."""
    next_device: Counter[str] = Counter()
    workers = []
    for gpu in plan.simulate or ():
        workers.append(PlannedWorker(gpu, next_device[gpu], simulate=True, speed=plan.speed))
        next_device[gpu] += 1
    return workers


def _real() -> list[PlannedWorker]:
    """A worker for every device of this host; the processor where there is none."""
    host = import_module("workers.device.host")
    silent = import_module("workers.device.board").SilentDevice
    try:
        devices = host.visible(host.inspect().devices)
    except OperationError as error:
        logger.info("no GPU here: %s", error)
        devices = ()
    workers = []
    for number, device in enumerate(devices):
        if isinstance(device, silent):
            logger.warning("device %d does not answer: %s", number, device.error)
            continue
        if not device.types:
            logger.warning("%s is not in the catalog: add a file under FARM_HOME/catalog/gpus", device.name)
            continue
        workers.append(PlannedWorker(device.types[0], number))
    return workers or [PlannedWorker(catalog.PROCESSOR)]
