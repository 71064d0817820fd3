"""Whose processes compute on a device: our own, somebody else's, or such as cannot be identified from here."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from workers.device.host import in_pid_namespace

DEVICE_FILES: Final = "/dev/nvidia"  # whoever computes on a board has one that begins so open


@dataclass(frozen=True, kw_only=True, slots=True)
class Occupants:
    """Ids of the processes on a device, as NVML names them."""

    ours: frozenset[int]
    foreign: frozenset[int]  # known to be somebody else's
    unknown: frozenset[int]  # newcomers: our own by another id, or somebody else's


class DeviceProcesses:
    """Tells the processes of one device apart.

    Our own are the process ``pid`` and its descendants; they are remembered, as they may have ended when NVML still
    lists them. What was there before any work of ours is somebody else's. In a container NVML may name processes by ids
    of outside it: such an id means no process here, or by chance another one.
    """

    def __init__(
        self,
        pid: int,
        present: frozenset[int] = frozenset(),
        *,
        container: bool | None = None,
        device_files: str = DEVICE_FILES,
    ) -> None:
        self._pid = pid
        self._ours = {pid}
        self._present = set(present)
        self._container = in_pid_namespace() if container is None else container
        self._device_files = device_files

    def were_there(self, pids: frozenset[int]) -> None:
        """Note who is on the device before any work of ours has begun."""
        self._present |= pids

    def tell_apart(self, pids: frozenset[int]) -> Occupants:
        ours = frozenset(filter(self._is_ours, pids))
        foreign = frozenset(filter(self._is_foreign, pids - ours))
        return Occupants(ours=ours, foreign=foreign, unknown=pids - ours - foreign)

    def _is_ours(self, pid: int) -> bool:
        if pid in self._ours:
            return True
        try:
            is_ours = any(parent.pid == self._pid for parent in psutil.Process(pid).parents())
        except psutil.Error:
            return False
        if is_ours:
            self._ours.add(pid)
        return is_ours

    def _is_foreign(self, pid: int) -> bool:
        """Whether one that is not among our own is known to be somebody else's."""
        if pid in self._present:
            return True
        if self._container:
            return self._holds_device(pid)
        return psutil.pid_exists(pid)  # one that has ended may have been our own

    def _holds_device(self, pid: int) -> bool:
        """Whether the process of that id here has a device open; False too where that cannot be seen."""
        with suppress(OSError):
            for file in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):  # closed since
                    if str(file.readlink()).startswith(self._device_files):
                        return True
        return False
