"""What several commands share: the options --db, --broker and --json, and how one JSON document is printed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click
from click.shell_completion import CompletionItem

from farm import catalog
from farm.cli.completion import Completion, complete_gpus, complete_models
from farm.domain.documents import json_text

F = TypeVar("F", bound=Callable[..., Any])


class FiniteRange(click.FloatRange):
    """A range of numbers; neither nan, which is in every range for click, nor an infinity."""

    name = "float range"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


class CatalogName(click.ParamType[str]):
    """The name of a model or a GPU type, by any name it goes by; becomes that of the catalog."""

    name = "text"

    def __init__(self, find: Callable[[str], str], complete: Completion) -> None:
        self._find = find
        self._complete = complete

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return self._complete(ctx, param, incomplete)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return self._find(str(value))


MODEL: Final = CatalogName(lambda text: catalog.find_model(text).name, complete_models)
GPU: Final = CatalogName(lambda text: catalog.find_gpu(text).name, complete_gpus)
# Of rows that there are, which may be of what the catalog lacks.
ROWS_MODEL: Final = CatalogName(catalog.model_name, complete_models)
ROWS_GPU: Final = CatalogName(catalog.gpu_name, complete_gpus)
LEVEL: Final = FiniteRange(min=0, max=1, min_open=True, max_open=True)  # a probability
SPEED: Final = FiniteRange(min=0.001)  # simulated seconds in a real one
LIST_WIDTH: Final = 400  # columns of a list: as wide as its rows are, whatever the terminal


def db_option(function: F) -> F:
    return click.option("--db", metavar="URL", help="Database URL (FARM_DATABASE_URL; default: SQLite in FARM_HOME).")(
        function
    )


def broker_option(function: F) -> F:
    return click.option("--broker", metavar="URL", help="Broker URL (FARM_BROKER_URL; default: the embedded one).")(
        function
    )


def json_option(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")(function)


def emit_json(document: Any) -> None:
    """Print exactly one JSON document on stdout; NaN and infinities become null, since they are not JSON."""
    click.echo(json_text(document, indent=2))
