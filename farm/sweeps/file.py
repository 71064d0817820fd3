"""The keys of a sweep file: what each means and what it is where it is left out.

The reference (docs/sweeps.md) and the schema for editors (docs/schemas/sweep.schema.json) are made from this model;
``farm.sweeps.read`` takes the names of the keys from it and checks their values, which depend on the catalog.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from farm.domain.configuration import MAX_SEED, PRECISIONS, SIZES, WEIGHTS
from farm.sweeps.axes import AXES

MAX_REPLICATES: Final = 1000
_DEFAULTS: Final = {key: list(default) for key, _, default in AXES if default is not None}

Pixels = int
Resolution = Pixels | list[Pixels]
Row = dict[str, Any]


def _axis(key: str, meaning: str, **more: Any) -> Any:
    return Field(default_factory=lambda: list(_DEFAULTS[key]), description=meaning, **more)


class SweepFile(BaseModel):
    """A sweep: lists are axes, their product is what is measured. A single value stands for a list of one."""

    model_config = ConfigDict(extra="forbid", title="joulefarm sweep")

    models: str | list[str] = Field(description="models of the catalog, by any name they go by (`farm models`)")
    gpus: str | list[str] = Field(description="GPU types of the catalog, likewise (`farm gpus`)")
    resolutions: Resolution | list[Resolution] = _axis(
        "resolutions", "sides of square images in pixels; a pair `[width, height]` for others"
    )
    steps: int | list[int] = _axis("steps", "denoising steps")
    precisions: str | list[str] = _axis("precisions", f"any of {', '.join(PRECISIONS)}")
    cfg: bool | list[bool] = _axis("cfg", "classifier-free guidance, on or off")
    prompts: int | list[int] = _axis("prompts", "images in total of one measurement")
    batch: int | list[int] = _axis("batch", "images made at once; at most `prompts`")
    weights: str | list[str] = _axis("weights", f"any of {', '.join(WEIGHTS)}; see `farm weights fetch`")
    size: str | list[str] = _axis("size", f"any of {', '.join(SIZES)}; nano is for trying a farm out")
    name: str | int | None = Field(None, description="what the sweep is called; by default the file's name")
    replicates: int = Field(1, ge=1, le=MAX_REPLICATES, description="how often each configuration is measured")
    seed: int = Field(0, ge=0, le=MAX_SEED, description="of the images, and of the order inside a block of jobs")
    prompts_file: str | None = Field(
        None,
        description="a text file with a prompt a line, or COCO captions as JSON, relative to the sweep file; read when "
        "it is submitted. By default the list that ships",
    )
    include: list[Row] = Field(
        default_factory=list,
        description="more rows, such as `{model: sd2, gpu: a100, steps: 25}`; what a row leaves open is the sweep's "
        "where that has one value",
    )
    exclude: list[Row] = Field(
        default_factory=list, description="rows taken away: everything that matches every key of one of them"
    )
    deadline: float | str | None = Field(
        None, description="hours from now, or a time such as `2030-01-31T18:00Z`; what is queued then is cancelled"
    )
    budget_joules: float | None = Field(
        None, gt=0, description="joules above idle after which what is queued is cancelled"
    )


KEYS: Final = tuple(SweepFile.model_fields)
