"""The application in this process, asked as a browser on this machine asks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from farm.settings import load
from farm.web.app import create_app
from farm.web.database import Database


@pytest.fixture
def client(home) -> Iterator[TestClient]:
    """Of a home in which there is nothing, no database file either."""
    settings = load()
    with TestClient(create_app(Database(settings), settings), base_url="http://127.0.0.1:8600") as client:
        yield client


@pytest.fixture
def page(store, settings) -> Iterator[TestClient]:
    """Of a farm whose store the test fills, on SQLite and on PostgreSQL."""
    url = store.url.render_as_string(hide_password=False)
    with TestClient(create_app(Database(settings, url), settings), base_url="http://127.0.0.1:8600") as client:
        yield client


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Of a home in which there is nothing, with the law fitted to the rows that ship: once a module."""
    settings = load(home=tmp_path_factory.mktemp("home"))
    with TestClient(create_app(Database(settings), settings), base_url="http://127.0.0.1:8600") as client:
        point = "model=flux&gpu=a100&resolution=512&steps=20&precision=fp16"
        assert client.get(f"/api/predict?{point}").status_code == 200  # it waits for the fit
        yield client
