"""Dynamic energy of isolated bursts, by this project's meter, Zeus and CodeCarbon, in real time over the fake NVML.

Every cell has 16 bursts at random phases of the counter's tick. The peers know no idle power: the exact one is given to
them. Ours measures it. Each tool is a process of its own with a device of its own, all beside each other.
"""

from __future__ import annotations

import importlib.util
import json
import math
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

from tests.bench import Row
from tests.fake_nvml import fake
from tests.fake_nvml.board import Device, Noise

# Seconds of a burst -> RMS error that ours must stay under, percent.
TARGETS = {0.05: 2.0, 0.2: 1.0, 0.5: 1.0, 1.0: 0.5, 3.0: 0.5}
TICKS = (0.1, 0.02)
PHASES = 16
IDLE = 60.0
REST_SECONDS = 0.6
TOOLS = ("joulefarm", "zeus", "codecarbon")


def rows() -> Iterator[Row]:
    for tick in TICKS:
        errors = _measure_all(tick)
        for seconds, target in TARGETS.items():
            for tool in TOOLS:
                if tool not in errors:
                    continue
                found = errors[tool][str(seconds)]
                rms = math.sqrt(sum(e * e for e in found) / len(found))
                bias = sum(found) / len(found)
                how = f"{len(found)} phases, bias {bias:+.2f} %"
                name = f"{seconds:g} s burst, {tick * 1000:.0f} ms tick: {tool}, RMS"
                yield Row(name, rms, "%", target if tool == "joulefarm" else None, how)


def _measure_all(tick: float) -> dict[str, dict[str, list[float]]]:
    """Relative errors in percent, by tool and burst length."""
    errors = {}
    with tempfile.TemporaryDirectory() as folder:
        running = {}
        for tool in TOOLS:
            if tool == "zeus" and importlib.util.find_spec("zeus") is None:
                print("Zeus is not installed, as `make bench` does: left out", file=sys.stderr)
                continue
            gpu = fake.load(
                Path(folder) / tool,
                Device(idle=IDLE, counter_period=tick, noise=Noise(white=1.0)),
                clock="real",
            )
            command = [sys.executable, "-m", "tests.bench.peers", tool]
            running[tool] = subprocess.Popen(command, env=gpu.environment(), stdout=subprocess.PIPE, text=True)
        for tool, process in running.items():
            out, _ = process.communicate()
            if process.returncode:
                raise RuntimeError(f"{tool} ended with {process.returncode}")
            errors[tool] = json.loads(out.splitlines()[-1])
    return errors


def _bursts(gpu: fake.Fake, around: Callable[[Callable[[], None]], None]) -> list[tuple[float, float]]:
    """Play all bursts; ``around`` measures one. The (start, end) of each, in the order of TARGETS."""
    rng = random.Random(7)
    played = []
    for seconds in TARGETS:
        for _ in range(PHASES):
            time.sleep(REST_SECONDS + rng.random() * 0.1)

            def work(seconds: float = seconds) -> None:
                start, end = gpu.burst(seconds=seconds, watts=rng.uniform(240, 360) - IDLE)
                played.append((start, end))
                time.sleep(max(0.0, end - time.monotonic()))

            around(work)
    return played


def _joulefarm(gpu: fake.Fake) -> list[tuple[float, float]]:
    from workers.meters.base import IDLE, PAD, Span
    from workers.meters.nvml.meter import NvmlMeter

    meter = NvmlMeter(0)
    meter.start()
    spans: list[Span] = []

    def rest(seconds: float) -> None:
        start = meter.edge()
        time.sleep(seconds)
        spans.append(Span(label=IDLE, start=start, end=meter.edge()))

    def around(work: Callable[[], None]) -> None:
        start = meter.edge()
        work()
        spans.append(Span(label=f"burst {len(spans)}", start=start, end=meter.edge()))

    rest(5)
    played = _bursts(gpu, around)
    rest(5)
    meter.stop()
    # The rests between are stated, as the procedure does: time without a span counts as other work.
    spans += [Span(label=PAD, start=a.end, end=b.start) for a, b in pairwise(spans)]
    energies = zip(spans, meter.energy(spans).span_joules, strict=True)
    joules = [j for span, j in energies if span.works and j is not None]
    meter.close()
    return _pair(gpu, played, joules)


def _zeus(gpu: fake.Fake) -> list[tuple[float, float]]:
    from zeus.monitor import ZeusMonitor

    monitor = ZeusMonitor(gpu_indices=[0], cpu_indices=[], approx_instant_energy=False)
    joules: list[float] = []

    def around(work: Callable[[], None]) -> None:
        start = time.monotonic()
        monitor.begin_window("burst", sync_execution=False)
        work()
        window = monitor.end_window("burst", sync_execution=False)
        joules.append(window.gpu_energy[0] - IDLE * (time.monotonic() - start))

    return _pair(gpu, _bursts(gpu, around), joules)


def _codecarbon(gpu: fake.Fake) -> list[tuple[float, float]]:
    from codecarbon import OfflineEmissionsTracker

    tracker = OfflineEmissionsTracker(
        country_iso_code="FRA", save_to_file=False, log_level="error", measure_power_secs=1, gpu_ids=[0]
    )
    joules: list[float] = []

    def around(work: Callable[[], None]) -> None:
        tracker.start_task("burst")
        start = time.monotonic()
        work()
        seconds = time.monotonic() - start
        joules.append(tracker.stop_task().gpu_energy * 3.6e6 - IDLE * seconds)

    return _pair(gpu, _bursts(gpu, around), joules)


def _pair(gpu: fake.Fake, played: list[tuple[float, float]], joules: list[float]) -> list[tuple[float, float]]:
    """(joules found, true joules) of every burst."""
    return [(found, gpu.dynamic(start, end)) for found, (start, end) in zip(joules, played, strict=True)]


def main(tool: str) -> None:
    pairs = {"joulefarm": _joulefarm, "zeus": _zeus, "codecarbon": _codecarbon}[tool](fake.attach())
    percent = [100 * (found / true - 1) for found, true in pairs]
    json.dump({str(s): percent[i * PHASES : (i + 1) * PHASES] for i, s in enumerate(TARGETS)}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
