"""``farm plan``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click
import yaml

from analysis.cli.options import data_options, parse_names
from analysis.cli.stored import farm_store
from farm import catalog
from farm.cli.completion import complete_gpus, complete_models
from farm.cli.options import FiniteRange, emit_json, json_option
from farm.domain import Configuration, words
from farm.domain.configuration import DEFAULTS
from farm.domain.errors import RequestError
from farm.files.atomic import atomic_write

MAX_WORKERS: Final = 10_000


@click.command()
@click.option(
    "--model", required=True, shell_complete=complete_models, metavar="M,M", help="Models, by any name of the catalog."
)
@click.option(
    "--gpu",
    required=True,
    shell_complete=complete_gpus,
    metavar="TYPE,TYPE",
    help="GPU types, by any name of the catalog.",
)
@click.option("--budget", type=int, metavar="K", help="How many configurations to pick, in all.")
@click.option("--joules", type=FiniteRange(min=0, min_open=True), metavar="J", help="Expected energy, at most.")
@click.option("--hours", type=FiniteRange(min=0, min_open=True), metavar="H", help="Expected device hours, at most.")
@click.option(
    "--workers",
    metavar="N or TYPE=N,...",
    help="Of each GPU type: the plan comes in batches. Default: the farm's, where it has any.",
)
@click.option("--out", metavar="FILE.yaml", help="Write the sweep that measures them; - for standard output.")
@click.option(
    "--candidates", metavar="FILE", help="CSV or Parquet to choose from, energies ignored. Default: the paper's grid."
)
@data_options
@json_option
def plan(
    model: str,
    gpu: str,
    budget: int | None,
    joules: float | None,
    hours: float | None,
    workers: str | None,
    out: str | None,
    candidates: str | None,
    data: str | None,
    only_own: bool,
    where: tuple[str, ...],
    db: str | None,
    as_json: bool,
) -> None:
    """The configurations worth measuring next.

    K in all, of every model on every GPU type given: the most knowledge for the energy. What is known already is
    --data, which may have no rows, else the farm's database and what ships with joulefarm (not with --only-own).
    """
    from analysis import design
    from analysis.cli.rows import fit_rows
    from analysis.table import Table

    if out == "-" and as_json:
        raise RequestError("out", out, "a file beside --json, whose document is on standard output")
    if out not in (None, "-") and Path(str(out)).suffix not in (".yaml", ".yml"):
        raise RequestError("out", out, "a name that ends in .yaml, or - for standard output")
    choice = None if candidates is None else Table.read(candidates, energies=False, field="candidates")
    known = fit_rows(data, where, db, only_own)
    gpus = [catalog.find_gpu(name).name for name in _names("gpu", gpu)]
    made = design.plan(
        known.table,
        choice,
        model=[catalog.find_model(name).name for name in _names("model", model)],
        gpu=gpus,
        budget=budget,
        joules=joules,
        hours=hours,
        workers=_farm_workers(db, gpus) if workers is None else _workers(workers, gpus),
    )
    picks = list(made.configurations.configurations())
    if out is not None:
        _write(out, _sweep(picks))
    note = None
    if budget is not None and budget > made.candidates:
        note = f"budget {budget}: there are {made.candidates} candidates"
    if as_json:
        emit_json(
            {
                "configurations": [_entry(pick) for pick in picks],
                "expected_error_percent": made.expected_error_percent,
                "expected_energy_joules": made.expected_energy_joules,
                "expected_seconds": made.expected_seconds,
                "error_before_percent": made.error_before_percent,
                "batches": [asdict(batch) for batch in made.batches] or None,
                "candidates": made.candidates,
                "candidates_energy_joules": made.candidates_energy_joules,
                "note": note,
                "source": known.source,
            }
        )
        return
    err = out == "-"  # the sweep alone is on standard output
    batch_of = {place: number for number, batch in enumerate(made.batches, 1) for place in batch.picks}
    for place, pick in enumerate(picks):
        batch = f"  batch {batch_of[place]}" if batch_of else ""
        click.echo(f"{pick.label()} on {pick.gpu}{batch}", err=err)
    click.echo(f"picked           {len(picks)} of {made.candidates} candidates", err=err)
    click.echo(f"expected error   {made.expected_error_percent:.2g}%, before {made.error_before_percent:.2g}%", err=err)
    part = made.expected_energy_joules / made.candidates_energy_joules
    click.echo(f"expected energy  {words.joules(made.expected_energy_joules)}, {part:.1%} of all candidates", err=err)
    click.echo(f"expected time    {words.seconds(made.expected_seconds)} of devices", err=err)
    if made.batches:
        hours_by_workers = sum(batch.expected_seconds for batch in made.batches) / 3600
        click.echo(f"batches          {len(made.batches)}, {hours_by_workers:.3g} h one after the other", err=err)
    if note is not None:
        click.echo(f"note             {note}", err=err)


def _workers(text: str, gpus: Sequence[str]) -> dict[str, int]:
    """``4`` of every type, or ``a100=4,h100=2``. RequestError for what is neither, and for a type that is not asked
    about."""
    remedy = "a whole number from 1, or GPU types that are asked about with one each, such as a100=4,h100=2"
    counts: dict[str, int] = {}
    for part in parse_names(text):
        name, equals, number = part.rpartition("=")
        named = [catalog.find_gpu(name).name] if equals else gpus
        digits = number.strip()
        counted = digits.isdecimal() and len(digits) <= len(str(MAX_WORKERS)) and 1 <= int(digits) <= MAX_WORKERS
        if not counted or not set(named) <= set(gpus):
            raise RequestError("workers", text, remedy)
        counts |= dict.fromkeys(named, int(digits))
    if not counts:
        raise RequestError("workers", text, remedy)
    return counts


def _farm_workers(db: str | None, gpus: Sequence[str]) -> dict[str, int] | None:
    """How many living workers the farm has of each of these types; None where it has none of any."""
    with farm_store(db) as store:
        if store is None:
            return None
        from farm.hosts import Hosts

        counts = Counter(worker.gpu for worker in Hosts(store).workers() if worker.alive and worker.gpu in gpus)
    return dict(counts) or None


def _names(option: str, text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(parse_names(text)))
    if not names:
        raise RequestError(option, text, "at least one name")
    return names


def _sweep(picks: Sequence[Configuration]) -> str:
    """A sweep of these configurations and no other: its grid is the first of them, the others are included."""
    first, *others = (_entry(pick) | {"batch": pick.batch, "weights": pick.weights} for pick in picks)
    sides = [first["resolution"]]
    document = {
        "name": "plan",
        "models": [first["model"]],
        "gpus": [first["gpu"]],
        "resolutions": sides,
        "steps": [first["steps"]],
        "precisions": [first["precision"]],
        "cfg": [first["cfg"]],
        "prompts": [first["prompts"]],
        "batch": [first["batch"]],
        "weights": [first["weights"]],
        "include": others,
    }
    return yaml.safe_dump(document, sort_keys=False, default_flow_style=None)


def _write(out: str, text: str) -> None:
    if out == "-":
        click.echo(text, nl=False)
        return
    with atomic_write(Path(out), "out") as file:
        file.write_text(text, encoding="utf-8")


def _entry(pick: Configuration) -> dict[str, Any]:
    """A row of a sweep's `include`."""
    square = pick.width == pick.height
    return {
        "model": pick.model,
        "gpu": pick.gpu,
        "resolution": pick.width if square else [pick.width, pick.height],
        "steps": pick.steps,
        "precision": pick.precision,
        "cfg": pick.cfg,
        "prompts": pick.prompts,
        **({"batch": pick.batch} if pick.batch != DEFAULTS["batch"] else {}),
        **({"weights": pick.weights} if pick.weights != DEFAULTS["weights"] else {}),
    }
