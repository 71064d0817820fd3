"""Who a worker is: the GPU type it serves, the device it is pinned to, the name it claims jobs under."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from farm import catalog
from farm.domain.worker import SIMULATED

if TYPE_CHECKING:
    from workers.device.host import Host


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where measurements are made."""

    gpu: str  # catalog name
    device: int | str | None  # what the meter is opened on: a UUID, or a simulated device's number; None: the processor
    simulate: bool = False
    speed: float | None = None  # simulated seconds in a real one; None: as fast as it goes
    environment: Mapping[str, Any] = field(default_factory=dict)  # of the host, for every measurement's record


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerIdentity:
    """One worker, for as long as its device is locked: the same again after a restart, unlike any other."""

    name: str  # a100-0@host; claims are made under it
    gpu: str  # catalog name
    queue: str  # the one Celery queue it listens to
    device: int | None  # NVML index; None for a processor
    device_name: str
    device_uuid: str
    host: str
    simulate: bool = False
    speed: float | None = None  # simulated seconds in a real one; None: as fast as it goes
    environment: Mapping[str, Any] = field(default_factory=dict)  # of the host, for every measurement's record

    @property
    def place(self) -> Place:
        """Where it measures. The device by its UUID, which means the same one whatever this process may see."""
        device = self.device if self.simulate or self.device is None else self.device_uuid
        return Place(
            gpu=self.gpu, device=device, simulate=self.simulate, speed=self.speed, environment=self.environment
        )

    @property
    def facts(self) -> str:
        """What besides its jobs decides what the device draws, in one line: a change calls for a health check."""
        driver, limit = self.environment.get("driver"), self.environment.get("power_limit_watts")
        stated = [f"driver {driver}" if driver else "", f"power limit {limit:g} W" if limit else ""]
        return ", ".join(filter(None, stated))

    @classmethod
    def verified(cls, gpu: str, host: Host, environment: Mapping[str, Any]) -> Self:
        """The identity of a worker on a device that NVML knows."""
        name = socket.gethostname()
        return cls(
            name=f"{gpu}-{host.device.index}@{name}",
            gpu=gpu,
            queue=catalog.gpu(gpu).queue,
            device=host.device.index,
            device_name=host.name,
            device_uuid=host.uuid,
            host=name,
            environment=environment,
        )

    @classmethod
    def plain(
        cls,
        gpu: str,
        device: int | None,
        home: Path,
        *,
        simulate: bool,
        speed: float | None = None,
        environment: Mapping[str, Any] | None = None,
    ) -> Self:
        """The identity of a worker without a GPU of its own: the processor, or a simulated device.

        Its name carries a mark of the home, since two farms on one host may simulate the same devices.
        """
        host = socket.gethostname()
        mark = hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:6]
        type_name = f"{SIMULATED}{gpu}" if simulate else gpu
        number = "" if device is None else f"-{device}"
        return cls(
            name=f"{type_name}{number}@{host}-{mark}",
            gpu=gpu,
            queue=catalog.gpu(gpu).queue,
            device=device,
            device_name=f"simulated {gpu}" if simulate else catalog.gpu(gpu).title,
            device_uuid=f"{type_name}{number}-{mark}",
            host=host,
            simulate=simulate,
            speed=speed,
            environment=environment or {},
        )
