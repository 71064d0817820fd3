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
