"""docs/notebook.md runs; what a notebook shows; and the message where another package hides ours."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow
import pytest

import analysis

ROOT = Path(__file__).resolve().parents[3]


def test_the_document_runs() -> None:
    pytest.importorskip("pandas")
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "notebook.md").read_text(), flags=re.DOTALL)
    assert len(blocks) >= 5
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "docs/notebook.md", "exec"), names)
    assert len(names["frame"]) == 2  # type: ignore[arg-type]


def test_dir_shows_what_there_is() -> None:
    assert {name for name in dir(analysis) if not name.startswith("_")} == set(analysis.__all__)
    assert all(getattr(analysis, name) is not None for name in analysis.__all__)
    assert set(analysis.__all__) == set(analysis._HOMES)


def test_a_table_shows_itself_and_goes_to_frames_and_arrow_and_back() -> None:
    table = analysis.paper_rows()
    assert "200 rows: 3 models, 1 gpus" in repr(table)
    assert "and 190 more" in repr(table)
    frame = table.to_pandas()
    assert analysis.Table.of(frame).digest() == table.digest()
    arrow = pyarrow.table(table)
    assert arrow["energy_joules"].to_pylist() == table.energy_joules.tolist()
    assert arrow["duration_seconds"].null_count == len(table)
    assert "0 rows" in repr(table[:0])


def test_candidates_without_energies_are_read(tmp_path: Path) -> None:
    path = tmp_path / "candidates.csv"
    path.write_text("model,gpu,resolution,steps,precision,cfg,prompts\nflux,a100,512,20,fp16,0,1\n")
    assert len(analysis.predict(analysis.Table.read(path, energies=False))) == 1


@pytest.mark.parametrize(
    ("package", "code", "word"),
    [
        ("analysis", "from farm.cli import main; main(['law', 'list'])", "joulefarm's own analysis"),
        ("workers", "from farm.cli import main; main(['measure', '--help'])", "joulefarm's own workers"),
        ("farm", "import analysis; analysis.predict", "joulefarm's own farm"),
    ],
)
def test_a_package_that_hides_ours_is_named(tmp_path: Path, package: str, code: str, word: str) -> None:
    stranger = tmp_path / package / "__init__.py"
    stranger.parent.mkdir()
    stranger.touch()
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=stranger.parent,  # the folder of the caller itself is not on the path: see farm.imports
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "FARM_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert word in done.stderr
    assert str(stranger) in done.stderr
