"""An Ethernet switch as a process: it carries frames between hosts, late, seldom or not at all, as it is told.

Started as ``python -m tests.lab.switch``; lines of JSON come on its standard input, one answer to each on its output.
The kernel's own means (bridge, netem) are not in every kernel; a device of the kind TAP is.

``{"do": "plug", "name": N, "pid": P, "device": D}``: make a network device in the namespace of a process.
``{"do": "set", "name": N, "delay": SECONDS, "loss": SHARE, "up": BOOL}``: what the host's cable does, each way.
``{"do": "turns"}``: for each client's address and server's port, how often the client spoke after it had heard.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import json
import os
import random
import selectors
import struct
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TUNSETIFF = 0x400454CA
TAP_WITHOUT_HEADER = 0x1002
CLONE_NEWNET = 0x40000000
LONGEST_FRAME = 65536
SERVER_PORTS = (5432, 6379)


@dataclass
class Cable:
    name: str
    tap: int
    delay: float = 0.0
    loss: float = 0.0
    up: bool = True


class Switch:
    def __init__(self) -> None:
        self._cables: dict[str, Cable] = {}
        self._at: dict[bytes, Cable] = {}  # by the address of a network device
        self._waiting: list[tuple[float, int, Cable, bytes]] = []  # a heap by when a frame is due
        self._number = 0
        self._random = random.Random(0)
        self._spoke_last: dict[tuple[bytes, bytes, bytes], bool] = {}  # of a connection: whether the client did
        self._turns: Counter[tuple[str, int]] = Counter()
        self._selector = selectors.DefaultSelector()

    def run(self) -> None:
        self._selector.register(sys.stdin, selectors.EVENT_READ)
        while True:
            wait = max(0.0, self._waiting[0][0] - time.monotonic()) if self._waiting else None
            for key, _ in self._selector.select(wait):
                if key.data is None:
                    line = sys.stdin.readline()
                    if not line:
                        return
                    print(json.dumps(self._obey(json.loads(line))), flush=True)
                else:
                    self._take(key.data)
            while self._waiting and self._waiting[0][0] <= time.monotonic():
                _, _, cable, frame = heapq.heappop(self._waiting)
                _put(cable, frame)

    def _obey(self, order: dict[str, Any]) -> Any:
        if order["do"] == "turns":
            return [[*key, count] for key, count in self._turns.items()]
        name = order["name"]
        if order["do"] == "plug":
            tap = _tap(order["pid"], order["device"])
            if name in self._cables:
                self._selector.unregister(self._cables[name].tap)
                os.close(self._cables[name].tap)
            self._cables[name] = Cable(name, tap)
            self._selector.register(tap, selectors.EVENT_READ, self._cables[name])
        else:
            for key in ("delay", "loss", "up"):
                setattr(self._cables[name], key, order[key])
        return "done"

    def _take(self, cable: Cable) -> None:
        try:
            frame = os.read(cable.tap, LONGEST_FRAME)
        except OSError:  # its host is gone
            self._selector.unregister(cable.tap)
            cable.up = False
            return
        self._at[frame[6:12]] = cable
        self._listen(frame)
        for other in self._receivers(cable, frame[:6]):
            if not (cable.up and other.up) or self._random.random() < cable.loss + other.loss:
                continue
            delay = cable.delay + other.delay
            if delay:
                self._number += 1
                heapq.heappush(self._waiting, (time.monotonic() + delay, self._number, other, frame))
            else:
                _put(other, frame)

    def _receivers(self, cable: Cable, address: bytes) -> Iterable[Cable]:
        known = self._at.get(address)
        if known is not None and not address[0] & 1:
            return [known] if known is not cable else []
        return [other for other in self._cables.values() if other is not cable]

    def _listen(self, frame: bytes) -> None:
        """Count the turns of TCP connections to the servers, by segments that carry something."""
        if frame[12:14] != b"\x08\x00" or frame[23] != 6:
            return
        ip = frame[14 : 14 + struct.unpack("!H", frame[16:18])[0]]
        header = (ip[0] & 15) * 4
        tcp = ip[header:]
        if len(tcp) <= (tcp[12] >> 4) * 4:
            return
        source, target = struct.unpack("!HH", tcp[:4])
        by_client = target in SERVER_PORTS
        if not by_client and source not in SERVER_PORTS:
            return
        client, ports = (ip[12:16], tcp[:4]) if by_client else (ip[16:20], tcp[2:4] + tcp[:2])
        server = ip[16:20] if by_client else ip[12:16]
        if by_client and not self._spoke_last.get((client, server, ports)):
            self._turns[(".".join(map(str, client)), target)] += 1
        self._spoke_last[(client, server, ports)] = by_client


def _put(cable: Cable, frame: bytes) -> None:
    if cable.up:
        try:
            os.write(cable.tap, frame)
        except OSError:  # its host is gone, or does not listen yet
            return


def _tap(pid: int, device: str) -> int:
    """A network device in the namespace of a process; what it sends is read from the descriptor."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/self/ns/net").open() as own, Path(f"/proc/{pid}/ns/net").open() as its:
        if libc.setns(its.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
        try:
            tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", device.encode(), TAP_WITHOUT_HEADER))
        finally:
            libc.setns(own.fileno(), CLONE_NEWNET)
    return tap


if __name__ == "__main__":
    Switch().run()
