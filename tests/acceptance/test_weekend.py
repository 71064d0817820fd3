"""A weekend in a lab, shortened: see tests/acceptance/weekend.py. The long form is in `make chaos`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.acceptance.weekend import Plan, Weekend

SHORT = Plan(jobs=4, urgent=2, patience_seconds=100.0)
LONG = Plan(jobs=150, urgent=50, patience_seconds=300.0, absence=True)


@pytest.mark.slow
def test_a_short_weekend(home, farm, farm_process, monkeypatch):
    Weekend(home, SHORT, farm, farm_process, monkeypatch.setenv).run()


@pytest.mark.chaos
@pytest.mark.parametrize("postgres", [False, True], ids=["sqlite", "postgresql"])
def test_a_weekend(postgres, home, farm, farm_process, monkeypatch):
    Weekend(home, replace(LONG, postgres=postgres), farm, farm_process, monkeypatch.setenv).run()
