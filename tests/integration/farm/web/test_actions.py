"""Changes from the page: by bearers of the token alone, from this page alone; none where the database only reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import create_engine, make_url, text

from farm.domain.worker import WorkerInfo
from farm.hosts import Hosts
from farm.settings import load
from farm.store.engine import Store
from farm.sweeps import control
from farm.sweeps.read import parse_spec
from farm.sweeps.submit import submit
from farm.web.app import create_app
from farm.web.database import Database

TOKEN = "0123456789abcdef-secret"
OURS = "http://127.0.0.1:8600"
BEARER = {"authorization": f"Bearer {TOKEN}"}


def served(settings, url: str, token: str | None = TOKEN) -> TestClient:
    return TestClient(create_app(Database(settings, url), settings, token=token), base_url=OURS, follow_redirects=False)


@pytest.fixture
def bearers(store, settings) -> Iterator[TestClient]:
    with served(settings, store.url.render_as_string(hide_password=False)) as client:
        yield client


def state(store, sweep_id: int) -> str:
    return next(row["state"] for row in control.overview(store) if row["id"] == sweep_id)


def test_a_bearer_pauses_resumes_ranks_cancels_and_retries(bearers, store, sweep):
    sweep_id = sweep().sweep
    done = bearers.post(f"/api/sweeps/{sweep_id}/pause", headers=BEARER).json()
    assert (done["sweep"], done["jobs"], state(store, sweep_id)) == (sweep_id, 4, "paused")
    assert bearers.post(f"/api/sweeps/{sweep_id}/resume", headers=BEARER).json()["jobs"] == 4
    ranked = bearers.post(f"/api/sweeps/{sweep_id}/priority", headers=BEARER, data={"priority": "7"})
    assert ranked.json()["priority"] == control.resolve(store, str(sweep_id))["priority"] == 7
    assert bearers.post(f"/api/sweeps/{sweep_id}/cancel", headers=BEARER).json()["jobs"] == 4
    assert state(store, sweep_id) == "cancelled"
    assert bearers.post(f"/api/sweeps/{sweep_id}/retry", headers=BEARER).json()["jobs"] == 0


def test_a_bearer_takes_a_device_off_and_puts_it_back(bearers, jobs, store):
    jobs.register(WorkerInfo(name="w", gpu="a100", queue="a100", device_name="d", device_uuid="u", host="h", pid=1))
    done = bearers.post("/api/workers/w/maintenance", headers=BEARER, data={"reason": "a new fan"}).json()
    assert (done["off"], done["reason"]) == (True, "a new fan")
    assert [device["worker"] for device in Hosts(store).devices_off()] == ["w"]
    assert "a new fan" in bearers.get("/devices", headers=BEARER).text
    assert bearers.post("/api/workers/w/maintenance", headers=BEARER, data={"end": "1"}).json()["off"] is False
    assert Hosts(store).devices_off() == []
    assert bearers.post("/api/workers/nobody/maintenance", headers=BEARER).status_code == 404
    assert bearers.post("/api/workers/w/maintenance").status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {}, {"authorization": "Bearer another-token-of-some-length"}, {"authorization": f"Basic {TOKEN}"},
        {"authorization": "Bearer"}, {"cookie": f"joulefarm={TOKEN}"}, {"cookie": b"joulefarm=\xe9"},
    ],
)  # fmt: skip
def test_nobody_else_changes_anything(bearers, store, sweep, headers):
    sweep_id = sweep().sweep
    answer = bearers.post(f"/api/sweeps/{sweep_id}/cancel", headers={**headers, "sec-fetch-site": "same-origin"})
    assert answer.status_code == 401
    assert state(store, sweep_id) == "open"
    assert "Cancel" not in bearers.get(f"/sweeps/{sweep_id}").text


def test_a_browser_that_showed_the_token_may_from_this_page_and_from_no_other(bearers, store, sweep):
    sweep_id = sweep().sweep
    answer = bearers.post("/login", data={"token": TOKEN, "to": f"/sweeps/{sweep_id}"}, headers={"origin": OURS})
    assert (answer.status_code, answer.headers["location"]) == (303, f"/sweeps/{sweep_id}")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert TOKEN not in cookie
    assert "Cancel" in bearers.get(f"/sweeps/{sweep_id}").text
    path = f"/sweeps/{sweep_id}/pause"
    for foreign in (
        {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}, {"sec-fetch-site": "none"},
        {"origin": "http://evil.example"}, {"origin": "null"}, {"origin": "http://127.0.0.1:8601"}, {},
        {"origin": "http://evil.example", "sec-fetch-site": "same-origin"},
    ):  # fmt: skip
        assert bearers.post(path, headers=foreign).status_code == 403, foreign
    assert state(store, sweep_id) == "open"
    done = bearers.post(path, headers={"sec-fetch-site": "same-origin", "origin": OURS})
    assert (done.status_code, done.headers["location"]) == (303, f"/sweeps/{sweep_id}")
    assert state(store, sweep_id) == "paused"
    assert "paused" in bearers.get("/sweeps").text  # at once, though others are sent what was asked a moment ago
    bearers.post("/logout", headers={"origin": OURS})
    assert "Cancel" not in bearers.get(f"/sweeps/{sweep_id}").text


def test_another_token_is_refused_and_leads_nowhere_else(bearers):
    answer = bearers.post("/login", data={"token": "x", "to": "//evil.example"}, headers={"origin": OURS})
    assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)
    assert "That is another token" in answer.text
    for elsewhere in ("//evil.example", "https://evil.example", "/\\evil.example", "\r\nx: y"):
        answer = bearers.post("/login", data={"token": TOKEN, "to": elsewhere}, headers={"origin": OURS})
        assert answer.headers["location"] == "/sweeps"
    assert bearers.post("/login", data={"token": TOKEN}, headers={"origin": "http://evil.example"}).status_code == 403


def test_without_a_token_the_page_only_reads(page, store, sweep):
    sweep_id = sweep().sweep
    answer = page.post(f"/api/sweeps/{sweep_id}/cancel", headers=BEARER)
    assert answer.status_code == 403
    assert "--token-file" in answer.json()["error"]
    assert state(store, sweep_id) == "open"
    assert "Log in" not in page.get("/sweeps").text


@pytest.mark.parametrize(
    ("path", "data", "status"),
    [
        ("nobody/pause", {}, 404), ("1/explode", {}, 404), ("1/priority", {}, 422),
        ("1/priority", {"priority": "1001"}, 422), ("1/priority", {"priority": "high"}, 422),
        ("1/priority", {"priority": "9" * 20_000}, 413),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_one_line(bearers, sweep, path, data, status):
    sweep()
    answer = bearers.post(f"/api/sweeps/{path}", headers=BEARER, data=data)
    assert answer.status_code == status
    assert len(answer.json()["error"].splitlines()) == 1


def test_a_role_that_may_only_read_sees_everything_and_changes_nothing(empty_postgres, home):
    """On PostgreSQL, where there are such roles."""
    settings = load(database_url=empty_postgres)
    store = Store.open(settings)
    submitted = sweep_in(store)
    admin = create_engine(empty_postgres)
    with admin.begin() as connection:
        connection.execute(text("CREATE ROLE onlooker LOGIN"))
        connection.execute(text("GRANT SELECT ON ALL TABLES IN SCHEMA public TO onlooker"))
    url = make_url(empty_postgres).set(username="onlooker").render_as_string(hide_password=False)
    try:
        with served(settings, url) as client:
            for path in ("/sweeps", f"/sweeps/{submitted}", "/sweeps/failures", "/measurements", "/devices", "/jobs",
                         "/api/sweeps", f"/api/sweeps/{submitted}", "/api/workers", "/api/measurements", "/api/status",
                         "/jobs/1", "/metrics", "/healthz", "/api/measurements.csv"):  # fmt: skip
                assert client.get(path).status_code == 200, path
            answer = client.post(f"/api/sweeps/{submitted}/pause", headers=BEARER)
            assert answer.status_code == 403
            assert "only read" in answer.json()["error"]
            assert client.get("/sweeps").status_code == 200
    finally:
        with admin.begin() as connection:
            connection.execute(text("DROP OWNED BY onlooker"))
            connection.execute(text("DROP ROLE onlooker"))
        admin.dispose()
        store.close()


def sweep_in(store: Store) -> int:
    grid = {"models": ["sd2"], "gpus": ["a100"], "resolutions": [512], "steps": [1], "prompts": [1]}
    sweep_id = submit(store, parse_spec(grid, folder=Path())).sweep
    assert sweep_id is not None
    return sweep_id
