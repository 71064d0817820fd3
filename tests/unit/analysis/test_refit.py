"""analysis.refit: fits of every data set and cell, stored once, and nothing when nothing is new."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import update

from analysis import laws
from analysis.prediction import paper_rows
from analysis.refit import drawn, refit, refit_if_new, scopes
from analysis.shipped import shipped_rows
from farm.files.table import read_table
from farm.fits import Fits
from farm.results import Results
from farm.settings import Settings, load
from farm.store.engine import Store
from farm.store.tables import Fit

PAPER = "analysis/data/paper_a100_energy.csv"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load(home=tmp_path / "farm")


@pytest.fixture
def one_law(monkeypatch: pytest.MonkeyPatch) -> None:
    """The quickest law alone, where it does not matter which laws are fitted."""
    monkeypatch.setattr(laws, "names", lambda: ("paper",))


def imported(settings: Settings, *, start: int = 0, stop: int = 200, dataset: str = "paper") -> None:
    store = Store.open(settings)
    rows = [replace(row, measurement_id=f"{dataset}-{place}") for place, row in enumerate(read_table(PAPER))]
    Results(store).add(rows[start:stop], dataset=dataset)
    store.close()


def stored(settings: Settings) -> list[dict[str, object]]:
    store = Store.open(settings)
    fits = Fits(store).stored()
    store.close()
    return fits


def test_every_law_is_fitted_to_every_scope_and_validated(settings: Settings) -> None:
    imported(settings)
    assert refit_if_new(settings)
    fits = stored(settings)
    cells = ("flux on a100", "qwen on a100", "sd35 on a100")
    single = {(fit["law"], *fit["scope"]["cells"]) for fit in fits if len(fit["scope"]["cells"]) == 1}
    assert single == {(law, cell) for law in laws.names() for cell in cells}
    (pooled,) = [fit for fit in fits if fit["law"] == "paper" and fit["n"] == 200]
    held_out = pooled["metrics"]["validation"]["flux held out"]
    assert round(held_out["metrics"]["mape_percent"], 1) == 13.0
    assert pooled["dataset"] == "paper"
    widest = max(fits, key=lambda fit: fit["id"])  # what `farm law show` shows, and what predictions use
    assert (widest["dataset"], widest["n"]) == ("all", len(laws.get(str(widest["law"]))().usable(shipped_rows()).table))
    assert set(widest["metrics"]["validation"]) == {
        "2 folds",
        *(f"{name} held out" for name in ("flux", "qwen", "sd35")),
    }


@pytest.mark.usefixtures("one_law")
def test_nothing_is_done_when_nothing_is_new(settings: Settings) -> None:
    Store.upgrade(settings).close()
    assert not refit_if_new(settings)
    imported(settings, stop=120)
    assert refit_if_new(settings)
    before = stored(settings)
    assert not refit_if_new(settings)
    assert stored(settings) == before


@pytest.mark.usefixtures("one_law")
def test_new_rows_are_taken_by_the_fits_that_they_concern(settings: Settings) -> None:
    imported(settings, stop=160)  # flux and sd35
    assert refit_if_new(settings)
    before = {fit["id"] for fit in stored(settings)}
    imported(settings, start=160)  # qwen
    assert refit_if_new(settings)
    fresh = [fit for fit in stored(settings) if fit["id"] not in before and fit["law"] == "paper"]
    assert sorted(fit["n"] for fit in fresh if fit["dataset"] == "paper") == [40, 200]
    (pooled,) = [fit for fit in fresh if fit["n"] == 200]
    whole = laws.get("paper")().fit(paper_rows())
    assert {k: v for k, v in pooled["params"].items() if k != "beta_gpu"} == pytest.approx(whole.params_, rel=1e-9)


def test_rows_that_cannot_be_fitted_are_no_failure(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    imported(settings, stop=3)
    assert refit_if_new(settings)
    assert "law paper is not fitted" in caplog.text


@pytest.mark.usefixtures("one_law")
def test_a_stored_fit_that_cannot_be_read_is_fitted_from_the_beginning(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    imported(settings, stop=100)
    assert refit_if_new(settings)
    store = Store.open(settings)
    with store.write() as db:
        db.execute(update(Fit).values(document={}))
    store.close()
    imported(settings, start=100)
    assert refit_if_new(settings)
    assert {fit["n"] for fit in stored(settings)} >= {200}
    assert "not read" in caplog.text


def test_another_refit_at_work_is_left_alone(settings: Settings) -> None:
    imported(settings)
    store = Store.open(settings)
    assert Fits(store).take_lease(lease_seconds=60) is not None
    store.close()
    assert not refit_if_new(settings)
    assert stored(settings) == []


@pytest.mark.usefixtures("one_law")
def test_a_refit_that_fails_is_given_up(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    imported(settings)

    def broken(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("analysis.refit.refit", broken)
    with pytest.raises(OSError, match="disk full"):
        refit_if_new(settings)
    monkeypatch.undo()
    assert refit_if_new(settings)


def test_several_data_sets_are_fitted_apart_and_together(settings: Settings) -> None:
    imported(settings, stop=120, dataset="one")
    imported(settings, start=120, dataset="two")
    store = Store.open(settings)
    from analysis.table import Table

    names = [scope.dataset for scope in scopes(Table.from_rows(Results(store).rows())) if scope.held_out]
    store.close()
    assert names == ["one", "two", "all"]


def test_validation_of_many_rows_draws_evenly_over_what_is_measured() -> None:
    table = shipped_rows()
    assert drawn(table, len(table)) is table
    few = drawn(table, 60)
    assert len(few) == 60
    assert set(few.number.tolist()) <= set(table.number.tolist())
    assert (np.diff(few.number) > 0).all()
    have, picked = (
        Counter(zip(rows.dataset.tolist(), rows.model.tolist(), rows.gpu.tolist(), strict=True))
        for rows in (table, few)
    )
    most = max(picked.values())
    assert all(count >= min(have[group], most - 1) for group, count in picked.items())
    assert picked.keys() == have.keys()
    assert drawn(table, 60).digest() == few.digest()


@pytest.mark.usefixtures("one_law")
def test_a_fit_that_is_stored_is_not_made_again(settings: Settings) -> None:
    table = paper_rows()
    fits = refit(table, [])
    assert fits
    assert refit(table, fits) == []


@pytest.mark.usefixtures("one_law")
def test_a_refit_that_errs_more_on_what_was_held_out_does_not_take_over(
    settings: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of which every second is wrong by a factor come in: the fit to all of them is said to be worse."""
    from analysis.cli.fits import fitted_law

    monkeypatch.setenv("FARM_HOME", str(settings.home))
    imported(settings)
    assert refit_if_new(settings)
    good = next(fit for fit in stored(settings) if fit["dataset"] == "all")
    usual = fitted_law("paper", None, (), None)
    assert usual.fit_id == good["id"]
    spoil(settings, dataset="broken")
    assert refit_if_new(settings)
    newest = next(fit for fit in stored(settings) if fit["dataset"] == "all")
    assert newest["id"] > int(str(good["id"]))
    assert f"law paper: fit {good['id']}" in caplog.text
    assert "stays in use" in caplog.text
    used = fitted_law("paper", None, (), None)
    assert (used.fit_id, used.law.to_json()) == (good["id"], usual.law.to_json())
    assert "which stays in use: the refit to" in used.source
    imported(settings, stop=100, dataset="more")  # it goes on: no better yet, and the good fit is still compared with
    assert refit_if_new(settings)
    assert fitted_law("paper", None, (), None).fit_id == good["id"]


def test_rows_as_good_as_the_others_take_over(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    imported(settings, stop=120)
    assert refit_if_new(settings)
    imported(settings, start=120, dataset="rest")
    assert refit_if_new(settings)
    assert not [fit for fit in stored(settings) if fit["kept_at"]]
    assert "stays in use" not in caplog.text


def spoil(settings: Settings, *, dataset: str) -> None:
    store = Store.open(settings)
    rows = [
        replace(row, measurement_id=f"{dataset}-{place}", energy_joules=(row.energy_joules or 1.0) * (1, 3)[place % 2])
        for place, row in enumerate(read_table(PAPER))
    ]
    Results(store).add(rows, dataset=dataset)
    store.close()
