"""A lab for the tests of a module: four hosts, set up as docs/lab.md says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.network import need_lab
from tests.lab.walk import Lab


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    need_lab()
    folder = tmp_path_factory.mktemp("lab")
    made = Lab(folder)
    try:
        made.build()
        yield made
    finally:
        made.network.close()
