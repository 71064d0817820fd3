"""``farm predict``."""

from __future__ import annotations

import click

from analysis.cli.options import data_options, law_option, parse_resolution
from farm.cli.options import LEVEL, emit_json, json_option


@click.command()
@click.option("--model", required=True, help="Catalog name of the model.")
@click.option("--gpu", required=True, help="Catalog name of the GPU type.")
@click.option("--resolution", required=True, metavar="R", help="Pixels of a side, or WIDTHxHEIGHT.")
@click.option("--steps", required=True, type=int, help="Denoising steps.")
@click.option("--precision", required=True, help="fp16, bf16 or fp32.")
@click.option("--cfg", is_flag=True, help="With classifier-free guidance.")
@click.option("--prompts", default=1, show_default=True, help="Images in total.")
@click.option("--batch", default=1, show_default=True, help="Images at once.")
@click.option("--level", type=LEVEL, default=0.9, show_default=True, help="Probability that the interval holds.")
@law_option
@data_options
@json_option
def predict(
    model: str,
    gpu: str,
    resolution: str,
    steps: int,
    precision: str,
    cfg: bool,
    prompts: int,
    batch: int,
    level: float,
    law_name: str,
    data: str | None,
    only_own: bool,
    where: tuple[str, ...],
    db: str | None,
    as_json: bool,
) -> None:
    """Joules of a configuration, with an interval.

    Above idle, of all prompts together; by phase, and the seconds too where the law knows them. Uses the measured rows
    of --data, else those of the farm's database and those that ship with joulefarm (not with --only-own).
    """
    width, height = parse_resolution(resolution)
    from analysis.cli.fits import fitted_law
    from analysis.prediction import predict_with
    from farm import catalog
    from farm.domain import Configuration

    configuration = Configuration(
        model=model, gpu=gpu, width=width, height=height, steps=steps, precision=precision, cfg=cfg, prompts=prompts,
        batch=batch,
    )  # fmt: skip
    catalog.check(configuration)
    fitted = fitted_law(law_name, data, where, db, only_own)
    answer = predict_with(fitted.law, configuration, level=level, source=fitted.source, fit_id=fitted.fit_id)
    if as_json:
        emit_json(answer.to_dict())
        return
    click.echo(f"{configuration.label()} on {gpu}, law {answer.law}")
    click.echo(f"energy    {answer.energy_joules:.4g} J ({answer.energy_joules / prompts:.4g} J an image)")
    click.echo(f"interval  {answer.low_joules:.4g} to {answer.high_joules:.4g} J ({level:.0%})")
    if answer.duration_seconds is not None:
        click.echo(f"duration  {answer.duration_seconds:.4g} s")
    for phase, joules in answer.phases.items():
        if joules is not None:
            click.echo(f"{phase:<9} {joules:.4g} J")
    if answer.fits_why is not None:
        click.echo(f"too large {answer.fits_why}")
    click.echo(f"rests on  {answer.rests_on}")
