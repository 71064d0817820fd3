"""``farm doctor --deep``: one device's meter put through its paces, in a process of its own.

``python -m workers.doctor.deep UUID MINUTES`` prints one JSON document a line: findings as they come, then one with
everything that was measured under ``figures``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from farm import imports
from farm.doctor import Finding, Level, failure, ok, warning
from farm.domain import FarmError, OperationError, RequestError
from workers.device import host
from workers.device.board import DeviceFacts
from workers.device.pinning import pinned

if TYPE_CHECKING:
    from workers.doctor.meter import IdlePower, Repeatability, WindowCheck
    from workers.meters.nvml.meter import NvmlMeter
    from workers.pipelines.kernels import ConstantLoad

MINUTES: Final = 4.0  # what all of it takes
SHORT_WINDOWS: Final = (0.05, 0.2, 1.0)  # seconds
LONG_WINDOWS: Final = (5.0,)  # last, as they take the longest
WINDOWS: Final = 10  # of each length
REPEAT_SECONDS: Final = 30.0
REPEATS: Final = 3
IDLE_SECONDS: Final = 5.0
COST_PAIRS: Final = 5
COST_SECONDS: Final = 1.0
# What is promised of a good host; beyond it a warning.
APART_PERCENT: Final = 2.0  # power log against counter, windows of a second and more
CV_PERCENT: Final = 1.0  # of a job of 30 s
COST_PERCENT: Final = 0.5  # what the log may cost in time
SCATTER_PERCENT: Final = 3.0  # of windows of 0.2 s and more
OVERHEAD_SECONDS: Final = 2.0  # of a log of windows, beside windows and rests


def run(number: int, facts: DeviceFacts, minutes: float) -> Iterator[Finding | Mapping[str, Any]]:
    """Examine one visible device in another process; yields findings as they come, and its figures at the end."""
    command = imports.python("-m", "workers.doctor.deep", facts.key, str(number), str(minutes))
    with subprocess.Popen(command, env=imports.environment(), stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            document = json.loads(line)
            yield document if "figures" in document else Finding(**{**document, "level": Level(document["level"])})
    if child.returncode:
        yield failure(f"device {number}", f"its deep check ended with status {child.returncode}", "see the lines above")


def examine(device: host.Host, label: str, minutes: float) -> Iterator[Finding | Mapping[str, Any]]:
    """Measure idle power, the log's cost, windows of 50 ms to 5 s and repeats of a long job, while time is left."""
    ends = time.monotonic() + 60 * minutes
    figures: dict[str, Any] = {"device": label, "name": device.name, "uuid": device.uuid, "driver": device.driver}
    with ExitStack() as stack:
        stack.enter_context(pinned(device))
        from workers.doctor import meter as meter_check
        from workers.meters.nvml.meter import NvmlMeter

        types = device.device.types
        meter = stack.enter_context(closing(NvmlMeter(device.uuid)))
        figures |= {"gpu": types[0] if types else None, "probe": dict(meter.environment()["probe"])}
        figures["power_limit_watts"] = device.device.power_limit_watts
        yield ok(label, _counter(figures["probe"]))

        cold = meter_check.idle_power(meter, IDLE_SECONDS)
        from workers.pipelines.kernels import ConstantLoad  # only now: until here the device holds no context

        load = stack.enter_context(closing(ConstantLoad("cuda")))
        load.run(meter_check.WARM_SECONDS)
        warm = meter_check.idle_power(meter, IDLE_SECONDS)
        figures |= {"idle_cold": asdict(cold), "idle_warm": asdict(warm)}
        yield _idle(label, cold, warm)

        cost, error = meter_check.sampling_cost_percent(
            meter, _fixed(load, COST_SECONDS), COST_PAIRS if minutes >= 1 else 2
        )
        figures["sampling_cost_percent"] = {"mean": cost, "std": error}
        yield _cost(label, cost, error)
        figures["windows"] = []
        yield from _windows(label, meter, load, SHORT_WINDOWS, ends, figures)
        yield from _sensor(label, meter, figures)
        yield from _repeats(label, meter, load, ends, figures)
        yield from _windows(label, meter, load, LONG_WINDOWS, ends, figures)
    yield {"figures": figures}


def _windows(
    label: str, meter: NvmlMeter, load: ConstantLoad, lengths: Sequence[float], ends: float, figures: dict[str, Any]
) -> Iterator[Finding]:
    from workers.doctor import meter as meter_check

    for seconds in lengths:
        each = seconds + meter_check.REST_SECONDS + 0.05
        fixed = 2 * meter_check.EDGE_SECONDS + OVERHEAD_SECONDS
        count = min(WINDOWS, int((ends - time.monotonic() - fixed) / each))
        if count < 2:
            yield warning(label, f"windows of {seconds:g} s: no time was left for two of them", "--minutes")
            continue
        check = meter_check.check_windows(meter, load.run, seconds, count)
        figures["windows"].append(asdict(check))
        yield _window(label, check)


