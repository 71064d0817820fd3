"""YAML from strangers: small, plain, finite. No tags, no references to itself, no text that unfolds to gigabytes.

Plain values are what they look like, as in YAML 1.2: numbers are decimal, only true and false are switches, all else is
text. PyYAML alone follows YAML 1.1, to which 010 is 8, 10:30 is 630, no is false, and 1e3 a text.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, Final

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from farm.domain import RequestError
from farm.domain.text import decode

STDIN: Final = "-"
# The parser in Python takes 2 s for so much; libyaml's is quicker, but deep nesting crashes the process.
MAX_BYTES: Final = 250_000
MAX_VALUES: Final = 100_000  # references counted as often as they are used
MAX_DEPTH: Final = 50
DESCRIPTORS: Final = (Path("/dev/fd"), Path("/proc/self/fd"))  # pipes that a shell opened: `<(command)`


def _read(path: Path) -> bytes:
    if path.is_fifo() and path.parent not in DESCRIPTORS:  # nobody may ever write to it
        raise RequestError("file", str(path), f"a file, or {STDIN} for the standard input: this is a named pipe")
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


_INT: Final = "tag:yaml.org,2002:int"
# What a plain text is taken for. Digits that begin with 0 stay text: a field that wants a number reads it as decimal, a
# name keeps it.
_PLAIN: Final = (
    (_INT, r"-?(0|[1-9][0-9]*)", "-0123456789"),
    ("tag:yaml.org,2002:float", r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("tag:yaml.org,2002:bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("tag:yaml.org,2002:null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:merge", r"<<", "<"),
)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the plain values of _PLAIN."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own attribute


for _tag, _pattern, _first in _PLAIN:
    _Loader.add_implicit_resolver(_tag, re.compile(rf"^(?:{_pattern})$"), list(_first))
_Loader.add_constructor(_INT, lambda _, node: int(node.value))
_Loader.add_constructor("tag:yaml.org,2002:float", lambda _, node: float(node.value))


def read_yaml(path: str | Path) -> Any:
    """The document of a file, ``-`` for standard input.

    RequestError for one that is missing, too large, binary, no YAML, or unfolds for ever.
    """
    name = str(path)
    try:
        raw = sys.stdin.buffer.read(MAX_BYTES + 1) if name == STDIN else _read(Path(path))
    except OSError as error:
        raise RequestError("file", name, f"a YAML file that can be read ({error.strerror})") from None
    if len(raw) > MAX_BYTES:
        raise RequestError("file", name, f"a YAML file of at most {MAX_BYTES:,} bytes")
    try:
        text = decode(raw)
    except UnicodeDecodeError:
        raise RequestError("file", name, "a YAML file: this one is not UTF-8 text") from None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _measure(node, name)
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        what = getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be parsed"
        raise RequestError("file", name, f"valid YAML{where}: {what}") from None
    except RecursionError:
        raise RequestError("file", name, f"YAML nested at most {MAX_DEPTH} deep") from None
    except ValueError as error:  # a tag that the value is not of, such as !!int much
        raise RequestError("file", name, f"valid YAML: {error}") from None


def _measure(node: Node, name: str) -> None:
    """Walk the document as it would be unfolded, and stop as soon as it is too much."""
    count = 0
    above: set[int] = set()

    def walk(node: Node, depth: int) -> None:
        nonlocal count
        count += 1
        if id(node) in above:
            raise RequestError("file", name, "YAML without a reference to itself")
        if count > MAX_VALUES:
            raise RequestError("file", name, f"YAML of at most {MAX_VALUES:,} values, references unfolded")
        if depth > MAX_DEPTH:
            raise RequestError("file", name, f"YAML nested at most {MAX_DEPTH} deep")
        if isinstance(node, ScalarNode):
            return
        above.add(id(node))
        twice = _twice(node)
        if twice is not None:
            raise RequestError("file", name, f"YAML that gives the key {twice} once")
        for child in _children(node):
            walk(child, depth + 1)
        above.remove(id(node))

    walk(node, 0)


def _twice(node: Node) -> str | None:
    """A key that a mapping has twice; a plain parser would silently take the last."""
    if not isinstance(node, MappingNode):
        return None
    keys: set[str] = set()
    for key, _ in node.value:
        if isinstance(key, ScalarNode):
            if key.value in keys:
                return str(key.value)
            keys.add(key.value)
    return None


def _children(node: Node) -> list[Node]:
    if isinstance(node, SequenceNode):
        return list(node.value)
    if isinstance(node, MappingNode):
        return [part for pair in node.value for part in pair]
    return []
