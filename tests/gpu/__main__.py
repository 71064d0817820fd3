"""``python -m tests.gpu``: the acceptance on a real GPU, within the minutes that there are."""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path

import click

from farm.domain import FarmError, RequestError
from tests.gpu import report
from tests.gpu.acceptance import ROOT, Failed, Run, work_off

REST_SECONDS = 5.0  # for the report
ROWS = ROOT / "analysis" / "data" / "measured"


@click.command()
@click.option("--minutes", default=8.0, show_default=True, type=click.FloatRange(min=0), help="0: unlimited.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("gpu-acceptance"), show_default=True)
@click.option("--device", default=0, show_default=True, type=click.IntRange(0, 1023))
@click.option("--rows", type=click.Path(path_type=Path), help="Folder of the table of rows.  [default: the project's]")
@click.option(
    "--size", type=click.Choice(["full", "nano"]), default="full", show_default=True, help="Of the pipelines."
)
@click.option("--only", metavar="CHECKS", help="Comma list of checks.")
@click.option(
    "--sweep", type=click.Path(path_type=Path), help="Measure this sweep's configurations too, after the rest."
)
@click.option("--set-power-limit", is_flag=True, help="Step 7 too, on a host that is yours.")
def main(
    minutes: float,
    out: Path,
    device: int,
    rows: Path | None,
    size: str,
    only: str | None,
    sweep: Path | None,
    set_power_limit: bool,
) -> None:
    """What a real GPU shows: meter, weights, pipelines, queue, calibration, out of memory. Goes on where it stopped."""
    ends = time.monotonic() + 60 * minutes - REST_SECONDS if minutes else math.inf
    out.mkdir(parents=True, exist_ok=True)
    run = Run(
        out=out.resolve(),
        gpu=_type_of(device),
        device=device,
        size=size,
        ends=ends,
        set_power_limit=set_power_limit,
    )
    from tests.gpu.steps import checks, grid

    run.resume()
    wanted = checks(run) + (grid(run, sweep) if sweep is not None else [])
    if only is not None:
        names = [name.strip() for name in only.split(",")]
        if unknown := set(names) - {c.name for c in wanted}:
            raise RequestError("--only", ", ".join(sorted(unknown)), ", ".join(c.name for c in wanted))
        wanted = [c for c in wanted if c.name in names]
    work_off(run, wanted, lambda line: click.echo(line, err=True))
    for path in report.write(run, rows or (out / "rows" if run.rehearsed else ROWS)):
        click.echo(path)
    failed = [name for name, entry in run.done.items() if not entry["ok"]]
    sys.exit(1 if failed else 0)


def _type_of(device: int) -> str:
    """Catalog name of a device's type."""
    from workers.device import host

    board = host.identify(device).device
    if not board.types:
        raise RequestError("device", device, f"{board.name} is not in the catalog: docs/add-a-gpu.md")
    return board.types[0]


if __name__ == "__main__":
    try:
        main(standalone_mode=False)
    except (FarmError, Failed, click.ClickException) as error:
        message = error.format_message() if isinstance(error, click.ClickException) else str(error)
        click.echo(f"gpu: {message}", err=True)
        sys.exit(getattr(error, "exit_code", 1))
