"""``farm law``: fit, validate, show, list, plot, pin, unpin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from analysis.cli.options import data_options, law_option
from analysis.cli.splits import is_split, split_options, validation_of
from farm.cli.options import db_option, emit_json, json_option
from farm.domain.errors import RequestError

if TYPE_CHECKING:
    from analysis.table import Table


@click.group()
def law() -> None:
    """Fit, validate, show, list, plot and pin the laws."""


@law.command()
@law_option
@data_options
@json_option
def fit(law_name: str, data: str | None, only_own: bool, where: tuple[str, ...], db: str | None, as_json: bool) -> None:
    """Fit a law to measured rows. A fit to the farm's own rows is stored."""
    from analysis import laws, records
    from analysis.cli.fits import store_fit
    from analysis.cli.rows import known_rows

    law_class = laws.get(law_name)
    known = known_rows(data, where, db, only_own)
    fitted = law_class().fit(known.table)
    document = {**records.report(fitted, known.table), "source": known.source, "fit_id": None}
    if known.stored:
        dataset = ", ".join(known.table.names("dataset"))
        document["fit_id"] = store_fit(
            db, records.row(fitted, known.table, dataset=dataset, of_rows=document["metrics"])
        )
    if as_json:
        emit_json(document)
    else:
        _print_fit(document)


@law.command()
@law_option
@click.option(
    "--leave-out", metavar="KIND", help="Each model, gpu or dataset in turn, by a fit to all the others; their mean."
)
@split_options
@data_options
@json_option
def validate(
    law_name: str,
    leave_out: str | None,
    data: str | None,
    only_own: bool,
    where: tuple[str, ...],
    db: str | None,
    as_json: bool,
    **split: Any,
) -> None:
    """How a law does on rows that it was not fitted to: other models, GPUs or data sets, or folds within a model."""
    from analysis.cli.rows import known_rows

    if leave_out is not None:
        _leave_out(law_name, leave_out, known_rows(data, where, db, only_own).table, as_json, **split)
        return
    outcome = validation_of(law_name, known_rows(data, where, db, only_own).table, **split)
    summary = outcome.summary()
    if as_json:
        emit_json(summary)
        return
    click.echo(f"law {summary['law']}: {', '.join(outcome.train)} > {', '.join(outcome.test)}")
    click.echo(f"rows      {summary['n_train']} fitted, {summary['n_test']} tested")
    _print_numbers(summary["metrics"])
    _print_numbers(summary["interval"])


@law.command()
@click.argument("fit_id", type=int, required=False)
@law_option
@db_option
@json_option
def show(fit_id: int | None, law_name: str, db: str | None, as_json: bool) -> None:
    """A stored fit: the newest of a law, or the one of that id."""
    from analysis import laws
    from analysis.cli.fits import named_fit, stored_fits
    from analysis.records import entry_of

    laws.get(law_name)
    stored = stored_fits(db, law=law_name) if fit_id is None else [named_fit(db, fit_id)]
    if not stored:
        raise RequestError("fit", law_name, "a law that has a stored fit; farm law fit makes one")
    document = entry_of(stored[0]) | {"left_out": stored[0]["document"]["left_out"]}
    if as_json:
        emit_json(document)
    else:
        _print_fit({**document, "metrics": document["metrics"]["fit"]})


@law.command("list")
@db_option
@json_option
def list_(db: str | None, as_json: bool) -> None:
    """The laws there are, and the stored fits, the newest first."""
    from analysis.cli.fits import stored_fits
    from analysis.records import listing

    document = listing(stored_fits(db))
    if as_json:
        emit_json(document)
        return
    click.echo(f"laws  {', '.join(document['laws'])}")
    for entry in document["fits"]:
        mape = entry["metrics"]["fit"]["mape_percent"]
        error = "unknown" if mape is None else f"{mape:.2f}%"
        pairs = ", ".join(entry["scope"]["cells"])
        click.echo(f"{entry['fit_id']:>5}  {entry['law']:<6} {entry['n']:>6} rows  {error:>7}  {pairs}{_use(entry)}")


def _use(entry: Mapping[str, Any]) -> str:
    """Whether predictions use this fit whatever came later, and why."""
    if entry["pinned"]:
        return "  (pinned)"
    return f"  (stays in use: {entry['kept_why']})" if entry["kept"] else ""