def _sensor(label: str, meter: NvmlMeter, figures: dict[str, Any]) -> Iterator[Finding]:
    """What the scatter of the shortest windows says of the sensor."""
    from workers.doctor import meter as meter_check

    figures["sensor_seen_part"] = None
    if not figures["windows"] or figures["windows"][0]["scatter_percent"] is None:
        return
    short = figures["windows"][0]
    seen_part = figures["sensor_seen_part"] = meter_check.seen_part(short["scatter_percent"], short["seconds"])
    taken = 100 * (meter.recording().probe.sensor_duty or 1)
    yield ok(
        label,
        f"sensor: windows of {1000 * short['seconds']:.0f} ms scatter as of one that sees {100 * seen_part:.0f} % "
        f"of the time (taken for: {taken:.0f} %)",
    )


def _repeats(
    label: str, meter: NvmlMeter, load: ConstantLoad, ends: float, figures: dict[str, Any]
) -> Iterator[Finding]:
    from workers.doctor import meter as meter_check

    each = REPEAT_SECONDS + 2 * meter_check.EDGE_SECONDS + OVERHEAD_SECONDS
    count = min(REPEATS, int((ends - time.monotonic()) / each))
    if count < 2:
        yield warning(label, f"repeats of {REPEAT_SECONDS:g} s: no time was left for two of them", "--minutes")
        return
    copies = load.copies(REPEAT_SECONDS)
    repeats = meter_check.check_repeats(meter, lambda _: load.repeat(copies), REPEAT_SECONDS, count)
    figures["repeats"] = {**asdict(repeats), "cv_percent": repeats.cv_percent}
    yield _repeated(label, repeats)


def _fixed(load: ConstantLoad, seconds: float) -> Any:
    copies = load.copies(seconds)
    return lambda: load.repeat(copies)


def _counter(probe: Mapping[str, Any]) -> str:
    if not probe["has_counter"]:
        return f"no energy counter; power: {probe['power'] or 'none'}"
    tick = f"{1000 * probe['tick']:.2f} ms" if probe["tick"] else "not to be seen"
    latency = f"{1000 * (probe['latency'] or 0.0):.2g} ms"
    return (
        f"counter: tick {tick}, a reading takes {latency}; power: {probe['power'] or 'none'} ({probe['power_source']})"
    )


def _idle(label: str, cold: IdlePower, warm: IdlePower) -> Finding:
    def words(idle: IdlePower) -> str:
        if idle.watts is None:
            return "unknown"
        return f"{idle.watts:.1f} ± {idle.std_watts or 0.0:.2f} W at {idle.sm_clock_mhz or '?'} MHz"

    state = f"idle {words(cold)} without a context, {words(warm)} with one"
    if cold.watts is None or warm.watts is None:
        return failure(label, state, "neither counter nor power can be read: check the driver with nvidia-smi")
    return ok(label, state)


def _cost(label: str, percent: float, error: float) -> Finding:
    state = f"work takes {percent:+.2f} ± {error:.2f} % longer while the meter logs"
    if percent - 2 * error > COST_PERCENT:
        return warning(label, state, "the host is too slow or too busy for its meter: leave it a core")
    return ok(label, state)


def _window(label: str, check: WindowCheck) -> Finding:
    length = f"{check.windows} windows of {check.seconds:g} s"
    if check.watts is None:
        return warning(label, f"{length}: none could be told", "let jobs run longer")
    scatter = "?" if check.scatter_percent is None else f"{check.scatter_percent:.2f} %"
    state = f"{length}: {check.watts:.1f} W above idle, scatter {scatter}"
    state += "" if check.stated_percent is None else f" (stated {check.stated_percent:.2f} %)"
    state += f", {check.unknown} refused as too short" if check.unknown else ""
    if check.power_percent is not None:
        state += f", power log {check.power_percent:+.2f} %"
    if check.seconds >= 1 and abs(check.power_percent or 0.0) > APART_PERCENT:
        return warning(label, state, "counter and power log differ: see docs/measurement.md before you trust either")
    if check.seconds >= 0.2 and (check.scatter_percent or 0.0) > SCATTER_PERCENT:
        return warning(label, state, "short work is read with this scatter here: let jobs run longer")
    return ok(label, state)


def _repeated(label: str, repeats: Repeatability) -> Finding:
    cv = repeats.cv_percent
    state = f"{len(repeats.joules)} jobs of {repeats.seconds:g} s: " + ", ".join(f"{j:.0f} J" for j in repeats.joules)
    if cv is None:
        return warning(label, state + ": too few to compare", "--minutes")
    state += f", coefficient of variation {cv:.2f} %"
    if cv > CV_PERCENT:
        return warning(label, state, "let it warm up, look for other users of the device and for throttling")
    return ok(label, state)


def main(arguments: list[str]) -> int:
    key, number, minutes = arguments
    label = f"device {number}"
    try:
        for document in examine(host.identify(key), label, float(minutes)):
            _print(document)
    except RequestError as error:
        _print(failure(label, f"{error.field}: {error.value}", error.remedy))
    except FarmError as error:
        remedy = "end what uses it" if isinstance(error, OperationError) else "see `dmesg` (Xid)"
        _print(failure(label, str(error), remedy))
    return 0


def _print(document: Finding | Mapping[str, Any]) -> None:
    """One line of the answer to ``run``."""
    print(json.dumps(asdict(document) if isinstance(document, Finding) else document), flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
