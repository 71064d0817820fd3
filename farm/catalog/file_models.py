"""The keys of the catalog's TOML files: what each means, and which values can be right.

The schemas for editors (docs/schemas) are made from these models. RequestError names the file, the key, its value and
what would be right.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from farm.domain.errors import RequestError, did_you_mean
from farm.domain.parsing import MAX_WATTS

Architecture = Literal[
    "Pascal", "Volta", "Turing", "Ampere", "Ada", "Hopper", "Blackwell", "CDNA 2", "CDNA 3", "CDNA 4"
]
NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"  # means nothing in rules and patterns of other programs
FIGURES: Final = (
    "memory_bytes", "bandwidth", "board_power_watts", "idle_watts", "context_idle_watts", "chip_watts",
    "multiprocessors", "boost_clock", "peak", "reach", "power_reading", "sensor_duty",
)  # fmt: skip
MOST_WORK_A_BYTE: Final = 600.0  # FLOP for each byte of memory traffic; 419 is the most that a board of today has


class _Keys(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, populate_by_name=False)


def _number(low: float, high: float, unit: str, default: Any = ...) -> Any:
    remedy = f"a number above 0, in {unit} from {low:g} to {high:g}"
    return Field(default, ge=low, le=high, description=remedy)


def _share(default: Any = ...) -> Any:
    return Field(default, gt=0, le=1, description="a number above 0, at most 1")


class Peak(_Keys):
    """Dense rates (no sparsity) in FLOP/s."""

    fp16: float = _number(1e9, 1e17, "FLOP/s")
    bf16: float = _number(1e9, 1e17, "FLOP/s")
    tf32: float = _number(1e9, 1e17, "FLOP/s")
    fp32: float = _number(1e9, 1e17, "FLOP/s")


class GpuFile(_Keys):
    """A GPU type, or a type of processor."""

    model_config = ConfigDict(title="joulefarm GPU type")

    title: str = Field(min_length=1, description="a text")
    kind: Literal["gpu", "processor"] = Field("gpu", description="one of gpu, processor")
    queue: str | None = Field(
        None, pattern=NAME, description="a name of up to 64 letters, digits, dots, dashes and underscores"
    )
    architecture: Architecture | None = Field(
        None, description=f'that of a GPU, or kind = "processor": one of {", ".join(get_args(Architecture))}'
    )
    nvml_names: list[str] = Field(default_factory=list, description="a list of texts")
    memory_bytes: float = _number(1e9, 1e13, "bytes")
    bandwidth: float = _number(1e9, 1e14, "bytes per second")
    board_power_watts: float = _number(1.0, MAX_WATTS, "watts")
    idle_watts: float = _number(0.01, MAX_WATTS, "watts")
    chip_watts: float | None = _number(1.0, MAX_WATTS, "watts", None)
    context_idle_watts: float | None = _number(0.01, MAX_WATTS, "watts", None)
    multiprocessors: int = Field(ge=1, le=10_000, description="a whole number above 0, at most 10000")
    boost_clock: float | None = _number(1e8, 1e10, "cycles per second", None)
    power_reading: Literal["instant", "average_1s"] | None = Field(None, description="one of instant, average_1s")
    sensor_duty: float | None = _share(None)
    peak: Peak = Field(description="a table: [peak]")
    reach: dict[str, float] = Field(default_factory=dict, description="a number above 0, at most 1")
    sources: dict[str, str] = Field(description="a table: [sources]")


class Parameters(_Keys):
    """Published counts of parameters, by part of the pipeline."""

    denoiser: float = Field(ge=0, le=1e14, description="a number, 0 or more")
    text: float = Field(ge=0, le=1e14, description="a number, 0 or more")
    decoder: float = Field(ge=0, le=1e14, description="a number, 0 or more")


class ComponentTable(_Keys):
    """One part of the pipeline and the published configuration it is built from."""

    library: Literal["diffusers", "transformers"] = Field(description="one of diffusers, transformers")
    cls: str = Field(alias="class", min_length=1, description="a text")
    phase: Literal["text", "denoise", "decode"] = Field(description="one of text, denoise, decode")
    config: dict[str, Any] = Field(description="a table")
    nano: dict[str, Any] = Field(default_factory=dict, description="a table")


class Scheduler(_Keys):
    """The noise schedule's class and configuration."""

    cls: str = Field(alias="class", min_length=1, description="a text")
    config: dict[str, Any] = Field(default_factory=dict, description="a table")


