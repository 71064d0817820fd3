"""What the shell completes: names of the catalog, also in comma lists, and the farm's sweeps."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

from farm import catalog
from farm.domain.errors import FarmError

Completion = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def names(entries: Callable[[], Iterable[str]]) -> Completion:
    """Complete the last name of a comma list; what was given before it is not offered again."""

    def complete(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        before, comma, last = incomplete.rpartition(",")
        taken = set(before.split(","))
        return [
            CompletionItem(before + comma + name) for name in entries() if name.startswith(last) and name not in taken
        ]

    return complete


def complete_sweep(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The ids of the farm's sweeps, with their names beside them; none where the database cannot be read."""
    from farm.database import opened
    from farm.sweeps.control import listing

    try:
        with opened(ctx.params.get("db"), create=False) as store:
            rows = listing(store)
    except FarmError:
        return []
    return [
        CompletionItem(str(row["id"]), help=str(row["name"])) for row in rows if str(row["id"]).startswith(incomplete)
    ]


def complete_models_and_folders(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of models; folders once a path was begun, where a model may be one in diffusers layout."""
    if incomplete.startswith((".", "/", "~")):
        return [CompletionItem(incomplete, type="dir")]
    return complete_models(ctx, param, incomplete)


complete_models = names(lambda: sorted(catalog.models()))
complete_gpus = names(lambda: sorted(catalog.gpus()))
