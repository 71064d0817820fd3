"""``farm serve`` in a real browser: Ask, Compare and Law, with nothing measured, no farm and no database file."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.request import urlopen

import pytest

from tests.browser import NEEDS_BROWSER, WAIT, chromium, said_on_console, served

pytestmark = NEEDS_BROWSER

READY = {
    "/?model=sd15&gpu=a100-40gb&resolution=512&steps=25&cfg=1&country=FRA&price=0.3": "#answer dl.numbers",
    "/compare?pick=flux@h100&pick=sd35@h100": "table.heat",
    "/law": "figure.altair svg",
}
CHANGED = "before => document.querySelector('#answer .first strong').textContent !== before"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a page that is served by a process of its own, its law fitted."""
    home = tmp_path_factory.mktemp("page") / "home"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FARM_")}
    with served({**clean, "FARM_HOME": str(home)}) as address:
        point = "model=flux&gpu=a100&resolution=512&steps=20&precision=fp16"
        urlopen(f"{address}/api/predict?{point}", timeout=120).close()
        yield address
        assert not (home / "farm.db").exists()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def opened(browser, address: str) -> Iterator[Callable[..., Any]]:
    """Open a path in a window of its own; nothing may be said on its console."""
    contexts, said = [], []

    def call(path: str, ready: str, **options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        context.set_default_timeout(WAIT)
        contexts.append(context)
        page = context.new_page()
        said_on_console(page, said)
        page.goto(address + path)
        page.wait_for_selector(ready)
        return page

    yield call
    for context in contexts:
        context.close()
    assert said == []


def answer(page: Any) -> str:
    """The joules that the page answers."""
    return str(page.inner_text("#answer .first strong"))


def test_ask_answers_and_its_address_gives_the_answer_again(opened, address):
    page = opened("/", "#answer dl.numbers")
    before = answer(page)
    page.select_option("[name=model]", "sd2")
    page.wait_for_function(CHANGED, arg=before)
    page.fill("[name=country]", "FRA")
    page.press("[name=country]", "Tab")
    page.wait_for_selector("text=g/kWh of France")
    assert "model=sd2" in page.url
    assert "country=FRA" in page.url
    again = opened(page.url.removeprefix(address), "#answer dl.numbers")
    assert answer(again) == answer(page) != before
    assert again.input_value("[name=model]") == "sd2"


def test_a_slip_is_said_beside_the_question(opened):
    page = opened("/", "#answer dl.numbers")
    page.fill("[name=pue]", "0.5")
    page.press("[name=pue]", "Enter")
    page.wait_for_selector("#answer [role=alert]")
    assert page.inner_text("#answer [role=alert]").startswith("pue: 0.5: ")
    assert page.input_value("[name=pue]") == "0.5"


def test_by_keyboard_alone(opened):
    page = opened("/", "#answer dl.numbers")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the content"
    page.keyboard.press("Enter")
    before = answer(page)
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.name") == "steps":
            break
    page.keyboard.press("Control+A")
    page.keyboard.type("56")
    page.keyboard.press("Tab")
    page.wait_for_function(CHANGED, arg=before)
    assert "steps=56" in page.url
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"  # where one is, is seen
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.parentElement?.id") == "rests":
            break
    page.keyboard.press("Enter")
    assert page.is_visible("#rests p")


def test_the_plan_that_makes_it_surer_comes_when_it_is_asked_for(opened):
    page = opened("/", "#answer dl.numbers")
    page.click("#surer summary")
    page.wait_for_selector("#surer .command code")
    assert page.inner_text("#surer code").startswith("farm plan --model flux --gpu h100 --budget 5")


def test_a_slider_grays_out_what_takes_more_and_the_address_keeps_it(opened, address):
    page = opened("/compare", "table.heat")
    assert page.locator(".misses").count() == 0
    page.focus("#max_joules")
    for _ in range(120):
        page.keyboard.press("ArrowLeft")
    gray = page.locator("table.heat td.misses").count()
    limit = float(re.search(r"max_joules=([\d.]+)", page.url)[1])
    more = page.locator("table.heat td[data-joules]").evaluate_all(
        "(cells, limit) => cells.filter(cell => cell.dataset.joules > limit).length", limit
    )
    assert 0 < gray == more
    assert re.match(r"\d+ of \d+ that fit meet this", page.inner_text("#meeting"))
    again = opened(page.url.removeprefix(address), "table.heat")
    assert again.locator("table.heat td.misses").count() == gray


def test_a_limit_reads_as_people_write_it(opened):
    page = opened("/compare", "table.heat")
    texts = page.locator("#max_joules, #max_seconds").evaluate_all(
        """sliders => sliders.flatMap(slider => {
            const [least, most] = slider.id === "max_joules" ? [999.7, 999.8] : [119.7, 119.8];
            Object.assign(slider.dataset, { least, most });
            slider.value = slider.max;
            slider.dispatchEvent(new Event("input", { bubbles: true }));
            return document.getElementById(slider.id + "_out").textContent;
        })"""
    )
    assert texts == ["1 kJ", "2 min 0 s"]


def test_a_command_is_selected_where_a_browser_has_no_clipboard(opened):
    page = opened("/", "#answer dl.numbers")
    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    page.click("#surer summary")
    page.click("#surer .command button")
    assert page.inner_text("#surer .command button") == "Selected"
    assert page.evaluate("getSelection().toString()") == page.inner_text("#surer .command code")


def test_a_score_that_meets_a_problem_says_it_in_its_place(opened):
    page = opened("/compare", "table.heat")
    problem = "<html><body><nav>a bar</nav><main id='main'><p>The database is away</p></main></body></html>"
    page.evaluate("html => { window.fetch = async () => new Response(html, { status: 503 }); }", problem)
    page.set_input_files("#quality", {"name": "fid.csv", "mimeType": "text/csv", "buffer": b"model,fid\nflux,20\n"})
    page.wait_for_selector("#front >> text=The database is away")
    assert "a bar" not in page.inner_text("#front")


def test_what_is_laid_beside_each_other_is_in_the_address(opened):
    page = opened("/compare", "table.board")
    for row in (0, 1):
        page.locator("table.board [name=pick]").nth(row).check()
        page.wait_for_function("count => document.querySelectorAll('.laid').length === count", arg=row + 1)
    assert page.url.count("pick=") == 2
    assert "times the energy" in page.inner_text("#tray")


def test_a_score_of_the_readers_own_is_drawn_and_stays_while_settings_change(opened):
    page = opened("/compare", "table.heat")
    table = {"name": "fid.csv", "mimeType": "text/csv", "buffer": b"model,fid\nflux,20\nsd35,25\nsdxl,30\n"}
    page.set_input_files("#quality", table)
    page.wait_for_selector("#front #score")
    assert "front of energy and fid" in page.inner_text("#front")
    with page.expect_response("**/compare/quality?*"):
        page.select_option("#score", "-fid")
    before = page.inner_html("#front svg")
    with page.expect_response(lambda answer: "/compare/quality?" in answer.url and "fp32" in answer.url):
        page.select_option("#settings [name=precision]", "fp32")  # bf16 takes what fp16 does
    another = "before => document.querySelector('#score') && document.querySelector('#front svg').innerHTML !== before"
    page.wait_for_function(another, arg=before)
    assert page.input_value("#score") == "-fid"


def test_a_point_says_its_row(opened):
    page = opened("/law", "figure.altair svg")
    page.locator("figure.altair [data-tip]").first.hover(force=True)
    page.wait_for_selector("#tip:not([hidden])")
    assert "measured, J: " in page.inner_text("#tip")


def test_light_or_dark_is_remembered(opened):
    page = opened("/", "#scheme", color_scheme="light")
    page.click("#scheme")
    page.goto(page.url.rstrip("/") + "/compare")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 20, 20)"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("path", READY)
