"""Rows that state seconds and no energy: they tell how fast a model runs on a GPU, and no watts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from analysis import validation
from analysis.laws.paper.law import PaperLaw
from analysis.laws.work.law import WorkLaw
from analysis.shipped import shipped_rows
from analysis.table import DataError, Table
from farm.cli import run


@pytest.fixture(scope="module")
def parts() -> tuple[Table, Table, Table]:
    """The rows of SDXL on an H100, all others, and both together with no energy of the former."""
    rows = shipped_rows("mlenergy")
    mask = (rows.model == "sdxl") & (rows.gpu == "h100")
    columns = rows.to_columns()
    energies = np.where(mask, np.nan, columns["energy_joules"])
    return rows.take(mask), rows.take(~mask), Table.from_columns({**columns, "energy_joules": energies})


def test_they_teach_seconds_and_narrow_the_energy(parts: tuple[Table, Table, Table]) -> None:
    tested, others, timed = parts
    before, after = WorkLaw().fit(others), WorkLaw().fit(timed)
    assert (after.n_, after.left_out_) == (len(timed), [])
    one, two = before.forecast(tested), after.forecast(tested)
    assert one.seconds is not None
    assert two.seconds is not None
    errors = [np.abs(s / tested.duration_seconds - 1).mean() for s in (one.seconds, two.seconds)]
    assert errors[1] < 0.02 < errors[0]
    assert np.median(two.high / two.joules) < np.median(one.high / one.joules)
    again = WorkLaw.from_json(after.to_json())
    assert again.predict(tested) == pytest.approx(two.joules)


def test_only_rows_with_an_energy_are_tested(parts: tuple[Table, Table, Table]) -> None:
    timed = parts[2]
    outcome = validation.within(WorkLaw(), timed, 2)
    assert len(outcome.table) == int(np.isfinite(timed.energy_joules).sum()) < len(timed)
    assert np.isfinite([v for v in outcome.metrics.values() if v is not None]).all()


def test_a_law_that_knows_no_time_leaves_them_out(parts: tuple[Table, Table, Table]) -> None:
    rows = shipped_rows("paper")
    energies = np.where(np.arange(len(rows)) < 2, np.nan, rows.energy_joules)
    law = PaperLaw().fit(
        Table.from_columns({**rows.to_columns(), "energy_joules": energies, "duration_seconds": 9.0 * rows.prompts})
    )
    assert [(entry["name"], entry["count"]) for entry in law.left_out_ if entry["what"] == "rows"] == [
        ("energy not known", 2)
    ]
    with pytest.raises(DataError, match="energy_joules"):
        WorkLaw().fit(rows, energies)


def test_a_file_and_a_farm_may_hold_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rows.csv"
    lines = ["a100,512,20,fp16,0,10,900,20", "a100,512,40,fp16,0,10,,38"]
    path.write_text(
        "model,gpu,resolution,steps,precision,cfg,prompts,energy_joules,duration_seconds\n"
        + "".join(f"sd2,{line}\n" for line in lines)
    )
    assert run(["law", "fit", "--law", "work", "--data", str(path), "--json"]) == 0
    assert '"n": 2' in capsys.readouterr().out
    assert run(["results", "import", str(path), "--db", f"sqlite:///{tmp_path / 'farm.db'}"]) == 0
    assert "2 rows imported" in capsys.readouterr().out
