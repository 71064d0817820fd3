"""Law: how the fit follows its rows, and how the law does on what it was not fitted to."""

from __future__ import annotations

import json
import re

import pytest

from analysis import laws, records, validation
from analysis.shipped import shipped_rows
from farm.fits import Fits
from farm.settings import load
from farm.store.engine import Store
from tests.knowledge import look


def part(client, path: str) -> str:
    """A part of the page, when it is worked out."""
    while "comes by itself" in (text := client.get(path).text):
        assert 'hx-trigger="load delay:1s"' in text
    return text


def rows_of(text: str) -> dict[str, list[str]]:
    found = {}
    for line in re.findall(r"<tr[^>]*>(<td.*?)</tr>", text):
        name, *cells = re.findall(r"<td[^>]*>([^<]*)</td>", line)
        found[name] = cells
    return found


def test_the_page_names_the_fit_and_asks_for_its_parts(fitted):
    page = fitted.get("/law").text
    assert f"fitted to {len(shipped_rows())} measured rows of 9 models on 3 GPU types" in page
    for path in ("fitted", "heldout/model", "heldout/gpu", "heldout/dataset", "history"):
        assert f'hx-get="/law/{path}" hx-trigger="load"' in page


def test_every_row_that_was_fitted_says_itself_in_the_figure(fitted):
    text = part(fitted, "/law/fitted")
    count = len(shipped_rows())
    assert text.count("off by, %") == 2 * count + 1  # the point, its residual, and the axis
    tip = re.search(r'data-tip="([^"]*)"', text)[1]
    assert {line.split(": ")[0] for line in tip.splitlines()} >= {"model", "gpu", "measured, J", "predicted, J"}
    assert 'fill="var(--ink)"' in text
    assert "#1A1A1A" not in text
    assert "style=" not in text
    outcome = validation.of_fit(laws.get("work")().fit(shipped_rows()), shipped_rows())
    assert f"{outcome.interval['coverage']:.0%}" in text
    assert "Residuals by factor" in text
    assert "Coefficients" in text


def test_what_is_held_out_is_what_farm_law_validate_says(fitted, farm):
    found = rows_of(part(fitted, "/law/heldout/dataset"))
    printed = json.loads(farm("law", "validate", "--leave-out", "dataset", "--json").out)
    assert set(found) == {*printed["groups"], "mean"}
    for name, summary in printed["groups"].items():
        assert found[name][0] == str(summary["n_test"])
        assert float(found[name][1].rstrip("%")) == pytest.approx(summary["metrics"]["mape_percent"], rel=0.06)
        assert found[name][3] == f"{summary['interval']['coverage']:.0%}"


def test_another_kind_is_refused(fitted):
    assert fitted.get("/law/heldout/colour").status_code == 422


def test_stored_fits_are_drawn_as_rows_came(client, home):
    assert "No fit is stored yet" in part(client, "/law/history")
    settings = load()
    settings.prepare_home()
    store = Store.upgrade(settings)
    for count, error in ((20, 8.0), (40, 4.0)):
        rows = shipped_rows().take(slice(None, count))
        splits = {f"{model} held out": {"metrics": {"mape_percent": error}} for model in ("flux", "sd2")}
        Fits(store).add(records.row(laws.get("work")().fit(rows), rows, dataset="all", validation=splits))
    store.close()
    look(client.app.state.site.knowledge)
    while "<svg" not in (text := part(client, "/law/history")):
        pass
    assert re.findall(r'data-tip="([^"]*)"', text) == ["20 rows: 8%", "40 rows: 4%"]
    assert [cells[1] for cells in rows_of(text).values()] == ["40", "20"]  # the newest first


def test_what_was_worked_out_stays_while_rows_come_that_no_fit_uses(client, farm, tmp_path):
    knowledge = client.app.state.site.knowledge
    known = knowledge.known(wait=60)
    assert known.derived("kept", lambda known: len(known.rows), wait=60) == 387
    rows = tmp_path / "rows.csv"
    rows.write_text(
        "model,gpu,resolution,steps,precision,cfg,prompts,energy_joules,flags\n"
        "flux,a100,512,20,fp16,0,25,23000,simulated\n"
    )
    assert farm("results", "import", rows, "--dataset", "toy").code == 0
    look(knowledge)
    knowledge.known(wait=0)
    knowledge._work[None][1].result(60)
    assert knowledge.known() is known
