"""Models by whatever names them: a catalog name, another name of it, a folder in diffusers layout, a repository of the
hub that is in the local cache. One that the catalog lacks is counted once and joins the catalog of this process.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.work import ondemand
from analysis.work.trace.pipeline import Pipeline, from_folder
from farm import catalog
from farm.catalog import Model
from farm.domain.errors import RequestError

MAX_NAME = 200  # of a model in a configuration


def find(text: str) -> str:
    """The name under which the catalog has the model that a text names; RequestError, saying what is near, for none."""
    text = text.strip()
    if catalog.has_build(text):
        return text
    folder = folder_of(text)
    if folder is not None:
        return _adopted(text, folder)
    try:
        return catalog.find_build(text)
    except RequestError as error:
        cached = cached_folder(text)
        if cached is not None:
            return _adopted(text, cached)
        more = "" if not _is_repository(text) else "; not in the local cache of the hub either"
        raise RequestError("model", text, f"{error.remedy}; or a folder in diffusers layout{more}") from None


def folder_of(text: str) -> Path | None:
    """The folder that a text names, None where it names none, or one that nobody may look into."""
    try:
        path = Path(text).expanduser()
        return path if text.strip() and path.is_dir() else None
    except (OSError, RuntimeError):  # longer than a name may be, or of a user that there is not
        return None


def cached_folder(text: str) -> Path | None:
    """The snapshot of a repository of the hub, ``owner/name``, that is on this machine; None where there is none."""
    if not _is_repository(text):
        return None
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
    except ImportError:
        return None
    try:
        return Path(snapshot_download(text, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, OSError):
        return None


def _is_repository(text: str) -> bool:
    return re.fullmatch(r"[\w.-]+/[\w.-]+", text) is not None


def _adopted(text: str, folder: Path) -> str:
    name = text if len(text) <= MAX_NAME else folder.name
    if name not in catalog.models():
        catalog.adopt(_model(name, folder, from_folder(folder)))
    return name


def _model(name: str, folder: Path, pipeline: Pipeline) -> Model:
    """A pipeline that is a folder of configurations as an entry of the catalog."""
    return Model(
        name=name,
        title=name,
        family="",
        pipeline=pipeline.cls,
        repository="",
        aliases=(),
        revision="",
        gated=False,
        license="",
        guidance=pipeline.convention.cfg,
        multiple=pipeline.convention.multiple,
        video=pipeline.convention.video,
        parameters=ondemand.parameters(pipeline),
        components=pipeline.components,
        scheduler={"config": _scheduler(folder)},
        tokenizers={},
        sources={"components": f"configurations in {folder}"},
        digest=pipeline.digest,
        fingerprints=dict.fromkeys(("full", "nano"), pipeline.digest),
    )


def _scheduler(folder: Path) -> Mapping[str, Any]:
    """The configuration of the folder's scheduler, empty where it has none."""
    try:
        config = json.loads((folder / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return {}
    return config if isinstance(config, dict) else {}
