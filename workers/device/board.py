"""The boards of this host, as values. Imports no NVML: whoever reads one says so with these."""

from __future__ import annotations

from dataclasses import dataclass

from farm import catalog


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """The device that a meter reads, as the meter names it."""

    index: int | None  # NVML's
    name: str
    uuid: str | None
    pci_bus_id: str | None = None


def types_of(name: str) -> tuple[str, ...]:
    """Names of the catalog's GPU types, in order, that a board which NVML calls so is one of."""
    return tuple(sorted(gpu_type for gpu_type, gpu in catalog.gpus().items() if gpu.matches(name)))


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceFacts:
    """What NVML says of one device; None where it does not say."""

    index: int  # NVML's
    name: str
    uuid: str | None
    pci_bus_id: str | None
    architecture: str | None
    memory_bytes: int | None
    memory_used_bytes: int | None
    power_limit_watts: float | None
    mig: bool | None
    persistence: bool | None
    processes: tuple[int, ...] | None  # ids of compute processes

    @property
    def key(self) -> str:
        """Its UUID; where NVML tells none, its number, which NVML and CUDA take as well."""
        return self.uuid or str(self.index)

    @property
    def types(self) -> tuple[str, ...]:
        """Names of the catalog's GPU types that this device is one of."""
        return types_of(self.name)


@dataclass(frozen=True, kw_only=True, slots=True)
class SilentDevice:
    """A device that is there but does not answer. It keeps its number, so that no other is taken for it."""

    index: int  # NVML's
    uuid: str | None
    error: str  # what NVML says
    remedy: str


AnyDevice = DeviceFacts | SilentDevice


@dataclass(frozen=True, kw_only=True, slots=True)
class HostFacts:
    """What NVML says of this host: all devices that it counts, by its index."""

    driver: str | None
    devices: tuple[AnyDevice, ...]
