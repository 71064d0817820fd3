"""analysis.table: the same rows from every form, and refusals that name row, column and remedy."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.prediction import paper_rows
from analysis.table import ARRAY_COLUMNS, DataError, Table
from farm.domain import Configuration, RequestError

HEADER = "model,gpu,resolution,steps,precision,cfg,prompts,energy_joules"
ROW = {"model": "flux", "gpu": "a100", "resolution": 512, "steps": 20, "precision": "fp16", "cfg": 1, "prompts": 10}


def columns(table: Table) -> list[list[object]]:
    names = (*ARRAY_COLUMNS, "seed", "energy_joules", "flags")
    return [np.asarray(getattr(table, name)).tolist() for name in names]


def test_the_rows_that_ship() -> None:
    table = paper_rows()
    assert len(table) == 200
    assert table.names("model") == ("flux", "qwen", "sd35")
    assert table.energy_joules[0] == 29500.0
    assert set(table.origin.tolist()) == {"measured"}


def test_every_form_gives_the_same_rows(tmp_path: Path) -> None:
    table = paper_rows()
    frame = pd.read_csv("analysis/data/paper_a100_energy.csv")
    frame.to_parquet(tmp_path / "rows.parquet")
    forms = [
        frame,
        frame.to_dict("list"),
        frame.to_dict("records"),
        tmp_path / "rows.parquet",
    ]
    for form in forms:
        assert columns(Table.of(form)) == columns(table)
    configurations = list(table.configurations())
    array = np.array([[getattr(c, name) for name in ARRAY_COLUMNS] for c in configurations], dtype=object)
    assert columns(Table.of(array))[:-2] == columns(Table.of(configurations))[:-2] == columns(table)[:-2]


def test_a_table_survives_pickle_and_cannot_be_written_to() -> None:
    table = pickle.loads(pickle.dumps(paper_rows()))
    assert columns(table) == columns(paper_rows())
    with pytest.raises(ValueError, match="read-only"):
        table.steps[0] = 3


@pytest.mark.parametrize("resolution", [[256, 512], ["256", "512"], ["256x256", "512x768"]])
def test_columns_that_contradict_each_other_are_refused(resolution: list[object]) -> None:
    columns = {name: [value] * 2 for name, value in ROW.items()} | {"resolution": resolution}
    heights = [256, 768 if resolution[1] == "512x768" else 512]
    assert Table.of(columns | {"width": [256, 512], "height": heights}).height.tolist() == heights
    assert Table.of(columns | {"height": [256.0, heights[1]]}).width.tolist() == [256, 512]
    with pytest.raises(DataError, match=r"row 2, resolution: .*that of width \(64\)"):
        Table.of(columns | {"width": [256, 64], "height": heights})
    both = {**columns, "resolution": [None, 512], "width": [256, 512], "height": [512, 512]}
    assert Table.of(both).height.tolist() == [512, 512]


@pytest.mark.parametrize("steps", [["2_0", "20"], np.array(["２０", "20"]), np.array(["2_0", 20], dtype=object)])
def test_digits_that_only_python_reads_are_no_number(steps: object) -> None:
    columns = {name: [value] * 2 for name, value in ROW.items()} | {"steps": steps}
    with pytest.raises(DataError, match="row 1, steps"):
        Table.of(columns)


def test_where_and_take_keep_row_numbers() -> None:
    table = paper_rows().where(model=["flux", "qwen"], resolution=512, cfg=True, precision="fp16")
    assert set(table.width.tolist()) == {512}
    assert table.cfg.all()
    assert len(table) == 10
    full = paper_rows()
    assert (full.energy_joules[table.number - 1] == table.energy_joules).all()


def test_where_refuses_a_column_that_is_not_there() -> None:
    with pytest.raises(DataError, match="colour"):
        paper_rows().where(colour="red")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"steps": "many"}, ["row 1", "steps", "many"]),
        ({"steps": 10.5}, ["row 1", "steps", "whole number"]),
        ({"precision": "fp8"}, ["row 1", "precision", "fp16, bf16, fp32"]),
        ({"cfg": "perhaps"}, ["row 1", "cfg", "0 or 1"]),
        ({"prompts": 0}, ["row 1", "prompts"]),
        ({"batch": 11}, ["row 1", "batch", "at most prompts"]),
        ({"flags": "broken"}, ["row 1", "flags", "broken"]),
    ],
)
def test_a_bad_value_is_named(change: dict[str, object], words: list[str]) -> None:
    for form in ([{**ROW, **change}], pd.DataFrame([{**ROW, **change}])):
        with pytest.raises(DataError) as caught:
            Table.of(form)
        assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_bad_value_far_down_a_long_frame_is_found() -> None:
    frame = pd.DataFrame([ROW] * 5000)
    frame.loc[3210, "steps"] = 2000
    with pytest.raises(DataError, match="row 3211, steps"):
        Table.of(frame)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "model,gpu,resolution,steps,precision,cfg,prompts\nflux,a100,512,20,fp16,1,10\n",
            ["energy_joules", "required"],
        ),
        (f"{HEADER}\nflux,a100,512,20,fp16,1,10,much\n", ["row 1", "energy_joules", "much"]),
        (f"{HEADER}\nflux,a100,512,20,fp16,1,10,0\n", ["row 1", "energy_joules", "above 0"]),
        (f"{HEADER}\nflux,a100,512,20,fp16,1,10,-5\n", ["row 1", "energy_joules", "above 0"]),
        (f"{HEADER}\nflux,a100,512,20,fp16,1,10,nan\n", ["row 1", "energy_joules"]),
        (f"{HEADER},measurement_id\n" + "flux,a100,512,20,fp16,1,10,5,x\n" * 2, ["row 2", "measurement_id", "row 1"]),
        ("", ["header"]),
    ],
)
def test_a_bad_file_is_one_line_that_names_row_column_and_remedy(tmp_path: Path, text: str, words: list[str]) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(text)
    with pytest.raises(RequestError) as caught:
        Table.read(path)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_same_configuration_twice_is_no_duplicate(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f"{HEADER}\n" + "flux,a100,512,20,fp16,1,10,5\n" * 2)
    assert len(Table.read(path)) == 2


def test_a_header_without_rows_is_a_table(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f"{HEADER}\n")
    table = Table.read(path)
    assert len(table) == 0
    assert table.names("model") == ()
    assert len(table.groups("model", "width")[0]) == 0
    assert len(table.where(model="flux")) == 0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 400), st.integers(1, 9)), min_size=1, max_size=50))
def test_groups_are_the_distinct_rows(rows: list[tuple[str, int, int]]) -> None:
    table = Table.of([{**ROW, "model": m, "resolution": 8 * w, "steps": s} for m, w, s in rows])
    first, group = table.groups("model", "width", "steps")
    assert len(first) == len(set(rows))
    for row, place in enumerate(first[group].tolist()):
        assert rows[row] == rows[place]
    assert all(rows.index(rows[place]) == place for place in first.tolist())


def test_the_digest_ignores_order_and_sees_every_change() -> None:
    table = paper_rows()
    order = np.random.default_rng(0).permutation(len(table))
    assert table[order].digest() == table.digest()
    changed = table.energy_joules.copy()
    changed[7] *= 1 + 1e-12
    assert table.digest(changed) != table.digest()
    head, tail = (int(part.digest(), 16) for part in (table[:50], table[50:]))
    assert f"{(head + tail) % 2**256:064x}" == table.digest()


def test_one_configuration_is_a_table() -> None:
    table = Table.of(
        Configuration(model="flux", gpu="a100", width=512, height=768, steps=3, precision="fp16", cfg=False, prompts=1)
    )
    assert table.pixels.tolist() == [512 * 768]
    assert np.isnan(table.energy_joules).all()


def test_a_resolution_may_name_both_sides() -> None:
    columns = {"model": "flux", "gpu": "a100", "steps": 3, "precision": "fp16", "cfg": 0, "prompts": 1}
    sides = ["512", "768x512", "1024"]
    table = Table.from_columns({"resolution": sides, **{name: [value] * 3 for name, value in columns.items()}})
    assert table.width.tolist() == [512, 768, 1024]
    assert table.height.tolist() == [512, 512, 1024]
    assert table.where(resolution=["768x512", 1024]).number.tolist() == [2, 3]
    assert Table.from_rows([{**columns, "resolution": "768x512"}]).height.tolist() == [512]
    with pytest.raises(RequestError, match="512y768"):
        Table.from_columns({"resolution": ["512y768"], **{name: [value] for name, value in columns.items()}})


@pytest.mark.parametrize("thing", [3.5, object(), np.zeros((4, 2)), ["flux"], None])
def test_what_holds_no_configurations_is_refused(thing: object) -> None:
    with pytest.raises(DataError):
        Table.of(thing)


@pytest.mark.parametrize(
    ("at", "day"), [("1970-01-02", 1.0), ("2026-11-27T02:03:36.865+00:00", 20784.0), ("", None), ("yesterday", None)]
)
def test_the_day_of_a_measurement_is_kept_where_it_is_known(at: str, day: float | None) -> None:
    row = ROW | {"measured_at": at, "meter": "nvml"}
    given = {name: [value] for name, value in row.items()}
    by_columns = Table.from_columns(given)
    for table in (Table.of([row]), by_columns, Table.from_columns(by_columns.to_columns())):
        assert table.meter.tolist() == ["nvml"]
        assert np.array_equal(table.measured_day, [np.nan if day is None else day], equal_nan=True)
    dates = Table.from_columns(given | {"measured_at": np.array([at[:10]], dtype="datetime64[ns]")}) if day else table
    assert np.array_equal(dates.measured_day, table.measured_day, equal_nan=True)
