"""What NVML says of this host's devices, as JSON on stdout. ``workers.device.host.inspect`` runs it as a process.

Whoever lives long must never have touched NVML or CUDA: a worker's parent forks, and a wedged driver hangs its callers.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable
from typing import Any, Final, TypeVar

T = TypeVar("T")

# Number in NVML -> the name that farm/catalog uses.
ARCHITECTURES: Final = {5: "Volta", 6: "Turing", 7: "Ampere", 8: "Ada", 9: "Hopper", 10: "Blackwell"}


def read() -> dict[str, Any]:
    """``{"driver", "devices": [...]}``, or ``{"error": one line}`` where NVML cannot be used at all."""
    try:
        import pynvml as nvml
    except ImportError:
        return {"error": "nvidia-ml-py is not installed: pip install 'joulefarm[worker]'"}
    from workers.device.nvml import insist

    try:
        insist(nvml.nvmlInit)
    except nvml.NVMLError as error:
        return {"error": _unusable(error)}
    try:
        count = insist(nvml.nvmlDeviceGetCount)
        return {
            "driver": _ask(nvml, nvml.nvmlSystemGetDriverVersion),
            "devices": [_device(nvml, i) for i in range(count)],
        }
    except nvml.NVMLError as error:
        return {"error": _unusable(error)}
    finally:
        with contextlib.suppress(nvml.NVMLError):
            nvml.nvmlShutdown()


def _device(nvml: Any, index: int) -> dict[str, Any]:
    """Facts of one device; a fact that NVML does not tell here is None.

    A device that does not answer has ``index``, ``error`` and ``remedy``, and its ``uuid`` where that much can be had.
    """
    from workers.device.nvml import compute_processes, insist

    handle = None
    try:
        handle = insist(lambda: nvml.nvmlDeviceGetHandleByIndex(index))
        name = insist(lambda: str(nvml.nvmlDeviceGetName(handle)))
    except (nvml.NVMLError, UnicodeDecodeError) as error:
        uuid = None if handle is None else _ask(nvml, lambda: str(nvml.nvmlDeviceGetUUID(handle)))
        return {"index": index, "uuid": uuid, "error": str(error), "remedy": _remedy(nvml, index, error)}

    def ask(question: Callable[[], Any]) -> Any:
        return _ask(nvml, question)

    return {
        "index": index,
        "name": name,
        "uuid": ask(lambda: str(nvml.nvmlDeviceGetUUID(handle))),
        "pci_bus_id": ask(lambda: str(nvml.nvmlDeviceGetPciInfo(handle).busId)),
        "architecture": ask(lambda: ARCHITECTURES.get(nvml.nvmlDeviceGetArchitecture(handle))),
        "memory_bytes": ask(lambda: int(nvml.nvmlDeviceGetMemoryInfo(handle).total)),
        "memory_used_bytes": ask(lambda: int(nvml.nvmlDeviceGetMemoryInfo(handle).used)),
        "power_limit_watts": ask(lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000),
        "mig": ask(lambda: bool(nvml.nvmlDeviceGetMigMode(handle)[0])),
        "persistence": ask(lambda: bool(nvml.nvmlDeviceGetPersistenceMode(handle))),
        "processes": ask(lambda: sorted(compute_processes(handle))),
    }


def _ask(nvml: Any, question: Callable[[], T]) -> T | None:
    from workers.device.nvml import insist

    try:
        return insist(question)
    except (nvml.NVMLError, nvml.NVMLLibraryMismatchError, UnicodeDecodeError):  # not here, or an older library
        return None


def _remedy(nvml: Any, index: int, error: Exception) -> str:
    """What to do about a device that does not answer."""
    from workers.device.nvml import REMEDIES

    reset = f"see `dmesg` (Xid), then nvidia-smi --gpu-reset -i {index}, or reboot"
    remedies = {
        **REMEDIES,
        nvml.NVML_ERROR_GPU_IS_LOST: f"it fell off the bus: {reset}",
        nvml.NVML_ERROR_RESET_REQUIRED: reset,
    }
    return remedies.get(getattr(error, "value", 0), f"try nvidia-smi -i {index}")


def _unusable(error: Exception) -> str:
    """NVML's refusal with what to do about it."""
    from workers.device.nvml import REMEDIES

    return f"NVML cannot be used: {error}: {REMEDIES.get(getattr(error, 'value', 0), 'try nvidia-smi')}"


if __name__ == "__main__":
    json.dump(read(), sys.stdout)
