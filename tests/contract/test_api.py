"""What other code may import is written down, typed and explained, and its examples run."""

from __future__ import annotations

import doctest
import inspect
from pathlib import Path
from typing import Any

import pytest

from tests import api

ROOT = Path(__file__).resolve().parents[2]
OBJECTS = [(name, value) for name, value in api.objects() if inspect.isclass(value) or api.is_code(value)]
EXAMPLES = [test for name, value in OBJECTS for test in doctest.DocTestFinder(recurse=False).find(value, name)]


def test_the_document_is_what_the_code_says() -> None:
    """A change of the public API is made on purpose: ``python -m tests.api > docs/api.md``, and a line in CHANGELOG."""
    assert (ROOT / "docs" / "api.md").read_text() == api.document()


def test_there_are_names() -> None:
    assert len(OBJECTS) > 80


@pytest.mark.parametrize(("name", "value"), OBJECTS, ids=[name for name, _ in OBJECTS])
def test_it_is_explained_and_typed(name: str, value: Any) -> None:
    first, *_ = (inspect.getdoc(value) or "").split("\n")
    assert first, "a sentence that a stranger understands"
    if not inspect.isclass(value):
        stated = inspect.signature(api.function(value))
        untyped = [p for p in stated.parameters.values() if p.annotation is p.empty and p.name not in ("self", "cls")]
        assert not untyped
        assert stated.return_annotation is not stated.empty


@pytest.mark.parametrize("test", [test for test in EXAMPLES if test.examples], ids=lambda test: test.name)
def test_its_examples_run(test: doctest.DocTest) -> None:
    report: list[str] = []
    doctest.DocTestRunner().run(test, out=report.append)
    assert not report, "".join(report)


def test_there_are_examples() -> None:
    assert sum(bool(test.examples) for test in EXAMPLES) >= 4
