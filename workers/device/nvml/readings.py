"""Readings of a device by its NVML handle, in SI units. They raise NVMLError, or one of ``errors.LACKING``."""

from __future__ import annotations

from typing import Any, Final

import pynvml as nvml

# Number in NVML -> the name that farm/catalog uses.
ARCHITECTURES: Final = {5: "Volta", 6: "Turing", 7: "Ampere", 8: "Ada", 9: "Hopper", 10: "Blackwell"}


def name(handle: Any) -> str:
    return str(nvml.nvmlDeviceGetName(handle))


def uuid(handle: Any) -> str:
    return str(nvml.nvmlDeviceGetUUID(handle))


def pci_bus_id(handle: Any) -> str:
    number = nvml.nvmlDeviceGetPciInfo(handle).busId
    return number.decode() if isinstance(number, bytes) else str(number)


def architecture(handle: Any) -> str | None:
    """The architecture's name in the catalog; None for one that the catalog has no name for."""
    return ARCHITECTURES.get(nvml.nvmlDeviceGetArchitecture(handle))


def power_limit_watts(handle: Any) -> float:
    return float(nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000)


def mig(handle: Any) -> bool:
    return bool(nvml.nvmlDeviceGetMigMode(handle)[0])


def persistence(handle: Any) -> bool:
    return bool(nvml.nvmlDeviceGetPersistenceMode(handle))


def compute_processes(handle: Any) -> frozenset[int]:
    """Ids of the processes that compute on a device; NVMLLibraryMismatchError where the library is too old for that."""
    try:
        processes = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
    except nvml.NVMLLibraryMismatchError:  # of a driver before 510
        processes = nvml.nvmlDeviceGetComputeRunningProcesses_v2(handle)
    return frozenset(int(process.pid) for process in processes)
