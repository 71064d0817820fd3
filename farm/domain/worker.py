"""A worker as it describes itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SILENT_SECONDS: Final = 60.0  # three heartbeats and more: whoever said nothing for so long is not there
NO_DEVICE: Final = "no device"  # the state of a worker whose device does not answer
MAINTENANCE: Final = "maintenance"  # a person took the device off
NO_REASON: Final = "no reason given"  # where that person says none
HEALTH: Final = "health"  # its health checks did
SIMULATED: Final = "sim-"  # names and identities of simulated devices begin with it


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerInfo:
    """A worker, as it says it is. Times are seconds since 1970 by the database's clock; it sets them."""

    name: str  # unique in the farm
    gpu: str  # catalog name of the type that it measures
    queue: str
    device_name: str
    device_uuid: str
    host: str
    pid: int
    machine: str = ""  # farm.processes.machine
    code_version: str = ""
    state: str = "idle"  # idle, busy, draining, or NO_DEVICE
    job_id: int | None = None
    started_at: float = 0.0
    seen_at: float = 0.0
    silent_seconds: float = 0.0  # since seen_at
    spool_waiting: int = 0  # results on its disk that SQL does not have yet
    drain_requested: bool = False
    facts: str = ""  # of driver and board; a device whose facts changed is checked anew
    power_watts: float | None = None  # of its device when it was last heard of; None: not known
    temperature_celsius: float | None = None
    off_kind: str | None = None  # MAINTENANCE or HEALTH while its device takes no jobs
    off_reason: str | None = None
    off_since: float | None = None
    suspect_since: float | None = None  # its last health check was bad

    @property
    def alive(self) -> bool:
        """Whether it was heard of late."""
        return self.silent_seconds < SILENT_SECONDS

    @property
    def off(self) -> str:
        """Why its device takes no jobs, in words; empty where it takes them."""
        return f"{self.off_kind}: {self.off_reason}" if self.off_kind else ""

    @property
    def simulated(self) -> bool:
        """Whether its device is a simulated one."""
        return self.device_uuid.startswith(SIMULATED)

    @property
    def power_origin(self) -> str | None:
        """Whether power and temperature are measured or simulated; None where neither is known."""
        if self.power_watts is None and self.temperature_celsius is None:
            return None
        return "simulated" if self.simulated else "measured"
