"""docs/add-a-gpu.md, add-a-model.md, add-a-meter.md and add-a-law.md, followed in a lab that has the wheel and no
checkout: one file each, and for meter and law the entry point that names it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from farm.version import __version__
from tests.processes import wait_gone
from tests.quick import sweep_text
from tests.unit.analysis.laws.test_registry import FLAT
from tests.unit.workers.meters.test_registry import STEADY

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ("farm", "workers", "analysis", "pyproject.toml", "setup.py", "README.md", "LICENSE")
COMMIT = "0123456789ab"
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheel is installed, to stand before the checkout on the path."""
    folder = tmp_path_factory.mktemp("wheel")
    source, built = folder / "source", folder / "built"
    for name in SHIPPED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source / name)
    subprocess.run(
        [sys.executable, "-c", BUILD, built],
        cwd=source,
        env={**os.environ, "FARM_COMMIT": COMMIT},
        check=True,
        capture_output=True,
    )
    (wheel,) = built.glob("*.whl")
    options = ["--quiet", "--no-deps", "--no-index", "--disable-pip-version-check"]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", folder / "site", wheel],
        check=True,
        capture_output=True,
    )
    return folder / "site"


@pytest.fixture
def lab(site: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run the installed `farm` where there is no checkout; its JSON document, if it prints one."""
    monkeypatch.setenv("PYTHONPATH", str(site))
    where = [sys.executable, "-c", "import farm; print(farm.__file__)"]
    done = subprocess.run(where, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()) == site / "farm" / "__init__.py"

    def call(*argv: object) -> Any:
        done = subprocess.run(
            [sys.executable, site / "bin" / "farm", *map(str, argv)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if "--json" in argv else None

    return call


def add(home: Path, kind: str, name: str, text: str) -> None:
    (home / "catalog" / kind).mkdir(parents=True)
    (home / "catalog" / kind / f"{name}.toml").write_text(text)


def test_what_was_built_names_its_commit(site: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(
        [sys.executable, site / "bin" / "farm", "--version"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.stdout == f"joulefarm {__version__} ({COMMIT})\n"


@pytest.mark.slow
def test_a_gpu_type_is_one_file(lab, site, home, tmp_path) -> None:
    """It is predicted, and measured on a queue of its own, without a word about it anywhere else."""
    shipped = (site / "farm" / "catalog" / "gpus" / "a100.toml").read_text()
    own = re.sub(r"(?m)^queue = .*$", 'queue = "mine"', shipped)
    own = re.sub(r"(?m)^nvml_names = .*$", 'nvml_names = ["NVIDIA Mine*"]', own)
    add(home, "gpus", "mine", own)
    point = ["--model", "sd2", "--resolution", 512, "--steps", 20, "--precision", "fp16"]
    predicted = lab("predict", "--gpu", "mine", *point, "--json")
    assert 0 < predicted["low_joules"] < predicted["energy_joules"] < predicted["high_joules"]
    assert "GPU mine was never measured" in predicted["rests_on"]
    written = subprocess.run(
        [sys.executable, "-m", "farm.broker.acl"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "\nuser worker-mine on " in written.stdout  # a lab's own broker lets its workers in
    (tmp_path / "sweep.yaml").write_text(sweep_text([1, 2], gpus=["mine"]))
    lab("up", "--simulate", "mine", "--detach")
    try:
        submitted = lab("sweep", "submit", tmp_path / "sweep.yaml", "--json")
        assert (submitted["jobs"], submitted["infeasible"]) == (2, [])
        assert lab("sweep", "watch", submitted["sweep"], "--json")["jobs"]["done"] == 2
    finally:
        lab("down")
    assert wait_gone(home) == []


@pytest.mark.slow
def test_a_model_is_one_file(lab, site, home, tmp_path) -> None:
    """It is predicted from its work, which is traced at first use, and taken into a sweep."""
    shipped = (site / "farm" / "catalog" / "models" / "sd2.toml").read_text()
    add(home, "models", "mine", small(shipped))
    point = ["--gpu", "a100", "--resolution", 64, "--steps", 20, "--precision", "fp16"]
    predicted = lab("predict", "--model", "mine", *point, "--json")
    assert 0 < predicted["low_joules"] < predicted["energy_joules"] < predicted["high_joules"]
    assert "model mine was never measured: predicted from its work" in predicted["rests_on"]
    assert predicted["energy_joules"] < lab("predict", "--model", "sd2", *point, "--json")["energy_joules"]
    (tmp_path / "sweep.yaml").write_text(sweep_text([1, 2], models=["mine"]))
    submitted = lab("sweep", "submit", tmp_path / "sweep.yaml", "--json")
    assert (submitted["jobs"], submitted["infeasible"]) == (2, [])


def install(site: Path, folder: Path, group: str, name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution of one module and its entry point, as an installer leaves it, beside the wheel."""
    folder = folder / "plugins"  # not the folder in which commands run: nothing is imported from there
    folder.mkdir()
    (folder / f"lab_{name}.py").write_text(text)
    information = folder / f"lab_{name}-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: lab-{name}\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(f"[{group}]\n{name} = lab_{name}\n")
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{folder}")


@pytest.mark.slow
def test_a_meter_is_one_file_and_an_entry_point(lab, site, tmp_path, monkeypatch) -> None:
    """It is asked for by its name, and nothing else was told of it."""
    install(site, tmp_path, "joulefarm.meters", "steady", STEADY, monkeypatch)
    point = ["--gpu", "cpu", "--model", "sd2", "--resolution", 64, "--steps", 2, "--precision", "fp32", "--prompts", 1]
    measured = lab("measure", *point, "--size", "nano", "--meter", "steady", "--idle-seconds", 0.2, "--json")
    assert (measured["meter"], measured["flags"]) == ("steady", ["estimated"])
    assert measured["idle_watts"] == pytest.approx(100)


@pytest.mark.slow
def test_a_law_is_one_file_and_an_entry_point(lab, site, tmp_path, monkeypatch) -> None:
    install(site, tmp_path, "joulefarm.laws", "flat", FLAT, monkeypatch)
    point = ["--model", "flux", "--gpu", "a100", "--resolution", 1024, "--steps", 28, "--precision", "fp16"]
    predicted = lab("predict", *point, "--law", "flat", "--json")
    assert predicted["law"] == "flat"
    assert predicted["low_joules"] < predicted["energy_joules"] < predicted["high_joules"]


def small(shipped: str) -> str:
    """The same model, its published configurations replaced by its small ones, so that it is traced in seconds."""
    part = re.compile(r"^\[components\.(\w+)\.(config|nano)\]\n(.*?)(?=^\[)", re.MULTILINE | re.DOTALL)
    nano = {m[1]: m[3] for m in part.finditer(shipped) if m[2] == "nano"}
    return part.sub(lambda m: f"[components.{m[1]}.{m[2]}]\n{nano[m[1]]}", shipped)
