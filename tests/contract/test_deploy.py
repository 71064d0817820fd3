"""deploy/ names what there is: commands with their options, settings, extras; the units of systemd and the script of
Slurm."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import click
import pytest
import yaml

from farm.settings import Settings
from tests.contract.deployment import DEPLOY, KUBERNETES, ROOT, check_command, containers, settings_of

ALSO = {"FARM_COMMIT"}  # read where a wheel was built of a commit; no setting


def test_the_check_of_commands_can_fail():
    for line in ("no-such", "worker --gpu a100 --boards 0", "db", "serve --port many", "db upgrade twice"):
        with pytest.raises(click.UsageError):
            check_command(line.split())


def test_the_images_bring_extras_that_there_are():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    dockerfile = (KUBERNETES / "Dockerfile").read_text()
    asked = re.findall(r"EXTRAS=(\S+) -t \S+/(\S+):", dockerfile)
    assert {name for names, _ in asked for name in names.split(",")} <= set(extras)
    images = {image["name"] for image in yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())["images"]}
    used = {param.values[0]["image"] for param in containers()}
    assert used == images == {image for _, image in asked}
    copied = [name for line in re.findall(r"^COPY (.+) /src", dockerfile, re.M) for name in line.split()]
    assert all((ROOT / name).exists() for name in copied)


def test_every_setting_in_deploy_is_one():
    known = {f"FARM_{name.upper()}" for name in Settings.model_fields} | ALSO
    found = {
        (path.relative_to(ROOT).as_posix(), name)
        for path in DEPLOY.rglob("*")
        if path.is_file()
        for name in re.findall(r"\bFARM_[A-Z_]+\b", path.read_text())
    }
    assert len(found) > 10
    assert {pair for pair in found if pair[1] not in known} == set()


@pytest.fixture
def said(tmp_path) -> Callable[..., list[str]]:
    """Runs a command line in which `farm` only says its words, and gives them."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, script in (("farm", "#!/bin/sh\nprintf '%s\\n' \"$@\"\n"), ("pip", "#!/bin/sh\n")):
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)

    def call(*argv: str, **variables: str) -> list[str]:
        words = [word.replace("/opt/joulefarm/bin", str(folder)) for word in argv]
        path = {"PATH": f"{folder}:/usr/bin:/bin"}
        done = subprocess.run(words, env=path | variables, capture_output=True, text=True, timeout=20, check=True)
        return done.stdout.splitlines()

    return call


def test_the_units_of_systemd(said):
    for name, instance, expected in (
        ("farm-coordinator.service", "", ["coordinator"]),
        ("farm-worker@.service", "a100-3", ["worker", "--gpu", "a100", "--device", "3"]),
        ("farm-worker@.service", "rtx6000-ada-0", ["worker", "--gpu", "rtx6000-ada", "--device", "0"]),
    ):
        (start,) = re.findall(r"^ExecStart=(.+)$", (DEPLOY / "systemd" / name).read_text(), re.M)
        words = said(*shlex.split(start.replace("%i", instance).replace("$$", "$")))
        assert words == expected
        check_command(words)


def test_workers_of_two_types_on_one_host_come_as_two_users():
    text = (DEPLOY / "systemd" / "farm-worker@.service").read_text()
    (start,) = re.findall(r"^ExecStart=(.+)$", text, re.M)
    shell = shlex.split(start.replace("%i", "rtx6000-ada-0").replace("$$", "$"))[-1].partition("exec")[0]
    shown = subprocess.run(
        ["sh", "-c", f'{shell} echo "$FARM_BROKER_URL_FILE"'], capture_output=True, text=True, timeout=20, check=True
    )
    assert shown.stdout == "/etc/joulefarm/worker-rtx6000-ada\n"
    for unit in ("farm-coordinator.service", "farm-worker@.service"):
        (file,) = re.findall(r"^EnvironmentFile=/etc/joulefarm/(.+)$", (DEPLOY / "systemd" / unit).read_text(), re.M)
        assert (DEPLOY / "systemd" / file).is_file()


def test_the_walk_through_a_lab_asks_for_commands_and_settings_that_there_are():
    text = (ROOT / "docs" / "lab.md").read_text()
    blocks = "\n".join(re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S))
    lines = [line for line in blocks.splitlines() if line.startswith("farm ")]
    lines += re.findall(r"`(farm (?!up )[^`]+)`", text)
    assert len(lines) > 12
    for line in lines:
        check_command(shlex.split(line)[1:])
    known = {f"FARM_{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(r"\bFARM_[A-Z_]+\b", text)) <= known
    of_servers = {"postgresql.conf", "pg_hba.conf", "redis.conf"}
    # systemd-tmpfiles is given the name under which the file is installed.
    installed = {"joulefarm.conf"}
    for name in set(re.findall(r"[\w@.-]+\.(?:service|env|conf)\b", text)) - of_servers - installed:
        assert (DEPLOY / "systemd" / name).is_file(), name


def test_the_script_of_slurm(said, tmp_path):
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    script = DEPLOY / "slurm" / "worker.sbatch"
    files = ["database-worker", "worker-h100", "ca.pem"]
    for missing in files:
        with pytest.raises(subprocess.CalledProcessError) as refused:
            said("bash", str(script), GPU="h100", SECRETS=str(secrets), HOME=str(tmp_path))
        assert refused.value.returncode == 2
        assert refused.value.stderr == f"worker.sbatch: {secrets / missing}: a file that can be read\n"
        (secrets / missing).touch()
    words = said("bash", str(script), GPU="h100", SECRETS=str(secrets), HOME=str(tmp_path))
    assert words == ["worker", "--gpu", "h100", "--device", "0"]
    check_command(words)
    lines = "\n".join(line for line in script.read_text().splitlines() if line.startswith(("secrets=", "export FARM_")))
    shown = subprocess.run(
        ["bash", "-c", f"{lines}\nenv"], env={"GPU": "h100", "HOME": "/h"}, capture_output=True, text=True, check=True
    )
    found = dict(line.split("=", 1) for line in shown.stdout.splitlines() if line.startswith("FARM_"))
    units = settings_of(DEPLOY / "systemd" / "worker.env")
    assert set(found) == {*units, "FARM_BROKER_URL_FILE"}
    assert {Path(found[name]).name for name in found if name != "FARM_HOME"} == set(files)
