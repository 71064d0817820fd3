"""Direct a fake GPU: describe the devices, play a power trace, inject faults, and know the exact energy.

    with fake.load(tmp_path, Device(idle=60, counter_period=0.1)) as gpu:      # virtual clock, this process
        pynvml.nvmlInit()
        gpu.burst(start=gpu.now() + 2, seconds=0.5, watts=240)                 # watts above idle
        gpu.clock.sleep(5)
        gpu.dynamic(1, 4)                                                      # 120.0 J

    with fake.load(tmp_path, Device(), clock="real") as gpu:                   # real time, other processes
        subprocess.run([...], env=gpu.environment())

Times are seconds on the axis of ``gpu.clock``: CLOCK_MONOTONIC in real time, from 0 on in virtual time. One process
plays one fake at a time; children given its environment share its clock, trace and faults. The other half is
libnvidia-ml.c.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import math
import os
import signal
import struct
import sys
import time
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.fake_nvml.board import Device, Fault
from tests.fake_nvml.build import library, smi_folder
from workers.meters.clock import Clock, SystemClock, VirtualClock

ROOT = Path(__file__).resolve().parents[2]


class FakeClock(VirtualClock):
    """The time that libnvidia-ml.c keeps, shared by all processes; passes when somebody sleeps."""

    def __init__(self, fake: Fake) -> None:
        super().__init__()
        self._fake = fake

    def now(self) -> float:
        return self._fake.now()

    def _advance(self, seconds: float) -> None:
        self._fake.advance(seconds)


class Fake:
    """A fake in play in this process. Made by load() or attach()."""

    def __init__(self, config: Path) -> None:
        self.config = config
        self._library = _library()
        self._before = os.environ.get("FAKE_NVML_CONFIG")
        os.environ["FAKE_NVML_CONFIG"] = str(config)
        if self._library.fake_nvml_load() != 0:
            raise RuntimeError(f"fake NVML cannot read {config}")
        self.virtual = _is_virtual(config)
        self.clock: Clock = FakeClock(self) if self.virtual else SystemClock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is None:
            os.environ.pop("FAKE_NVML_CONFIG", None)
        else:
            os.environ["FAKE_NVML_CONFIG"] = self._before

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of a child process that shall see this device, by whichever program it reads NVML."""
        folders = {"LD_LIBRARY_PATH": library().parent, "PATH": smi_folder(), "PYTHONPATH": ROOT}
        joined = {k: os.pathsep.join([str(v), *filter(None, [os.environ.get(k)])]) for k, v in folders.items()}
        return {**os.environ, **joined, "FAKE_NVML_CONFIG": str(self.config), **more}

    # Time

    def now(self) -> float:
        return float(self._library.fake_nvml_now())

    def advance(self, seconds: float) -> None:
        """Let time pass: at once in virtual time, by sleeping in real time."""
        if self.virtual:
            self._library.fake_nvml_advance(seconds)
        else:
            time.sleep(seconds)

    # The trace: watts above idle

    def draw(self, watts: float, *, device: int = 0, at: float | None = None, slope: float = 0.0) -> None:
        """From ``at`` (now) on the device draws so much above idle, rising by ``slope`` watts a second."""
        if self._library.fake_nvml_point(device, self.now() if at is None else at, watts, slope):
            raise ValueError(f"draw at {at}: the trace already goes further, or is full")

    def burst(
        self, *, start: float | None = None, seconds: float, watts: float, device: int = 0
    ) -> tuple[float, float]:
        """``watts`` above idle for so long, from ``start`` (now) on. The two times."""
        start = self.now() if start is None else start
        self.draw(watts, device=device, at=start)
        self.draw(0.0, device=device, at=start + seconds)
        return start, start + seconds

    def script(self, points: Iterable[tuple[float, float]], *, device: int = 0) -> None:
        """Steps: (time, watts above idle), times rising."""
        for at, watts in points:
            self.draw(watts, device=device, at=at)

    # Faults

    def fault(
        self, fault: Fault, *, start: float = -math.inf, end: float = math.inf, value: float = 0.0, device: int = 0
    ) -> None:
        if self._library.fake_nvml_fault(device, int(fault), start, end, value):
            raise ValueError("too many faults")

    def clear_faults(self, device: int = 0) -> None:
        self._library.fake_nvml_clear_faults(device)

    # The truth

    def truth(self, start: float, end: float, device: int = 0) -> float:
        """Exact joules between two times, idle and the noise of the true power included."""
        return float(self._library.fake_nvml_energy(device, start, end, 0))

    def dynamic(self, start: float, end: float, device: int = 0) -> float:
        """Exact joules above idle; the noise of the true power is part of it."""
        return float(self._library.fake_nvml_energy(device, start, end, 1))

    def watts(self, at: float, device: int = 0) -> float:
        return float(self._library.fake_nvml_watts(device, at))

    def polls(self, device: int = 0) -> int:
        """How often the counter was read, by anyone."""
        return int(self._library.fake_nvml_polls(device))


