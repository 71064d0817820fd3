"""What configurations take, from whatever is known: ``analysis.predict``, and what ``farm predict`` prints.

One forecast of a fitted law answers for a whole table. A page, a report and the commands call :func:`answer`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, overload

import numpy as np

from analysis import laws, shipped
from analysis.costs import Terms
from analysis.fitted import fit_once
from analysis.laws.base import LEVEL, Law
from analysis.predictions import Estimate, Prediction, Predictions, by_entry
from analysis.table import DataError, Floats, Table
from farm import catalog
from farm.catalog import memory
from farm.domain import Configuration
from farm.domain.errors import RequestError
from farm.domain.parsing import split_sides

# Rows that agree in these are refused alike, but for a GPU type that the catalog lacks; and need the same memory.
_IMAGE: Final = ("model", "size", "width", "height", "cfg", "frames")
_REFUSED_BY: Final = (*_IMAGE, "steps")
_NEEDS_BY: Final = ("model", "size", "width", "height", "precision", "batch", "frames", "cfg")


def answer(
    fitted: Law,
    table: Table,
    *,
    terms: Terms | None = None,
    level: float = LEVEL,
    source: str = "",
    fit_id: int | None = None,
) -> Predictions:
    """What a fitted law says of every row of a table, each of which its model must be able to take.

    ``source`` says in words where the law's rows came from. The bounds of seconds have the relative width of those of
    energy: most of what is uncertain is how long the work takes. See :func:`refusals` for rows that cannot be answered.
    """
    forecast = fitted.forecast(table, level)
    energy = Estimate(forecast.joules, forecast.low, forecast.high)
    if forecast.seconds is None:
        seconds = Estimate.unknown(len(table))
    else:
        factor = forecast.seconds / forecast.joules
        seconds = Estimate(forecast.seconds, forecast.low * factor, forecast.high * factor)
    memory_of = _memory(table)
    return Predictions(
        table=table,
        energy=energy,
        seconds=seconds,
        phases=forecast.phases,
        idle_watts=_of_gpus(table) if forecast.idle_watts is None else forecast.idle_watts,
        fits=[fits for fits, _ in memory_of],
        fits_why=[why for _, why in memory_of],
        rests_on=_words(fitted, table, source),
        terms=terms or Terms(),
        level=level,
        law=fitted.name,
        fit_id=fit_id,
    )


def refusals(table: Table) -> dict[int, RequestError]:
    """Why rows cannot be answered, by their place: the catalog lacks the model or the GPU type, or the model cannot
    make the image."""
    by_image, image = table.groups(*_IMAGE)
    fewest = np.full(len(by_image), np.iinfo(np.int64).max)
    np.minimum.at(fewest, image, table.steps)
    few = np.flatnonzero(table.steps == fewest[image])
    bad = set(_refused(table.take(few), _IMAGE))  # a model takes too few steps, never too many
    wrong: dict[int, RequestError] = {}
    if bad:
        of_image = np.isin(image, [image[few[place]] for place in bad])
        rows = np.flatnonzero(of_image)
        wrong = {int(rows[place]): error for place, error in _refused(table.take(rows), _REFUSED_BY).items()}
    label = table.labels("gpu")
    for place in np.flatnonzero(np.bincount(label.codes, minlength=len(label.names))).tolist():
        try:
            catalog.gpu(label.names[place])
        except RequestError as error:
            wrong = dict.fromkeys(np.flatnonzero(label.codes == place).tolist(), error) | wrong
    return wrong


def _refused(table: Table, columns: tuple[str, ...]) -> dict[int, RequestError]:
    """Why models cannot make what rows ask for, by place; rows that agree in these columns are asked about once."""
    first, group = table.groups(*columns)
    wrong: dict[int, RequestError] = {}
    for place, configuration in enumerate(by_entry(table.take(first)).configurations()):
        try:
            catalog.model(configuration.model).check(configuration)
        except RequestError as error:
            wrong[place] = error
    return {row: wrong[place] for row, place in enumerate(group.tolist()) if place in wrong} if wrong else {}


def _memory(table: Table) -> list[tuple[bool | None, str | None]]:
    """Whether each row fits its GPU type, and why not."""
    first, group = table.groups(*_NEEDS_BY)
    needs = [memory.need(configuration) for configuration in by_entry(table.take(first)).configurations()]
    gpu = table.labels("gpu")
    boards = [catalog.gpus().get(name) for name in gpu.names]
    _, one, place = np.unique(group * len(boards) + gpu.codes, return_index=True, return_inverse=True)
    answers: list[tuple[bool | None, str | None]] = []
    for row in one.tolist():
        board = boards[gpu.codes[row]]
        assert board is not None  # or the row was refused
        answers.append(needs[group[row]].on(board))
    return [answers[each] for each in place.tolist()]


def _of_gpus(table: Table) -> Floats:
    """Typical idle power of each row's GPU type, watts."""
    label = table.labels("gpu")
    watts = np.array([catalog.gpu(name).idle_watts if name in catalog.gpus() else np.nan for name in label.names])
    return np.asarray(watts[label.codes])


