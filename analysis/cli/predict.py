"""``farm predict``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from analysis.cli.options import data_options, parse_names, parse_resolution
from analysis.laws import DEFAULT
from farm.cli.completion import complete_gpus, complete_models_and_folders
from farm.cli.options import LEVEL, FiniteRange, emit_json, json_option
from farm.domain.errors import RequestError
from farm.domain.parsing import parse_whole
from farm.domain.row import LIMITS, OWN_METER, parse_idle_watts, parse_limit
from farm.files.table import check_name

if TYPE_CHECKING:
    from analysis.questions import Question

F = TypeVar("F", bound=Callable[..., Any])


def configuration_options(function: F) -> F:
    """What is asked about: each key of a configuration and its circumstances, under their names, as text; cfg as yes,
    no or both."""
    for option in (
        click.option("--measured-at", metavar="DATE", help="With the kernels of that day. [default: of known rows]"),
        click.option(
            "--meter",
            type=click.Choice([OWN_METER]),
            help="As the farm's meter finds it: above the idle power of a CUDA context.",
        ),
        click.option(
            "--idle-watts", metavar="W", help="Above so much. [default: what known rows took off, or at rest]"
        ),
        click.option("--clock-limit-mhz", metavar="MHZ", help="That the GPU is held to. [default: its own]"),
        click.option("--power-limit-watts", metavar="W", help="That is enforced on it. [default: the board's]"),
        click.option("--frames", metavar="F,F", help="Of a video. [default: 1, an image]"),
        click.option("--batch", metavar="B,B", help="Images at once. [default: 1]"),
        click.option("--prompts", metavar="N,N", help="Images in total. [default: 1]"),
        click.option("--cfg-both", "cfg", flag_value="both", help="Without and with it."),
        click.option("--no-cfg", "cfg", flag_value="no", help="Without it, the default."),
        click.option("--cfg", "cfg", flag_value="yes", help="With classifier-free guidance."),
        click.option("--precision", metavar="P,P", help="fp16, bf16 or fp32."),
        click.option("--steps", metavar="T,T", help="Denoising steps."),
        click.option("--resolution", metavar="R,R", help="Pixels of a side, or WIDTHxHEIGHT."),
        click.option(
            "--gpu",
            shell_complete=complete_gpus,
            metavar="TYPE,TYPE",
            help="GPU types, by catalog name, title or NVML's name.",
        ),
        click.option(
            "--model",
            shell_complete=complete_models_and_folders,
            metavar="M,M",
            help="Models: catalog names, folders in diffusers layout, or cached hub ids.",
        ),
    ):
        function = option(function)
    return function


def cost_options(function: F) -> F:
    """What energy stands for, passed on under the names of analysis.costs.Terms."""
    for option in (
        click.option("--per-day", type=click.IntRange(min=1), metavar="N", help="Also of N images a day."),
        click.option(
            "--host-watts",
            type=FiniteRange(min=0),
            default=0.0,
            metavar="W",
            help="Count what the rest of the host draws.",
        ),
        click.option(
            "--pue",
            type=FiniteRange(min=1),
            default=1.0,
            metavar="X",
            help="Power usage effectiveness of the building.",
        ),
        click.option("--price", type=FiniteRange(min=0), metavar="P", help="Of a kWh, in your currency."),
        click.option(
            "--grams-per-kwh", type=FiniteRange(min=0), metavar="G", help="CO2e of a kWh, instead of a country's."
        ),
        click.option("--country", metavar="ISO", help="Whose electricity: FR or FRA, or a region such as US-CA."),
    ):
        function = option(function)
    return function


def choice_options(function: F) -> F:
    """Which of many answers, in which order."""
    above_zero = FiniteRange(min=0, min_open=True)
    for option in (
        click.option("--quality", metavar="FILE", help="CSV: any keys of a configuration and scores."),
        click.option(
            "--pareto",
            metavar="NAME",
            help="Mark those that no other betters in joules and in seconds, grams, or a score of --quality (-NAME: "
            "less is better).",
        ),
        click.option("--sure", is_flag=True, help="Limits hold at the interval's upper end."),
        click.option("--max-grams", type=above_zero, metavar="G", help="Only those of at most so much CO2e an image."),
        click.option("--max-seconds", type=above_zero, metavar="S", help="Only those of at most so long an image."),
        click.option("--max-joules", type=above_zero, metavar="J", help="Only those of at most so much an image."),
        click.option("--sort", type=click.Choice(["energy", "seconds", "grams", "cost"]), help="The least first."),
    ):
        function = option(function)
    return function


@click.command()
@configuration_options
@click.option("--in", "in_file", metavar="FILE", help="CSV or Parquet: a configuration a row.")
@cost_options
@choice_options
@click.option("--out", metavar="FILE", help="Write the answers: .csv or .parquet.")
@click.option("--plot", metavar="FILE", help="Draw energy against seconds or score: .png, .svg or .html.")
@click.option("--level", type=LEVEL, default=0.9, show_default=True, help="Probability that the interval holds.")
@click.option("--law", "law_name", metavar="NAME", help=f"A law of farm law list. [default: {DEFAULT}]")
@click.option("--fit", "fit_id", type=int, metavar="ID", help="A stored fit, by its id in farm law list.")
@data_options
@json_option
def predict(
    in_file: str | None,
    country: str | None,
    grams_per_kwh: float | None,
    price: float | None,
    pue: float,
    host_watts: float,
    per_day: int | None,
    sort: str | None,
    max_joules: float | None,
    max_seconds: float | None,
    max_grams: float | None,
    sure: bool,
    pareto: str | None,
    quality: str | None,
    out: str | None,
    plot: str | None,
    level: float,
    law_name: str | None,
    fit_id: int | None,
    data: str | None,
    only_own: bool,
    where: tuple[str, ...],
    db: str | None,
    as_json: bool,
    **asked: str | None,
) -> None:
    """Joules of a configuration, with an interval.

    Above idle, of all prompts together; by phase, and the seconds too where the law knows them. Uses the measured rows
    of --data, else those of the farm's database and those that ship with joulefarm (not with --only-own), or the fit
    that is pinned.

    Lists such as --steps 10,20 ask about every combination, --in about every row of a file; each is then a line.
    """
    from analysis.choices import Limits, chosen
    from analysis.cli import answers as shown
    from analysis.cli.counting import announce
    from analysis.cli.fits import fitted_law
    from analysis.costs import Terms
    from analysis.prediction import answer

    terms = Terms(
        country=country, grams_per_kwh=grams_per_kwh, price=price, pue=pue, host_watts=host_watts, per_day=per_day
    )
    limits = Limits(joules=max_joules, seconds=max_seconds, grams=max_grams, sure=sure)
    if out is not None:
        check_name(Path(out), "out")
    if plot is not None:
        from analysis.report.tradeoff import check_plot

        check_plot(Path(plot))
    announce()
    question = parse_question(asked, in_file)
    fitted = fitted_law(law_name, data, where, db, only_own, fit_id)
    answers = answer(fitted.law, question.table, terms=terms, level=level, source=fitted.source, fit_id=fitted.fit_id)
    answers, left_out = chosen(answers, question, limits=limits, sort_by=sort, pareto=pareto, quality_file=quality)
    if out is not None:
        shown.write(answers, Path(out))
    if plot is not None:
        from analysis.report.tradeoff import draw

        draw(answers, pareto, Path(plot))
    if question.single:
        if as_json:
            emit_json(answers[0].to_dict())
        else:
            shown.show_one(answers[0])
    elif as_json:
        shown.emit_many(answers, left_out)
    else:
        shown.show_many(answers, left_out)


def parse_question(asked: dict[str, str | None], in_file: str | None) -> Question:
    """What is asked about. RequestError for a value that is none, or that both the options and the file give."""
    from analysis import questions

    axes = {name: _values(name, text) for name, text in asked.items() if text is not None}
    if in_file is None:
        for name in questions.REQUIRED:
            if name not in axes:
                raise RequestError(f"--{name}", None, "required, or --in FILE")
        return questions.from_lists({"model": axes["model"], "gpu": axes["gpu"], **axes})
    for name, values in axes.items():
        if len(values) > 1:
            raise RequestError(f"--{name}", asked[name], "one value beside --in, or a column of its file")
    return questions.from_file(in_file, {name: values[0] for name, values in axes.items()})


def _values(name: str, text: str) -> list[Any]:
    if name == "cfg":
        return {"both": [False, True], "yes": [True], "no": [False]}[text]
    parts = list(dict.fromkeys(parse_names(text)))
    if not parts:
        raise RequestError(name, text, "at least one value")
    if name == "resolution":
        return ["{}x{}".format(*parse_resolution(part)) for part in parts]
    if name in LIMITS:
        return [parse_limit(name, part) for part in parts]
    if name == "idle_watts":
        return [parse_idle_watts(part) for part in parts]
    if name == "measured_at":
        return [_parse_date(part) for part in parts]
    return [parse_whole(name, part) for part in parts] if name in ("steps", "prompts", "batch", "frames") else parts


def _parse_date(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise RequestError("measured_at", text, "a date such as 2026-11-28") from None
