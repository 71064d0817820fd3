"""What the commands of analysis share: which rows (--data, --only-own, --where, --db) and which law (--law)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from analysis.laws import DEFAULT
from farm import catalog
from farm.cli.options import db_option
from farm.domain.errors import RequestError
from farm.domain.parsing import parse_switch, split_sides

F = TypeVar("F", bound=Callable[..., Any])


def law_option(function: F) -> F:
    return click.option(
        "--law", "law_name", default=DEFAULT, show_default=True, help="The law, by its name in farm law list."
    )(function)


def data_options(function: F) -> F:
    """--data, --only-own, --where and --db, passed on as data, only_own, where and db."""
    function = click.option(
        "--data",
        metavar="FILE",
        help="CSV or Parquet: the only measured rows used. Default: the farm's and those shipped.",
    )(function)
    function = click.option("--only-own", is_flag=True, help="Leave out the rows that ship with joulefarm.")(function)
    function = click.option(
        "--where", multiple=True, metavar="KEY=VALUE", help="Only rows of this value; may be repeated."
    )(function)
    return db_option(function)


def parse_where(pairs: Sequence[str]) -> dict[str, list[Any]]:
    """``("model=flux", "cfg=1")`` as columns and values; several values of one column mean any of them."""
    chosen: dict[str, list[Any]] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        name, value = name.strip(), value.strip()
        if not equals or not name or not value:
            raise RequestError("where", pair, "key=value, such as model=flux")
        chosen.setdefault(name, []).extend(_value(name, part) for part in value.split(","))
    return chosen


def parse_names(text: str | None) -> tuple[str, ...]:
    """``a,b`` as ("a", "b")."""
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def parse_resolution(text: str) -> tuple[int, int]:
    """``512`` or ``1024x768`` as (width, height)."""
    width, height = split_sides(text)
    if not all(re.fullmatch(r"\s*[0-9]{1,9}\s*", side) for side in (width, height)):
        raise RequestError("resolution", text, "pixels of a side, such as 512, or WIDTHxHEIGHT")
    return int(width), int(height)


def _value(name: str, text: str) -> Any:
    if name == "cfg":
        return parse_switch("where cfg", text)
    if name in ("model", "gpu"):
        return catalog.model_name(text) if name == "model" else catalog.gpu_name(text)
    return text.strip()
