"""Prints predictions and writes them to files."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from farm.domain import words
from farm.domain.documents import json_text
from farm.files.table import write_columns

if TYPE_CHECKING:
    from analysis.predictions import Prediction, Predictions

ROWS_SHOWN: Final = 60
LEFT_OUT_SHOWN: Final = 10
_WIDE: Final = 180  # columns of a table that no terminal bounds


def emit_many(answers: Predictions, left_out: Sequence[Mapping[str, Any]]) -> None:
    """One JSON document, a line a prediction."""
    lines = ",\n".join(_lines(answers.document_columns(), len(answers)))
    rest = ",\n".join(map(json_text, left_out))
    click.echo(f'{{"predictions": [\n{lines}\n],\n"left_out": [{rest}]}}')


def _lines(columns: Mapping[str, Any], n: int) -> Iterator[str]:
    """The JSON of n documents, each on a line, from their keys' values, column by column: three times as fast as one
    document after the other."""
    template, varied = _template(columns, n)
    rows = zip(*varied, strict=True) if varied else repeat((), n)
    return (template % row for row in rows)


def _template(columns: Mapping[str, Any], n: int) -> tuple[str, list[Sequence[str]]]:
    """A document whose values that differ are %s, and the texts of those."""
    parts, varied = [], []
    for name, values in columns.items():
        if isinstance(values, Mapping):
            text, inner = _template(values, n)
            varied += inner
        elif values.count(values[0]) == n:
            text = json.dumps(values[0], allow_nan=False).replace("%", "%%")
        else:
            text = "%s"
            varied.append(_texts(values))
        parts.append(f"{json.dumps(name)}: {text}")
    return f"{{{', '.join(parts)}}}", varied


def _texts(values: Sequence[Any]) -> Sequence[str]:
    if set(map(type, values)) == {float}:
        return list(map(float.__repr__, values))  # as json writes them; none is infinite
    known = {value: json.dumps(value, allow_nan=False) for value in set(values)}
    return [known[value] for value in values]


def write(answers: Predictions, out: Path) -> None:
    """A row a prediction, to .csv or .parquet, whole or not at all. The rows carry the flag ``estimated``, so that no
    fit takes them for measured ones."""
    columns = {**answers.configuration_columns(), **answers.columns()}
    columns["cfg"] = [int(value) for value in columns["cfg"]]
    columns["flags"] = ["estimated"] * len(answers)
    write_columns(out, columns, "out")


def show_one(answer: Prediction) -> None:
    """A configuration in lines: of an image, of a thousand, of a day where asked."""
    asked = answer.configuration
    one, many = ("a video", "videos") if asked.frames > 1 else ("an image", "images")
    click.echo(f"{asked.label()} on {asked.gpu}, law {answer.law}")
    each = words.joules(answer.energy_joules_per_image)
    click.echo(f"energy    {words.joules(answer.energy_joules)} ({each} {one})")
    click.echo(f"interval  {words.interval(answer.low_joules, answer.high_joules, answer.level)}")
    thousand = words.watt_hours(1000 * answer.energy_joules / asked.prompts)
    click.echo(f"          {words.watt_hours(answer.energy_joules)}; a thousand {many} {thousand}")
    if answer.duration_seconds is not None:
        bounds = f"{words.seconds(answer.low_seconds)} to {words.seconds(answer.high_seconds)}"
        click.echo(f"duration  {words.seconds(answer.duration_seconds)} ({bounds})")
    for phase, joules in answer.phases.items():
        if joules is not None:
            click.echo(f"{phase:<9} {words.joules(joules)}")
    if answer.energy_joules_with_idle is not None:
        bounds = f"{words.joules(answer.low_joules_with_idle)} to {words.joules(answer.high_joules_with_idle)}"
        click.echo(f"with idle {words.joules(answer.energy_joules_with_idle)} ({bounds}): {answer.counted}")
    if answer.carbon_source is not None:
        click.echo(f"carbon    {_amount(answer, 'grams_co2e', 'g CO2e')}: {answer.carbon_source}")
    if answer.cost is not None:
        click.echo(f"cost      {_amount(answer, 'cost', '')}")
    for name, value in (answer.per_day or {}).items():
        if not name.startswith(("low_", "high_", "images")) and value is not None:
            day = answer.per_day or {}
            bounds = " to ".join(_cell(day[f"{end}_{name}"]) for end in ("low", "high"))
            click.echo(f"a day     {_cell(value)} {name.replace('_', ' ')} ({bounds})")
    if answer.score is not None:
        click.echo(f"score     {words.significant(answer.score, 4)}")
    if answer.fits_why is not None:
        click.echo(f"{'too large' if answer.fits is False else 'memory   '} {answer.fits_why}")
    click.echo(f"rests on  {answer.rests_on}")


def _amount(answer: Prediction, name: str, unit: str) -> str:
    values = [getattr(answer, f"{end}{name}") for end in ("", "low_", "high_")]
    if values[0] is None:
        return "unknown: this law knows no time"
    values.append(1000 * values[0] / answer.configuration.prompts)
    value, low, high, thousand = (words.significant(number, 4) for number in values)
    return f"{value} {unit} ({low} to {high}), {thousand} {unit} a thousand images".replace("  ", " ")


def show_many(answers: Predictions, left_out: Sequence[Mapping[str, Any]]) -> None:
    """A line a configuration under what all of them share; then what was left out, and why."""
    from rich.console import Console
    from rich.table import Table

    count, answers = len(answers), answers.take(slice(None, ROWS_SHOWN))
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_WIDE)
    varied, shared = answers.varied_and_shared()  # of those that are shown
    head = ", ".join(f"{name} {_cell(value)}" for name, value in shared.items())
    click.echo(f"{count} configurations, law {answers.law}" + (f": {head}" if head else ""))
    grid = Table(box=None, pad_edge=False)
    columns = {**varied, **_numbers(answers)}
    for name in columns:
        grid.add_column(name, justify="left" if name in ("model", "gpu", "precision") else "right", no_wrap=True)
    for place in range(len(answers)):
        grid.add_row(*(_cell(values[place]) for values in columns.values()))
    console.print(grid)
    if count > ROWS_SHOWN:
        click.echo(f"and {count - ROWS_SHOWN:,} more: --out FILE.csv or --json has all of them")
    gpus: dict[str, list[str]] = {}  # by what is counted with them
    for gpu, counted in dict.fromkeys(zip(answers.table.gpu.tolist(), answers.columns()["counted"], strict=True)):
        gpus.setdefault(counted, []).append(gpu)
    for counted, names in gpus.items():
        where = f" on {', '.join(names)}" if len(gpus) > 1 else ""
        click.echo(f"with idle{where}: {counted}")
    if answers.terms.carbon_source() is not None:
        click.echo(f"carbon: {answers.terms.carbon_source()}")
    reasons = Counter((str(entry["field"]), str(entry["why"])) for entry in left_out)
    for (field, why), count in reasons.most_common(LEFT_OUT_SHOWN):
        click.echo(f"left out: {count}, for {field}: {why}")
    if len(reasons) > LEFT_OUT_SHOWN:
        click.echo(f"left out: more, for {len(reasons) - LEFT_OUT_SHOWN:,} other reasons: --json has all of them")


def _numbers(answers: Predictions) -> dict[str, Sequence[Any]]:
    columns = answers.columns()
    images = answers.table.prompts.tolist()

    def share(name: str, factor: float = 1.0) -> list[float | None]:
        pairs = zip(columns[name], images, strict=True)
        return [None if value is None else factor * value / n for value, n in pairs]

    shown: dict[str, Sequence[Any]] = {
        "J an image": share("energy_joules"),
        "from": share("low_joules"),
        "to": share("high_joules"),
        "s an image": share("duration_seconds"),
        "J with idle": share("energy_joules_with_idle"),
    }
    if answers.terms.per_day is None:
        shown["Wh a 1000"] = share("watt_hours", 1000)
        shown |= {"g CO2e a 1000": share("grams_co2e", 1000)} if answers.terms.intensity is not None else {}
        shown |= {"cost a 1000": share("cost", 1000)} if answers.terms.price is not None else {}
    else:
        shown["kWh a day"] = columns["kilowatt_hours_per_day"]
        shown |= {"g CO2e a day": columns["grams_co2e_per_day"]} if answers.terms.intensity is not None else {}
        shown |= {"cost a day": columns["cost_per_day"]} if answers.terms.price is not None else {}
    if answers.score is not None:
        shown["score"] = columns["score"]
    shown["fits"] = columns["fits"]
    if answers.on_front is not None:
        shown["front"] = ["*" if marked else "" for marked in columns["on_front"]]
    return shown


def _cell(value: Any) -> str:
    from analysis.table.display import cell

    return cell(value)