def test_it_is_accessible_and_scrolls_one_way(opened, path: str, width: int, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    # The page's own policy forbids scripts of others, so that axe needs a context that sets it aside.
    page = opened(path, READY[path], viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground[4:-1].split(","))) > 382) == (scheme == "light")
    found = Axe().run(page).response["violations"]
    assert [(entry["id"], entry["nodes"][0]["html"]) for entry in found] == []


SHOWN = """selector => [...document.querySelectorAll(selector)].filter(element => element.checkVisibility()).map(
    element => element.outerHTML.slice(0, 80))"""
CUT = """() => [...document.querySelectorAll('div.table, table')].filter(element =>
    element.scrollWidth > element.clientWidth + 1 && getComputedStyle(element).overflowX !== 'visible').length"""


@pytest.mark.parametrize("path", READY)
def test_on_paper_it_is_light_whole_and_without_anything_to_press(opened, address, path: str) -> None:
    page = opened(path, READY[path], color_scheme="dark", viewport={"width": 700, "height": 1000})
    assert page.evaluate(SHOWN, "nav, #scheme") != []
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate(SHOWN, "nav, .bar, button, input[type=range], input[type=checkbox], input[type=file]") == []
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    ink = page.evaluate("getComputedStyle(document.querySelector('h1')).color")
    assert sum(map(int, ink[4:-1].split(","))) < 200
    assert (
        page.evaluate("[...document.links].filter(a => getComputedStyle(a).textDecorationLine !== 'none').length") == 0
    )
    assert page.evaluate(CUT) == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 700
    assert page.inner_text("#address") == page.url == address + path
    assert page.evaluate(SHOWN, "#address") != []


def test_what_is_printed_is_the_question_as_it_stands_with_what_it_rests_on(opened):
    page = opened("/", "#answer dl.numbers", color_scheme="dark")
    before = answer(page)
    page.select_option("[name=model]", "sd2")
    page.wait_for_function(CHANGED, arg=before)
    assert not page.is_visible("#rests p >> nth=0")
    page.emulate_media(media="print")
    page.wait_for_function("() => document.getElementById('address').textContent === location.href")
    assert "model=sd2" in page.inner_text("#address")
    assert "measured rows" in page.inner_text("#rests")
    box = page.locator("#rests p").first.bounding_box()
    assert box["height"] > 10
    assert page.pdf(format="A4").startswith(b"%PDF")


@pytest.mark.parametrize("path", READY)
def test_fingers_find_the_controls_of_a_phone(opened, path: str) -> None:
    page = opened(path, READY[path], viewport={"width": 390, "height": 900})
    heights = page.evaluate(
        "[...document.querySelectorAll('main button, main select, main input:not([type=range],[type=checkbox])')]"
        ".filter(control => control.offsetParent).map(control => control.getBoundingClientRect().height)"
    )
    assert min(heights, default=44) >= 44
