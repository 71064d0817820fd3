"""The energy of one configuration, from whatever is known: ``analysis.predict`` and what ``farm predict`` prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from analysis import laws, shipped
from analysis.laws.base import LEVEL, Law
from analysis.table import Floats, Table
from farm import catalog
from farm.catalog import memory
from farm.domain import PHASES, Configuration


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """Energy above idle of all prompts of a configuration, and what the number rests on."""

    configuration: Configuration
    energy_joules: float
    low_joules: float  # the energy of one run lies between low and high with probability `level`
    high_joules: float
    level: float
    duration_seconds: float | None  # None from a law that knows no time
    phases: dict[str, float | None]  # text, denoise, decode; None from a law that knows no phases
    rests_on: str
    law: str
    fit_id: int | None  # of the farm's database
    fits: bool  # whether the GPU type has the memory, as is asked before a job is queued
    fits_why: str | None  # None where it has

    def to_dict(self) -> dict[str, Any]:
        """What `farm predict --json` prints."""
        names = (
            "energy_joules", "low_joules", "high_joules", "level", "duration_seconds", "phases", "rests_on", "law",
            "fit_id", "fits", "fits_why",
        )  # fmt: skip
        return {**{name: getattr(self, name) for name in names}, "configuration": self.configuration.to_dict()}


def predict(
    *,
    model: str,
    gpu: str,
    resolution: int | tuple[int, int],
    steps: int,
    precision: str,
    cfg: bool = False,
    prompts: int = 1,
    batch: int = 1,
    data: Any = None,
    law: str | Law = laws.DEFAULT,
    level: float = LEVEL,
) -> Prediction:
    """Joules of a configuration with an interval, by phase, and seconds.

    Args:
        model: catalog name.
        gpu: catalog name.
        resolution: pixels of a square's side, or (width, height).
        steps: denoising steps.
        precision: fp16, bf16 or fp32.
        cfg: classifier-free guidance.
        prompts: images in total.
        batch: images at once.
        data: the only measured rows to use, anything that Table.of takes, none at all too; by default the rows that
            ship with the project.
        law: its name, or a law that is fitted already.
        level: of the interval.

    Raises:
        RequestError: naming the field, its value and what would be right.
    """
    width, height = resolution if isinstance(resolution, tuple) else (resolution, resolution)
    configuration = Configuration(
        model=model, gpu=gpu, width=width, height=height, steps=steps, precision=precision, cfg=cfg, prompts=prompts,
        batch=batch,
    )  # fmt: skip
    if isinstance(law, Law):
        return predict_with(law, configuration, level=level)
    fitted = laws.get(law)().fit(shipped.shipped_rows() if data is None else data)
    return predict_with(fitted, configuration, level=level, source=shipped.WORDS if data is None else "")


def predict_with(
    fitted: Law, configuration: Configuration, *, level: float = LEVEL, source: str = "", fit_id: int | None = None
) -> Prediction:
    """The prediction of a fitted law; ``source`` says in words where its rows came from."""
    catalog.check(configuration)
    table = Table.of(configuration)
    answer = fitted.forecast(table, level)
    phases = answer.phases or {}
    words = fitted.rests_on(table)
    too_large = memory.explain(configuration)
    return Prediction(
        configuration=configuration,
        energy_joules=float(answer.joules[0]),
        low_joules=float(answer.low[0]),
        high_joules=float(answer.high[0]),
        level=level,
        duration_seconds=_first(answer.seconds),
        phases={phase: _first(phases.get(phase)) for phase in PHASES},
        rests_on=f"{words} ({source})" if source else words,
        law=fitted.name,
        fit_id=fit_id,
        fits=too_large is None,
        fits_why=too_large,
    )


def law(name: str = laws.DEFAULT, **settings: Any) -> Law:
    """A law by its name, not fitted yet."""
    return laws.get(name)(**settings)


def paper_rows() -> Table:
    """The 200 A100 rows of the three transformers of arXiv 2511.17031v2: a part of the data set ``paper``, of no data
    set here. All rows that ship: :func:`analysis.shipped.shipped_rows`."""
    return Table.read(shipped.TRANSFORMERS)


def _first(values: Floats | None) -> float | None:
    return None if values is None else float(values[0])
