"""Who may know whom: the rules of docs/decisions/0001-the-house.md, read off every import statement."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("farm", "workers", "analysis")
STANDARD = __import__("sys").stdlib_module_names


def modules() -> list[Path]:
    return sorted(p for package in PACKAGES for p in (ROOT / package).rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, *, module_level: bool) -> set[str]:
    """Absolute names a file imports; ``module_level`` leaves out what functions import. Typing alone never counts."""
    package = name_of(path) if path.name == "__init__.py" else name_of(path).rpartition(".")[0]
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if module_level and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            return
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.orelse:
                visit(child)
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                prefix = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*prefix, *([base] if base else [])])
            found.add(base)
            found.update(f"{base}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text()))
    return found


def knows(names: set[str], *roots: str) -> set[str]:
    return {n for n in names if any(n == r or n.startswith(r + ".") for r in roots)}


def under(path: Path, *places: str) -> bool:
    relative = path.relative_to(ROOT).as_posix()
    return any(relative == p or relative.startswith(p.rstrip("/") + "/") for p in places)


# (name, which files, what they must not import, at module level only?)
RULES = [
    ("domain knows only the standard library", lambda p: under(p, "farm/domain"), None, False),
    (
        "the catalog knows only the domain",
        lambda p: under(p, "farm/catalog"),
        ("workers", "analysis", "farm.store", "farm.settings", "farm.broker", "celery", "sqlmodel", "torch"),
        False,
    ),
    (
        "only the store writes SQL",
        lambda p: not under(p, "farm/store"),
        ("sqlmodel", "sqlalchemy", "alembic", "psycopg", "sqlite3"),
        False,
    ),
    (
        "only the broker, the listener and the message filter before it know Celery",
        lambda p: (
            not under(p, "farm/broker/app.py", "workers/runtime/listener.py", "workers/runtime/message_filter.py")
        ),
        ("celery", "kombu", "billiard"),
        False,
    ),
    (
        "only the pipelines and the tracer know torch",
        lambda p: not under(p, "workers/pipelines", "analysis/work/trace"),
        ("torch", "diffusers", "transformers"),
        False,
    ),
    (
        "meters and procedure know no SQL, no queue, no diffusers",
        lambda p: under(p, "workers/meters", "workers/procedure", "workers/device/nvml.py", "workers/workload.py"),
        ("farm.store", "farm.jobs", "farm.broker", "sqlmodel", "celery", "diffusers", "torch", "workers.pipelines"),
        False,
    ),
    (
        "the coordinator knows workers and analysis only lazily",
        lambda p: under(p, "farm"),
        ("workers", "analysis", "torch", "numpy"),
        True,
    ),
    (
        "analysis, less its three doors, knows neither the store nor the queue",
        lambda p: under(p, "analysis") and not under(p, "analysis/cli", "analysis/refit.py"),
        ("farm.store", "farm.jobs", "farm.broker", "farm.settings", "celery", "sqlmodel", "workers"),
        False,
    ),
    (
        "workers reach SQL through farm.jobs, and know no analysis",
        lambda p: under(p, "workers"),
        ("farm.store.tables", "sqlmodel", "analysis"),
        False,
    ),
]


@pytest.mark.parametrize("rule", RULES, ids=[r[0] for r in RULES])
def test_rule(rule):
    name, covers, forbidden, module_level = rule
    covered = [p for p in modules() if covers(p)]
    assert covered, f"the rule '{name}' covers no file"
    broken = []
    for path in covered:
        names = imports(path, module_level=module_level)
        if forbidden is None:
            bad = {n for n in names if n.split(".")[0] not in STANDARD and not n.startswith("farm.domain")}
        else:
            bad = knows(names, *forbidden)
        broken += [f"{path.relative_to(ROOT)} imports {n}" for n in sorted(bad)]
    assert not broken, f"{name}:\n" + "\n".join(broken)


def test_nothing_else_stands_at_the_top():
    """The five names fixed by the plan, beside the usual files of a repository."""
    folders = {p.name for p in ROOT.iterdir() if p.is_dir() and not p.name.startswith(".")}
    built = {"build", "dist", "joulefarm.egg-info"}
    assert folders - built == {"farm", "workers", "analysis", "deploy", "tests", "docs"}
