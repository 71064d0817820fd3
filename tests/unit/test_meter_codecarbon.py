"""CodeCarbon's pitfalls each end in an error, and on a GPU it agrees with the NVML meter within what it states."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.fake_nvml import fake
from tests.fake_nvml.fake import Device, Fault

# Runs in a process of its own, where the fake library is the one that the loader finds and no socket can be opened.
PROGRAM = """
import json, socket, time

def refuse(*a, **k):
    raise AssertionError("the network was asked for")

socket.getaddrinfo = socket.socket.connect = refuse
from tests.fake_nvml import fake
from workers.meters.base import MeterError, Span
from workers.meters.codecarbon import CodeCarbonGpuMeter
from workers.meters.nvml import NvmlMeter
from workers.meters.paired import PairedMeter

gpu = fake.attach()
spans = []

def rest(label, seconds):
    start = meter.edge()
    for _ in range(4):
        time.sleep(seconds / 4)
        end = meter.edge()
    spans.append(Span(label=label, start=start, end=end))

try:
    meter = PairedMeter(NvmlMeter(0), CodeCarbonGpuMeter(0))
    meter.start()
    rest("idle", 1.2)
    start = meter.edge()
    gpu.draw(300)
    time.sleep(2.2)
    gpu.draw(0)
    spans.append(Span(label="work", start=start, end=meter.edge()))
    rest("pad", 0.4)
    rest("idle", 1.2)
    meter.stop()
    found = meter.energy(spans)
    meter.close()
    seconds = spans[1].end - spans[1].start
    country = meter.environment()["codecarbon"]["country"]
    print(json.dumps({"joules": found.total_joules, "beside": found.notes["twin"], "seconds": seconds,
                      "name": meter.name, "flags": found.flags, "country": country}))
except MeterError as error:
    print(json.dumps({"error": str(error)}))
"""


def run(folder: Path, gpu: fake.Fake, **more: str) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        env=gpu.environment(**more),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_twin_of_the_nvml_meter_without_network_or_files(tmp_path: Path) -> None:
    place = tmp_path / "empty"
    place.mkdir()
    with fake.load(tmp_path, Device(name="NVIDIA RTX A6000", counter_period=0.1), clock="real") as gpu:
        found = run(place, gpu, HOME=str(place))
    assert list(place.iterdir()) == []
    assert found["name"] == "nvml"
    assert found["country"] == "FRA"
    assert found["flags"] == []
    beside = found["beside"]
    assert abs(beside["dynamic_joules"] - found["joules"]) < 3 * beside["dynamic_joules_std"]
    assert beside["dynamic_joules_std"] < 0.1 * beside["dynamic_joules"]
    assert beside["error"] is None


def test_without_nvidia_smi_it_is_refused(tmp_path: Path) -> None:
    with fake.load(tmp_path, Device(name="NVIDIA RTX A6000"), clock="real") as gpu:
        found = run(tmp_path, gpu, PATH=str(Path(sys.executable).parent))
    assert "nvidia-smi" in found["error"]


def test_zero_joules_are_refused(tmp_path: Path) -> None:
    with fake.load(tmp_path, Device(name="NVIDIA RTX A6000"), clock="real") as gpu:
        gpu.fault(Fault.FREEZE)
        found = run(tmp_path, gpu)
    assert "0 J" in found["error"]


def test_a_cpu_is_estimated_and_little_work_is_refused() -> None:
    from workers.meters import open_meter
    from workers.meters.base import IDLE, Span

    meter = open_meter("cpu")
    try:
        meter.start()
        edges = []
        for _ in range(6):
            edges.append(meter.edge())
            meter.clock.sleep(0.25)
        spans = [Span(label=IDLE, start=edges[0], end=edges[4]), Span(label="work", start=edges[4], end=edges[5])]
        meter.stop()
        found = meter.energy(spans)
    finally:
        meter.close()
    assert found.total_joules is None
    assert set(found.flags) == {"estimated", "window_too_short"}
    assert found.notes["shortest_seconds"] == meter.shortest_seconds == 2.0
