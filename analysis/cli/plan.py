"""``farm plan``."""

from __future__ import annotations

from typing import Any

import click

from analysis.cli.options import data_options
from farm.cli.options import GPU, MODEL, emit_json, json_option
from farm.domain import Configuration


@click.command()
@click.option("--model", type=MODEL, required=True, help="Catalog name of the model.")
@click.option("--gpu", type=GPU, required=True, help="Catalog name of the GPU type.")
@click.option("--budget", required=True, type=int, metavar="K", help="How many configurations to pick.")
@click.option(
    "--candidates", metavar="FILE", help="CSV or Parquet to choose from, energies ignored. Default: the paper's grid."
)
@data_options
@json_option
def plan(
    model: str,
    gpu: str,
    budget: int,
    candidates: str | None,
    data: str | None,
    only_own: bool,
    where: tuple[str, ...],
    db: str | None,
    as_json: bool,
) -> None:
    """The configurations worth measuring next.

    K of one model on one GPU: the most knowledge for the energy. What is known already is --data, which may have no
    rows, else the farm's database and what ships with joulefarm.
    """
    from analysis import design
    from analysis.cli.rows import fit_rows
    from analysis.table import Table

    choice = None if candidates is None else Table.read(candidates, energies=False)
    known = fit_rows(data, where, db, only_own)
    made = design.plan(known.table, choice, model=model, gpu=gpu, budget=budget)
    picks = list(made.configurations.configurations())
    if as_json:
        emit_json(
            {
                "configurations": [_entry(pick) for pick in picks],
                "expected_error_percent": made.expected_error_percent,
                "expected_energy_joules": made.expected_energy_joules,
                "error_before_percent": made.error_before_percent,
                "candidates_energy_joules": made.candidates_energy_joules,
                "source": known.source,
            }
        )
        return
    for pick in picks:
        click.echo(pick.label())
    click.echo(f"expected error   {made.expected_error_percent:.2g}%, before {made.error_before_percent:.2g}%")
    part = made.expected_energy_joules / made.candidates_energy_joules
    click.echo(f"expected energy  {made.expected_energy_joules:.4g} J, {part:.1%} of all candidates")


def _entry(pick: Configuration) -> dict[str, Any]:
    """A row of a sweep's `include`."""
    square = pick.width == pick.height
    return {
        "model": pick.model,
        "gpu": pick.gpu,
        "resolution": pick.width if square else [pick.width, pick.height],
        "steps": pick.steps,
        "precision": pick.precision,
        "cfg": int(pick.cfg),
        "prompts": pick.prompts,
        **({"batch": pick.batch} if pick.batch > 1 else {}),
    }
