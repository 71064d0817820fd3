"""Whose processes compute on the device: ours (this process and its descendants) or somebody else's."""

from __future__ import annotations

import psutil

from workers.device.host import in_pid_namespace


class ForeignProcesses:
    """Tells strangers from our own. Remembers our own, as they may have ended when NVML still lists them."""

    def __init__(self, pid: int, present: frozenset[int], container: bool | None = None) -> None:
        self._pid = pid
        self._own = {pid}
        self._container = in_pid_namespace() if container is None else container
        self._present = present  # before any work of ours

    def foreign(self, pids: frozenset[int]) -> frozenset[int]:
        """Those that are not ours.

        In a container NVML may name our own process by an id that means nothing here: one newcomer that no process here
        bears is taken for ours.
        """
        strange = frozenset(pid for pid in pids if not self._ours(pid))
        if self._container:
            newcomers = {pid for pid in strange - self._present if not psutil.pid_exists(pid)}
            if len(newcomers) == 1:
                strange -= newcomers
        return strange

    def _ours(self, pid: int) -> bool:
        if pid in self._own:
            return True
        try:
            ours = any(parent.pid == self._pid for parent in psutil.Process(pid).parents())
        except psutil.Error:
            return False
        if ours:
            self._own.add(pid)
        return ours
