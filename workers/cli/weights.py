"""``farm weights``: pretrained weights of a weekend's models, brought here beforehand."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.shell_completion import CompletionItem

from farm import catalog
from farm.cli.completion import complete_models, complete_sweep
from farm.cli.options import db_option, emit_json, json_option
from farm.database import opened
from farm.domain import OperationError, RequestError
from farm.domain.words import UNKNOWN, with_prefix
from farm.files.yaml import STDIN
from farm.sweeps import control
from farm.sweeps.read import read_spec, stored_spec
from farm.sweeps.weights import pretrained_models

if TYPE_CHECKING:
    from workers.pipelines.hub import Weights

SWEEP_FILES: Final = (".yaml", ".yml")  # a word that ends so is one, whatever else is called so


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return complete_models(ctx, param, incomplete) + complete_sweep(ctx, param, incomplete)


@click.group()
def weights() -> None:
    """Fetch pretrained weights beforehand."""


@weights.command()
@click.argument("words", metavar="MODEL|SPEC.yaml|SWEEP...", nargs=-1, required=True, shell_complete=_complete)
@click.option("--dry-run", is_flag=True, help="Say how much there is to fetch, and the free disk; fetch nothing.")
@db_option
@json_option
def fetch(words: tuple[str, ...], dry_run: bool, db: str | None, as_json: bool) -> None:
    """Bring pretrained weights into the hub's cache: of models, or of all that a sweep's jobs will load.

    The files that a worker reads, at the revision that the catalog pins; those that are there already are not fetched
    again. Where the disk has no room for all of them, nothing is fetched. Gated models need their licence accepted on
    their page and HF_TOKEN. HF_HOME says where the cache is, HF_ENDPOINT which hub is asked.
    """
    needed = dict.fromkeys(pair for word in words for pair in _wanted(word, db))
    from workers.pipelines import hub

    models = [hub.look(catalog.model(name), size) for name, size in needed]
    free = hub.free_bytes()
    if not dry_run:
        hub.require_room(models, free)
    if not as_json:
        for line in _plan(models, free):
            click.echo(line, err=not dry_run)
    if not dry_run:
        with redirect_stdout(sys.stderr):
            models = [hub.fetch(each) for each in models]
    if as_json:
        emit_json(_document(models, free, dry_run))
    elif not dry_run:
        for each in models:
            if each.folder:
                click.echo(f"{each.model}: {each.repository} at {each.revision}, {_size(each.bytes)} in {each.folder}")
    hub.require_room(models, free)
    if problems := [each.why for each in models if each.why]:
        raise OperationError("; ".join(problems))


def _wanted(word: str, db: str | None) -> list[tuple[str, str]]:
    """Models and sizes that a word asks for: a model's name, a sweep file (``-``: standard input), a sweep's id or
    name.

    Of a sweep only what its jobs will load; none where all of them make do with random weights. The database is opened
    for a sweep alone. RequestError for a word that is none of them.
    """
    if word == STDIN or Path(word).suffix in SWEEP_FILES:
        return pretrained_models(read_spec(word))
    try:
        return [(catalog.find_model(word).name, "full")]
    except RequestError as error:
        unknown = error
    if Path(word).is_file():
        return pretrained_models(read_spec(word))
    try:
        with opened(db, create=False) as store:
            return pretrained_models(stored_spec(control.resolve(store, word)["spec"]))
    except RequestError:
        if word.isdecimal():
            raise
    raise RequestError("model, sweep file or sweep", word, unknown.remedy)


def _document(models: Sequence[Weights], free: int, dry_run: bool) -> dict[str, Any]:
    """What `--json` prints; of one model its own keys at the top, too."""
    from workers.pipelines import hub

    documents = [{key: value for key, value in asdict(each).items() if key != "known_bytes"} for each in models]
    return {
        **(documents[0] if len(documents) == 1 else {}),
        "models": documents,
        "bytes": hub.total([each.bytes for each in models]),
        "fetch_bytes": hub.total([each.fetch_bytes for each in models]),
        "free_bytes": free,
        "cache": str(hub.cache()),
        "dry_run": dry_run,
    }


def _plan(models: Sequence[Weights], free: int) -> Iterator[str]:
    """A line for each model that can be had, and one of their sum beside the free disk."""
    from workers.pipelines import hub

    if not models:
        yield "no pretrained weights are asked for: all weights are random"
    models = [each for each in models if each.why is None]
    for each in models:
        missing = "here" if each.folder else f"{_size(each.fetch_bytes)} to fetch"
        yield f"{each.model}: {each.repository}, {_size(each.bytes)}, {missing}"
    if not models:
        return
    least = "" if all(each.fetch_bytes is not None for each in models) else "at least "
    total = with_prefix(sum(each.known_bytes for each in models), "B")
    yield f"{least}{total} to fetch, {with_prefix(free, 'B')} free in {hub.cache()}"


def _size(size: int | None) -> str:
    return f"size {UNKNOWN}" if size is None else with_prefix(size, "B")
