"""Who submitted, paused, cancelled, retried a sweep and when: kept, and shown by `farm sweep show`."""

from __future__ import annotations

import getpass
import json
import socket
from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from farm.sweeps import control


def test_everything_that_is_done_to_a_sweep_is_kept_with_who_did_it(farm, store, sweep) -> None:
    url = store.url.render_as_string(hide_password=False)
    first = sweep(name="paper")
    for command in ("pause", "resume", "retry", "cancel"):
        assert farm("sweep", command, "paper", "--db", url).code == 0
    document = json.loads(farm("sweep", "show", "paper", "--db", url, "--json").out)
    assert (document["id"], document["state"], document["spec"]["models"]) == (
        first.sweep,
        "cancelled",
        ["sd2", "flux"],
    )
    assert document["jobs"]["cancelled"] == 4
    acts = document["actions"]
    assert [act["action"] for act in acts] == ["submit", "pause", "resume", "retry", "cancel"]
    assert [act["detail"]["jobs"] for act in acts] == [4, 4, 4, 0, 4]
    assert {act["who"] for act in acts} == {f"{getpass.getuser()}@{socket.gethostname()}"}
    with store.read() as db:
        role = None if store.is_sqlite else db.execute(text("SELECT current_user")).scalar_one()
    assert {act["role"] for act in acts} == {role}
    for act in acts:
        assert abs(datetime.fromisoformat(act["at"]) - datetime.now(UTC)) < timedelta(minutes=5)
    lines = farm("sweep", "show", "paper", "--db", url).out
    assert all(f": {act['action']} " in lines for act in acts)


def test_a_sweep_that_the_deadline_ended_says_so_once(store, jobs, sweep) -> None:
    first = sweep(deadline=1)
    with store.write() as db:
        db.execute(text("UPDATE sweep SET deadline = 1"))
    assert (jobs.enforce_limits(), jobs.enforce_limits()) == (4, 0)
    acts = control.history(store, control.resolve(store, str(first.sweep)))["actions"]
    assert [act["action"] for act in acts] == ["submit", "cancel"]
    assert acts[1]["who"].startswith("coordinator of ")
    assert acts[1]["detail"] == {"jobs": 4, "reason": "the sweep's deadline has passed"}


def test_an_unknown_sweep_is_refused(farm, store, sweep) -> None:
    url = store.url.render_as_string(hide_password=False)
    sweep(name="paper")
    refused = farm("sweep", "show", "papre", "--db", url)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "paper" in refused.err
