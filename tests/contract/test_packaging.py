"""What each part imports, its extra installs, and nothing besides; every file that ships has a place in the wheel."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Mapping
from fnmatch import fnmatch
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from farm.broker.app import SCHEMES

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
OWN = {"farm", "workers", "analysis"}
# Folder or file -> the extras beside the base that it may count on. The longest that fits is taken.
PARTS = {
    "farm": (),
    "farm/web": ("web", "analysis"),  # lazily: without it, Ask says what to install
    "farm/cli/serve.py": ("web",),
    "farm/files/table.py": ("analysis",),  # Parquet, asked for in words where it is missing
    "analysis": ("analysis",),
    "analysis/work/trace": ("analysis", "worker"),
    "analysis/work/make_tables.py": ("analysis", "worker"),
    "workers": ("worker",),
}
THROUGH = {
    "kombu": "celery",
    "billiard": "celery",
    "huggingface-hub": "transformers",
    "tokenizers": "transformers",
    "starlette": "fastapi",
    "markupsafe": "jinja2",
}
# What is used only where it is there already.
OPTIONAL = {
    "analysis/table/table.py: pandas": "to_pandas() is called by who has it",
    "analysis/predictions.py: pandas": "to_pandas() is called by who has it",
    "analysis/work/models.py: transformers": "without the hub's client there is no local cache to look into",
}
UNSEEN = {
    "accelerate": "diffusers loads with it",
    "psycopg": "SQLAlchemy imports it by the database's URL",
}
# Imports every module named, then what the libraries load by a name of their own, where nothing else is installed.
ALONE = """
import importlib, json, sys
from importlib.machinery import PathFinder

given = json.load(sys.stdin)

class Installed(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in given["absent"] else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Installed
sys.path.insert(0, given["root"])
for name in given["modules"]:
    importlib.import_module(name)
from kombu.transport import resolve_transport
from sqlalchemy import create_engine
for scheme in given["schemes"]:
    resolve_transport(scheme.partition("+")[0])
for url in ("sqlite://", "postgresql+psycopg://host/name"):
    create_engine(url)
"""


def declared(*extras: str) -> set[str]:
    """What the base and these extras install, with the extras that they bring."""
    wanted = [Requirement(line) for line in PROJECT["project"]["dependencies"]]
    for extra in extras:
        wanted += [Requirement(line) for line in PROJECT["project"]["optional-dependencies"][extra]]
    brought = {name for each in wanted if each.name == "joulefarm" for name in each.extras}
    names = {canonicalize_name(each.name) for each in wanted if each.name != "joulefarm"}
    return names | declared(*brought) if brought else names


def installed(*extras: str) -> set[str]:
    """What pip brings for the base and these extras: what they declare, and what that asks for in its turn."""
    found: set[tuple[str, str]] = set()
    waiting = [Requirement(line) for line in PROJECT["project"]["dependencies"]]
    waiting += [Requirement(f"joulefarm[{extra}]") for extra in extras]
    while waiting:
        wanted = waiting.pop()
        for extra in {"", *wanted.extras} - {extra for name, extra in found if name == canonicalize_name(wanted.name)}:
            found.add((canonicalize_name(wanted.name), extra))
            waiting += asked_for(wanted.name, extra)
    return {name for name, _ in found}


def asked_for(name: str, extra: str) -> list[Requirement]:
    """What a distribution needs on this machine, or what one of its extras adds. Ours as pyproject.toml says it."""
    if name == "joulefarm":
        return [Requirement(line) for line in PROJECT["project"]["optional-dependencies"].get(extra, [])]
    lines = [Requirement(line) for line in requires(name) or ()]
    return [each for each in lines if each.marker is None or each.marker.evaluate({"extra": extra})]


def imported(path: Path, distributions: Mapping[str, list[str]]) -> set[str]:
    """The distributions that a file imports, at its top or inside a function."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(str(node.module))
    foreign = {name.partition(".")[0] for name in names} - OWN - set(sys.stdlib_module_names)
    return {canonicalize_name(distributions[name][0]) for name in foreign}


def part(path: Path) -> str:
    place = path.relative_to(ROOT).as_posix()
    return max((name for name in PARTS if place == name or place.startswith(name + "/")), key=len)


@pytest.fixture(scope="module")
def uses() -> dict[Path, set[str]]:
    distributions = packages_distributions()
    files = [path for package in OWN for path in (ROOT / package).rglob("*.py")]
    return {path: {THROUGH.get(name, name) for name in imported(path, distributions)} for path in files}


def test_a_part_imports_only_what_its_extra_installs(uses):
    missing = {
        f"{path.relative_to(ROOT)}: {name}"
        for path, names in uses.items()
        for name in names - declared(*PARTS[part(path)])
    }
    assert missing == set(OPTIONAL)


@pytest.mark.parametrize("extra", ["analysis", "worker", "web"])
def test_an_extra_installs_only_what_its_parts_import(uses, extra):
    used = {name for path, names in uses.items() if extra in PARTS[part(path)] for name in names}
    brought = declared("analysis") if extra == "web" else declared()
    assert declared(extra) - brought - used - set(UNSEEN) == set()


def test_the_base_installs_only_what_is_imported(uses):
    assert declared() - set().union(*uses.values()) - set(UNSEEN) == set()


def test_neither_base_nor_analysis_brings_torch():
    assert not {"torch", "diffusers", "transformers", "accelerate"} & declared("analysis", "web")


def test_every_file_of_the_packages_ships():
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["*"]
    files = [path for package in OWN for path in (ROOT / package).rglob("*") if path.is_file()]
    files = [path for path in files if path.parent.name != "__pycache__"]
    assert len(files) > 200
    left_out = [path for path in files if path.suffix != ".py" and not any(fnmatch(path.name, p) for p in patterns)]
    assert left_out == []


def test_the_source_distribution_is_all_that_a_clone_is(tmp_path):
    """Its documents, units, sweeps, pins and tests too; the wheel is what farm, workers and analysis need to run."""
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if files.returncode:
        pytest.skip("no clone")
    listed = set(files.stdout.split("\n")) - {""}
    for name in listed:
        place = tmp_path / "tree" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes((ROOT / name).read_bytes() if (ROOT / name).exists() else b"")
    build = [sys.executable, "setup.py", "-q", "sdist", "--formats", "tar", "--dist-dir", str(tmp_path)]
    done = subprocess.run(build, cwd=tmp_path / "tree", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with tarfile.open(next(tmp_path.glob("*.tar"))) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    hidden = {name for name in listed if name.startswith(".")}
    assert listed - packed - hidden == set()


def unused_by_import(path: Path) -> bool:
    """What is run rather than imported."""
    return path.name == "__main__.py" or path.parent.name == "migrations"


@pytest.mark.parametrize("extra", [None, "analysis", "worker", "web"])
def test_a_part_works_where_only_its_extra_is_installed(extra, uses):
    extras = [extra] if extra else []
    there = installed(*extras)
    absent = [
        name
        for name, owners in packages_distributions().items()
        if name not in OWN and not there & {canonicalize_name(owner) for owner in owners}
    ]
    assert "pytest" in absent
    assert ("torch" in absent) == (extra != "worker")
    having = {*extras, *(["analysis"] if extra == "web" else [])}
    files = [path.relative_to(ROOT) for path in uses if set(PARTS[part(path)]) <= having and not unused_by_import(path)]
    modules = [".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in files]
    given = {"absent": absent, "root": str(ROOT), "modules": sorted(modules), "schemes": SCHEMES}
    done = subprocess.run([sys.executable, "-c", ALONE], input=json.dumps(given), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
