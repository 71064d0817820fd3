"""The frame of the page: every page of the bar without a farm, the headers, the Host check, a database that goes."""

from __future__ import annotations

import re
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from farm.settings import load
from farm.store.engine import Store
from farm.web import pages
from farm.web.app import create_app
from farm.web.database import Database
from tests.knowledge import look

ROW_KEYS = "model,gpu,resolution,steps,precision,cfg,prompts,energy_joules"
BAR = [page for page in pages.registered() if page.path is not None]


@pytest.mark.parametrize("page", BAR, ids=lambda page: page.title)
def test_every_page_of_the_bar_works_with_no_farm_at_all(client, home, page):
    answer = client.get(page.path)
    assert answer.status_code == 200
    assert f"<title>{page.title} · joulefarm</title>" in answer.text
    assert 'aria-current="page">' + page.title in answer.text
    assert "nothing runs" in answer.text
    assert not (home / "farm.db").exists()


def test_the_bar_begins_with_the_question():
    assert BAR[0].title == "Ask"
    assert [page.place for page in BAR] == sorted({page.place for page in BAR})


def test_no_script_but_our_files_and_nobodys_frame(client):
    headers = client.get("/").headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"
    html = client.get("/").text
    assert re.findall(r"<script(?![^>]*\bsrc=)|\son\w+=|<style|\sstyle=", html) == []
    for address in re.findall(r'(?:src|href)="(/static/[^"]+)"', html):
        answer = client.get(address)
        assert answer.status_code == 200, address
        assert "immutable" in answer.headers["cache-control"]


@pytest.mark.parametrize("path", ["/", "/api/status", "/metrics", "/no-such-page", "/static/page.css"])
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8600", "127.0.0.1.evil.example", "[::1].evil.example", ""]
)
def test_a_name_that_was_rebound_to_this_address_is_refused(client, path, host):
    answer = client.get(path, headers={"host": host})
    assert answer.status_code == 421
    assert len(answer.text.splitlines()) == 1


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8600", "127.0.0.1", "192.0.2.7:80", "[::1]:8600", "[::1]"])
def test_addresses_and_this_machine_are_taken(client, host):
    assert client.get("/healthz", headers={"host": host}).status_code == 200


def test_a_name_that_the_server_was_told_is_taken(home):
    settings = load()
    with TestClient(create_app(Database(settings), settings, names=["Farm.example"])) as client:
        assert client.get("/healthz", headers={"host": "farm.EXAMPLE:443"}).status_code == 200


def test_what_is_not_there_is_said_as_a_page_and_as_json(client):
    answer = client.get("/no-such-page")
    assert answer.status_code == 404
    assert "<h1>There is no such page</h1>" in answer.text
    assert client.get("/api/no-such").json() == {"error": "/api/no-such: not found"}
    assert client.post("/").status_code == 405


def test_a_json_document_is_sent_once(client):
    first = client.get("/api/status")
    again = client.get("/api/status", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/api/status", headers={"if-none-match": '"another"'}).status_code == 200


def test_a_damaged_database_is_said_and_comes_back(client, home):
    settings = load()
    Store.upgrade(settings).close()
    first = client.get("/")
    assert first.status_code == 200, first.text
    file = home / "farm.db"
    good = file.read_bytes()
    file.unlink()
    file.write_bytes(b"no database at all " * 1000)
    answer = client.get("/api/status")
    assert answer.status_code == 503
    assert "a SQLite file of joulefarm" in answer.json()["error"]
    assert client.get("/now").status_code == 503
    page = client.get("/")
    assert "database away" in page.text
    file.write_bytes(good)
    assert client.get("/api/status").status_code == 200
    assert "nothing runs" in client.get("/").text


def test_a_farm_that_begins_after_the_page_is_seen(client, farm, home):
    assert client.get("/healthz").json()["open_jobs"] == 0
    spec = home.parent / "spec.yaml"
    spec.write_text("models: [sd2]\ngpus: [a100]\nresolutions: [256]\nsteps: [10]\nprompts: [25]\n")
    assert farm("sweep", "submit", spec).code == 0
    assert client.get("/healthz").json()["open_jobs"] == 4


@pytest.mark.parametrize(
    "path", ["/", "/compare", "/law", "/api/predict?model=flux&gpu=a100&resolution=512&steps=20&precision=fp16"]
)
def test_a_database_that_wants_an_upgrade_is_no_fault_of_the_question(client, home, path):
    make_old_database(home / "farm.db")
    look(client.app.state.site.knowledge)
    answer = client.get(path)
    assert answer.status_code == 503
    assert "farm db upgrade" in answer.text


def test_a_fit_that_met_a_database_in_the_making_is_made_again(client, home):
    knowledge = client.app.state.site.knowledge
    path = home / "farm.db"
    knowledge.known(wait=60)  # what the page began by itself
    knowledge._known.clear()
    knowledge._work.clear()
    busy = threading.Event()
    knowledge._fits.submit(busy.wait)  # so that the fit begins when the half-made file is there
    assert knowledge.known(wait=0) is None
    make_old_database(path)
    busy.set()
    knowledge._fits.submit(lambda: None).result(60)  # the fit has failed by now
    path.unlink()
    Store.upgrade(load()).close()
    assert client.get("/").status_code == 200


def test_rows_that_come_faster_than_fits_do_not_keep_the_page_without_one(client, farm, tmp_path):
    knowledge = client.app.state.site.knowledge
    busy, begun = threading.Event(), set()
    knowledge.known(wait=60)
    knowledge._known.clear()
    knowledge._fits.submit(busy.wait)
    for seed in range(3):
        rows = tmp_path / f"rows-{seed}.csv"
        rows.write_text(f"{ROW_KEYS},seed\nflux,a100,512,20,fp16,0,25,23000,{seed}\n")
        assert farm("results", "import", rows, "--dataset", f"lab-{seed}").code == 0
        look(knowledge)
        assert knowledge.known(wait=0) is None
        begun.add(knowledge._work[None][1])
    busy.set()
    assert len(begun) == 1
    assert knowledge.known(wait=60) is not None


def make_old_database(path: Path) -> None:
    """A joulefarm database of the first version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Store.upgrade(load()).close()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE alembic_version SET version_num = '0001'")
