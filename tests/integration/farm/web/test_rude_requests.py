"""Every address of the page, asked with values that nobody meant: an answer or one line, never an error of ours."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

RUDE = [
    "", " ", "0", "-1", "1", "1.5", "nan", "inf", "1e999", "99999999999999999999", "9" * 400, "true", "null", "[]",
    "{{7*7}}", "%s%n", "a" * 3000, "../../etc/passwd", "a,b", ",", "1024x", "0x0", "💥", "\u202etxt", "\x1b[31m",
    "two\nlines", "\x00", "'; DROP TABLE job;--", "<script>alert(1)</script>", "energy; DELETE", "-added_at",
    "flux", "a100", "512", "fp16", "\udcff",
]  # fmt: skip
# They stay open, or are files.
LEFT_OUT = ("/live", "/static")
PAGES = {  # which describe themselves to no program: their parameters
    "/": ("model", "gpu", "resolution", "steps", "precision", "cfg", "prompts", "batch", "country", "price", "pue"),
    "/compare": ("pick", "resolution", "steps", "precision", "cfg", "gpu", "sort"),
    "/law": (),
    "/measurements": ("model", "gpu", "resolution", "steps", "cfg", "flag", "min_joules", "sort", "limit", "offset"),
    "/measurements/{measurement_id}": ("dataset",),
    "/sweeps": (),
    "/sweeps/{sweep}": ("grid",),
    "/jobs/{job_id}": (),
    "/failures": ("sweep",),
    "/devices": ("hours",),
}


@st.composite
def requests(draw: st.DrawFn, paths: dict[str, Any]) -> tuple[str, str, list[tuple[str, str]]]:
    """Method, path and query of a request to one of the described addresses."""
    template = draw(st.sampled_from(sorted(paths)))
    method = draw(st.sampled_from(sorted(paths[template])))
    named = paths[template][method].get("parameters", [])
    values = st.one_of(st.sampled_from(RUDE), st.text(max_size=10))
    path = template
    for each in named:
        if each["in"] == "path":
            path = path.replace("{" + each["name"] + "}", quote(draw(values), errors="replace", safe="") or "x")
    names = [each["name"] for each in named if each["in"] == "query"] + ["model", "limit", "sort", "q"]
    query = [(name, draw(values)) for name in names if draw(st.integers(0, 2)) == 0]
    return method, path, query


def described(client: TestClient) -> dict[str, Any]:
    paths: dict[str, Any] = client.get("/openapi.json").json()["paths"]
    for path, names in PAGES.items():
        within = [{"name": name, "in": "path"} for name in re.findall(r"{(\w+)}", path)]
        paths[path] = {"get": {"parameters": within + [{"name": name, "in": "query"} for name in names]}}
    return {path: methods for path, methods in paths.items() if not path.startswith(LEFT_OUT)}


RUDELY = settings(
    max_examples=150,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@RUDELY
@given(data=st.data())
def test_no_request_is_an_error_of_ours_with_nothing_measured(fitted: TestClient, data: st.DataObject) -> None:
    ask(fitted, data)


@RUDELY
@given(data=st.data())
def test_no_request_is_an_error_of_ours_beside_a_farm(page: TestClient, data: st.DataObject) -> None:
    """On SQLite and on PostgreSQL, which refuses texts that SQLite takes."""
    ask(page, data)


def ask(client: TestClient, data: st.DataObject) -> None:
    method, path, query = data.draw(requests(described(client)))
    query = [(name, value.encode("utf-8", "replace").decode()) for name, value in query]
    answer = client.request(method.upper(), path, params=query)
    assert answer.status_code < 500, answer.text
    if answer.status_code in (400, 404, 422) and "json" in answer.headers["content-type"]:
        assert len(answer.json()["error"].splitlines()) == 1
    if "html" in answer.headers["content-type"]:
        assert "<script>alert(1)</script>" not in answer.text
