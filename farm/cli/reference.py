"""The references, made from what they describe: docs/commands.md from the commands themselves, docs/settings.md and
docs/sweeps.md from the models of settings and sweep files.

``python -m farm.cli.reference > docs/commands.md``, ``python -m farm.cli.reference settings > docs/settings.md``,
``sweeps`` likewise; for editors ``sweep-schema > docs/schemas/sweep.schema.json``, ``gpu-schema``, ``model-schema``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from farm.catalog.file_models import GpuFile, ModelFile
from farm.cli import cli
from farm.settings import NOT_SETTINGS, RENAMED, Settings
from farm.sweeps.file import SweepFile

HEAD = """\
# Commands

Made from `--help` by `python -m farm.cli.reference`; a test fails when it is out of date. What scripts may rely on:
exit 0 done, 2 the request was wrong (one line on stderr), 1 it failed on the way; `--json` prints exactly one JSON
document on stdout, progress and logs go to stderr; numbers are SI units unless a key says otherwise.
"""


def render() -> str:
    """The whole reference as Markdown."""
    return "\n".join([HEAD, *_sections(cli, click.Context(cli, info_name="farm", **cli.context_settings))])


def _sections(command: click.Command, ctx: click.Context) -> Iterator[str]:
    ctx.terminal_width = ctx.max_content_width = 100
    yield f"## {ctx.command_path}\n\n```text\n{command.get_help(ctx).rstrip()}\n```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            child = command.get_command(ctx, name)
            assert child is not None
            settings = cli.context_settings  # the root's, inherited as at a call
            yield from _sections(child, click.Context(child, info_name=name, parent=ctx, **settings))


SETTINGS: Final = """\
# Settings

Made from `farm/settings.py` by `python -m farm.cli.reference settings`; a test fails when it is out of date. Each is an
environment variable, or the same name without `FARM_`, in small letters, in `FARM_HOME/farm.toml`; the variable wins.
Durations are in seconds.

| variable | default | values | meaning |
| --- | --- | --- | --- |
"""
OTHER_VARIABLES: Final = """
## Other variables

Not in `farm.toml`.

| variable | meaning |
| --- | --- |
"""
SWEEPS: Final = """\
# Sweep files

Made from `farm/sweeps/file.py` by `python -m farm.cli.reference sweeps`; a test fails when it is out of date. YAML, or
JSON; `farm sweep submit FILE` reads it. `-` is the standard input, `paper` the paper's grid, which ships. Only `models`
and `gpus` are required; a key that is not here is refused. Lists are axes, their product is the sweep; a single value
stands for a list of one. What a GPU cannot hold or a model cannot make is left out and said. `farm sweep submit FILE
--dry-run` checks, counts and forecasts without writing.

| key | default | meaning |
| --- | --- | --- |
"""
IN_AN_EDITOR: Final = """
## In an editor

[schemas/sweep.schema.json](schemas/sweep.schema.json) is a JSON Schema of these keys. Editors with the YAML language
server (VS Code's YAML extension, Neovim, Emacs, JetBrains) complete and check a sweep file that begins with

```yaml
# yaml-language-server: $schema=PATH/TO/docs/schemas/sweep.schema.json
```
"""


def settings() -> str:
    """Every setting as Markdown."""
    rows = (
        f"| `FARM_{name.upper()}` | {_default(field)} | {_values(Settings, name)} | {_meaning(field)} |\n"
        for name, field in Settings.model_fields.items()
    )
    others = (f"| `{name}` | {meaning} |\n" for name, meaning in NOT_SETTINGS.items())
    renamed = (f"`FARM_{old.upper()}` is now `FARM_{new.upper()}`.\n" for old, new in RENAMED.items())
    return "".join([SETTINGS, *rows, OTHER_VARIABLES, *others, "\nOf 0.1.0: ", *renamed])


def sweeps() -> str:
    """Every key of a sweep file as Markdown."""
    rows = (f"| `{name}` | {_default(field)} | {_meaning(field)} |\n" for name, field in SweepFile.model_fields.items())
    return SWEEPS + "".join(rows) + IN_AN_EDITOR


def sweep_schema() -> str:
    """The JSON Schema of a sweep file."""
    return _schema(SweepFile)


def _schema(model: type[BaseModel]) -> str:
    return json.dumps(model.model_json_schema(), indent=2) + "\n"


def _meaning(field: FieldInfo) -> str:
    return " ".join((field.description or "").split())


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, Path):
        return "`~/.local/share/joulefarm`"
    return "" if value is None or value == [] else f"`{json.dumps(value)}`"


def _values(model: type[Settings], name: str) -> str:
    """What a setting can be, in words."""
    schema = _property(model, name)
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    value = {"integer": "a whole number", "number": "a number", "string": "a text"}[schema["type"]]
    if schema.get("format") in ("path", "password"):
        value = {"path": "a path", "password": "a URL"}[schema["format"]]
    words = {"exclusiveMinimum": "above", "minimum": "from", "maximum": "to"}
    bounds = [f"{word} {schema[key]:g}" for key, word in words.items() if key in schema]
    return " ".join([value, *bounds])


def _property(model: type[Settings], name: str) -> dict[str, Any]:
    schema: dict[str, Any] = model.model_json_schema()["properties"][name]
    branches = [branch for branch in schema.get("anyOf", [schema]) if branch.get("type") != "null"]
    return dict(branches[0])


DOCUMENTS: Final[dict[str, Callable[[], str]]] = {
    "commands": render,
    "settings": settings,
    "sweeps": sweeps,
    "sweep-schema": sweep_schema,
    "gpu-schema": lambda: _schema(GpuFile),
    "model-schema": lambda: _schema(ModelFile),
}

if __name__ == "__main__":
    click.echo(DOCUMENTS[sys.argv[1] if len(sys.argv) > 1 else "commands"](), nl=False)
