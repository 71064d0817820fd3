"""Files as they should be, ways to write them, and what a command answers to one: for the tests of rude files."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from tests.rude import ask, assert_polite, contents, spoiled, spoiled_bytes

SWEEP: Mapping[str, Any] = {
    "name": "weekend", "models": ["sd2", "flux"], "gpus": ["a100"], "resolutions": [512, [512, 768]], "steps": [10],
    "precisions": ["fp16"], "cfg": [False, True], "prompts": [25], "batch": [1], "weights": "random", "size": "full",
    "replicates": 2, "seed": 0, "prompts_file": None, "deadline": 5, "budget_joules": 1e9,
    "include": [{"model": "sd2", "gpu": "a100", "resolution": [512, 512], "cfg": False, "steps": 25}],
    "exclude": [{"model": "flux", "cfg": True}],
}  # fmt: skip
ROW: Mapping[str, Any] = {
    "model": "flux", "gpu": "a100", "resolution": 512, "width": 512, "height": 512, "steps": 10, "precision": "fp16",
    "cfg": 0, "prompts": 25, "energy_joules": 12000.0, "batch": 1, "weights": "random", "size": "full", "seed": 0,
    "dataset": "mine", "measurement_id": "m", "idle_watts": 50.0, "duration_seconds": 60.0, "energy_std_joules": 10.0,
    "meter": "nvml", "flags": "", "device_name": "board", "measured_at": "2026-01-01T00:00:00Z", "includes_idle": 0,
    "frames": 1, "power_limit_watts": 300.0, "score": 0.3,
}  # fmt: skip
POINT = ["--model", "flux", "--gpu", "a100", "--resolution", "512", "--steps", "10", "--precision", "fp16", "--json"]


def answer(folder: Path, words: Sequence[str], *, stdin: bytes = b"", codes: Sequence[int] = (0, 2)) -> str:
    """How a command answered; a refused one has left every file of the folder as it was."""
    before = contents(folder)
    said = ask(words, stdin)
    outcome = assert_polite(words, said, codes=codes)
    if said.code == 2:
        assert contents(folder) == before, words
    return outcome


def csv_text(rows: Sequence[Mapping[str, Any]], separator: str) -> str:
    out = io.StringIO(newline="")
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.writer(out, delimiter=separator)
    writer.writerow(names)
    writer.writerows([row.get(name, "") for name in names] for row in rows)
    return out.getvalue()


def toml_text(document: Mapping[str, Any]) -> str:
    return "".join(f"{_toml(str(key))} = {_toml(value)}\n" for key, value in document.items())


def _toml(value: Any) -> str:
    match value:
        case None:
            return "{}"
        case bool():
            return str(value).lower()
        case str():
            known = value.encode("utf-8", "replace").decode()
            return '"' + "".join(c if c.isalnum() or c in " .-_/:," else f"\\U{ord(c):08x}" for c in known) + '"'
        case dict():
            return "{" + ", ".join(f"{_toml(str(key))} = {_toml(inner)}" for key, inner in value.items()) + "}"
        case list():
            return f"[{', '.join(map(_toml, value))}]"
        case float() if math.isfinite(value):
            return repr(value) if "e" not in repr(value) or "." in repr(value) else repr(value).replace("e", ".0e")
        case _:
            return str(value)


def documents(document: Mapping[str, Any], write: Any) -> st.SearchStrategy[bytes]:
    """Files of a format that hold a spoiled document, or the document spoiled as text."""
    good = write(dict(document)).encode("utf-8", "replace")
    written = spoiled(dict(document)).map(lambda each: write(each).encode("utf-8", "replace"))
    return st.one_of(written, written, spoiled_bytes(good))


def yaml_text(document: Any) -> str:
    return yaml.safe_dump(document, allow_unicode=True)
