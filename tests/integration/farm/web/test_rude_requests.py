"""Every address of the page, asked with values that nobody meant: an answer or one line, never an error of ours."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from hypothesis import strategies as st
from starlette.exceptions import HTTPException

from farm.domain import FarmError
from farm.domain.worker import WorkerInfo
from farm.web import pages
from farm.web.app import create_app
from farm.web.database import Database
from tests.rude import BOTH_FORMS, WORDS, hold, spoiled_bytes, within

OURS = "http://127.0.0.1:8600"
SENT = [*WORDS, "\x00", "<script>alert(1)</script>", "energy; DELETE", "-added_at", "flux", "a100", "512", "fp16"]
# Files.
LEFT_OUT = ("/static",)
PAGES = {  # which describe themselves to no program: their parameters
    "/": ("model", "gpu", "resolution", "steps", "precision", "cfg", "prompts", "batch", "country", "price", "pue"),
    "/compare": ("pick", "resolution", "steps", "precision", "cfg", "gpu", "sort"),
    "/law": ("law",),
    "/law/fitted": ("law",),
    "/law/heldout/{factor}": ("law",),
    "/law/history": ("law",),
    "/login": ("to",),
    "/events": ("topic",),  # which would stay open for a topic that there is
    "/measurements": ("model", "gpu", "resolution", "steps", "cfg", "flag", "min_joules", "sort", "limit", "offset"),
    "/measurements/{measurement_id}": ("dataset",),
    "/sweeps": (),
    "/sweeps/{sweep}": ("grid",),
    "/jobs/{job_id}": (),
    "/sweeps/failures": ("sweep",),
    "/jobs": ("state", "gpu", "sweep", "limit"),
    "/ask/surer": ("model", "gpu", "resolution", "steps", "precision", "cfg", "prompts", "batch"),
    "/devices": ("hours",),
}
POSTS = ("/login", "/logout", "/compare/quality", "/sweeps/{sweep}/{action}", "/devices/{name}/maintenance")


@st.composite
def requests(draw: st.DrawFn, paths: dict[str, Any]) -> tuple[str, str, list[tuple[str, str]]]:
    """Method, path and query of a request to one of the described addresses."""
    template = draw(st.sampled_from(sorted(paths)))
    method = draw(st.sampled_from(sorted(paths[template])))
    named = paths[template][method].get("parameters", [])
    values = st.one_of(st.sampled_from(SENT), st.text(max_size=10))
    ours = {
        "action": ["pause", "resume", "cancel", "retry", "priority"],
        "sweep": ["1"],
        "name": ["w"],
        "job_id": ["1"],
    }
    path = template
    for each in named:
        if each["in"] == "path":
            path = path.replace(
                "{" + each["name"] + "}",
                quote(
                    draw(st.one_of(values, st.sampled_from(ours.get(each["name"], ["1"])))), errors="replace", safe=""
                )
                or "x",
            )
    names = [each["name"] for each in named if each["in"] == "query"] + ["model", "limit", "sort", "q"]
    query = [(name, draw(values)) for name in names if draw(st.integers(0, 2)) == 0]
    return method, path, query


def described(client: TestClient) -> dict[str, Any]:
    paths: dict[str, Any] = client.get("/openapi.json").json()["paths"]
    for path, names in PAGES.items():
        within = [{"name": name, "in": "path"} for name in re.findall(r"{(\w+)}", path)]
        paths[path] = {"get": {"parameters": within + [{"name": name, "in": "query"} for name in names]}}
    for path in POSTS:
        within_path = [{"name": name, "in": "path"} for name in re.findall(r"{(\w+)}", path)]
        paths.setdefault(path, {})["post"] = {"parameters": within_path}
    return {path: methods for path, methods in paths.items() if not path.startswith(LEFT_OUT)}


def handlers() -> set[tuple[str, str]]:
    """Method and address of everything that the page answers, but for what stays open and files."""
    routes = [route for page in pages.registered() for route in page.router.routes if isinstance(route, APIRoute)]
    known = {(method.lower(), route.path.replace(":path}", "}") or "/") for route in routes for method in route.methods}
    return {(method, path) for method, path in known if not path.startswith(LEFT_OUT)}


def test_every_address_is_asked(client: TestClient) -> None:
    asked = {(method, path) for path, methods in described(client).items() for method in methods}
    assert handlers() <= asked


@BOTH_FORMS
def test_no_request_is_an_error_of_ours_with_nothing_measured(fitted: TestClient, form: str) -> None:
    hold(form, requests(described(fitted)), asks(fitted), short=100, long=1500)


@BOTH_FORMS
def test_no_request_is_an_error_of_ours_beside_a_farm(page: TestClient, form: str) -> None:
    """On SQLite and on PostgreSQL, which refuses texts that SQLite takes."""
    hold(form, requests(described(page)), asks(page), short=100, long=1500)


TOKEN = "0123456789abcdef-secret"
BODIES = {  # of what a reader sends: fields of a form, or a table
    "/compare/quality": ("model,gpu,score\nflux,a100,0.3\nsd35,h100,0.4\n",),
    "/login": (f"token={TOKEN}&to=/sweeps", f"token={TOKEN}&to=//evil.example"),
    "": ("priority=5", "reason=a+new+fan", "end=1", "end=1&end=0", "reason=&end="),
}
HEADERS = {
    "authorization": [f"Bearer {TOKEN}", "Bearer", f"Basic {TOKEN}"],
    "origin": [OURS, "http://evil.example", "null", "http://[", "http://127.0.0.1:x"],
    "sec-fetch-site": ["same-origin", "cross-site"],
    "cookie": ["joulefarm=x", "joulefarm", ";;;"],
    "host": ["127.0.0.1:8600", "evil.example", "[::1", "[::1]:8600", ""],
    "content-type": ["application/x-www-form-urlencoded", "application/json", "multipart/form-data; boundary=x", "/"],
    "content-length": ["-1", "x"],
    "hx-request": ["true"],
    "if-none-match": ['"x"', ",", "*"],
    "accept-language": ["de"],
}


@BOTH_FORMS
def test_no_topic_ends_what_others_read(page: TestClient, sweep, form: str) -> None:
    """Whatever stands behind the colon of a topic: a part of a page, or a refusal in one line."""
    sweep()
    parts = page.app.state.site.live._parts

    def check_topic(example: tuple[str, str]) -> str:
        name, argument = example
        with within(60), suppress(FarmError, HTTPException):
            return type(parts[name](argument.encode("utf-8", "replace").decode())).__name__
        return "refused"

    arguments = st.one_of(st.sampled_from(["", "1", "2", *SENT]), st.text(max_size=10))
    seen = hold(form, st.tuples(st.sampled_from(sorted(parts)), arguments), check_topic, short=60, long=500)
    assert set(seen) == {"Markup", "refused"}


@st.composite
def changes(draw: st.DrawFn, paths: dict[str, Any]) -> tuple[str, str, list[tuple[str, str]], bytes, dict[str, bytes]]:
    """A request that may change something, with a body and headers."""
    of_post = {path: {"post": methods["post"]} for path, methods in paths.items() if "post" in methods}
    method, path, query = draw(requests(of_post))
    plain = BODIES.get(path, BODIES[""])
    body = draw(
        st.one_of(*(st.just(text.encode()) for text in plain), *(spoiled_bytes(text.encode()) for text in plain))
    )
    headers = {"authorization": f"Bearer {TOKEN}", "origin": OURS}
    for name, values in HEADERS.items():
        if draw(st.integers(0, 7)) == 0:
            headers[name] = draw(
                st.one_of(st.sampled_from(values), st.text(st.characters(codec="latin-1"), max_size=20))
            )
    sent = {name: value.translate(NO_BREAKS).strip().encode("latin-1") for name, value in headers.items()}
    return method, path, query, body, sent


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "//[x"])
def test_an_origin_that_is_none_is_another_site(settings, store, origin: str) -> None:
    url = store.url.render_as_string(hide_password=False)
    with TestClient(create_app(Database(settings, url), settings, token=TOKEN), base_url=OURS) as client:
        assert client.post("/login", data={"token": TOKEN}, headers={"origin": origin}).status_code == 403


@pytest.mark.parametrize(
    "topic", ["devices:", "devices:nan", "grid:1", "grid::a:b", "job:", "job:x", "job:999", "sweep:\0"]
)
def test_a_topic_of_nothing_is_refused_without_a_traceback(page: TestClient, topic: str, caplog) -> None:
    """Whoever reads it would fill the log with one every second."""
    assert page.app.state.site.live._make([topic]) == {}
    assert not caplog.records


def test_a_topic_forges_no_line_of_an_event(page: TestClient) -> None:
    answer = page.get("/events", params={"topic": "sweep:1\ndata: forged"})
    assert answer.status_code == 422


def test_a_name_that_no_sweep_can_have_is_not_found(page: TestClient) -> None:
    for path in ("/jobs?sweep=%00", "/sweeps/%00", "/api/sweeps/%00"):
        assert page.get(path).status_code in (404, 422), path


NO_BREAKS = dict.fromkeys([*range(32), 127], "?")  # what no client can send in a header


@BOTH_FORMS
def test_no_change_that_is_asked_for_is_an_error_of_ours(store, settings, sweep, jobs, form: str) -> None:
    sweep()
    jobs.register(WorkerInfo(name="w", gpu="a100", queue="a100", device_name="d", device_uuid="u", host="h", pid=1))
    url = store.url.render_as_string(hide_password=False)
    application = create_app(Database(settings, url), settings, token=TOKEN)
    with TestClient(application, base_url=OURS, follow_redirects=False) as client:
        hold(form, changes(described(client)), asks(client), short=60, long=1000)


def asks(client: TestClient) -> Callable[[Any], str]:
    def check_request(request: Any) -> str:
        method, path, query, *more = request
        content, headers = more or (b"", {})
        query = [(name, value.encode("utf-8", "replace").decode()) for name, value in query]
        with within(60):
            answer = client.request(method.upper(), path, params=query, content=content, headers=headers)
        assert answer.status_code < 500, answer.text
        kind = answer.headers.get("content-type", "")
        if answer.status_code in (400, 404, 422) and "json" in kind:
            assert len(answer.json()["error"].splitlines()) == 1
        if "html" in kind:
            assert "<script>alert(1)</script>" not in answer.text
        assert not answer.headers.get("location", "/").startswith(("//", "http"))
        return str(answer.status_code)

    return check_request
