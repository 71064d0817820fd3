"""What NVML says of this host's devices, as JSON on stdout. Run as a process of its own (``workers.host.inspect``).

Whoever lives long must never have touched NVML or CUDA: a worker's parent forks, and a wedged driver hangs its callers.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable
from typing import Any, Final

# Number in NVML -> the name that farm/catalog uses.
ARCHITECTURES: Final = {5: "Volta", 6: "Turing", 7: "Ampere", 8: "Ada", 9: "Hopper", 10: "Blackwell"}


def read() -> dict[str, Any]:
    """``{"driver", "devices": [...]}``, or ``{"error": one line}`` where NVML cannot be used at all."""
    try:
        import pynvml as nvml
    except ImportError:
        return {"error": "nvidia-ml-py is not installed: pip install 'joulefarm[worker]'"}
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return {"error": _unusable(error)}
    try:
        count = nvml.nvmlDeviceGetCount()
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
    """Facts of one device; a fact that NVML does not tell here is None, a device that does not answer has ``error``."""
    from workers.meters.nvml_api import compute_processes

    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        name = str(nvml.nvmlDeviceGetName(handle))
    except nvml.NVMLError as error:
        return {"index": index, "error": str(error)}

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


def _ask(nvml: Any, question: Callable[[], Any]) -> Any:
    try:
        return question()
    except (nvml.NVMLError, nvml.NVMLLibraryMismatchError, UnicodeDecodeError):  # not here, or an older library
        return None


def _unusable(error: Exception) -> str:
    """NVML's refusal with what to do about it."""
    from workers.meters.nvml_api import REMEDIES

    return f"NVML cannot be used: {error}: {REMEDIES.get(getattr(error, 'value', 0), 'try nvidia-smi')}"


if __name__ == "__main__":
    json.dump(read(), sys.stdout)
