"""What the benches keep of a run and say of the next: made-up rows, real files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench import Row, _history
from tests.bench._document import Line, document

JOB = Row("a job", 4.0, "ms", 6.0, "in process")
RATE = Row("predict", 2e5, "/s", 1e5, "100 rows", at_least=True)


def run_of(*rows: Row) -> _history.Run:
    return _history.Run.of(("queue", row) for row in rows)


def test_the_newest_run_on_a_machine_like_this_is_what_is_compared_with(tmp_path: Path) -> None:
    file, here = tmp_path / "history.jsonl", _history.Machine.this()
    assert _history.last(here, file) is None
    for number, machine in ((1.0, here), (2.0, here), (3.0, replace(here, cores=here.cores + 1))):
        _history.append(replace(run_of(replace(JOB, value=number)), machine=machine), file)
    found = _history.last(here, file)
    assert found is not None
    assert found.values == {"queue: a job": 2.0}
    assert found.machine == here


@pytest.mark.parametrize(
    ("row", "factor", "said"),
    [
        (JOB, 1.5, ("+50 %", True)),
        (JOB, 1.2, ("+20 %", False)),
        (JOB, 0.5, ("-50 %", False)),
        (RATE, 0.5, ("-50 %", True)),
        (RATE, 2.0, ("+100 %", False)),
    ],
)
def test_slower_is_what_grew_and_what_should_be_large_and_fell(row: Row, factor: float, said: tuple[str, bool]) -> None:
    assert _history.change("queue", replace(row, value=row.value * factor), run_of(row)) == said
    assert _history.change("queue", row, None) == ("", False)
    assert _history.change("queue", replace(row, name="new"), run_of(row)) == ("", False)


def test_the_document_says_what_was_missed_and_what_became_worse() -> None:
    before = run_of(JOB, RATE)
    rows = (replace(JOB, value=7.0, name="a | job"), replace(RATE, value=1.5e5))
    lines = [Line("queue", row, *_history.change("queue", row, before)) for row in rows]
    text = document(run_of(*rows), lines, before)
    assert "1 of 2 targets met" in text
    assert "1 of 2 worse" in text
    assert "| a \\| job | 7 ms | ≤ 6 ms | NO |  | in process |" in text
    assert "| predict | 150,000 /s | ≥ 100,000 /s | yes | -25 % worse | 100 rows |" in text
