"""Work that no shipped table holds: traced now (this imports torch), kept under ``FARM_HOME/cache/work``.

The name of a cached file is the hash of everything that the work depends on, so a changed config.json is traced anew.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from analysis.work.trace.pipeline import Pipeline
from farm.domain.errors import FarmError, OperationError, RequestError
from farm.files.atomic import atomic_write

logger = logging.getLogger(__name__)

ROLES: Final = {"denoise": "denoiser", "text": "text", "decode": "decoder"}  # phase -> role in a catalog's entry

# What shows that a long count goes on: a command sets it, a library is silent.
announced: Callable[[str], AbstractContextManager[object]] = nullcontext


def home() -> Path:
    """The farm's home. Read from the environment, since the laws do not know the farm's settings."""
    return Path(os.environ.get("FARM_HOME") or "~/.local/share/joulefarm").expanduser()


def table(pipeline: Pipeline) -> dict[str, Any]:
    """The compact table of a pipeline, as analysis.work.format reads it. Tracing takes up to two minutes.

    RequestError where the folder lacks a part that the pipeline cannot do without.
    """
    if pipeline.missing:
        raise RequestError(", ".join(pipeline.missing), "missing", f"a folder that holds it, as a {pipeline.cls} needs")
    return _cached(pipeline, "table", lambda: _tabulate(pipeline))


def sums(pipeline: Pipeline, width: int, height: int, cfg: bool, frames: int = 1) -> dict[str, dict[str, float | None]]:
    """FLOPs, bytes and kernels by phase, fp16, of one image or video and one denoising step with both passes.

    Exactly traced. None where the folder lacks what a phase needs.
    """
    what = f"{width}x{height}-{int(cfg)}" + (f"-{frames}" if frames > 1 else "")
    return _cached(pipeline, what, lambda: _sums(pipeline, width, height, cfg, frames))


def parameters(pipeline: Pipeline) -> dict[str, float]:
    """Numbers of parameters by role, as a model of the catalog states them: denoiser, text, decoder."""
    return _cached(pipeline, "parameters", lambda: _parameters(pipeline))


def _parameters(pipeline: Pipeline) -> dict[str, float]:
    _require_torch()
    from analysis.work.trace import build

    counts = dict.fromkeys(ROLES.values(), 0.0)
    with announced(_words(pipeline)):
        for component in pipeline.components.values():
            counts[ROLES[component.phase]] += build.parameters(build.build(component, "fp16"))
    return counts


def _tabulate(pipeline: Pipeline) -> dict[str, Any]:
    _require_torch()
    from analysis.work.trace.compact import tabulate

    with announced(_words(pipeline)):
        return tabulate(pipeline)


def _sums(pipeline: Pipeline, width: int, height: int, cfg: bool, frames: int) -> dict[str, dict[str, float | None]]:
    _require_torch()
    from analysis.work.trace.phases import count

    with announced(_words(pipeline)):
        return count(pipeline, width, height, cfg, frames)


def _words(pipeline: Pipeline) -> str:
    return f"counting the work of {pipeline.name}: once, up to two minutes, then it is kept"


def _require_torch() -> None:
    try:
        for package in ("torch", "diffusers", "transformers"):
            version(package)
    except PackageNotFoundError as error:
        raise OperationError(f"counting the work of this model needs {error.name}: install joulefarm[worker]") from None


def is_kept(pipeline: Pipeline, what: str) -> bool:
    """Whether a count of this pipeline was made and kept earlier."""
    return _kept_at(pipeline, what).is_file()


def _kept_at(pipeline: Pipeline, what: str) -> Path:
    return home() / "cache" / "work" / f"{pipeline.digest}-{what}.json"


def _cached(pipeline: Pipeline, what: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    path = _kept_at(pipeline, what)
    try:
        known: dict[str, Any] = json.loads(path.read_text())
        return known
    except (OSError, ValueError):
        pass  # none yet, or one that cannot be read: it is made again
    made = make()
    try:
        _write(path, json.dumps(made))
    except FarmError as error:  # the answer is there; only the next one takes as long
        logger.warning("not kept for the next time: %s", error)
    return made


def _write(path: Path, text: str) -> None:
    """Write the whole file or none. FarmError where it cannot be written."""
    try:
        home().mkdir(parents=True, exist_ok=True, mode=0o700)
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OperationError(f"FARM_HOME: {home()}: {error.strerror}") from None
    with atomic_write(path, "FARM_HOME") as file:
        file.write_text(text)
