"""Measurements as somebody looks through them: filtered, sorted, a page at a time; one of them whole."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from farm import results
from farm.domain import FLAGS, RequestError
from farm.domain.configuration import MAX_SEED, PRECISIONS, SIZES, WEIGHTS, WHOLE
from farm.domain.errors import unknown_name
from farm.domain.parsing import parse_positive_joules, parse_precision, parse_switch, parse_whole, split_sides
from farm.domain.row import COLUMNS, OWN, Row
from farm.domain.times import utc
from farm.store import audit, rows
from farm.store import results as sql
from farm.store.engine import Connection, Store

LIMIT: Final = 100  # rows of a page, unless told otherwise
MOST: Final = 1000
FARTHEST: Final = 10**9  # offset
NEWEST: Final = "-added_at"
MOST_VALUES: Final = 200  # of one filter
WORDS: Final = ("model", "gpu", "dataset", "origin")  # filters that are taken as they are


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """Which measurements somebody wants to see, and in which order.

    Attributes:
        sort: a column of farm.store.rows.SORTS, with ``-`` before it the largest first.
    """

    wanted: rows.Wanted = field(default_factory=rows.Wanted)
    sort: str = NEWEST
    limit: int = LIMIT
    offset: int = 0

    @property
    def column(self) -> str:
        return self.sort.removeprefix("-")

    @property
    def descending(self) -> bool:
        return self.sort.startswith("-")


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """Some of the rows that a query is about."""

    total: int
    rows: list[dict[str, Any]]  # narrow columns, as farm.store.rows gives them


def parse(parameters: Iterable[tuple[str, str]]) -> Query:
    """A query from names and texts, as they stand in a URL. RequestError for what is none of ours or cannot be.

    Any key of a configuration, ``resolution``, ``dataset``, ``origin``, ``flag`` (a ``-`` before it: without),
    ``spoiled``, ``min_joules`` and ``max_joules`` (an image) filter; several values, by commas or by naming a filter
    again, are alternatives. ``sort``, ``limit`` and ``offset`` pick the page. What is empty filters nothing.
    """
    given: dict[str, list[str]] = {}
    for name, text in parameters:
        if name not in FILTERS and name not in _PAGING:
            raise unknown_name("filter", name, {*FILTERS, *_PAGING})
        given.setdefault(name, []).extend(part.strip() for part in text.split(",") if part.strip())
    given = {name: list(dict.fromkeys(texts)) for name, texts in given.items() if texts}
    for name, texts in given.items():
        if len(texts) > MOST_VALUES:
            raise RequestError(name, f"{len(texts)} values", f"at most {MOST_VALUES}")
    values: dict[str, Collection[Any]] = {}
    for name, texts in given.items():
        if name in _VALUES:
            values[name] = [_VALUES[name](text) for text in texts]
    sides = [split_sides(text) for text in given.get("resolution", [])]
    flags = [_flag(text) for text in given.get("flag", [])]
    wanted = rows.Wanted(
        values=values,
        sides=[(_whole("resolution", width), _whole("resolution", height)) for width, height in sides],
        flags=[flag for flag in flags if not flag.startswith("-")],
        without_flags=[flag.removeprefix("-") for flag in flags if flag.startswith("-")],
        least_joules=_joules("min_joules", given),
        most_joules=_joules("max_joules", given),
    )
    return Query(
        wanted=wanted,
        sort=_sort(_last(given, "sort", NEWEST)),
        limit=_between("limit", _last(given, "limit", str(LIMIT)), 1, MOST),
        offset=_between("offset", _last(given, "offset", "0"), 0, FARTHEST),
    )


def _last(given: Mapping[str, Sequence[str]], name: str, default: str) -> str:
    return given[name][-1] if name in given else default


def _whole(name: str, text: object) -> int:
    return _between(name, text, 0, MAX_SEED)


def _between(name: str, text: object, low: int, high: int) -> int:
    number = parse_whole(name, text)
    if not low <= number <= high:
        raise RequestError(name, text, f"a whole number from {low} to {high}")
    return number


def _one_of(name: str, allowed: Collection[str], text: str) -> str:
    if text not in allowed:
        raise unknown_name(name, text, allowed)
    return text


def _precision(text: str) -> str:
    return _one_of("precision", PRECISIONS, str(parse_precision(text)))


def _word(name: str, text: str) -> str:
    if not text.isprintable() or len(text) > 200:
        raise RequestError(name, text, "a name of up to 200 printable characters")
    return text


def _flag(text: str) -> str:
    _one_of("flag", FLAGS, text.removeprefix("-"))
    return text


def _joules(name: str, given: Mapping[str, Sequence[str]]) -> float | None:
    return parse_positive_joules(name, given[name][-1]) if name in given else None


def _sort(text: str) -> str:
    _one_of("sort", list(rows.SORTS), text.removeprefix("-"))
    return text


_VALUES: Final[Mapping[str, Callable[[str], Any]]] = {
    **{name: partial(_word, name) for name in WORDS},
    **{name: partial(_whole, name) for name in WHOLE},
    "precision": _precision,
    "weights": partial(_one_of, "weights", WEIGHTS),
    "size": partial(_one_of, "size", SIZES),
    "cfg": partial(parse_switch, "cfg"),
    "spoiled": partial(parse_switch, "spoiled"),
}
_PAGING: Final = ("sort", "limit", "offset")
FILTERS: Final = (*_VALUES, "resolution", "flag", "min_joules", "max_joules")


class Measurements:
    """The measured rows of a store, own and imported. Writes nothing."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def page(self, query: Query) -> Page:
        """The rows of one page in narrow columns, and how many there are on all pages."""
        with self._store.read() as db:
            return self._page(db, query)

    def _page(self, db: Connection, query: Query) -> Page:
        listed = rows.page(
            db, query.wanted, sort=query.column, descending=query.descending, limit=query.limit, offset=query.offset
        )
        return Page(total=rows.count(db, query.wanted), rows=listed)

    def documents(self, query: Query) -> dict[str, Any]:
        """A page as `farm results list --json` prints rows, and how many there are on all pages."""
        with self._store.read() as db:
            page = self._page(db, query)
            keys = [(row["dataset"], row["measurement_id"]) for row in page.rows]
            there = rows.documents(db, keys)
        listed = [results.document(_row(there[key])) for key in keys if key in there]
        return {
            "total": page.total,
            "count": len(listed),
            "limit": query.limit,
            "offset": query.offset,
            "sort": query.sort,
            "results": listed,
        }

    def mark(self) -> tuple[int, float | None]:
        """Another value when rows came or went: how many there are, and when the newest came."""
        with self._store.read() as db:
            return rows.mark(db)

    def choices(self) -> dict[str, list[Any]]:
        """What a filter can be set to: the values that rows have."""
        with self._store.read() as db:
            there = rows.choices(db, ("model", "gpu", "dataset", "precision", "cfg", "steps"))
            return {**there, "flag": rows.flags(db)}

    def one(self, measurement_id: str, dataset: str | None = None) -> dict[str, Any]:
        """A measurement as `farm measure --json` prints it, or an imported row; with its data set, its job and the
        attempts at that. RequestError where there is none of that id."""
        with self._store.read() as db:
            there = rows.datasets_of(db, measurement_id)
            if not there or (dataset is not None and dataset not in there):
                remedy = "a measurement_id, as `farm results list --json` has them"
                raise RequestError("measurement", measurement_id, remedy)
            key = (dataset or there[0], measurement_id)
            record = rows.documents(db, [key])[key]
            job = None if record["job_id"] is None else audit.job(db, record["job_id"])
            has_samples = job is not None and sql.has_samples(db, measurement_id)
        origin = {"dataset": key[0], "datasets": there, "has_samples": has_samples}
        if record["own"] is None:
            return {**results.document(_row(record)), **origin, "job": None, "attempts": [], "worker": None}
        return {
            **record["own"],
            **origin,
            "job": record["job_id"],
            "attempt": record["attempt"],
            "worker": record["worker"],
            "recorded_at": utc(record["recorded_at"]),
            "attempts": job["attempts"] if job else [],
        }

    def columns(self, query: Query) -> list[str]:
        """The columns that a file of all rows has: those of every table, then what the rows bring beside them."""
        names = dict.fromkeys(COLUMNS)
        for row in self.rows(query):
            names.update(dict.fromkeys(row.extra))
        return list(names)

    def rows(self, query: Query) -> Iterator[Row]:
        """All rows that a query is about, not only its page, one after another."""
        with (
            self._store.snapshot() as db,
            closing(rows.whole(db, query.wanted, sort=query.column, descending=query.descending)) as records,
        ):
            yield from map(_row, records)


def _row(record: Mapping[str, Any]) -> Row:
    if record["own"] is not None:
        return results.own_row({**record, "document": record["own"]})
    return results.imported_row({"document": record["imported"]})


__all__ = ["FILTERS", "LIMIT", "NEWEST", "OWN", "Measurements", "Page", "Query", "parse"]
