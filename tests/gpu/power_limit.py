"""One pipeline at three power limits, the old limit restored whatever happens. Only on a host that is yours."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from farm.domain import Configuration
from tests.gpu.acceptance import Failed, Run

PARTS: Final = (1.0, 0.75, 0.5)  # of the limit that was found, none below what the board allows
# Runs beside us with its stdin on a pipe of ours: when that closes, however we end, the limit is as it was.
RESTORER: Final = "import subprocess, sys; sys.stdin.read(); sys.exit(subprocess.call(sys.argv[1:]))"


def check(run: Run, configuration: Configuration) -> dict[str, Any]:
    """Joules and seconds of one pipeline at each limit, by ``farm measure``."""
    from tests.gpu.steps import measured

    limit, lowest = _limits(run.device)
    limits: dict[str, Any] = {}
    for part in PARTS:
        watts = max(lowest, round(part * limit))
        with limited(run.device, watts, restore=limit):
            document = measured(run, configuration)["measurement"]
        limits[f"{watts:.0f}"] = {
            name: document[name] for name in ("energy_joules", "energy_std_joules", "duration_seconds", "flags")
        }
    now, _ = _limits(run.device)
    if now != limit:
        raise Failed(f"the power limit is {now:g} W, {limit:g} W was found: nvidia-smi -i {run.device} -pl {limit:g}")
    return {"watts_found": limit, "lowest": lowest, "configuration": configuration.label(), "limits": limits}


@contextmanager
def limited(device: int, watts: float, *, restore: float) -> Iterator[None]:
    """The device under a limit; restored by a process that outlives this one, should it be killed."""
    undo = _command(device, restore)
    restorer = subprocess.Popen(
        [sys.executable, "-c", RESTORER, *undo],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert restorer.stdin is not None
    try:
        done = subprocess.run(_command(device, watts), capture_output=True, text=True)
        if done.returncode:
            raise Failed(f"the limit of {watts:g} W was refused: {(done.stdout + done.stderr).strip()}")
        yield
    finally:
        restorer.stdin.close()
        restorer.wait(timeout=60)


def _command(device: int, watts: float) -> list[str]:
    return ["nvidia-smi", "-i", str(device), "-pl", f"{watts:g}"]


def _limits(device: int) -> tuple[float, float]:
    """The limit now and the lowest that the board allows, in watts."""
    import pynvml

    pynvml.nvmlInit()
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(device)
        low, _ = pynvml.nvmlDeviceGetPowerManagementLimitConstraints(handle)
        return pynvml.nvmlDeviceGetPowerManagementLimit(handle) / 1000, low / 1000
    finally:
        pynvml.nvmlShutdown()
