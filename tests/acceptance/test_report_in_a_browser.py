"""The report in a real browser: accessible, without sideways scroll, light and dark, at two widths, and on paper."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from analysis.cli.report import write
from analysis.cli.rows import Known
from analysis.shipped import WORDS, shipped_rows
from tests.browser import NEEDS_BROWSER, chromium, said_on_console

pytestmark = NEEDS_BROWSER


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "report.html"
    write(Known(shipped_rows(), WORDS, stored=False), out, ["FRA"])
    return out


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_is_accessible_and_scrolls_one_way(browser, report: Path, scheme: str, width: int) -> None:
    from axe_playwright_python.sync_playwright import Axe

    # The page's own policy forbids scripts, so that axe needs a context that sets it aside.
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    said: list[str] = []
    said_on_console(page, said)
    page.goto(report.as_uri())
    found = Axe().run(page).response["violations"]
    assert [(entry["id"], entry["nodes"][0]["html"]) for entry in found] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    shown = page.evaluate("[...document.images].map(image => [image.naturalWidth, image.currentSrc.slice(0, 18)])")
    assert len(shown) == 2
    assert all(pixels > 100 and source == "data:image/svg+xml" for pixels, source in shown)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground[4:-1].split(","))) > 382) == (scheme == "light")
    assert said == []
    context.close()


def test_on_paper_the_ground_is_white_whatever_the_screen(browser, report: Path) -> None:
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    page.goto(report.as_uri())
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.pdf().startswith(b"%PDF")
    context.close()
