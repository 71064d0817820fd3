"""What is known beforehand of models and GPU types: TOML files with the source of every figure.

A lab adds its own under ``FARM_HOME/catalog/models`` and ``FARM_HOME/catalog/gpus``; a file there replaces a shipped
one of the same name. Adding a model or a GPU type is adding one file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

from farm.catalog import files, names, rules
from farm.catalog.definitions import KINDS, NANO, Component, Gpu, Model
from farm.catalog.files import SHIPPED, adopt, home, refresh, reload
from farm.domain.configuration import Configuration

__all__ = [
    "KINDS", "NANO", "PROCESSOR", "SHIPPED", "Component", "Gpu", "Model", "adopt", "build", "check", "digest",
    "find_build", "find_gpu", "find_model", "gpu", "gpu_name", "gpus", "has_build", "home", "model", "model_name",
    "models", "refresh", "reload",
]  # fmt: skip

PROCESSOR = "cpu"  # the shipped entry for the processor of whatever host


def gpus() -> dict[str, Gpu]:
    """Every GPU type by its catalog name, a lab's own among them."""
    return dict(files.gpus_now())


def models() -> dict[str, Model]:
    """Every model by its catalog name, a lab's own among them."""
    return dict(files.models_now())


def gpu(name: str) -> Gpu:
    """The GPU type of that name; RequestError with the nearest names otherwise."""
    known = files.gpus_now()
    if name in known:
        return known[name]
    raise names.refusal("gpu", str(name), _gpu_names(known), names.gpu_spelling)


def model(name: str) -> Model:
    """The model of that name; RequestError with the nearest names otherwise."""
    known = files.models_now()
    if name in known:
        return known[name]
    raise names.refusal("model", str(name), _model_names(known), names.model_spelling)


def find_gpu(text: str, *, field: str = "gpu") -> Gpu:
    """The GPU type that a text names, whoever wrote it: ``a100``, `` A100 ``, ``NVIDIA A100-SXM4-80GB``.

    A catalog name, but for case, blanks and punctuation; a title; the name that NVML gives the board, with or without
    its maker. RequestError where nothing, or more than one type, is called so; it says what is near.
    """
    known = files.gpus_now()

    def patterns(text: str) -> list[str]:
        spellings = (text, f"NVIDIA {text}")
        return [name for name, entry in known.items() if any(map(entry.matches, spellings))]

    return known[names.find(field, text, _gpu_names(known), names.gpu_spelling, patterns)]


def find_model(text: str, *, field: str = "model") -> Model:
    """The model that a text names, whoever wrote it: ``flux``, ``FLUX.1-dev``, ``black-forest-labs/FLUX.1-dev``.

    A catalog name, but for case, blanks and punctuation; a title; a repository on the hub, with or without its owner;
    an alias of the entry. RequestError where nothing, or more than one model, is called so; it says what is near.
    """
    known = files.models_now()
    return known[names.find(field, text, _model_names(known), names.model_spelling)]


def find_build(text: str, *, field: str = "model") -> str:
    """The name of the build that a text names, as the laws know it: ``FLUX.1-dev`` is flux, ``Flux-nano`` flux-nano."""
    text = text.strip()
    if has_build(text):
        return text
    base = text.removesuffix(NANO)
    entry = find_model(base, field=field)
    return entry.name if base == text else entry.at_nano().name


def model_name(text: str) -> str:
    """The model of a table's row: as ``find_build`` knows it, or as it is where nothing is near, for rows may be of
    models that the catalog lacks. RequestError where something is: a slip must not pass for another model. Another
    version of one, kandinsky-2.2 beside kandinsky-3, is no slip."""
    return _found_or_foreign(find_build, text, names.is_version)


def gpu_name(text: str) -> str:
    """The GPU type of a table's row, likewise; GPUs are all called by numbers, so that one off is a slip."""
    return _found_or_foreign(lambda text: find_gpu(text).name, text, lambda text, near: False)


def _found_or_foreign(find: Callable[[str], str], text: str, is_another: Callable[[str, str], bool]) -> str:
    try:
        return find(text)
    except names.UnknownName as error:
        if error.near is not None and not is_another(text.strip(), error.near):
            raise
        return text.strip()


def check(configuration: Configuration) -> None:
    """Raise RequestError where the catalog lacks the model or the GPU type, or the model cannot take the rest."""
    model(configuration.model).check(configuration)
    gpu(configuration.gpu)


def build(name: str) -> Model:
    """A model by the name of its build, as the laws know it: ``flux``, or ``flux-nano`` for its nano size."""
    if name.endswith(NANO) and name not in files.models_now():
        return model(name.removesuffix(NANO)).at_nano()
    return model(name)


def has_build(name: str) -> bool:
    """Whether ``build`` knows a build of that name."""
    known = files.models_now()
    base = known.get(name.removesuffix(NANO))
    return name in known or (base is not None and any(c.nano for c in base.components.values()))


def digest(configuration: Configuration) -> str:
    """Digest of the two entries that a job of this configuration uses and of the rules they are read by.

    Two hosts that agree on it measure the same thing, whatever else is in their catalogs. RequestError where the
    catalog lacks either.
    """
    uses = (model(configuration.model).fingerprints[configuration.size], gpu(configuration.gpu).fingerprint)
    return hashlib.sha256(" ".join((str(rules.VERSION), *uses)).encode()).hexdigest()[:16]


def _gpu_names(entries: Mapping[str, Gpu]) -> dict[str, tuple[str, ...]]:
    return {name: names.gpu_names(name, entry.title, entry.nvml_names) for name, entry in entries.items()}


def _model_names(entries: Mapping[str, Model]) -> dict[str, tuple[str, ...]]:
    return {name: names.model_names(entry.title, entry.repository, entry.aliases) for name, entry in entries.items()}
