"""The command line. Subcommands live beside this file, in workers.cli and analysis.cli, and are loaded by name only
when they are called, so that ``farm --help`` stays fast."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import traceback
from typing import Any, Final

import click

from farm import imports
from farm.cli import streams
from farm.cli.shadows import refuse_shadow
from farm.domain.errors import FarmError
from farm.domain.text import one_line

# name -> (module:attribute, the one line that `farm --help` shows). A test holds both against the code.
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "broker": ("farm.cli.broker:broker", "Set up a lab's own Redis or Valkey."),
    "calibrate": (
        "farm.cli.calibrate:command",
        "A minute on a new GPU, kept as a data set that every later fit uses.",
    ),
    "coordinator": (
        "farm.cli.coordinator:coordinator",
        "Send jobs to the queues, take back lost ones, refit when results came.",
    ),
    "db": ("farm.cli.db:db", "Upgrade the database, back it up, restore it, open it to workers and readers."),
    "demo": ("farm.cli.demo:demo", "The main job on this machine, from nothing."),
    "doctor": ("farm.cli.doctor:doctor", "Can this host measure? A line each: ok, warning or failure, and what to do."),
    "down": ("farm.cli.up:down", "Stop the embedded farm of this FARM_HOME."),
    "events": ("farm.cli.events:events", "List events; send one to try the receivers."),
    "flops": ("analysis.cli.flops:flops", "The work of one image or video and of one denoising step."),
    "gpus": ("farm.cli.catalog:gpus", "The GPU types of the catalog, processors and a lab's own among them."),
    "jobs": ("farm.cli.jobs:jobs", "List jobs; show every attempt of one."),
    "law": ("analysis.cli:law", "Fit, validate, show, list, plot and pin the laws."),
    "measure": ("workers.cli.measure:measure", "Measure one configuration, here, without a queue."),
    "meter": ("workers.cli.meter:meter", "The GPU energy of a command: what it drew above idle, with a 95 % interval."),
    "models": ("farm.cli.catalog:models", "The models of the catalog, a lab's own among them."),
    "plan": ("analysis.cli:plan", "The configurations worth measuring next."),
    "predict": ("analysis.cli:predict", "Joules of a configuration, with an interval."),
    "report": ("farm.cli.report:report", "What is known, as a document."),
    "reproduce": ("analysis.cli:reproduce", "The figures and tables of the paper, beside what it prints."),
    "results": ("farm.cli.results:results", "List, export and import measurements."),
    "revoke": ("farm.cli.revoke:revoke", "Bar a role of the database or user of the broker; end its open sessions."),
    "serve": ("farm.cli.serve:serve", "What is known, as a live page."),
    "sweep": ("farm.cli.sweep:sweep", "Submit and watch sweeps."),
    "up": ("farm.cli.up:up", "Run a whole farm on this machine: broker, coordinator, and a worker for every device."),
    "weights": ("workers.cli.weights:weights", "Fetch pretrained weights beforehand."),
    "worker": ("workers.cli.worker:worker", "Measure the jobs of one GPU type on one device until SIGTERM."),
    "workers": ("farm.cli.workers:workers", "List, drain and restart workers; take their devices off and back."),
}

EXTRAS: Final = {"analysis": "analysis", "workers": "worker"}  # top-level package -> what installs its dependencies


class LazyGroup(click.Group):
    """A group that knows its commands' names and first lines, and imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name][0].split(":")
        if module.partition(".")[0] in EXTRAS:
            refuse_shadow(module.partition(".")[0])
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(ctx)])


def _print_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from farm.version import __version__, commit

        click.echo(f"joulefarm {__version__} ({commit() or 'installed'})")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Version.")
def cli() -> None:
    """Measure and predict the energy of image generation."""


def main(argv: list[str] | None = None) -> None:
    """Entry point: turns every error into one line on stderr and the agreed exit code (CONTRACT: 0, 1, 2).

    Warnings of libraries go to the log, which only long-running commands write: no user can act on them.
    """
    imports.leave_out_caller()
    logging.captureWarnings(True)
    problem = streams.prepare()
    if "_FARM_COMPLETE" in os.environ:
        importlib.import_module("farm.cli.shells").register()
    code = _complain(problem, 1) if problem else run(argv)
    if unwritten := streams.unwritable():
        code = _complain(unwritten, 1)
    sys.exit(code)


def run(argv: list[str] | None = None) -> int:
    try:
        return _invoke(argv)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.Abort:
        return _complain("interrupted", 130)
    except click.ClickException as error:
        return _complain(error.format_message(), 2)
    except FarmError as error:
        return _complain(str(error), error.exit_code)
    except BrokenPipeError:
        # The reader of our output went away (| head): not an error of ours, but nothing more can be written.
        streams.give_up()
        return 1
    except ModuleNotFoundError as error:
        if os.environ.get("FARM_DEBUG"):
            raise
        return _complain(f"this command needs {error.name}: pip install 'joulefarm[{_extra(error)}]'", 1)
    except Exception as error:
        if os.environ.get("FARM_DEBUG"):
            raise
        if isinstance(error, OSError) and streams.unwritable():
            return 1  # main says what it says
        return _complain(f"unexpected {type(error).__name__}: {error} (FARM_DEBUG=1 shows where)", 1)


def _invoke(argv: list[str] | None) -> int:
    try:
        outcome: Any = cli.main(args=argv, prog_name="farm", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        return _no_command(error.ctx)
    return outcome if isinstance(outcome, int) else 0


def _no_command(ctx: click.Context | None) -> int:
    """``farm`` alone shows its help; ``farm sweep`` alone is a request that lacks a word."""
    if ctx is None or ctx.parent is None:
        click.echo(cli.get_help(ctx or click.Context(cli, info_name="farm")))
        return 0
    names = ctx.command.list_commands(ctx) if isinstance(ctx.command, click.Group) else []
    return _complain(f"{ctx.info_name}: a command is missing: one of {', '.join(names)}", 2)


def _extra(error: ModuleNotFoundError) -> str:
    """The extra that brings the module: that of the last package of ours on the way to its import."""
    modules = [str(frame.f_globals.get("__name__")) for frame, _ in traceback.walk_tb(error.__traceback__)]
    ours = [EXTRAS[name] for name in (module.partition(".")[0] for module in modules) if name in EXTRAS]
    return ours[-1] if ours else ",".join(EXTRAS.values())


def _complain(message: str, code: int) -> int:
    try:
        click.echo("farm: " + one_line(message), err=True)
    except OSError:  # who cannot be told is told by the exit code
        streams.give_up_error()
    return code
