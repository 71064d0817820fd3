"""Running farms for the integration tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from farm_fixture import RunningFarm


@pytest.fixture
def make_farm(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., RunningFarm]]:
    """Make a running farm with some settings; ended with the test."""
    made: list[RunningFarm] = []
    monkeypatch.setenv("FARM_LOG_LEVEL", "debug")

    def make(**environment: str) -> RunningFarm:
        farm = RunningFarm(home, monkeypatch.setenv, **environment)
        made.append(farm)
        return farm

    yield make
    for farm in made:
        farm.close()
