"""deploy/compose names what there is, makes its secrets and roles, and speaks TLS alone."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import create_engine, make_url, text

from tests.contract.deployment import COMPOSE, ROOT, check_command, secret_files, settings_of
from tests.postgres import EmbeddedPostgres


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((COMPOSE / "compose.yaml").read_text()))


def targets(service: dict[str, Any]) -> dict[str, str]:
    """Where a service finds its secrets -> which they are."""
    listed = [
        {"source": secret, "target": f"/run/secrets/{secret}"} if isinstance(secret, str) else secret
        for secret in service.get("secrets", ())
    ]
    return {secret["target"]: secret["source"] for secret in listed}


def test_the_services_of_compose_run_commands_that_there_are(compose):
    services = compose["services"]
    check_command(services["coordinator"]["command"])
    check_command(services["page"]["command"])
    (script,) = services["upgrade"]["command"]
    steps = [shlex.split(step) for step in script.split(";")]
    assert [words[2:] for words in steps] == [
        ["upgrade"],
        ["grant-worker", "farm_worker"],
        ["grant-reader", "farm_reader"],
    ]
    for farm, *words in [*steps, services["coordinator"]["healthcheck"]["test"][1:]]:
        assert farm == "farm"
        check_command(words)
    assert services["coordinator"]["depends_on"]["upgrade"]["condition"] == "service_completed_successfully"
    build = services["page"]["build"]
    assert (COMPOSE / build["context"] / build["dockerfile"]).is_file()


def test_the_services_of_compose_find_their_files(compose):
    """With the settings of the units, each service its own secrets and no more."""
    used = set()
    for name, service in compose["services"].items():
        found = targets(service)
        used |= set(found.values())
        if "env_file" in service:
            named = secret_files(settings_of(COMPOSE / service["env_file"]))
            assert {str(file) for file in named} <= set(found), name
            assert "/etc/joulefarm/ca.pem" in found
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert (COMPOSE / source).exists() if source.startswith(".") else source in compose["volumes"]
        for condition in service.get("depends_on", ()):
            assert condition in compose["services"]
    assert used == set(compose["secrets"])
    owners = {"database-farm", "coordinator", "password-farm"}
    assert owners.isdisjoint(targets(compose["services"]["page"]).values())
    words = compose["services"]["page"]["command"]
    assert words[words.index("--token-file") + 1] in targets(compose["services"]["page"])
    assert compose["services"]["page"]["ports"] == ["127.0.0.1:8600:8600"]


def test_compose_speaks_tls_alone(compose):
    broker = " ".join(compose["services"]["broker"]["command"])
    named = set(re.findall(r"/run/secrets/\S+", broker))
    assert named == set(targets(compose["services"]["broker"]))
    assert "--port 0 --tls-port 6379" in broker
    access = [line.split() for line in (COMPOSE / "pg_hba.conf").read_text().splitlines() if line[0] != "#"]
    assert [words[0] for words in access] == ["local", "hostssl"]
    (lab,) = re.findall(r"^hostssl .+$", (ROOT / "docs" / "lab.md").read_text(), re.M)
    assert access[1][:3] == lab.split()[:3]
    assert "-c ssl=on" in (COMPOSE / "database.sh").read_text()


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """What the README of compose makes beside what is brought, by its own lines."""
    folder = tmp_path_factory.mktemp("compose")
    (folder / "secrets").mkdir()
    for name in ("ca.pem", "cert.pem", "key.pem", "receivers"):
        (folder / "secrets" / name).touch(mode=0o600)
    (script,) = re.findall(r"^```sh\n(.*?)^```", (COMPOSE / "README.md").read_text(), re.M | re.S)
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    environment = {"PATH": path, "PYTHONPATH": str(ROOT), "HOME": str(folder), "FARM_HOME": str(folder / "home")}
    lines = f'chown() {{ shift; ls -d "$@"; }}\n{script}'  # who runs tests need not be root
    subprocess.run(["sh", "-euc", lines], cwd=folder, env=environment, capture_output=True, timeout=60, check=True)
    return folder


def test_the_readme_of_compose_makes_every_secret(compose, made):
    for secret in compose["secrets"].values():
        path = made / secret["file"]
        assert path.is_file()
        assert path.stat().st_mode & 0o077 == 0
    urls = {path.name: path.read_text().strip() for path in (made / "secrets").glob("database-*")}
    assert set(urls) == {"database-farm", "database-farm_worker", "database-farm_reader"}
    for name, url in urls.items():
        role = name.partition("-")[2]
        password = (made / "secrets" / f"password-{role}").read_text().strip()
        assert url == (
            f"postgresql://{role}:{password}@db.lab.example/farm?sslmode=verify-full&sslrootcert=/etc/joulefarm/ca.pem"
        )
    assert (made / "secrets" / "broker" / "urls" / "coordinator").read_text().startswith("rediss://coordinator:")


def test_compose_makes_the_roles_of_the_lab(made):
    """The script that the database's container runs once, on a real PostgreSQL."""
    server = EmbeddedPostgres()
    try:
        url = make_url(server.start())
        place = {"PGHOST": str(url.host), "PGPORT": str(url.port)}
        path = f"{server.programs}:/usr/bin:/bin"
        subprocess.run(
            ["sh", str(COMPOSE / "roles.sh")],
            env={"PATH": path, "PASSWORDS": str(made / "secrets"), **place},
            capture_output=True,
            timeout=60,
            check=True,
        )
        engine = create_engine(url)
        with engine.connect() as connection:
            roles = connection.execute(
                text("SELECT rolname, rolsuper, rolcanlogin FROM pg_roles WHERE rolname LIKE 'farm%'")
            )
            assert {tuple(row) for row in roles} == {
                (role, False, True) for role in ("farm", "farm_worker", "farm_reader")
            }
            owner = text("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'farm'")
            assert connection.execute(owner).scalar_one() == "farm"
        engine.dispose()
    finally:
        server.remove()
