"""What NVML says of this host's devices, as JSON on stdout. ``workers.device.host.inspect`` runs it as a process.

Whoever lives long must never have touched NVML or CUDA: a worker's parent forks, and a wedged driver hangs its callers.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

from farm.domain import MeterError


def read() -> dict[str, Any]:
    """Return the fields of ``board.HostFacts``, or ``{"error": one line}`` where NVML cannot be used at all."""
    try:
        from workers.device.nvml.inventory import read_host
    except ImportError:
        return {"error": "nvidia-ml-py is not installed: pip install 'joulefarm[worker]'"}
    try:
        return asdict(read_host())
    except MeterError as error:
        return {"error": str(error)}


if __name__ == "__main__":
    json.dump(read(), sys.stdout)
