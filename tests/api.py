"""What other people's code may import, as text: ``python -m tests.api > docs/api.md``."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from typing import Any, Final

# Module -> its names, all of ``__all__`` where none are given. All else may change without a word.
PUBLIC: Final[dict[str, tuple[str, ...]]] = {
    "analysis": (),
    "analysis.laws.base": ("Law", "Forecast"),
    "farm": (),
    "farm.domain": ("Configuration", "RequestError", "OperationError"),
    "workers.meters.base": ("MeterType", "Target", "Meter", "Span", "Probe", "Recording", "Energy"),
    "workers.pipelines": (),
    "workers.pipelines.base": ("Pipeline",),
}
LONGEST: Final = 100  # characters of a signature
HEAD: Final = """\
# The public API

What other code may import. Names that are not here may change without a word; these change with a line in
[CHANGELOG.md](../CHANGELOG.md). `analysis` is for notebooks and scripts ([notebook.md](notebook.md)); the modules named
`base` are what a [law](add-a-law.md), a [meter](add-a-meter.md) or a [pipeline](add-a-model.md) of one's own builds
on. Commands and their JSON are the interface for everything else ([commands.md](commands.md)).
"""


def names(module: str) -> tuple[str, ...]:
    return PUBLIC[module] or tuple(sorted(importlib.import_module(module).__all__))


def objects() -> Iterator[tuple[str, Any]]:
    """Every public name, dotted, with what it stands for; those of classes follow them."""
    for module in PUBLIC:
        for name in names(module):
            found = getattr(importlib.import_module(module), name)
            yield f"{module}.{name}", found
            if inspect.isclass(found):
                yield from ((f"{module}.{name}.{member}", value) for member, value in members(found))


def members(cls: type) -> list[tuple[str, Any]]:
    """Methods and properties that a class states itself."""
    own = [(name, value) for name, value in vars(cls).items() if not name.startswith("_")]
    return [(name, value) for name, value in own if is_code(value)]


def signature(name: str, value: Any) -> str:
    """As it would be written in one line."""
    if isinstance(value, property):
        return f"{name} -> {inspect.signature(value.fget).return_annotation}"  # type: ignore[arg-type]
    try:
        stated = inspect.signature(function(value))
    except ValueError:
        return name
    parameters = [each.replace(annotation=_Words.of(each.annotation)) for each in stated.parameters.values()]
    stated = stated.replace(parameters=parameters, return_annotation=_Words.of(stated.return_annotation))
    return name + str(stated)


class _Words(str):
    """An annotation that is shown as it was written, without quotes."""

    __repr__ = str.__str__

    @classmethod
    def of(cls, annotation: Any) -> Any:
        return cls(annotation) if isinstance(annotation, str) else annotation


def wrapped(text: str) -> str:
    """A signature with a parameter a line, where it is too long for one."""
    if len(text) <= LONGEST:
        return text
    depth, parts = 0, [""]
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if (letter == "(" and depth == 1 and len(parts) == 1) or (letter == "," and depth == 1):
            parts[-1] += letter
            parts.append("")
        elif letter == ")" and depth == 0:
            parts[-1] += ","
            parts.append(letter)
        else:
            parts[-1] += letter
    head, *inside, tail = parts
    return "\n".join([head, *(f"    {part.strip()}" for part in inside), tail])


def document() -> str:
    """docs/api.md."""
    text = HEAD
    for module in PUBLIC:
        text += f"\n## {module}\n"
        for name in names(module):
            text += _described(name, getattr(importlib.import_module(module), name))
    return text


def _described(name: str, value: Any) -> str:
    if not (inspect.isclass(value) or callable(value)):
        return f"\n`{name}`: {type(value).__name__}\n"
    text = (
        f"\n### {name}\n\n```python\n{wrapped(signature(name, value))}\n```\n\n{_fenced(inspect.getdoc(value) or '')}\n"
    )
    if inspect.isclass(value) and (inside := members(value)):
        text += "\n" + "".join(f"- `{signature(inner, each)}`: {_first(each)}\n" for inner, each in inside)
    return text


def _first(value: Any) -> str:
    return " ".join((inspect.getdoc(function(value)) or "").partition("\n\n")[0].split())


def _fenced(docstring: str) -> str:
    """Sections as they stand in the source, since their indentation speaks."""
    head, blank, rest = docstring.partition("\n\n")
    return f"{head}{blank}```text\n{rest}\n```" if rest else head


def function(value: Any) -> Any:
    """The function behind a method or property."""
    if isinstance(value, (classmethod, staticmethod)):
        return value.__func__
    return value.fget if isinstance(value, property) else value


def is_code(value: Any) -> bool:
    """Whether it is a function, a method or a property."""
    return isinstance(value, (classmethod, staticmethod, property)) or inspect.isfunction(value)


if __name__ == "__main__":
    print(document(), end="")
