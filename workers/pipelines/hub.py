"""What models still need from the hub before a host can measure without a network: how much, and whether the disk has
room for it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import huggingface_hub
from huggingface_hub import constants, errors
from huggingface_hub.utils import filter_repo_objects  # type: ignore[attr-defined]  # of its public page, not of __all__

from farm import catalog
from farm.catalog import Model
from farm.domain import Infeasible, RequestError
from farm.domain.words import with_prefix
from workers.pipelines import pretrained


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """The pretrained weights of a model.

    Attributes:
        revision: the commit, or ``local`` for a folder of FARM_WEIGHTS_DIR; None where nothing told.
        folder: where they are, once all of them are here.
        bytes: of the files that a worker reads, None where the hub does not say of one of them.
        fetch_bytes: of those that are not here, likewise.
        known_bytes: of those that are not here and have a size: the least that a fetch takes.
        why: why they cannot be had; None where they can.
    """

    model: str
    repository: str
    revision: str | None = None
    folder: str | None = None
    bytes: int | None = None
    fetch_bytes: int | None = None
    known_bytes: int = 0
    why: str | None = None


def look(model: Model, size: str = "full") -> Weights:
    """Find out what there is of a model's weights on the hub and here. Fetches nothing."""
    blank = Weights(model=model.name, repository=model.repository)
    if size != "full" or pretrained.own_folder(model, size):
        try:
            return _here(blank, *pretrained.locate(model, size))
        except Infeasible as error:
            return replace(blank, why=str(error))
    try:
        api = huggingface_hub.HfApi()
        listing = api.model_info(model.repository, revision=model.revision or None, files_metadata=True)
        if listing.gated:
            api.auth_check(model.repository)
    except (errors.HfHubHTTPError, errors.HFValidationError) as error:
        return _without_hub(blank, model, pretrained.explain(error, model))
    except Exception as error:  # of whichever HTTP client the hub's library has, or that it may not ask at all
        return _without_hub(blank, model, pretrained.explain(errors.LocalEntryNotFoundError(str(error)), model))
    return _compare(blank, model, listing)


def fetch(weights: Weights) -> Weights:
    """Bring what is missing into the hub's cache: file by file, those that are whole are kept if it is interrupted."""
    if weights.why or weights.folder:
        return weights
    try:
        folder = pretrained.fetch(catalog.model(weights.model))
    except Infeasible as error:
        return replace(weights, why=str(error))
    return _here(weights, folder, folder.name)


def cache() -> Path:
    """The hub's cache on this host (HF_HOME, HF_HUB_CACHE)."""
    return Path(constants.HF_HUB_CACHE).expanduser()


def free_bytes() -> int:
    """What is free on the disk of the hub's cache, which need not be there yet."""
    folder = cache().resolve()
    return shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free


def require_room(needed: Sequence[Weights], free: int) -> None:
    """Raise RequestError where the disk has no room for what is known to be missing."""
    missing = sum(weights.known_bytes for weights in needed)
    if missing > free:
        amount, room = with_prefix(missing, "B"), with_prefix(free, "B")
        remedy = f"at most the {room} that are free in {cache()}: make room, name fewer models, or set HF_HOME"
        raise RequestError("weights", f"{amount} to fetch", remedy)


def total(sizes: Sequence[int | None]) -> int | None:
    """Add sizes up; None where one of them is not known."""
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def _compare(blank: Weights, model: Model, listing: huggingface_hub.ModelInfo) -> Weights:
    """The files of a listing that a worker reads, beside those that are in the cache."""
    published = {file.rfilename: file.size for file in listing.siblings or ()}
    allowed, ignored = pretrained.patterns(model)
    names = list(filter_repo_objects(published, allow_patterns=allowed, ignore_patterns=ignored))
    blank = replace(blank, revision=listing.sha)
    for part in model.components:
        if not any(name.startswith(f"{part}/") and name.endswith(".safetensors") for name in names):
            return replace(blank, why=f"{model.name}: {model.repository} has no safetensors of {part} at {listing.sha}")
    sizes = [published[name] for name in names]
    missing = [published[name] for name in names if not _is_here(model.repository, name, listing.sha)]
    return replace(
        blank,
        bytes=total(sizes),
        fetch_bytes=total(missing),
        known_bytes=sum(size or 0 for size in missing),
        folder=None if missing else str(pretrained.fetch(model, offline=True)),
    )


def _is_here(repository: str, name: str, revision: str | None) -> bool:
    return isinstance(huggingface_hub.try_to_load_from_cache(repository, name, revision=revision), str)


def _without_hub(blank: Weights, model: Model, why: str) -> Weights:
    """What the cache alone says: a snapshot that is whole needs no hub."""
    try:
        folder = pretrained.fetch(model, offline=True)
    except Infeasible:
        return replace(blank, why=why)
    return _here(blank, folder, folder.name)


def _here(weights: Weights, folder: Path, revision: str) -> Weights:
    total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return replace(weights, folder=str(folder), revision=revision, bytes=total, fetch_bytes=0, known_bytes=0)
