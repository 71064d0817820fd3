"""Nothing lost, nothing counted twice: a whole farm under random faults (`make chaos` for the long form)."""

import pytest
from chaos import Chaos, Plan


def survive(plan, home, monkeypatch, capsys):
    outcome = Chaos(home, plan, monkeypatch.setenv).run()
    with capsys.disabled():
        faults = ", ".join(f"{name} {n}" for name, n in sorted(outcome.injected.items()))
        print(f"\n{plan}: {outcome.seconds:.0f} s, attempts {dict(outcome.attempts)}; faults: {faults}")
    assert sum(outcome.injected.values()) == plan.faults
    assert not outcome.complaints, "\n".join(outcome.complaints)


@pytest.mark.slow
def test_short(home, monkeypatch, capsys):
    plan = Plan(seed=1, jobs=60, faults=15, outage_seconds=2.0, deadline_seconds=120.0)
    survive(plan, home, monkeypatch, capsys)


@pytest.mark.chaos
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(1, 6))
@pytest.mark.parametrize("postgres", [False, True], ids=["sqlite", "postgresql"])
def test_long(seed, postgres, home, monkeypatch, capsys):
    plan = Plan(seed=seed, jobs=504, faults=44, outage_seconds=20.0, deadline_seconds=1500.0, postgres=postgres)
    survive(plan, home, monkeypatch, capsys)
