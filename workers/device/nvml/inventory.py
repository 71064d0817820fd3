"""The boards of this host as NVML counts them, each asked once, and again where an error may pass."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, TypeVar

import pynvml as nvml

from workers.device.board import AnyDevice, DeviceFacts, HostFacts, SilentDevice
from workers.device.nvml import readings
from workers.device.nvml.errors import LACKING, device_remedy, insist, translate_errors

T = TypeVar("T")


def read_host() -> HostFacts:
    """Read the driver's version and every device that NVML counts. MeterError where NVML cannot be used at all."""
    with translate_errors():
        insist(nvml.nvmlInit)
        try:
            count = insist(nvml.nvmlDeviceGetCount)
            return HostFacts(
                driver=_answer(nvml.nvmlSystemGetDriverVersion),
                devices=tuple(_device_facts(index) for index in range(count)),
            )
        finally:
            with contextlib.suppress(nvml.NVMLError):
                nvml.nvmlShutdown()


def _device_facts(index: int) -> AnyDevice:
    handle = None
    try:
        handle = insist(lambda: nvml.nvmlDeviceGetHandleByIndex(index))
        name = insist(lambda: readings.name(handle))
    except (nvml.NVMLError, UnicodeDecodeError) as error:
        uuid = None if handle is None else _answer(lambda: readings.uuid(handle))
        return SilentDevice(index=index, uuid=uuid, error=str(error), remedy=device_remedy(index, error))

    def read(reading: Callable[[Any], T]) -> T | None:
        return _answer(lambda: reading(handle))

    memory = read(nvml.nvmlDeviceGetMemoryInfo)
    processes = read(readings.compute_processes)
    return DeviceFacts(
        index=index,
        name=name,
        uuid=read(readings.uuid),
        pci_bus_id=read(readings.pci_bus_id),
        architecture=read(readings.architecture),
        memory_bytes=None if memory is None else int(memory.total),
        memory_used_bytes=None if memory is None else int(memory.used),
        power_limit_watts=read(readings.power_limit_watts),
        mig=read(readings.mig),
        persistence=read(readings.persistence),
        processes=None if processes is None else tuple(sorted(processes)),
    )


def _answer(question: Callable[[], T]) -> T | None:
    """NVML's answer, waited for; None where it has none, here or in its version."""
    try:
        return insist(question)
    except (nvml.NVMLError, *LACKING):
        return None