def _words(fitted: Law, table: Table, source: str) -> list[str]:
    first, group = table.groups(*fitted.rests_on_columns)
    words = [fitted.rests_on(table.take([row])) for row in first.tolist()]
    whole = [f"{text} ({source})" if source else text for text in words]
    return [whole[place] for place in group.tolist()]


@overload
def predict(
    configurations: None = None,
    *,
    model: str,
    gpu: str,
    resolution: int | tuple[int, int],
    steps: int,
    precision: str,
    cfg: bool = False,
    prompts: int = 1,
    batch: int = 1,
    frames: int = 1,
    data: Any = None,
    law: str | Law = laws.DEFAULT,
    level: float = LEVEL,
    terms: Terms | None = None,
) -> Prediction: ...
@overload
def predict(
    configurations: Configuration,
    *,
    data: Any = None,
    law: str | Law = laws.DEFAULT,
    level: float = LEVEL,
    terms: Terms | None = None,
) -> Prediction: ...
@overload
def predict(
    configurations: Any,
    *,
    data: Any = None,
    law: str | Law = laws.DEFAULT,
    level: float = LEVEL,
    terms: Terms | None = None,
) -> Predictions: ...
def predict(
    configurations: Any = None,
    *,
    model: str | None = None,
    gpu: str | None = None,
    resolution: int | tuple[int, int] | None = None,
    steps: int | None = None,
    precision: str | None = None,
    cfg: bool = False,
    prompts: int = 1,
    batch: int = 1,
    frames: int = 1,
    data: Any = None,
    law: str | Law = laws.DEFAULT,
    level: float = LEVEL,
    terms: Terms | None = None,
) -> Prediction | Predictions:
    """Joules with an interval, by phase, seconds, carbon and cost: of one configuration or of many.

    ``predict(model="flux", gpu="a100", resolution=1024, steps=28, precision="fp16")`` gives a Prediction,
    ``predict(frame)`` Predictions. The law is fitted once; later calls of a process with the same rows use that fit.

    Args:
        configurations: a Configuration; or many, anything that Table.of takes: a list of configurations or mappings, a
            data frame, a Table, a file. Instead of the keywords up to ``frames``.
        model: catalog name, or what it is called elsewhere: ``FLUX.1-dev``; or a folder in diffusers layout.
        gpu: catalog name, or what it is called elsewhere: ``NVIDIA A100-SXM4-80GB``.
        resolution: pixels of a square's side, or (width, height).
        steps: denoising steps.
        precision: fp16, bf16 or fp32.
        cfg: classifier-free guidance.
        prompts: images in total.
        batch: images at once.
        frames: of a video; 1 of an image.
        data: the only measured rows to use, anything that Table.of takes, none at all too; by default the rows that
            ship with the project.
        law: its name, or a law that is fitted already.
        level: of the interval.
        terms: whose electricity, what it costs, what else is counted.

    Raises:
        RequestError: naming the field, its value and what would be right.
    """
    one = {"model": model, "gpu": gpu, "resolution": resolution, "steps": steps, "precision": precision}
    if configurations is None:
        configurations = _configuration({**one, "cfg": cfg, "prompts": prompts, "batch": batch, "frames": frames})
    elif any(value is not None for value in one.values()):
        raise RequestError("model", model, "the keywords of one configuration, or configurations, not both")
    table = Table.of(configurations)
    for row, error in refusals(table).items():
        if isinstance(configurations, Configuration):
            raise error
        raise DataError(f"row {row + 1}, {error.field}", error.value, error.remedy)
    known = law if isinstance(law, Law) else fit_once(law, shipped.shipped_rows() if data is None else Table.of(data))
    source = shipped.WORDS if data is None and not isinstance(law, Law) else ""
    answers = answer(known, table, terms=terms, level=level, source=source)
    return answers[0] if isinstance(configurations, Configuration) else answers


def _configuration(values: Mapping[str, Any]) -> Configuration:
    from analysis.work.models import find

    for name, value in values.items():
        if value is None:
            raise RequestError(name, value, "required, or configurations as the first argument")
    side = values["resolution"]
    width, height = side if isinstance(side, tuple) else split_sides(side)
    names = {"model": find(str(values["model"])), "gpu": catalog.find_gpu(str(values["gpu"])).name}
    return Configuration.from_mapping(
        {**{k: v for k, v in values.items() if k != "resolution"}, "width": width, "height": height, **names}
    )


def law(name: str = laws.DEFAULT, **settings: Any) -> Law:
    """A law by its name, not fitted yet."""
    return laws.get(name)(**settings)


def paper_rows() -> Table:
    """The 200 A100 rows of the three transformers of arXiv 2511.17031v2: a part of the data set ``paper``, of no data
    set here. All rows that ship: :func:`analysis.shipped.shipped_rows`."""
    return Table.read(shipped.TRANSFORMERS)
