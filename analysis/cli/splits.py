"""Which rows a law is fitted to and which it is tested on: the options of ``farm law validate`` and ``plot``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from analysis.cli.options import parse_names
from farm.cli.completion import complete_gpus, complete_models
from farm.cli.options import LEVEL
from farm.domain.errors import RequestError

if TYPE_CHECKING:
    from analysis.table import Table
    from analysis.validation import Validation

F = TypeVar("F", bound=Callable[..., Any])

_SIDES = ("train", "test", "train_gpu", "test_gpu", "train_dataset", "test_dataset")


def split_options(function: F) -> F:
    """Which rows are fitted and which are tested, passed on as a keyword each."""
    for option in (
        click.option("--level", type=LEVEL, default=0.9, show_default=True, help="Of the intervals."),
        click.option("--folds", default="2", show_default=True, help="Folds of --within; loo leaves one row out."),
        click.option(
            "--within", metavar="MODEL", shell_complete=complete_models, help="Folds of the rows of one model."
        ),
        click.option("--test-dataset", metavar="A,B", help="Test on these data sets."),
        click.option("--train-dataset", metavar="A,B", help="Fit to these data sets."),
        click.option("--test-gpu", metavar="A,B", shell_complete=complete_gpus, help="Test on these GPUs."),
        click.option("--train-gpu", metavar="A,B", shell_complete=complete_gpus, help="Fit to these GPUs."),
        click.option("--test", metavar="A,B", shell_complete=complete_models, help="Test on these models."),
        click.option("--train", metavar="A,B", shell_complete=complete_models, help="Fit to these models."),
    ):
        function = option(function)
    return function


def is_split(options: Mapping[str, Any]) -> bool:
    """Tell whether these options, as :func:`split_options` passes them on, name rows to fit to or to test on."""
    return any(options[name] for name in (*_SIDES, "within"))


def validation_of(
    law_name: str,
    table: Table,
    *,
    train: str | None,
    test: str | None,
    train_gpu: str | None,
    test_gpu: str | None,
    train_dataset: str | None,
    test_dataset: str | None,
    within: str | None,
    folds: str,
    level: float,
) -> Validation:
    """Validate a law as the options of :func:`split_options` say. RequestError where they name no split, or two."""
    from analysis import laws, validation

    fresh = laws.get(law_name)()
    sides = (train, test, train_gpu, test_gpu, train_dataset, test_dataset)
    held_out = {name: parse_names(text) for name, text in zip(_SIDES, sides, strict=True)}
    if within is not None:
        if any(held_out.values()):
            raise RequestError("within", within, "alone, without --train and --test")
        rows = table.where(model=within)
        if not len(rows):
            raise RequestError("within", within, f"one of {', '.join(table.names('model')) or 'no models'}")
        return validation.within(fresh, rows, _folds(folds, rows), level=level)
    if not any(held_out.values()):
        raise RequestError(
            "split", "none", "--train and --test (or -gpu, -dataset), --leave-out KIND, or --within MODEL"
        )
    return validation.held_out(fresh, table, **held_out, level=level)


def _folds(text: str, rows: Table) -> int:
    if text == "loo":
        return int((~rows.spoiled).sum())
    try:
        return int(text)
    except ValueError:
        raise RequestError("folds", text, "a whole number from 2, or loo") from None
