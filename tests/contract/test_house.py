"""Who may know whom: the rules of docs/decisions/0001-the-house.md, read off every import, also those by string."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.contract.imports import Module, SourceTree

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("farm", "workers", "analysis")


@dataclass(frozen=True)
class Rule:
    """What the modules of some places may not import: these names, or (``only``) anything but these.

    Attributes:
        places: modules and packages that it binds; ``but`` are those within that it does not.
        lazy: it holds for what functions import, too.
    """

    name: str
    places: tuple[str, ...]
    never: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    but: tuple[str, ...] = ()
    lazy: bool = True

    def binds(self, module: Module) -> bool:
        return within(module.name, self.places) and not within(module.name, self.but)

    def forbids(self, name: str) -> bool:
        if self.only:
            return name.partition(".")[0] not in sys.stdlib_module_names and not within(name, self.only)
        return within(name, self.never)

    def breaches(self, tree: SourceTree) -> set[str]:
        return {
            f"{self.name}: {module.name} imports {i.name}"
            for module in tree.modules.values()
            if self.binds(module)
            for i in module.imports
            if (self.lazy or not i.lazy) and self.forbids(i.name)
        }


def within(name: str, places: tuple[str, ...]) -> bool:
    return any(name == place or name.startswith(place + ".") for place in places)


SQL = ("sqlmodel", "sqlalchemy", "alembic", "psycopg", "sqlite3")
QUEUE = ("celery", "kombu", "billiard")
TORCH = ("torch", "diffusers", "transformers", "accelerate")
RULES = [
    Rule("the domain knows only the standard library", ("farm.domain",), only=("farm.domain",)),
    # pydantic: its files are checked by models, from which the schemas for editors are made (docs/decisions/0001).
    Rule("the catalog knows only the domain", ("farm.catalog",), only=("farm.catalog", "farm.domain", "pydantic")),
    Rule("only the store writes SQL", PACKAGES, never=SQL, but=("farm.store",)),
    Rule(
        "only the broker, the listener and the message filter know Celery",
        PACKAGES,
        never=QUEUE,
        but=("farm.broker.app", "workers.runtime.listener", "workers.runtime.message_filter"),
    ),
    Rule(
        "only the pipelines and the tracer know torch",
        PACKAGES,
        never=TORCH,
        but=("workers.pipelines", "analysis.work.trace"),
    ),
    Rule(
        "meters and procedure know no SQL, no queue, no diffusers",
        ("workers.meters", "workers.procedure", "workers.device.nvml", "workers.workload"),
        never=("farm.store", "farm.jobs", "farm.broker", "workers.pipelines", "workers.runtime", *SQL, *QUEUE, *TORCH),
    ),
    Rule("workers reach the database through farm.jobs", ("workers",), never=("farm.store", *SQL)),
    Rule("workers know no analysis", ("workers",), never=("analysis",)),
    Rule(
        "analysis, less refit, adaptive sweeps and its commands, knows neither database nor queue nor settings",
        ("analysis",),
        never=("farm.store", "farm.jobs", "farm.broker", "farm.settings", "farm.coordinator", *SQL, *QUEUE),
        but=("analysis.cli", "analysis.refit", "analysis.adaptive"),
    ),
    Rule("analysis knows no workers", ("analysis",), never=("workers",)),
    Rule(
        "the coordinator starts without workers, analysis, torch and numpy",
        ("farm",),
        never=("workers", "analysis", "numpy", *TORCH),
        lazy=False,
    ),
    Rule(
        "of the coordinator only commands, local farm, refit, pages and forecast reach workers and analysis",
        ("farm",),
        never=("workers", "analysis"),
        but=("farm.cli", "farm.local", "farm.coordinator", "farm.web", "farm.sweeps.forecast"),
    ),
    Rule("the product knows no tests", PACKAGES, never=("tests", "pytest")),
]
CIRCLE = "no circle when modules load"
LAZY_CIRCLE = "no circle through what functions import"

# Breaches that stand today. None may be added: each goes when its mending lands, and then from here.
STANDING: set[str] = set()
# Circles that close only when a function runs, and why they may.
LAZY_CIRCLES = {
    ("analysis", "farm", "workers"): "the one command `farm` loads the commands of the other two by name",
    (
        "analysis.laws",
        "analysis.laws.base",
        "analysis.laws.paper",
        "analysis.laws.paper.law",
        "analysis.laws.work",
        "analysis.laws.work.law",
    ): "a stored fit names its law: the base class asks the registry, which loads the laws, for that law's class",
}


def breaches(tree: SourceTree, lazy_circles: frozenset[tuple[str, ...]] = frozenset(LAZY_CIRCLES)) -> set[str]:
    found = set().union(*(rule.breaches(tree) for rule in RULES))
    loading = tree.circles(lazy=False)
    running = set(tree.circles(lazy=True)) - set(loading) - lazy_circles
    found |= {f"{CIRCLE}: {', '.join(circle)}" for circle in loading}
    return found | {f"{LAZY_CIRCLE}: {', '.join(circle)}" for circle in running}


@pytest.fixture(scope="module")
def house() -> SourceTree:
    return SourceTree(ROOT, PACKAGES)


def test_nobody_knows_whom_it_must_not(house):
    assert len(house.modules) > 150
    assert sorted(breaches(house) - STANDING) == []


def test_what_is_listed_as_standing_still_stands(house):
    """Whoever mends a breach takes it off the list, so that it cannot come back."""
    assert sorted(STANDING - breaches(house)) == []
    assert sorted(set(LAZY_CIRCLES) - set(house.circles(lazy=True))) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_every_place_that_a_rule_names_exists(house, rule):
    own = [name for name in (*rule.places, *rule.but, *rule.never, *rule.only) if within(name, PACKAGES)]
    assert [name for name in own if name not in house.names] == []


BEFORE = "from __future__ import annotations\n"
# The rule, what is planted, what must be said of it. Between them every way to import that the reader knows.
PLANTED = [
    ("the domain knows only the standard library", {"farm/domain/a.py": "import yaml"}, "farm.domain.a imports yaml"),
    (
        "the domain knows only the standard library",
        {"farm/domain/a.py": "from farm import settings"},
        "farm.domain.a imports farm.settings",
    ),
    (
        "the catalog knows only the domain",
        {"farm/catalog/a.py": "from ..settings import load"},
        "farm.catalog.a imports farm.settings.load",
    ),
    (
        "only the store writes SQL",
        {"analysis/cli/a.py": "def f():\n    import sqlalchemy"},
        "analysis.cli.a imports sqlalchemy",
    ),
    (
        "only the broker, the listener and the message filter know Celery",
        {"workers/runtime/a.py": 'COMMAND = ["python", "-m", "celery", "worker"]'},
        "workers.runtime.a imports celery",
    ),
    (
        "only the pipelines and the tracer know torch",
        {"farm/web/a.py": 'f = lambda: __import__("torch.cuda")'},
        "farm.web.a imports torch.cuda",
    ),
    (
        "meters and procedure know no SQL, no queue, no diffusers",
        {"workers/procedure/a.py": "if True:\n    from diffusers import FluxPipeline"},
        "workers.procedure.a imports diffusers.FluxPipeline",
    ),
    (
        "meters and procedure know no SQL, no queue, no diffusers",
        {"workers/meters/a.py": 'f"{__package__}.{x}"\nf"workers.pipelines.{x}"', "workers/pipelines/b.py": ""},
        "workers.meters.a imports workers.pipelines.b",
    ),
    (
        "workers reach the database through farm.jobs",
        {"workers/cli/a.py": 'def f():\n    return import_module("farm.store").Store'},
        "workers.cli.a imports farm.store",
    ),
    (
        "workers know no analysis",
        {"workers/a.py": 'TABLE = {"law": "analysis.cli.law:law"}', "analysis/cli/law.py": ""},
        "workers.a imports analysis.cli.law",
    ),
    (
        "analysis, less refit, adaptive sweeps and its commands, knows neither database nor queue nor settings",
        {"analysis/a.py": 'MODULE = "farm.settings"', "farm/settings.py": ""},
        "analysis.a imports farm.settings",
    ),
    (
        "analysis knows no workers",
        {"analysis/a.py": "def f():\n    from workers import device"},
        "analysis.a imports workers.device",
    ),
    (
        "the coordinator starts without workers, analysis, torch and numpy",
        {"farm/cli/a.py": 'import importlib\nimportlib.import_module("analysis.refit")'},
        "farm.cli.a imports analysis.refit",
    ),
    (
        "of the coordinator only commands, local farm, refit, pages and forecast reach workers and analysis",
        {"farm/results.py": 'def f():\n    return ("python", "-m", "workers.doctor")'},
        "farm.results imports workers.doctor",
    ),
    (
        "the product knows no tests",
        {"farm/a.py": "from tests.postgres import EmbeddedPostgres"},
        "farm.a imports tests.postgres",
    ),
    (CIRCLE, {"farm/a.py": "from . import b", "farm/b.py": "from farm.a import f"}, "farm.a, farm.b"),
    (
        CIRCLE,
        {
            "farm/store/a.py": "import farm.sweeps.a",
            "farm/sweeps/b.py": "from farm.store import b",
            "farm/store/b.py": "",
            "farm/sweeps/a.py": "",
        },
        "farm.store, farm.sweeps",
    ),
    (
        CIRCLE,
        {"workers/a.py": "import analysis.b", "analysis/b.py": "import workers.a"},
        "analysis, workers",
    ),
    (
        LAZY_CIRCLE,
        {"farm/a.py": "import farm.b", "farm/b.py": 'def f():\n    return import_module("farm.a")'},
        "farm.a, farm.b",
    ),
]


def plant(folder: Path, files: dict[str, str]) -> SourceTree:
    """A tree of these files, each folder a package."""
    for name, source in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(BEFORE + source + "\n")
        for parent in path.relative_to(folder).parents[:-1]:
            (folder / parent / "__init__.py").touch()
    return SourceTree(folder, PACKAGES)


@pytest.mark.parametrize(("rule", "files", "said"), PLANTED, ids=[said for *_, said in PLANTED])
def test_a_planted_breach_is_found(tmp_path, rule, files, said):
    assert any(line.startswith(f"{rule}: {said}") for line in breaches(plant(tmp_path, files))), said


def test_a_breach_of_every_rule_is_planted():
    planted = {rule for rule, *_ in PLANTED}
    assert planted == {rule.name for rule in RULES} | {CIRCLE, LAZY_CIRCLE}


def test_what_may_be_is_not_reported(tmp_path):
    files = {
        "farm/domain/a.py": "import json\nfrom farm.domain import b",
        "farm/domain/b.py": '"""Not imported: farm.store."""\nTEXT = "see farm.store for more"',
        "farm/cli/a.py": 'def f():\n    return import_module("workers.doctor")',
        "farm/store/a.py": "import sqlalchemy\nif TYPE_CHECKING:\n    import workers.doctor",
        "workers/doctor.py": "from farm import domain",
    }
    assert breaches(plant(tmp_path, files), frozenset({("farm", "workers")})) == set()


def test_nothing_else_stands_at_the_top():
    """The five names fixed by the plan, beside the usual files of a repository."""
    folders = {p.name for p in ROOT.iterdir() if p.is_dir() and not p.name.startswith(".")}
    built = {"build", "dist", "joulefarm.egg-info"}
    assert folders - built == {"farm", "workers", "analysis", "deploy", "tests", "docs"}
