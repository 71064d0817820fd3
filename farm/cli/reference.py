"""docs/commands.md, made from the commands themselves: ``python -m farm.cli.reference > docs/commands.md``."""

from __future__ import annotations

from collections.abc import Iterator

import click

from farm.cli import cli

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


if __name__ == "__main__":
    click.echo(render(), nl=False)
