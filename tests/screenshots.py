"""Take the pictures of docs/figures that show the page and the report: ``python -m tests.screenshots [FOLDER]``.

They show `farm serve --demo` half way, so that anybody may take them again. A palette keeps them small.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import httpx
from PIL import Image

from analysis.cli.report import write
from analysis.cli.rows import Known
from analysis.shipped import WORDS, shipped_rows
from tests.browser import WAIT, chromium, served

FIGURES: Final = Path(__file__).resolve().parents[1] / "docs" / "figures"
POINT: Final = "model=flux&gpu=a100&resolution=1024&steps=28"
HALF: Final = 30  # jobs of the demonstration


@dataclass(frozen=True)
class Picture:
    """One file: an address, what is waited for there, the window."""

    name: str
    path: str
    ready: str
    width: int = 1280
    height: int = 800
    scheme: str = "light"


def main(folder: Path) -> None:
    with chromium() as browser, _demonstration() as address:
        for picture in _of_page(address):
            take(browser, picture, folder / f"page-{picture.name}.png")
    with chromium() as browser, tempfile.TemporaryDirectory() as home:
        report = Path(home) / "report.html"
        write(Known(shipped_rows(), WORDS, stored=False), report, [])
        take(browser, Picture("report", report.as_uri(), "figure", height=1200), folder / "report.png")


def take(browser: Any, picture: Picture, file: Path) -> None:
    """One picture, in a window of its own."""
    size = {"width": picture.width, "height": picture.height}
    context = browser.new_context(viewport=size, color_scheme=picture.scheme)
    context.set_default_timeout(WAIT)
    page = context.new_page()
    page.goto(picture.path)
    page.wait_for_selector(picture.ready)
    image = Image.open(BytesIO(page.screenshot())).convert("RGB")
    image.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(file, optimize=True)
    context.close()


def _of_page(address: str) -> Iterator[Picture]:
    yield Picture("sweep", f"{address}/sweeps/1", "#grid .cell.done", height=940)
    yield Picture("devices", f"{address}/devices?hours=0.25", "svg.lane .done", height=640)
    (largest,) = httpx.get(f"{address}/api/measurements?sort=-energy_joules_per_image&limit=1").json()["results"]
    yield Picture("measurement", f"{address}/measurements/{largest['measurement_id']}", "svg.chart.wide", height=1040)
    yield Picture("ask", f"{address}/?{POINT}&country=FRA&price=0.25", "#answer dl.numbers", height=1340)
    yield Picture("phone", f"{address}/?{POINT}", "#answer dl.numbers", width=390, height=844)
    pair = "pick=flux@h100&pick=sd35@h100"
    yield Picture("compare", f"{address}/compare?{pair}&max_joules=900", "table.heat", height=1000)
    yield Picture("law", f"{address}/law", "figure.altair svg", scheme="dark", height=1000)


@contextmanager
def _demonstration() -> Iterator[str]:
    """The address of a demonstration that is half done, its law fitted."""
    with served(os.environ, "--demo") as address:
        while httpx.get(f"{address}/api/predict?{POINT}&precision=fp16", timeout=120).status_code != 200:
            time.sleep(1)
        while httpx.get(f"{address}/api/sweeps/1").json()["jobs"]["done"] < HALF:
            time.sleep(1)
        yield address


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FIGURES)
