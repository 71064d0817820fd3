"""The rows that ship, and how they stand beside a farm's own."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.shipped import DATASETS, shipped_rows, with_shipped
from analysis.table import DataError, Table
from farm import catalog
from farm.domain import RequestError

ROW = {"model": "sd15", "gpu": "rtx4090", "resolution": 512, "steps": 50, "precision": "fp16", "cfg": 1, "prompts": 1}


def test_both_data_sets_ship() -> None:
    table = shipped_rows()
    counts = {name: int((table.dataset == name).sum()) for name in table.names("dataset")}
    assert counts == {"paper": 280, "mlenergy": 107}
    assert set(table.names("model")) <= set(catalog.models())
    assert table.includes_idle.sum() == 107
    timed = table.where(dataset="mlenergy")
    assert (timed.duration_seconds > 0).all()
    assert (timed.prompts == timed.batch).all()


def test_the_rows_of_a_batch_are_of_all_its_images() -> None:
    """235.71 J and 1.0209 s an image alone, 196.31 J and 0.5821 s an image in twos, as the leaderboard prints them."""
    rows = shipped_rows("mlenergy").where(model="sd15", gpu="a100-40gb", batch=[1, 2])[:2]
    assert (rows.energy_joules / rows.prompts).tolist() == pytest.approx([235.71, 196.31])
    assert (rows.duration_seconds / rows.prompts).tolist() == pytest.approx([1.0209, 0.5821])


def test_own_rows_come_beside_those_that_ship() -> None:
    own = Table.of([{**ROW, "energy_joules": 450.0, "dataset": "mine"}])
    table = with_shipped(own)
    assert len(table) == 388
    assert set(table.names("dataset")) == {"mine", *DATASETS}
    assert table.number.tolist() == list(range(1, 389))


@pytest.mark.parametrize("name", ["paper", "a copy"])
def test_a_shipped_row_that_was_imported_too_counts_once(name: str) -> None:
    copy = shipped_rows("paper")[:30].of_dataset(name)
    table = with_shipped(copy)
    assert len(table) == len(shipped_rows())
    assert (table.dataset[-30:] == name).all()


def test_an_unknown_data_set_is_named() -> None:
    with pytest.raises(RequestError, match=r"mlenergie.*paper, mlenergy"):
        shipped_rows("mlenergie")


def test_idle_needs_seconds_in_columns_too() -> None:
    columns = {name: [value] for name, value in ROW.items()} | {"energy_joules": [450.0], "includes_idle": [1]}
    with pytest.raises(DataError, match="row 1, duration_seconds"):
        Table.from_columns(columns)
    assert Table.from_columns({**columns, "duration_seconds": [2.0]}).includes_idle.tolist() == [True]
    del columns["energy_joules"]  # to be predicted, idle power among it
    assert Table.from_columns(columns).includes_idle.tolist() == [True]


def test_joined_tables_keep_every_value() -> None:
    table = shipped_rows()
    halves = Table.joined([table[:190], table[190:]])
    assert halves.digest() == table.digest()
    assert np.array_equal(halves.model, table.model)
