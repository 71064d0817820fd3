"""Nothing lost, nothing counted twice: a whole farm under random faults (`make chaos` for the long form)."""

from __future__ import annotations

from collections import Counter

import pytest
from rich.console import Console
from rich.table import Table

from tests.acceptance.chaos import Chaos, Outcome, Plan


@pytest.fixture(scope="module")
def outcomes():
    """Prints one table of all runs at the end, where output is shown (`make chaos`)."""
    found: list[Outcome] = []
    yield found
    if not found:
        return
    table = Table(title="chaos: a farm of four workers on three queues")
    columns = ("seed", "database", "jobs", "faults", "kills", "accepted", "redone", "recovery s", "seconds", "ok")
    for column in columns:
        table.add_column(column, justify="right")
    for o in found:
        counts = (o.plan.jobs, o.injected.total(), o.hits, o.attempts["accepted"], o.redone)
        times = (f"{o.recovery_seconds:.1f}", f"{o.seconds:.0f}")
        cells = (o.plan.seed, o.plan.database, *counts, *times, "NO" if o.complaints else "yes")
        table.add_row(*map(str, cells))
    console = Console(width=120)
    console.print(table)
    total = sum((o.injected for o in found), Counter())
    console.print("faults: " + ", ".join(f"{name} {n}" for name, n in sorted(total.items())))


def survive(plan, home, monkeypatch, outcomes):
    outcome = Chaos(home, plan, monkeypatch.setenv).run()
    outcomes.append(outcome)
    print(*outcome.complaints, sep="\n")
    assert outcome.injected.total() == plan.faults
    assert outcome.hits > 0
    assert not outcome.complaints, "\n".join(outcome.complaints)


@pytest.mark.slow
def test_short(home, monkeypatch, outcomes):
    plan = Plan(seed=1, jobs=60, faults=15, outage_seconds=2.0, deadline_seconds=120.0, speed=4.0)
    survive(plan, home, monkeypatch, outcomes)


@pytest.mark.chaos
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("postgres", [False, True], ids=["sqlite", "postgresql"])
@pytest.mark.parametrize("seed", range(1, 6))
def test_long(seed, postgres, home, monkeypatch, outcomes):
    plan = Plan(
        seed=seed, jobs=504, faults=44, outage_seconds=20.0, deadline_seconds=1500.0, speed=3.5, postgres=postgres
    )
    survive(plan, home, monkeypatch, outcomes)
