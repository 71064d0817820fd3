"""Pretrained weights: where they are, how they get here, and one clear line where they are not.

Looked for in ``FARM_WEIGHTS_DIR/MODEL`` (a folder in diffusers layout; ``MODEL-nano`` for nano size), then in the hub's
cache and on the hub, at the revision that the catalog pins. Safetensors only; no code of a repository is ever run.
HF_HUB_OFFLINE, HF_HOME and HF_TOKEN mean what they mean to huggingface_hub.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import huggingface_hub
from huggingface_hub import constants, errors
from safetensors import SafetensorError

from farm import settings
from farm.catalog import Model
from farm.domain import Infeasible

# The same weights in other formats or precisions, which repositories keep beside those that are read; and code.
IGNORED: Final = (
    "*.bin",
    "*.ckpt",
    "*.py",
    "*.onnx*",
    "*.msgpack",
    "*.h5",
    "*fp16*",
    "*bf16*",
    "*non_ema*",
    "*openvino*",
)


def locate(model: Model, size: str = "full") -> tuple[Path, str]:
    """The folder of a model's weights and their revision (``local`` for a folder); fetched where the hub has them.

    Raises Infeasible, in one line, where they cannot be had.
    """
    if (folder := own_folder(model, size)) is not None:
        return folder, "local"
    if size != "full":
        raise Infeasible(
            f"{model.name}: no pretrained weights of size {size} are published: "
            f"weights random, or a folder {_folder_name(model, size)} in FARM_WEIGHTS_DIR"
        )
    snapshot = fetch(model)
    return snapshot, snapshot.name


def own_folder(model: Model, size: str = "full") -> Path | None:
    """The folder of a model's weights in FARM_WEIGHTS_DIR; None where there is none."""
    parent = settings.load().weights_dir
    folder = None if parent is None else parent / _folder_name(model, size)
    return folder if folder is not None and (folder / "model_index.json").is_file() else None


def patterns(model: Model) -> tuple[list[str], list[str]]:
    """Names of the files that the catalog's components need of a repository: patterns of those to take and to leave."""
    wanted = ["model_index.json", "scheduler/*.json"]
    wanted += [f"{name}/*.{ending}" for name in model.components for ending in ("json", "safetensors")]
    wanted += [f"{name}/*" for name in model.tokenizers]
    return wanted, list(IGNORED)


def fetch(model: Model, *, offline: bool = False) -> Path:
    """Bring the files that the catalog's components need into the hub's cache; the folder of the snapshot.

    Files that are there already are not fetched again; with ``offline`` all must be. Raises Infeasible, in one line,
    where it cannot be done.
    """
    wanted, ignored = patterns(model)
    try:
        return Path(
            huggingface_hub.snapshot_download(
                model.repository,
                revision=model.revision or None,
                allow_patterns=wanted,
                ignore_patterns=ignored,
                local_files_only=offline,
            )
        )
    except (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, errors.HFValidationError, OSError) as error:
        problem = explain(error, model)
    raise Infeasible(problem)


def read(model: Model, size: str, dtype: Any, device: Any, options: Mapping[str, Any]) -> tuple[Any, dict[str, object]]:
    """The pipeline with pretrained weights on ``device``, and where they came from.

    Components are read one at a time, so that the host's memory holds the largest of them at most. Raises Infeasible
    where a file is missing or is not what the catalog says.
    """
    from workers.pipelines import memory
    from workers.pipelines.build import absent, find_class

    folder, revision = locate(model, size)
    pipeline_class = find_class("diffusers", model.pipeline)
    try:
        parts = {}
        for name, part in model.components.items():
            module = _component(find_class(part.library, part.cls), folder / name, part.library, dtype)
            _check_architecture(module, part.nano if size == "nano" else part.config, folder / name)
            parts[name] = module.to(device)
        components = {**parts, **options}
        by_folder = dict.fromkeys([*model.tokenizers, "scheduler"])  # small files: the pipeline reads them itself
        pipeline = pipeline_class.from_pretrained(
            folder, **absent(pipeline_class, {**components, **by_folder}), **components
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        if memory.device_error(error) is not None:
            raise
        problem = f"{model.name}: weights in {folder} cannot be read: {_line(error)}"
    else:
        pipeline.set_progress_bar_config(disable=True)
        return pipeline, {"repository": model.repository, "revision": revision}
    raise Infeasible(problem)


def _component(part_class: type[Any], folder: Path, library: str, dtype: Any) -> Any:
    precision = {"torch_dtype": dtype} if library == "diffusers" else {"dtype": dtype}
    module = part_class.from_pretrained(folder, use_safetensors=True, local_files_only=True, **precision)
    return module.eval().requires_grad_(False)


def _check_architecture(module: Any, config: Mapping[str, Any], folder: Path) -> None:
    """Refuse a folder that holds another model: its energy would be booked under this one's name."""
    for key, value in config.items():
        published = getattr(module.config, key, value)
        if isinstance(value, (int, float)) and published != value:
            raise ValueError(f"{folder.name} has {key} {published}, the catalog says {value}")


def _folder_name(model: Model, size: str) -> str:
    return model.name if size == "full" else f"{model.name}-{size}"


def explain(error: Exception, model: Model) -> str:
    """Why the hub did not give the weights and what to do, in one line."""
    page = f"https://huggingface.co/{model.repository}"
    what = f"{model.name}: weights of {model.repository}"
    hub = constants.ENDPOINT
    if isinstance(error, errors.GatedRepoError):
        return f"{what} are gated: accept the licence at {page}, then set HF_TOKEN"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{what}: the hub has no revision {model.revision}: set another in the catalog"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"{what}: no such repository, or it is private: see {page}, set HF_TOKEN"
    if constants.HF_HUB_OFFLINE:
        return f"{what} are not in the cache and HF_HUB_OFFLINE is set: farm weights fetch {model.name} while online"
    if isinstance(error, errors.LocalEntryNotFoundError):
        away = f"are not in the cache and the hub was not reached at {hub}"
        return f"{what} {away}: farm weights fetch {model.name} while online"
    return f"{what} could not be fetched: {_line(error)}"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
