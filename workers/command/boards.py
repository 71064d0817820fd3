"""Which boards a command computes on: it may count them in another order than the meter, as CUDA does by default."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from farm.domain import FarmError
from workers.device.board import DeviceFacts, SilentDevice
from workers.device.host import Host, visible
from workers.device.nvml.device import NvmlDevice
from workers.device.processes import DeviceProcesses
from workers.meters.clock import Clock

LOOK_SECONDS: Final = 0.5  # from one look at the boards' processes to the next


@dataclass(slots=True)
class Board:
    """A board, with whose processes were on it while the command ran."""

    facts: DeviceFacts
    number: int | None  # what --device says; None: CUDA_VISIBLE_DEVICES hides it
    nvml: NvmlDevice
    processes: DeviceProcesses
    listed: bool = False  # NVML does list its processes
    used: bool = False  # processes of the command were on it
    foreign: bool = False
    unknown: set[int] = field(default_factory=set)

    def __str__(self) -> str:
        return f"device {self.facts.key if self.number is None else self.number} ({self.facts.name})"

    def record(self, pids: frozenset[int], *, running: bool) -> None:
        """Note the processes that were on it, before the command began or while it was ``running``."""
        self.listed = True
        if not running:
            self.processes.were_there(pids)
            return
        occupants = self.processes.tell_apart(pids)
        self.used |= bool(occupants.ours)
        self.foreign |= bool(occupants.foreign)
        self.unknown |= occupants.unknown


class BoardWatch:
    """Looks at the processes on all boards while the command runs; who is there before that is not the command's.

    It reads no energy, which could disturb whoever measures on another board. Leave it before asking what it saw.
    """

    def __init__(self, host: Host, clock: Clock) -> None:
        self._running = False
        self._boards = list(_open(host))
        self._measured = next((board for board in self._boards if board.facts.key == host.uuid), None)
        self._silent: set[str] = set()  # keys of boards that were lost
        self._clock = clock
        self._stop = clock.drive(self._look)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        for board in self._boards:
            board.nvml.close()

    def command_runs(self, running: bool) -> None:
        """Say that the command begins now, or that it has ended."""
        self._running = running

    @property
    def used(self) -> list[Board]:
        """The boards on which processes of the command were seen; none where that cannot be seen."""
        return [board for board in self._boards if board.used]

    @property
    def unknown_processes(self) -> list[int] | None:
        """Those on the measured board that came while the command ran, by NVML's ids; None where it lists none."""
        return sorted(self._measured.unknown) if self._measured and self._measured.listed else None

    @property
    def flags(self) -> tuple[str, ...]:
        """Flags of the measurement."""
        foreign = ("foreign_process",) if self._measured and self._measured.foreign else ()
        wrong = ("wrong_device",) if self.used and not self._may_be_used() else ()
        return foreign + wrong

    @property
    def remark(self) -> str:
        """What has to be said of the boards besides the measured one; empty where nothing has."""
        others = [board for board in self.used if board is not self._measured]
        if "wrong_device" in self.flags:
            there = f"the command computed on {_names(others)}, not on {self._measured}"
            return f"{there}, which was measured: {_advice(others)}"
        if others:
            return f"the command computed on {_names(others)} too, whose energy is not in this"
        suspects = [board for board in self._boards if board.unknown]
        if suspects and not self._may_be_used():
            there = f"came to {_names(suspects)} and none to {self._measured}, which was measured"
            return (
                f"processes that cannot be identified from here {there}; if they are the command's: {_advice(suspects)}"
            )
        return ""

    def _may_be_used(self) -> bool:
        """Whether the command computed on the measured board, or may have done so unseen."""
        board = self._measured
        return board is None or board.used or bool(board.unknown) or not board.listed

    def _look(self) -> float:
        for board in self._boards:
            running = self._running
            if board.facts.key in self._silent:
                continue
            try:
                pids = board.nvml.processes()
            except FarmError:
                self._silent.add(board.facts.key)
                continue
            if pids is not None and running is self._running:
                board.record(pids, running=running)
        return self._clock.now() + LOOK_SECONDS


def _open(host: Host) -> Iterable[Board]:
    """Every board that answers."""
    numbers = {device: number for number, device in enumerate(visible(host.devices))}
    for facts in host.devices:
        if not isinstance(facts, SilentDevice):
            with suppress(FarmError):
                yield Board(facts, numbers.get(facts), NvmlDevice(facts.key), DeviceProcesses(os.getpid()))


def _names(boards: Iterable[Board]) -> str:
    return " and ".join(map(str, boards))


def _advice(boards: list[Board]) -> str:
    numbers = [board.number for board in boards if board.number is not None]
    if len(boards) == len(numbers) == 1:
        return f"use --device {numbers[0]}, or CUDA_DEVICE_ORDER=PCI_BUS_ID"
    return "set CUDA_DEVICE_ORDER=PCI_BUS_ID and CUDA_VISIBLE_DEVICES"
