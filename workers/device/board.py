"""A board of this host, as values. Imports no NVML: whoever reads one says so with these."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """What a meter says it is reading."""

    index: int | None  # NVML's
    name: str
    uuid: str | None
    pci_bus_id: str | None = None
