"""What the commands of a GPU host share: the option --meter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def meter_option(function: F) -> F:
    return click.option(
        "--meter",
        "meter_name",
        default="auto",
        metavar="NAME",
        show_default=True,
        help="`nvml`, `codecarbon` (as the paper did), `both` (its number beside NVML's), or one that was added.",
    )(function)
