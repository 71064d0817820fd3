"""farm sweep list: the state of every sweep and why it is in it, the joules it has cost."""

from __future__ import annotations

import json
from datetime import datetime

from farm.sweeps import control
from tests.integration.farm.conftest import measured


def test_each_state_says_why(store, jobs, sweep, farm) -> None:
    done, paused, cancelled, open_ = (
        sweep(models=["sd2"], steps=[steps], name=name) for steps, name in enumerate(("a", "b", "c", "d"), start=1)
    )
    job_id = next(iter(jobs.due("a100", 1)))
    job = jobs.claim(job_id, worker="w", queue="a100")
    jobs.record(job_id, 1, "w", measured(job))
    control.pause(store, paused.sweep)
    control.cancel(store, cancelled.sweep, "not needed")
    rows = {row["name"]: row for row in control.overview(store)}
    assert {name: row["state"] for name, row in rows.items()} == {
        "a": "done", "b": "paused", "c": "cancelled", "d": "open",
    }  # fmt: skip
    assert rows["a"]["why"] is None
    assert rows["a"]["joules"] == 100.0
    assert rows["a"]["jobs"]["done"] == 1
    assert "resume" in rows["b"]["why"]
    assert rows["c"]["why"] == "not needed"
    assert "coordinator" in rows["d"]["why"]  # nobody sends its jobs here
    assert rows["d"]["id"] == open_.sweep
    assert done.sweep == rows["a"]["id"]
    url = store.url.render_as_string(hide_password=False)
    document = json.loads(farm("sweep", "list", "--db", url, "--json").out)
    assert [row["name"] for row in document["sweeps"]] == ["d", "c", "b", "a"]
    assert datetime.fromisoformat(document["sweeps"][0]["submitted_at"]).utcoffset().total_seconds() == 0
    assert [line.split()[1] for line in farm("sweep", "list", "--db", url).out.splitlines()[1:]] == list("dcba")
