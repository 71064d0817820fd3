"""Can this host measure? Checks of the packages, the devices, their counters and their idle power."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

from farm import catalog, imports
from farm.doctor import Finding, failure, ok, package, warning
from farm.domain import DeviceLost, FarmError, OperationError, RequestError
from workers.device import host
from workers.device.board import AnyDevice, DeviceFacts, SilentDevice
from workers.device.lock import DeviceLock

if TYPE_CHECKING:
    from workers.meters.base import Recording

TORCH_SECONDS: Final = 120.0  # a first import from a network disk takes its time
IDLE_SECONDS: Final = 3.0
STEADY_PERCENT: Final = 5.0  # standard error of idle power, relative
DISAGREE_PERCENT: Final = 10.0  # counter against power reading, at idle
SIGMAS: Final = 4.0  # and beyond so many standard errors
# Prints: version, CUDA version it was built for, devices it can use. In a child: a doctor does not hold the device.
_TORCH: Final = "import torch; print(torch.__version__, torch.version.cuda, torch.cuda.device_count())"


def gpu_host() -> Iterator[Finding]:
    """Yield what is found out about this host and each of its devices. A device that is measured on is left alone."""
    # Importing torch takes seconds: it does so while the devices are looked at.
    with subprocess.Popen(
        imports.python("-c", _TORCH),
        env=imports.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as torch:
        yield package("diffusers", "image generation", "worker")
        yield package("codecarbon", "comparison with the paper's meter", "worker")
        try:
            facts = host.inspect()
        except OperationError as error:
            devices: tuple[AnyDevice, ...] = ()
            yield warning("nvml", str(error), "only simulated and CPU measurements (estimates) are possible here")
        else:
            devices = facts.devices
            yield ok("nvml", f"driver {facts.driver or 'unknown'}, {len(devices)} device(s)")
            yield from _visible(devices)
        yield _torch(torch, expects_gpu=bool(devices))


def _visible(devices: tuple[AnyDevice, ...]) -> Iterator[Finding]:
    visible = host.visible(devices)
    if len(visible) < len(devices):
        yield ok("visible", f"CUDA_VISIBLE_DEVICES leaves {len(visible)} of them")
    if instance := host.only_mig():
        yield failure("visible", f"CUDA_VISIBLE_DEVICES is {instance}", host.NO_MIG)
    elif not visible:
        yield warning("device", "none is visible", "check CUDA_VISIBLE_DEVICES, the container's or the job's GPUs")
    for number, facts in enumerate(visible):
        yield from _device(number, facts)


def deep(minutes: float | None = None) -> Iterator[Finding | Mapping[str, Any]]:
    """Examine each visible device that is free; yields its findings, then its ``{"figures": {...}}``."""
    from workers.doctor import deep as deep_check

    try:
        devices = host.visible(host.inspect().devices)
    except OperationError as error:
        yield warning("deep", f"no GPU to check: {error}", "run it on a GPU host")
        return
    if not devices:
        yield warning("deep", "no GPU is visible", "check CUDA_VISIBLE_DEVICES, the container's or the job's GPUs")
    for number, facts in enumerate(devices):
        if isinstance(facts, SilentDevice) or facts.mig:
            continue  # said above
        if occupant := host.occupied(facts):
            yield warning(f"device {number}", f"not checked deeply: in use by {occupant}", "when it is free")
            continue
        yield from deep_check.run(number, facts, minutes or deep_check.MINUTES)


def _torch(child: subprocess.Popen[str], *, expects_gpu: bool) -> Finding:
    installed = package("torch", "image generation", "worker")
    if installed.remedy:
        return installed
    try:
        answer, _ = child.communicate(timeout=TORCH_SECONDS)
        version, cuda, devices = answer.split()
    except (subprocess.TimeoutExpired, ValueError):
        child.kill()
        return failure("torch", f"{installed.found} cannot be imported", f"{sys.executable} -c 'import torch' says why")
    if expects_gpu and devices == "0":
        built = "without CUDA" if cuda == "None" else f"for CUDA {cuda}"
        return failure("torch", f"{version}, built {built}, sees no GPU", "install a build that suits the driver")
    return ok("torch", version if devices == "0" else f"{version}, CUDA {cuda}")


def _device(number: int, facts: AnyDevice) -> Iterator[Finding]:
    label = f"device {number}"
    if isinstance(facts, SilentDevice):
        yield failure(label, f"does not answer: NVML says {facts.error}", facts.remedy)
        return
    types = ", ".join(facts.types)
    where = f"{facts.name} {facts.uuid or ''} {facts.pci_bus_id or ''}".strip()
    if types:
        yield ok(label, f"{where}: {types}")
    else:
        remedy = f"known are {', '.join(catalog.gpus())}; add a file under FARM_HOME/catalog/gpus"
        yield warning(label, f"{where}: no GPU type of the catalog", remedy)
    if facts.mig:
        yield failure(label, "MIG is enabled: there is no energy of an instance", f"nvidia-smi -i {facts.index} -mig 0")
        return
    if facts.persistence is False:
        remedy = f"nvidia-smi -i {facts.index} -pm 1"
        yield warning(label, "persistence mode is off: the driver unloads between commands", remedy)
    if occupant := host.occupied(facts):
        yield warning(label, f"in use: {occupant}", "end it, or measure when it is gone")
    elif host.in_pid_namespace():
        yield ok(label, "free, as far as can be seen from this container")
    else:
        yield ok(label, "free")
    try:
        with DeviceLock(facts.key):
            yield from _sensors(label, facts)
    except RequestError as error:
        yield failure(label, f"cannot be locked: {error.field} {error.value}", error.remedy)
    except DeviceLost as error:
        yield failure(label, f"went away while it was probed: {error}", "see `dmesg` (Xid); reset it or reboot")
    except FarmError as error:
        yield warning(label, str(error), "not probed now")


def _sensors(label: str, facts: DeviceFacts) -> Iterator[Finding]:
    """Abilities of counter and sensor as the meter probes them, and how steady the device rests."""
    from workers.meters.nvml.meter import NvmlMeter
    from workers.procedure.rest import measure_idle

    with closing(NvmlMeter(facts.index)) as meter:
        watts, error = measure_idle(meter, IDLE_SECONDS)
        recording = meter.recording()
    probe = recording.probe
    if any(event["event"] == "lost" for event in recording.events):
        raise DeviceLost("it stopped answering NVML")
    if watts is None or error is None:
        yield failure(label, "neither the energy counter nor the power can be read", "check the driver with nvidia-smi")
        return
    yield _counter(label, recording, error)
    yield ok(
        label,
        f"power log: {probe.power or 'none'}, sensor awake {100 * (probe.sensor_duty or 1):.0f} % of the time",
    )
    idle = f"idle {watts:.1f} ± {error:.2f} W over {IDLE_SECONDS:.0f} s"
    if error > watts * STEADY_PERCENT / 100:
        yield warning(label, idle, "let it cool and settle; look for processes that come and go")
    else:
        yield ok(label, idle)


def _counter(label: str, recording: Recording, error_watts: float) -> Finding:
    probe = recording.probe
    if not probe.has_counter:
        return warning(label, "no energy counter: energy comes from the power log", "expect wider intervals")
    if probe.poll_sensitive:
        lost = f"{100 * (probe.poll_loss or 0.0):.0f} %"
        return warning(
            label, f"energy counter loses {lost} when read often: it is read once a second", "let jobs run longer"
        )
    counted, logged = _counter_watts(recording), _power_watts(recording)
    if counted == 0:
        return failure(
            label,
            "energy counter does not move: the power log stands in, results are flagged counter_frozen and not fitted",
            "reset the device (nvidia-smi --gpu-reset) or reboot; if that does not help, measure on another",
        )
    if counted is not None and logged is not None and _apart(counted, logged, error_watts, probe.tick or 0.0):
        return warning(
            label,
            f"energy counter and power reading disagree at idle: {counted:.1f} W by the counter, {logged:.1f} W by the "
            "power log",
            "results will be flagged counter_power_disagree and not fitted; update the driver, or measure on another",
        )
    tick = probe.tick
    every = f"a tick of {1000 * tick:.0f} ms" if tick else "no tick to be seen"
    return ok(label, f"energy counter: {every}, a reading takes {1000 * (probe.latency or 0.0):.2g} ms")


def _counter_watts(recording: Recording) -> float | None:
    """Mean power over the log by the counter; None where it was not read often enough."""
    readings = recording.counter
    if len(readings) < 3:
        return None
    return (readings[-1][2] - readings[0][2]) / (readings[-1][1] - readings[0][1])


def _power_watts(recording: Recording) -> float | None:
    """Mean of the power log."""
    watts = [watts for _, watts in recording.power]
    return sum(watts) / len(watts) if len(watts) > 2 else None


def _apart(counted: float, logged: float, error_watts: float, tick: float) -> bool:
    """Whether two idle powers differ by more than the standard error of each and one tick of the counter explain."""
    noise = SIGMAS * math.sqrt(2) * error_watts + logged * tick / IDLE_SECONDS
    return abs(counted - logged) > max(DISAGREE_PERCENT / 100 * max(counted, logged), noise)