class ModelFile(_Keys):
    """A diffusion model."""

    model_config = ConfigDict(title="joulefarm model")

    title: str = Field(min_length=1, description="a text")
    family: str = Field(
        pattern=r"^[a-z][a-z0-9_]*$", description="the name of a pipeline family: small letters, digits, _"
    )
    pipeline: str = Field(min_length=1, description="a text")
    repository: str = Field(description="a text")
    aliases: list[str] = Field(default_factory=list, description="a list of texts")
    revision: str = Field("", description="a text")
    gated: bool = Field(False, description="true or false")
    license: str = Field(description="a text")
    cfg: Literal["batch", "two_pass", "none"] = Field(description="one of batch, two_pass, none")
    multiple: int = Field(ge=1, le=1024, description="a whole number above 0, at most 1024")
    video: bool = Field(False, description="true or false")
    parameters: Parameters = Field(description="a table: [parameters]")
    scheduler: Scheduler = Field(description="a table: [scheduler]")
    tokenizers: dict[str, dict[str, Any]] = Field(default_factory=dict, description="a table")
    components: dict[str, ComponentTable] = Field(min_length=1, description="a table: [components]")
    sources: dict[str, str] = Field(min_length=1, description="a table: [sources]")


Keys = TypeVar("Keys", bound=_Keys)


def checked(model: type[Keys], path: Path, values: Mapping[str, Any]) -> Keys:
    """The keys of a file. RequestError for the first that is wrong, missing or not one of them."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    place = [str(part) for part in first["loc"] if part != "[key]"]
    shown = "missing" if first["type"] == "missing" else first["input"]
    if first["type"] == "extra_forbidden":
        known = _fields(model, place[:-1])
        hint = did_you_mean(place[-1], known)
        raise RequestError(f"{path}: {'.'.join(place)}", _short(shown), f"no such key; {hint}known: {', '.join(known)}")
    raise RequestError(f"{path}: {'.'.join(place)}", _short(shown), _remedy(model, place))


def check_gpu(path: Path, gpu: GpuFile) -> None:
    """Check that the keys of a GPU's file agree with each other. RequestError where they do not."""

    def refuse(key: str, value: Any, remedy: str) -> RequestError:
        return RequestError(f"{path}: {key}", value, remedy)

    if gpu.kind == "gpu":
        for key in ("architecture", "power_reading", "sensor_duty"):
            if getattr(gpu, key) is None:
                raise refuse(key, "missing", _remedy(GpuFile, [key]))
        if "nvml_names" not in gpu.model_fields_set:
            raise refuse("nvml_names", "missing", "a list of texts: names that NVML gives the board")
    for key in ("idle_watts", "context_idle_watts"):
        value = getattr(gpu, key)
        if value is not None and value > gpu.board_power_watts:
            raise refuse(key, value, f"a number above 0, at most {gpu.board_power_watts:g}, the board's power")
    for key, value in gpu.reach.items():
        if not 0 < value <= 1:
            raise refuse(f"reach.{key}", value, "a number above 0, at most 1")
    for name, rate in gpu.peak:
        if rate > MOST_WORK_A_BYTE * gpu.bandwidth:
            remedy = f"a figure that goes with peak.{name} = {rate:g}: no device does {MOST_WORK_A_BYTE:g} FLOP a byte"
            raise refuse("bandwidth", gpu.bandwidth, remedy)
    stated = [key for key in FIGURES if getattr(gpu, key) and key in gpu.model_fields_set]
    missing = [key for key in stated if not gpu.sources.get(key, "").strip()]
    if gpu.kind == "processor":
        missing = [key for key in missing if key != "multiprocessors"]
    if missing:
        raise refuse(f"sources.{missing[0]}", "missing", "where that figure is published, or how it was measured")


def _fields(file: type[BaseModel], place: list[str]) -> list[str]:
    """The keys that a table of a file may have."""
    model: type[BaseModel] | None = file
    for part in place:
        field = None if model is None else _field(model, part)
        if field is not None:  # else it is the name of one of several tables
            model = _table(field.annotation)
    return [] if model is None else [field.alias or name for name, field in model.model_fields.items()]


def _remedy(file: type[BaseModel], place: list[str]) -> str:
    """What the description of the key at a place says."""
    model: type[BaseModel] | None = file
    said = ""
    for part in place:
        if model is None:
            break
        field = _field(model, part)
        if field is None:
            continue
        said = field.description or said
        model = _table(field.annotation)
    return said


def _field(model: type[BaseModel], key: str) -> FieldInfo | None:
    return next((f for name, f in model.model_fields.items() if key == (f.alias or name)), None)


def _table(annotation: Any) -> type[BaseModel] | None:
    """The model of a table, or of each table of a table."""
    for candidate in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def _short(value: Any) -> Any:
    text = str(value)
    return value if len(text) <= 100 else text[:97] + "..."
