"""The folder in which the caller stands never matters, whatever packages it holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from farm import imports
from farm.imports import ROOT
from tests.conftest import FARM
from tests.fake_nvml import fake
from tests.processes import wait_until

NAMES = ("farm", "workers", "analysis", "torch", "celery", "yaml", "numpy")
SAY = "import os, sys, json; print(json.dumps([os.getcwd(), os.environ.get('PYTHONPATH')]), file=sys.stderr)"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's folder whose packages are called like ours and like those that we use; executing one ends it loudly."""
    folder = tmp_path / "project"
    for name in NAMES:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(
            f"open({str(tmp_path / 'executed')!r}, 'a').write({name!r})\nraise SystemExit('the user\\'s own package')\n"
        )
    return folder


@pytest.fixture(params=["", os.pathsep, os.pathsep + "/nowhere", ".", "{folder}"], ids=repr)
def python_path(request: pytest.FixtureRequest, folder: Path) -> str:
    """What people have in PYTHONPATH, after what this project's tests need there; an empty entry is the folder, too."""
    return str(ROOT) + os.pathsep + str(request.param).format(folder=folder)


@pytest.fixture
def gpu(tmp_path: Path) -> Iterator[fake.Fake]:
    with fake.load(tmp_path, clock="real") as gpu:
        yield gpu


def test_a_measured_command_keeps_its_folder_and_environment(gpu: fake.Fake, folder: Path, python_path: str) -> None:
    environment = gpu.environment() | {"PYTHONPATH": python_path}
    command = [FARM, "meter", "--json", "--idle-seconds", "0.2", "--", sys.executable, "-P", "-S", "-E", "-c", SAY]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["meter"] == "nvml"
    assert json.loads(done.stderr.splitlines()[-1]) == [str(folder), python_path]
    assert not (folder.parent / "executed").exists()


@pytest.mark.parametrize("module", ["farm", "workers.device.facts", "farm.coordinator.refit", "analysis.shipped"])
def test_a_child_has_the_modules_of_its_parent(
    folder: Path, python_path: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", python_path)
    code = f"import importlib.util; print(importlib.util.find_spec({module!r}).origin)"
    done = subprocess.run(
        imports.python("-c", code), env=imports.environment(), capture_output=True, text=True, timeout=60
    )
    assert Path(done.stdout.strip()).is_relative_to(ROOT), done.stderr
    assert not (folder.parent / "executed").exists()


def test_a_project_that_is_not_installed_has_itself_in_its_children(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.chdir(tmp_path)
    assert str(ROOT) in imports.environment()["PYTHONPATH"].split(os.pathsep)


def test_a_whole_farm_starts_from_such_a_folder(folder: Path, tmp_path: Path) -> None:
    """Broker, coordinator and worker are processes of ours, each started from where the caller stands."""
    environment = os.environ | {"FARM_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT) + os.pathsep}

    def farm(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([FARM, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=90)

    started = farm("up", "--simulate", "a100", "--detach")
    try:
        assert started.returncode == 0, started.stderr
        workers = wait_until(lambda: json.loads(farm("workers", "list", "--json").stdout)["workers"], 30, "the worker")
        assert [worker["gpu"] for worker in workers] == ["a100"]
    finally:
        assert farm("down").returncode == 0
    assert not (folder.parent / "executed").exists()