@law.command()
@click.argument("fit_id", type=int)
@db_option
@json_option
def pin(fit_id: int, db: str | None, as_json: bool) -> None:
    """Have predictions use a stored fit until it is unpinned.

    Those that choose their rows (--data, --where, --only-own) or a fit (--fit) still do, and --law takes another law.
    """
    from analysis.cli.fits import pin_fit

    row = pin_fit(db, fit_id)
    if as_json:
        emit_json({"fit_id": row["id"], "law": row["law"], "n": row["n"], "pinned": True})
    else:
        click.echo(f"pinned: fit {row['id']}, law {row['law']}, {row['n']} rows")


@law.command()
@db_option
@json_option
def unpin(db: str | None, as_json: bool) -> None:
    """Have predictions use all rows there are again, also where a fit stays in use since a refit was worse."""
    from analysis.cli.fits import unpin_fits

    freed = unpin_fits(db)
    if as_json:
        emit_json({"fit_ids": freed, "pinned": False})
    else:
        click.echo(f"no longer in use: fit {', '.join(map(str, freed))}" if freed else "no fit was pinned")


@law.command()
@click.option("--out", default="law", show_default=True, metavar="PATH", help="PATH.png and PATH.svg, or one of them.")
@law_option
@split_options
@data_options
@json_option
def plot(
    out: str,
    law_name: str,
    data: str | None,
    only_own: bool,
    where: tuple[str, ...],
    db: str | None,
    as_json: bool,
    **split: Any,
) -> None:
    """Draw actual against predicted energy: of the fit, or of a split as in validate."""
    from analysis import laws
    from analysis.cli.rows import known_rows
    from analysis.report import figures
    from analysis.validation import in_sample

    table = known_rows(data, where, db, only_own).table
    chosen = is_split(split)
    outcome = (
        validation_of(law_name, table, **split)
        if chosen
        else in_sample(laws.get(law_name)(), table, level=split["level"])
    )
    files = [str(path) for path in figures.save(figures.actual_against_predicted(outcome), out)]
    if as_json:
        emit_json({"files": files, **outcome.summary()})
    else:
        click.echo("\n".join(files))


def _leave_out(law_name: str, column: str, table: Table, as_json: bool, level: float, **split: Any) -> None:
    from analysis import laws, validation

    if is_split(split):
        raise RequestError("leave-out", column, "alone, without --train, --test and --within")
    outcome = validation.leave_out(laws.get(law_name)(), table, column, level=level)
    summary = outcome.summary()
    if as_json:
        emit_json(summary)
        return
    click.echo(f"law {outcome.law}, each {column} in turn")
    click.echo(
        f"{column:<16} {'rows':>5} {'MAPE %':>8} {'bias %':>8} {'coverage':>9} {'half-width %':>13} {'score':>7}"
    )
    for name, validated in outcome.groups.items():
        if isinstance(validated, str):
            click.echo(f"{name:<16} {validated}")
        else:
            _print_left_out(name, len(validated.table), validated.metrics, validated.interval)
    _print_left_out("mean", summary["n_test"], summary["metrics"], summary["interval"])


def _print_left_out(name: str, n: int, metrics: Mapping[str, Any], interval: Mapping[str, Any]) -> None:
    numbers = [metrics["mape_percent"], metrics["bias_percent"]]
    numbers += [interval[part] for part in ("coverage", "median_halfwidth_percent", "interval_score")]
    texts = ["unknown" if value is None else f"{value:.3g}" for value in numbers]
    click.echo(f"{name:<16} {n:>5} {texts[0]:>8} {texts[1]:>8} {texts[2]:>9} {texts[3]:>13} {texts[4]:>7}")


def _print_fit(document: Mapping[str, Any]) -> None:
    click.echo(f"law {document['law']}, {document['n']} rows")
    spread = _flat(document["params_std"])
    for name, value in _flat(document["params"]).items():
        std = spread.get(name)
        click.echo(f"{name:<24} {value:>12.5g}" + ("" if std is None else f"  ± {std:.2g}"))
    for entry in document["left_out"]:
        which = "" if entry["name"] == entry["why"] else f"{entry['name']}: "
        click.echo(f"left out: {entry['count']} {entry['what']}: {which}{entry['why']}")
    _print_numbers(document["metrics"])


def _print_numbers(numbers: Mapping[str, float | None]) -> None:
    for name, value in numbers.items():
        click.echo(f"{name:<24} " + (f"{value:>12.5g}" if value is not None else f"{'unknown':>12}"))


def _flat(params: Mapping[str, Any]) -> dict[str, float]:
    """``{"beta_gpu": {"a4000": 1.0}}`` as ``{"beta_gpu a4000": 1.0}``."""
    flat: dict[str, float] = {}
    for name, value in params.items():
        flat |= {f"{name} {key}": v for key, v in value.items()} if isinstance(value, Mapping) else {name: value}
    return flat
