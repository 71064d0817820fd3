"""A folder with files for commands, and a farm beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from farm.catalog import files
from farm.cli import run
from tests.acceptance.rude_files import ROW, SWEEP, csv_text
from tests.rude import end_at_once


@pytest.fixture
def folder(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the files lie; a farm with a sweep and a data set."""
    path = tmp_path / "here"
    path.mkdir()
    monkeypatch.chdir(path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (path / "sweep.yaml").write_text(yaml.safe_dump(dict(SWEEP)))
    (path / "rows.csv").write_text(csv_text([dict(ROW), {**ROW, "model": "sd35", "measurement_id": "n"}], ","))
    assert run(["sweep", "submit", "sweep.yaml"]) == 0
    assert run(["results", "import", "rows.csv", "--dataset", "mine"]) == 0
    yield path
    files.refresh()


@pytest.fixture
def short_lived(monkeypatch: pytest.MonkeyPatch) -> None:
    end_at_once(monkeypatch)