def load(
    folder: Path,
    *devices: Device,
    clock: str = "virtual",
    errors: Mapping[str, int | tuple[int, int]] | None = None,
    driver: str = "580.65.06",
    call_seconds: float = 0.0,
    noise_step: float = 0.005,
) -> Fake:
    """Put devices (one A100 by default) on stage, in this process and in those that get its environment().

    ``clock`` is virtual (time passes when somebody sleeps) or real. ``errors`` maps NVML functions, with or without
    their version suffix, to the code they answer (Code), or to (code, times): so often after each
    nvmlInit, then no more. Every call takes ``call_seconds``.
    """
    mark = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:8]
    stage, config = folder / "fake_nvml.stage", folder / "fake_nvml.conf"
    lines = [f"stage {stage}", f"driver {driver}", f"call_seconds {call_seconds}", f"noise_step {noise_step}"]
    for function, error in (errors or {}).items():
        code, times = error if isinstance(error, tuple) else (error, -1)
        lines.append(f"error {function} {int(code)} {times}")
    for index, device in enumerate(devices or (Device(),)):
        lines += device.lines(index, mark)
    folder.mkdir(parents=True, exist_ok=True)
    stage.unlink(missing_ok=True)
    with stage.open("wb") as file:
        file.write(HEADER.pack(0.0 if clock == "virtual" else time.monotonic(), 0.0, clock == "virtual", len(devices)))
        file.truncate(_library().fake_nvml_stage_bytes())
    config.write_text("\n".join(lines) + "\n")
    return Fake(config)


def attach() -> Fake:
    """The fake of the parent process, in a child that was given its environment()."""
    return Fake(Path(os.environ["FAKE_NVML_CONFIG"]))


HEADER = struct.Struct("=ddqq")  # epoch, virtual now, is virtual, devices


def _is_virtual(config: Path) -> bool:
    stage = config.read_text().splitlines()[0].removeprefix("stage ")
    with Path(stage).open("rb") as file:
        return bool(HEADER.unpack(file.read(HEADER.size))[2])


@cache
def _library() -> ctypes.CDLL:
    """Loaded for all: a later dlopen("libnvidia-ml.so.1"), as pynvml does it, finds this one by its soname."""
    loaded = ctypes.CDLL(str(library()), mode=ctypes.RTLD_GLOBAL)
    number, real, integer = ctypes.c_int, ctypes.c_double, ctypes.c_longlong
    for name, result, arguments in (
        ("load", number, []),
        ("stage_bytes", ctypes.c_size_t, []),
        ("now", real, []),
        ("advance", None, [real]),
        ("point", number, [number, real, real, real]),
        ("fault", number, [number, number, real, real, real]),
        ("clear_faults", None, [number]),
        ("polls", integer, [number]),
        ("energy", real, [number, real, real, number]),
        ("watts", real, [number, real]),
    ):
        function = getattr(loaded, f"fake_nvml_{name}")
        function.restype, function.argtypes = result, arguments
    return loaded


def main(arguments: list[str]) -> int:
    """``python -m tests.fake_nvml.fake [--on DEVICE,... [--as PID]] SECONDS WATTS ...``

    A command that draws power, for `farm meter` to measure. ``--on`` the devices of these numbers, which then list it
    as their process; ``--as``: by this id.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--on", default="")
    parser.add_argument("--as", dest="pid", type=int, default=os.getpid())
    parser.add_argument("seconds_and_watts", type=float, nargs="*")
    chosen = parser.parse_args(arguments)
    listed = [int(number) for number in chosen.on.split(",") if number]
    gpu = attach()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    for device in listed:
        gpu.fault(Fault.PROCESS, start=gpu.now(), value=chosen.pid, device=device)
    devices = listed or [0]
    try:
        for seconds, watts in zip(chosen.seconds_and_watts[::2], chosen.seconds_and_watts[1::2], strict=True):
            for device in devices:
                gpu.draw(watts, device=device)
            gpu.advance(seconds)
    finally:
        for device in devices:
            gpu.draw(0.0, device=device)  # a device falls idle when its process goes
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
