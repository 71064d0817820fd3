"""Which module of a source tree imports which, read from the source: by statement, and by a string that names it.

Three kinds of string count as an import inside a function, wherever they stand: the argument of ``import_module`` or
``__import__``, what follows ``-m`` in a list of arguments, and any string that is the dotted name of a module of the
tree, alone or before ``:attribute`` (tables of what is loaded on demand). Docstrings and imports for type checkers
alone do not count.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

REFERENCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(:[A-Za-z_]\w*)?")
IMPORTERS = ("import_module", "__import__")


@dataclass(frozen=True)
class Import:
    """One name that a module imports; ``lazy``: only when a function is called."""

    name: str
    lazy: bool
    line: int


@dataclass(frozen=True)
class Module:
    name: str
    path: Path
    is_package: bool
    imports: tuple[Import, ...] = field(repr=False)

    @property
    def package(self) -> str:
        return self.name if self.is_package else self.name.rpartition(".")[0]


class SourceTree:
    """The modules of some packages under one folder, by name."""

    def __init__(self, root: Path, packages: Iterable[str]) -> None:
        self.root = root
        self.packages = tuple(packages)
        paths = sorted(p for package in self.packages for p in (root / package).rglob("*.py"))
        self.names = {self._name(path) for path in paths}
        self.modules = {self._name(path): self._read(path) for path in paths}

    def targets(self, module: Module, *, lazy: bool) -> set[str]:
        """The other modules of the tree that this one imports; with ``lazy`` also those that its functions import."""
        found = {self.resolve(i.name) for i in module.imports if lazy or not i.lazy}
        return {name for name in found if name and name != module.name}

    def resolve(self, name: str) -> str | None:
        """The module of the tree that holds this name: itself, or the longest beginning that is one."""
        while name and name not in self.names:
            name = name.rpartition(".")[0]
        return name or None

    def circles(self, *, lazy: bool) -> list[tuple[str, ...]]:
        """Modules that import each other round about; then packages that do, though no two modules need to."""
        edges = {name: self.targets(module, lazy=lazy) for name, module in self.modules.items()}
        circles = set(_circles(edges))
        for package in [m.name for m in self.modules.values() if m.is_package] + [""]:
            circles |= set(_circles(self._between_children(package, edges)))
        return sorted(circles)

    def _between_children(self, package: str, edges: dict[str, set[str]]) -> dict[str, set[str]]:
        """Who imports whom among what stands directly in a package, each child standing for all that is in it."""
        prefix = f"{package}." if package else ""
        children: dict[str, set[str]] = {}

        def child(name: str) -> str | None:
            return prefix + name[len(prefix) :].partition(".")[0] if name.startswith(prefix) else None

        for source, targets in edges.items():
            if here := child(source):
                there = {c for target in targets if (c := child(target))}
                children.setdefault(here, set()).update(there - {here})
        return children

    def _name(self, path: Path) -> str:
        parts = path.relative_to(self.root).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def _read(self, path: Path) -> Module:
        name, is_package = self._name(path), path.name == "__init__.py"
        package = name if is_package else name.rpartition(".")[0]
        tree = ast.parse(path.read_text(), str(path))
        found = set(self._statements(tree, package, lazy=False)) | set(self._strings(tree, name, package))
        return Module(name, path, is_package, tuple(sorted(found, key=lambda i: (i.line, i.name))))

    def _statements(self, node: ast.AST, package: str, *, lazy: bool) -> Iterator[Import]:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.orelse:
                yield from self._statements(child, package, lazy=lazy)
            return
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, lazy, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute("." * node.level + (node.module or ""), package)
            yield from (Import(f"{base}.{alias.name}", lazy, node.lineno) for alias in node.names)
        elif isinstance(node, ast.Call) and _called(node) in IMPORTERS and node.args:
            argument = node.args[0]
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                yield Import(_absolute(argument.value, package), lazy, node.lineno)
        lazy = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from self._statements(child, package, lazy=lazy)

    def _strings(self, tree: ast.Module, name: str, package: str) -> Iterator[Import]:
        docstrings = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                module, colon, _ = node.value.partition(":")
                if REFERENCE.fullmatch(node.value) and module in self.names and (colon or "." in module):
                    yield Import(module, True, node.lineno)
            elif isinstance(node, ast.JoinedStr):
                yield from self._formatted(node, name)
            elif isinstance(node, ast.List | ast.Tuple):
                yield from _run_as_module(node)

    def _formatted(self, node: ast.JoinedStr, name: str) -> Iterator[Import]:
        """``f"{__name__}.families.{family}"``: all that stands directly in that package."""
        text = "".join(
            str(part.value)
            if isinstance(part, ast.Constant)
            else name
            if isinstance(part, ast.FormattedValue) and ast.unparse(part.value) in ("__name__", "__package__")
            else "*"
            for part in node.values
        )
        package, dot, rest = text.partition(".*")
        if dot and not rest and package in self.names:
            depth = package.count(".") + 1
            for other in self.names:
                if other.startswith(package + ".") and other.count(".") == depth:
                    yield Import(other, True, node.lineno)


def _run_as_module(node: ast.List | ast.Tuple) -> Iterator[Import]:
    texts = [item.value if isinstance(item, ast.Constant) else None for item in node.elts]
    for option, module in itertools.pairwise(texts):
        if option == "-m" and isinstance(module, str):
            yield Import(module, True, node.lineno)


def _called(node: ast.Call) -> str:
    return ast.unparse(node.func).rpartition(".")[2]


def _absolute(name: str, package: str) -> str:
    level = len(name) - len(name.lstrip("."))
    if not level:
        return name
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - level + 1], *([name[level:]] if name[level:] else [])])


def _circles(edges: dict[str, set[str]]) -> list[tuple[str, ...]]:
    """The strongly connected components of more than one node, sorted (Tarjan)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    circles: list[tuple[str, ...]] = []

    def visit(node: str) -> None:
        order[node] = low[node] = len(order)
        stack.append(node)
        for target in sorted(edges.get(node, ())):
            if target not in order:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], order[target])
        if low[node] == order[node]:
            component = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(component) > 1:
                circles.append(tuple(sorted(component)))

    for node in sorted(edges):
        if node not in order:
            visit(node)
    return circles
