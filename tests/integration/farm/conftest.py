"""Stores of both kinds with fresh tables, and ways to fill them."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlmodel import SQLModel

from farm.domain import Configuration, Job, Measurement
from farm.settings import Settings, load
from farm.store import migrations
from farm.store.engine import Store
from farm.sweeps.read import parse_spec
from farm.sweeps.submit import Submission, submit
from tests.both_sides import Jobs
from tests.postgres import EmbeddedPostgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a real server's maintenance database."""
    server = EmbeddedPostgres()
    try:
        yield server.start()
    finally:
        server.remove()


@pytest.fixture(scope="session")
def migrated_postgres(postgres: str) -> Iterator[Engine]:
    """A database with the tables of this version."""
    url = _new_database(postgres, "migrated")
    _migrate(url)
    engine = create_engine(url)
    yield engine
    engine.dispose()


@pytest.fixture
def empty_postgres(migrated_postgres: Engine) -> str:
    """The URL of that database, its tables emptied: a database a test would take longer, and gigabytes."""
    names = ", ".join(f'"{name}"' for name in SQLModel.metadata.tables)
    with migrated_postgres.begin() as connection:
        connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY"))
        connection.execute(text("INSERT INTO refit_state VALUES (1, 0, 0, 0)"))
        connection.execute(text("INSERT INTO lock VALUES ('submit')"))
        connection.execute(text("INSERT INTO farm_identity VALUES ('tests')"))
        connection.execute(text("UPDATE alembic_version SET version_num = :head"), {"head": migrations.HEAD})
    return migrated_postgres.url.render_as_string(hide_password=False)


@pytest.fixture
def postgres_url(postgres: str) -> str:
    """A new database without tables."""
    return _new_database(postgres, f"bare_{uuid.uuid4().hex}")


@pytest.fixture(scope="session")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], str]:
    """URLs of new database files with tables."""
    migrated = tmp_path_factory.mktemp("migrated") / "farm.db"
    _migrate(f"sqlite:///{migrated}")

    def fresh(folder: Path) -> str:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(migrated, folder / "farm.db")
        return f"sqlite:///{folder / 'farm.db'}"

    return fresh


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, home: Path) -> str:
    if request.param == "sqlite":
        return request.getfixturevalue("sqlite")(home)
    return request.getfixturevalue("empty_postgres")


@pytest.fixture
def settings(url: str, home: Path) -> Settings:
    return load(database_url=url, lease_seconds=60.0, max_attempts=3, retry_seconds=60.0)


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    opened = Store.open(settings)
    yield opened
    opened.close()


@pytest.fixture
def jobs(store: Store, settings: Settings) -> Jobs:
    return Jobs(store, settings)


@pytest.fixture
def sweep(store: Store) -> Callable[..., Submission]:
    """Submit a small grid: ``sweep(steps=[1, 2])``; four jobs of two models on one GPU type by default."""

    def call(*, priority: int = 0, **keys: object) -> Submission:
        grid = {
            "models": ["sd2", "flux"],
            "gpus": ["a100"],
            "resolutions": [512],
            "steps": [1, 2],
            "precisions": ["fp16"],
            "cfg": [False],
            "prompts": [1],
        }
        return submit(store, parse_spec(grid | keys, folder=Path()), priority=priority)

    return call


def measured(job: Job, name: str = "m", **values: object) -> Measurement:
    """A measurement of a job."""
    plain = Measurement(
        measurement_id=f"{name}-{job.id}",
        configuration=job.configuration,
        energy_joules=100.0,
        energy_std_joules=1.0,
        idle_watts=50.0,
        duration_seconds=2.0,
        meter="test",
        measured_at="2026-01-01T00:00:00Z",
    )
    return replace(plain, **values)


@pytest.fixture
def measure() -> Callable[..., Measurement]:
    return measured


@pytest.fixture
def expire(store: Store) -> Callable[[int], None]:
    """Let a job's lease run out."""

    def call(job_id: int) -> None:
        with store.write() as db:
            db.execute(text("UPDATE job SET lease_until = 1 WHERE id = :id"), {"id": job_id})

    return call


@pytest.fixture
def farm_root() -> Path:
    """The checkout."""
    return Path(__file__).resolve().parents[3]


@pytest.fixture
def point() -> Configuration:
    return Configuration(
        model="sd2", gpu="a100", width=512, height=512, steps=1, precision="fp16", cfg=False, prompts=1
    )


def _new_database(server: str, name: str) -> str:
    admin = create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    admin.dispose()
    return f"{server.rpartition('/')[0]}/{name}"


def _migrate(url: str) -> None:
    Store.upgrade(load(database_url=url)).close()
