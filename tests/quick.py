"""A farm whose minutes are seconds, and the smallest of sweeps."""

from __future__ import annotations

from collections.abc import Iterable

# Short leases, so that what takes minutes in a lab takes seconds here.
QUICK = {
    "FARM_LEASE_SECONDS": "3",
    "FARM_HEARTBEAT_SECONDS": "0.5",
    "FARM_TICK_SECONDS": "0.3",
    "FARM_MESSAGE_GRACE_SECONDS": "2",
    "FARM_SPOOL_DRAIN_SECONDS": "0.5",
    "FARM_RETRY_SECONDS": "0.2",
    "FARM_MAX_ATTEMPTS": "20",
    "FARM_REFIT_SECONDS": "3600",
    "FARM_IDLE_SECONDS": "1",
}


def sweep_text(steps: Iterable[int], *, models: Iterable[str] = ("sd2",), gpus: Iterable[str] = ("a100",)) -> str:
    """A sweep file with a job for every model, GPU type and number of steps; each nano, one image of 64 x 64."""
    return f"""\
models: [{", ".join(models)}]
gpus: [{", ".join(gpus)}]
resolutions: [64]
steps: [{", ".join(map(str, steps))}]
precisions: [fp16]
cfg: [false]
prompts: [1]
size: nano
"""
