"""The raw log of an attempt, kept compactly, so that a better method can be applied to it later.

A zlib stream of one JSON line (probe, events, telemetry, spans, lengths) and the columns of the counter and the power
log as differences of whole numbers: microseconds, millijoules, milliwatts, which is what NVML and the clock resolve.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, Final

import numpy as np

from workers.meters.base import Probe, Recording, Span

VERSION: Final = 1
MICRO: Final = 1e-6
MILLI: Final = 1e-3
# Column by column: the unit that one step of the stored whole numbers stands for.
COUNTER_UNITS: Final = (MICRO, MICRO, MILLI)
POWER_UNITS: Final = (MICRO, MILLI)
SHOWN: Final = ("celsius", "sm_mhz")  # of telemetry
MOST_BYTES: Final = 200_000_000  # of a log as it was measured; a day of readings takes a hundredth of it
LARGEST: Final = 1e15  # of times, watts and joules
PROBED: Final = {field.name for field in fields(Probe)}


def encode_samples(recording: Recording, spans: Sequence[Span] = ()) -> bytes:
    """A recording and its spans as bytes, some five to ten for each reading."""
    header = {
        "version": VERSION,
        "counter": len(recording.counter),
        "power": len(recording.power),
        "probe": asdict(recording.probe),
        "events": [dict(e) for e in recording.events],
        "telemetry": [dict(t) for t in recording.telemetry],
        "spans": [asdict(s) for s in spans],
    }
    columns = _columns(recording.counter, COUNTER_UNITS) + _columns(recording.power, POWER_UNITS)
    return zlib.compress(json.dumps(header, default=str).encode() + b"\n" + columns, level=6)


def decode_samples(data: bytes) -> tuple[Recording, tuple[Span, ...]]:
    """What ``encode_samples`` was given. Raises ValueError for anything else."""
    try:
        line, columns = _unpacked(data).split(b"\n", 1)
        header: dict[str, Any] = json.loads(line)
        if header["version"] != VERSION:
            raise ValueError(f"of version {header['version']}, not {VERSION}")
        split = 8 * int(header["counter"]) * len(COUNTER_UNITS)
        if not 0 <= split <= len(columns):
            raise ValueError(f"{header['counter']} readings of the counter in {len(columns)} bytes")
        recording = Recording(
            counter=_rows(columns[:split], COUNTER_UNITS),
            power=_rows(columns[split:], POWER_UNITS),
            telemetry=tuple(map(_reading, header["telemetry"])),
            probe=Probe(**{k: v for k, v in header["probe"].items() if k in PROBED}),  # other versions knew others
            events=tuple(dict(event) for event in header["events"]),
        )
        return recording, tuple(map(_span, header["spans"]))
    except (zlib.error, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"no samples that can be read: {error}") from error


def _unpacked(data: bytes) -> bytes:
    stream = zlib.decompressobj()
    raw = stream.decompress(data, MOST_BYTES)
    if not stream.eof:
        raise ValueError(f"not whole, or of more than {MOST_BYTES:,} bytes")
    return raw


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < LARGEST:
        raise ValueError(f"{value!r} is not a number that can be read")
    return float(value)


def _reading(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Of telemetry: its time, and what is shown of it."""
    shown = {name: _number(entry[name]) for name in SHOWN if entry.get(name) is not None}
    return {**entry, **shown, "time": _number(entry["time"])}


def _span(entry: Mapping[str, Any]) -> Span:
    label, start, end = entry["label"], _number(entry["start"]), _number(entry["end"])
    if not isinstance(label, str) or end < start:
        raise ValueError(f"{entry!r} is no stretch of time")
    return Span(label=label, start=start, end=end)


def _columns(rows: Sequence[tuple[float, ...]], units: Sequence[float]) -> bytes:
    if not rows:
        return b""
    parts = []
    for column, unit in zip(zip(*rows, strict=True), units, strict=True):
        whole = np.round(np.array(column) / unit).astype("<i8")
        parts.append(np.diff(whole, prepend=0).astype("<i8").tobytes())
    return b"".join(parts)


def _rows(data: bytes, units: Sequence[float]) -> tuple[tuple[Any, ...], ...]:
    columns = np.frombuffer(data, dtype="<i8").reshape(len(units), -1)
    return tuple(zip(*((np.cumsum(c) * unit).tolist() for c, unit in zip(columns, units, strict=True)), strict=True))


def tabulate(data: bytes) -> list[dict[str, Any]]:
    """The log behind a measurement as rows in the order of time: one a reading, with None for what it did not read.

    ``seconds`` from the first reading on; ``power_watts``; ``energy_joules``, cumulative, as the counter gave it;
    ``temperature_c``; ``clock_mhz`` of the multiprocessors; ``window``, the label of the stretch that it lies in.
    """
    recording, spans = decode_samples(data)
    readings: list[tuple[float, dict[str, Any]]] = []
    readings += [((asked + answered) / 2, {"energy_joules": joules}) for asked, answered, joules in recording.counter]
    readings += [(time, {"power_watts": watts}) for time, watts in recording.power]
    readings += [
        (t["time"], {"temperature_c": t.get("celsius"), "clock_mhz": t.get("sm_mhz")}) for t in recording.telemetry
    ]
    readings.sort(key=lambda reading: reading[0])
    first = readings[0][0] if readings else 0.0
    names = ("power_watts", "energy_joules", "temperature_c", "clock_mhz")
    return [
        {
            "seconds": round(time - first, 6),
            **{name: values.get(name) for name in names},
            "window": next((span.label for span in spans if span.start <= time < span.end), None),
        }
        for time, values in readings
    ]
