"""A running farm for the integration tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.farm_fixture import RunningFarm


@pytest.fixture(scope="module")
def module_farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningFarm]:
    """Broker and coordinator, started once a module."""
    with pytest.MonkeyPatch.context() as patch:
        farm = RunningFarm(tmp_path_factory.mktemp("farm") / "home", patch.setenv)
        farm.start("coordinator")
        yield farm
        farm.close()


@pytest.fixture
def running_farm(module_farm: RunningFarm, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningFarm]:
    """The module's farm, without workers: each test starts its own."""
    for name, value in module_farm.environment.items():
        if name.startswith("FARM_"):
            monkeypatch.setenv(name, value)
    yield module_farm
    module_farm.end_workers()
