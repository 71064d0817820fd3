"""Which device is ours: found among those visible here, identified, checked against the catalog, free to measure on.

Nothing in this module touches NVML or CUDA in the calling process: the facts come from a short-lived child.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import TypeAdapter

from farm import catalog, imports
from farm.domain import OperationError, RequestError
from workers.device.board import AnyDevice, DeviceFacts, HostFacts, SilentDevice

logger = logging.getLogger(__name__)

INSPECTION_SECONDS: Final = 60.0  # a driver without persistence mode may take many seconds to wake up
WAIT_SECONDS: Final = 5.0  # between two looks at a device that is in use
UNSEEN_MEMORY_BYTES: Final = 2 * 2**30  # more than any driver reserves: somebody is there, though no process shows
INITIAL_PID_NAMESPACE: Final = 0xEFFFFFFC  # its inode number, fixed in the kernel
NO_MIG: Final = (
    "a whole GPU: a MIG instance has no energy counter of its own; ask for a GPU without MIG (nvidia-smi -mig 0)"
)

ForeignPolicy = Literal["refuse", "wait", "allow"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Host:
    """One verified device of this host."""

    device: DeviceFacts
    number: int  # among the devices visible here: what --device says
    driver: str | None
    notes: tuple[str, ...]  # what could not be verified, for people
    devices: tuple[AnyDevice, ...]  # all that NVML counts, this one among them

    @property
    def uuid(self) -> str:
        return self.device.key

    @property
    def name(self) -> str:
        return self.device.name

    def pinned(self) -> dict[str, str]:
        """Environment variables that show a child this device alone; to be set before it imports torch."""
        return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": self.uuid}


def inspect() -> HostFacts:
    """Read, in a short-lived child, the driver's version and all devices that NVML counts.

    OperationError where it cannot be asked.
    """
    try:
        child = subprocess.run(
            imports.python("-m", "workers.device.facts"),
            env=imports.environment(),
            capture_output=True,
            text=True,
            timeout=INSPECTION_SECONDS,
            check=True,
        )
        document: dict[str, Any] = json.loads(child.stdout)
        if "error" in document:
            raise OperationError(document["error"])
        return TypeAdapter(HostFacts).validate_python(document)
    except subprocess.TimeoutExpired:
        raise OperationError(
            f"NVML did not answer within {INSPECTION_SECONDS:.0f} s: the driver hangs; try nvidia-smi, or reboot"
        ) from None
    except subprocess.CalledProcessError as error:
        problem = (error.stderr.strip().splitlines() or [f"exit status {error.returncode}"])[-1]
    except ValueError as error:
        problem = " ".join(str(error).split())
    raise OperationError(f"NVML could not be asked: {problem}: {sys.executable} -m workers.device.facts shows it all")


def visible(devices: tuple[AnyDevice, ...], environment: Mapping[str, str] = os.environ) -> tuple[AnyDevice, ...]:
    """Return the devices that CUDA_VISIBLE_DEVICES leaves, in its order; as in CUDA, a bad entry ends the list.

    Slurm and container runtimes set it, or hide devices from NVML altogether; both may hold. Numbers count in the
    order of the bus (NVML's), which is CUDA's as well among boards of one type.
    """
    wanted = environment.get("CUDA_VISIBLE_DEVICES")
    if wanted is None:
        return devices
    chosen: list[AnyDevice] = []
    for entry in wanted.split(","):
        named = _named(devices, entry.strip())
        if len(named) != 1 or named[0] in chosen:
            break
        chosen.append(named[0])
    return tuple(chosen)


def only_mig(environment: Mapping[str, str] = os.environ) -> str:
    """The MIG instance that CUDA_VISIBLE_DEVICES begins with, as schedulers that hand them out set it; else empty."""
    first = environment.get("CUDA_VISIBLE_DEVICES", "").partition(",")[0].strip()
    return first if _is_mig(first) else ""


def select(device: int | str, devices: tuple[AnyDevice, ...]) -> tuple[int, DeviceFacts]:
    """Find the device meant by a number among those visible, a UUID or the start of one.

    RequestError for none, OperationError for one that does not answer.
    """
    if _is_mig(str(device)):
        raise RequestError("device", str(device), NO_MIG)
    if instance := only_mig():
        raise RequestError("CUDA_VISIBLE_DEVICES", instance, NO_MIG)
    shown = "; ".join(f"{i} {_described(d)}" for i, d in enumerate(devices)) or "none is visible"
    restricted = " under CUDA_VISIBLE_DEVICES" if "CUDA_VISIBLE_DEVICES" in os.environ else ""
    named = _named(devices, str(device))
    if len(named) != 1:
        problem = "more than one device begins so; here" if named else "one of the devices here"
        raise RequestError("device", str(device), f"{problem}{restricted}: {shown}")
    chosen = named[0]
    if isinstance(chosen, SilentDevice):
        who = f"device {device} (NVML's number {chosen.index})"
        raise OperationError(f"{who} does not answer: NVML says {chosen.error}: {chosen.remedy}")
    return devices.index(chosen), chosen


def identify(device: int | str) -> Host:
    """Find the visible device of that number or UUID, whatever its type. Errors as of ``inspect`` and ``select``."""
    facts = inspect()
    number, chosen = select(device, visible(facts.devices))
    return Host(device=chosen, number=number, driver=facts.driver, notes=_notes(chosen), devices=facts.devices)


def verify(gpu: str, device: int | str, *, foreign: ForeignPolicy = "refuse") -> Host:
    """Make sure that a device is of the catalog's type and free; ``notes`` say what could not be made sure of.

    As ``of_type``; OperationError too where somebody else computes on it and ``foreign`` says refuse. With ``wait``,
    returns when they are gone.
    """
    warned = False
    while True:
        host = of_type(gpu, device)
        occupant = "" if foreign == "allow" else occupied(host.device)
        if not occupant:
            return host
        if foreign == "refuse":
            raise OperationError(
                f"device {device} ({host.name}) is in use: {occupant}; end it, or set FARM_FOREIGN_PROCESSES to wait"
            )
        if not warned:
            logger.warning("device %s is in use: %s; waiting", device, occupant)
            warned = True
        time.sleep(WAIT_SECONDS)


def of_type(gpu: str, device: int | str) -> Host:
    """Find the device and make sure that it is of the catalog's type, whoever else uses it.

    RequestError: no such device, or it is of another type (naming both). OperationError: no NVML, or MIG is on.
    """
    entry = catalog.gpu(gpu)
    host = identify(device)
    facts = host.device
    if not entry.matches(facts.name):
        known = " or ".join(facts.types) or "not in the catalog (add a file under FARM_HOME/catalog/gpus)"
        raise RequestError("gpu", gpu, f"device {device} is a {facts.name}, by NVML, which is {known}")
    if facts.mig:
        raise OperationError(
            f"device {device} ({facts.name}) has MIG enabled, so its energy cannot be told apart by instance: "
            f"nvidia-smi -i {facts.index} -mig 0"
        )
    return host


def occupied(facts: DeviceFacts) -> str:
    """Say who else computes on the device, in words; empty where nobody shows."""
    strangers = [pid for pid in facts.processes or () if pid != os.getpid()]
    if strangers:
        return f"process {', '.join(map(str, strangers))}"
    if in_pid_namespace() and (facts.memory_used_bytes or 0) > UNSEEN_MEMORY_BYTES:
        held = (facts.memory_used_bytes or 0) / 2**30
        return f"{held:.1f} GiB of its memory are held by a process that is not visible from this container"
    return ""


def in_pid_namespace() -> bool:
    """Whether this is a container with process ids of its own, from where others' cannot be seen."""
    try:
        return Path("/proc/self/ns/pid").stat().st_ino != INITIAL_PID_NAMESPACE
    except OSError:
        return False


def environment(host: Host) -> dict[str, Any]:
    """Circumstances of the host, for the record of a measurement; the meter adds those of the device."""
    return {
        "host": platform.node(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "driver": host.driver,
        "device_name": host.name,
        "device_uuid": host.uuid,
        "pci_bus_id": host.device.pci_bus_id,
        "architecture": host.device.architecture,
        "power_limit_watts": host.device.power_limit_watts,
        "persistence": host.device.persistence,
        "container": in_pid_namespace(),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
        "notes": list(host.notes),
    }


def _named(devices: tuple[AnyDevice, ...], name: str) -> list[AnyDevice]:
    """Those meant by a number, or by a UUID or the start of one.

    A UUID that no device bears may be that of one which does not even tell it.
    """
    if name.isdecimal():
        return list(devices[int(name) : int(name) + 1])
    if not name.upper().startswith("GPU-"):
        return []
    bear_it = [d for d in devices if (d.uuid or "").lower().startswith(name.lower())]
    return bear_it or list(filter(_tells_no_uuid, devices))[:1]


def _tells_no_uuid(device: AnyDevice) -> bool:
    return isinstance(device, SilentDevice) and device.uuid is None


def _described(device: AnyDevice) -> str:
    if isinstance(device, SilentDevice):
        return "does not answer"
    return f"is {device.name} {device.uuid or ''}".rstrip()


def _is_mig(name: str) -> bool:
    return name.upper().startswith("MIG-")


def _notes(facts: DeviceFacts) -> tuple[str, ...]:
    notes = []
    if facts.processes is None:
        notes.append("NVML does not list the device's processes here: that nobody else uses it cannot be verified")
    elif in_pid_namespace():
        notes.append("in a container: processes outside it are not visible, only the memory they hold")
    return tuple(notes)
