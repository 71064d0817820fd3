"""``farm serve`` in a real browser beside a farm that works: counts move, failures are shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from farm.domain import Failure
from farm.files.table import read_table
from farm.jobs import WorkerJobs
from farm.results import Results
from tests.browser import NEEDS_BROWSER, WAIT, chromium, said_on_console, served
from tests.integration.farm_fixture import RunningFarm

pytestmark = NEEDS_BROWSER
JOBS = 8


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningFarm]:
    """A coordinator, a sweep of which one job failed, and nobody yet who measures the others."""
    with pytest.MonkeyPatch.context() as patch:
        farm = RunningFarm(tmp_path_factory.mktemp("farm") / "home", patch.setenv)
        first, *_ = farm.submit(gpus=["a100"], count=JOBS)
        jobs = WorkerJobs(farm.store, farm.settings)
        job = jobs.claim(first, worker="w<b>", queue="a100")
        jobs.fail(first, job.attempt, "w<b>", Failure(reason="out_of_memory", message="needs 90 GB", retry=False))
        farm.start("coordinator")
        yield farm
        farm.close()


@pytest.fixture(scope="module")
def address(farm: RunningFarm) -> Iterator[str]:
    with served(farm.environment) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser) -> Iterator[Any]:
    """A window; nothing may be said on its console."""
    context = browser.new_context(viewport={"width": 1280, "height": 500})
    context.set_default_timeout(WAIT)
    page, said = context.new_page(), []
    said_on_console(page, said)
    yield page
    context.close()
    assert said == []


def test_counts_move_without_reload_and_keep_place_and_selection(farm, address, page):
    page.goto(f"{address}/sweeps/1")
    assert "queued" in page.inner_text("#head .counts")
    page.evaluate(
        "window.same = true; window.scrollTo(0, 120); getSelection().selectAllChildren(document.querySelector('h1'))"
    )
    selected = page.evaluate("getSelection().toString()")
    farm.worker("a100", speed=2000)
    page.wait_for_function(f"() => document.querySelector('#head .counts').textContent.includes('{JOBS - 1} done')")
    page.wait_for_function(f"() => document.querySelectorAll('#grid .cell.done').length === {JOBS - 1}")
    page.wait_for_function("() => document.getElementById('now').textContent.includes('nothing runs')")
    assert page.evaluate("window.same") is True
    assert page.evaluate("window.scrollY") == 120
    assert page.evaluate("getSelection().toString()") == selected != ""


def test_the_failed_job_is_one_click_away_with_its_reason(farm, address, page):
    page.goto(f"{address}/sweeps/1")
    page.click("#grid .cell.failed")
    page.wait_for_url("**/jobs/*")
    assert "needs 90 GB" in page.inner_text("main")
    assert "w<b>" in page.inner_text("main")
    page.goto(f"{address}/sweeps/failures")
    assert "farm sweep retry 1" in page.inner_text("main")


def test_rows_are_filtered_sorted_and_downloaded_by_keyboard_without_a_new_page(farm, address, page, tmp_path):
    steps = sorted(row.configuration.steps for row in Results(farm.store).rows("farm"))
    page.goto(f"{address}/measurements")
    page.evaluate("window.same = true")
    page.focus("[name=steps]")
    page.keyboard.type(str(steps[-1]))
    page.press("#filters button", "Enter")
    page.wait_for_function("() => document.querySelectorAll('#list tbody tr').length === 1")
    assert page.url == f"{address}/measurements?steps={steps[-1]}"
    page.select_option("[name=steps]", "")
    page.press("#filters button", "Enter")
    page.wait_for_function(f"() => document.querySelectorAll('#list tbody tr').length === {JOBS - 1}")
    page.focus("#by-steps")
    for order in ("ascending", "descending"):
        page.keyboard.press("Enter")
        page.wait_for_selector(f"#list th[aria-sort={order}]")
        assert page.evaluate("document.activeElement.id") == "by-steps"
    assert page.url == f"{address}/measurements?sort=-steps"
    page.focus("[name=min_joules]")
    page.keyboard.type("1e9")
    page.keyboard.press("Enter")
    page.wait_for_selector("#list .empty")
    assert page.url == f"{address}/measurements?min_joules=1e9&sort=-steps"
    page.go_back()
    page.wait_for_function(f"() => document.querySelectorAll('#list tbody tr').length === {JOBS - 1}")
    assert page.evaluate("window.same") is True
    for suffix in ("CSV", "Parquet"):
        with page.expect_download() as download:
            page.focus(f"#list .found a:text-is('{suffix}')")
            page.keyboard.press("Enter")
        file = tmp_path / download.value.suggested_filename
        download.value.save_as(file)
        assert [row.configuration.steps for row in read_table(file)] == steps[::-1]


PAGES = (
    "/sweeps",
    "/sweeps/1",
    "/sweeps/failures",
    "/jobs/1",
    "/jobs?sweep=1",
    "/devices?hours=1",
    "/measurements",
    "one",
)

PAPER = {"width": 700, "height": 1000}  # of A4, in pixels of a browser
PRESSED = "[...document.querySelectorAll('.bar, button, form.filters')].filter(one => one.checkVisibility()).length"


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_every_page_is_accessible_and_scrolls_one_way(farm, address, browser, width, scheme):
    from axe_playwright_python.sync_playwright import Axe

    one = next(Results(farm.store).rows("farm")).measurement_id
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True)
    context.set_default_timeout(WAIT)
    window = context.new_page()
    for path in PAGES:
        window.goto(address + (f"/measurements/{one}" if path == "one" else path))
        found = Axe().run(window).response["violations"]
        serious = [
            (entry["id"], entry["nodes"][0]["html"][:200])
            for entry in found
            if entry["impact"] in ("serious", "critical")
        ]
        assert serious == [], path
        assert window.evaluate("document.documentElement.scrollWidth") <= width, path
        window.set_viewport_size(PAPER)
        window.emulate_media(media="print")
        assert window.evaluate(PRESSED) == 0, path
        assert window.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)", path
        assert window.evaluate("document.documentElement.scrollWidth") <= PAPER["width"], path
        window.emulate_media(media="screen")
        window.set_viewport_size({"width": width, "height": 900})
    context.close()
