"""The law as predictions use it, fitted once for the rows there are, and what follows from it, worked out behind."""

from __future__ import annotations

import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, TypeVar

from farm import catalog
from farm.domain.errors import FarmError, OperationError
from farm.fits import Fits
from farm.settings import Settings
from farm.web import predicted
from farm.web.database import Database, away

if TYPE_CHECKING:
    from analysis.cli.fits import Fitted
    from analysis.table import Table

T = TypeVar("T")

NEEDS: Final = ("numpy", "sklearn")  # what the law takes: the extra [analysis]
INSTALL: Final = "pip install 'joulefarm[analysis]'"
CHECK_SECONDS: Final = 2.0  # no more often is looked whether rows came
PAGE_SECONDS: Final = 1.5  # what a page waits for a fit before it says that one is made
REST: Final = 9  # times as long as a fit took, before the next: a page spends a tenth of a core on them at most
KEPT: Final = 64  # results of a fit, those that were asked for last
PROGRAM_SECONDS: Final = 60.0  # what an answer in JSON waits


class NotFitted(OperationError):
    """No law can be asked: its fit is not made yet, or what it takes is not installed."""


@dataclass(frozen=True)
class Known:
    """A fitted law, the rows that predictions rest on, and what was worked out from both so far."""

    fitted: Fitted
    rows: Table  # that a fit nobody asked for by name may use
    source: str  # of the rows, in words
    key: Hashable  # of the rows, the catalog by which they were read, and the stored fit
    _pool: ThreadPoolExecutor
    others: predicted.Answers = field(default_factory=dict)  # of configurations that are none of the rows
    _results: OrderedDict[Hashable, Future[Any]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def derived(self, key: Hashable, work: Callable[[Known], T], *, wait: float = PAGE_SECONDS) -> T | None:
        """Does ``work`` once and returns what came of it; None while it is still at it. Raises what ``work`` raised."""
        with self._lock:
            if key not in self._results:
                while len(self._results) >= KEPT:
                    self._results.popitem(last=False)
                self._results[key] = self._pool.submit(work, self)
            self._results.move_to_end(key)
            result = self._results[key]
        try:
            value: T = result.result(timeout=wait)
        except NotYet:
            return None
        return value


class Knowledge:
    """The newest :class:`Known` of each law. While another is made of newer rows, the one before answers."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._fits = ThreadPoolExecutor(1, thread_name_prefix="fit")
        self._later = ThreadPoolExecutor(1, thread_name_prefix="derived")  # a fit does not wait for what takes long
        self._lock = threading.Lock()
        self._known: dict[str | None, Known] = {}
        self._work: dict[str | None, tuple[Hashable, Future[Known]]] = {}
        self._mark: tuple[float, Hashable] | None = None  # until when it is good
        self._rests_until: dict[str | None, float] = {}

    @staticmethod
    def lacking() -> list[str]:
        """The packages that are not installed and without which no law can be fitted."""
        # What was imported is not looked for again: that reads folders, at every request.
        return [name for name in NEEDS if sys.modules.get(name) is None and find_spec(name) is None]

    def known(self, law: str | None = None, *, wait: float = PAGE_SECONDS) -> Known | None:
        """The law that predictions use, or the one of that name; None while its first fit is made.

        Raises:
            RequestError: no such law, or rows that it refuses.
            NotFitted: the extra [analysis] is not installed.
            OperationError: the database is away.
        """
        if missing := self.lacking():
            raise NotFitted(f"predictions need {', '.join(missing)}: {INSTALL}")
        if law is not None:
            from analysis import laws

            laws.get(law)
        with away():
            return self._newest(law, wait)

    def _newest(self, law: str | None, wait: float, *, again: bool = True) -> Known | None:
        mark = self._marked()
        with self._lock:
            of, work = self._work.get(law, (None, None))
            # One at a time: where rows come faster than they are fitted, each fit is still ended and used.
            current = of == mark or self._rests_until.get(law, 0.0) > time.monotonic()
            begun_before = work is not None and (current or not work.done())
            if work is None or not begun_before:
                work = self._fits.submit(self._made, law)
                self._work[law] = (mark, work)
            before = self._known.get(law)
        try:
            newest = work.result(timeout=0 if before is not None else wait)
        except NotYet:
            return before
        except Exception:
            with self._lock:  # tried anew at the next request
                if law in self._work and self._work[law][1] is work:
                    del self._work[law]
                self._mark = None
            if begun_before and again:  # for an earlier one: it may have met a database that was just being made
                return self._newest(law, wait, again=False)
            raise
        return newest

    def begin(self) -> None:
        """Have the first fit made before anybody asks, where it can be."""
        with suppress(FarmError):  # said to whoever asks
            self.known(wait=0)

    def close(self) -> None:
        """Begin no more fits; what is at work ends by itself."""
        self._fits.shutdown(wait=False, cancel_futures=True)
        self._later.shutdown(wait=False, cancel_futures=True)

    def _marked(self) -> Hashable:
        """Another value when rows came or went that are fitted, when another fit was made or pinned, and for another
        catalog."""
        with self._lock:
            if self._mark is not None and time.monotonic() < self._mark[0]:
                return self._mark[1]
        start = time.monotonic()
        store = self._database.store()
        fits = Fits(store)
        value = (self._database.missing, store.name, fits.rows_mark(), fits.mark(), _catalog_mark())
        end = time.monotonic()
        with self._lock:
            self._mark = (end + max(CHECK_SECONDS, REST * (end - start)), value)
        return value

    def _made(self, law: str | None) -> Known:
        from analysis.cli.fits import fit_in_use, fit_now, stored_fit
        from analysis.cli.rows import fit_rows

        start = time.monotonic()
        url = self._database.url or (None if self._database.missing else self._settings.database())
        rows = fit_rows(None, (), url)
        fitted = fit_in_use(url, law) or stored_fit(rows, law, url)
        key = (rows.source, rows.table.digest(), _catalog_mark(), fitted and fitted.fit_id)
        with self._lock:
            before = self._known.get(law)
        if before is None or before.key != key:
            known = Known(fitted or fit_now(rows, law), rows.table, rows.source, key, self._later)
            known.derived(predicted.of_rows, predicted.of_rows, wait=0)
        else:  # simulated rows came, say: what was worked out stays
            known = before
        with self._lock:
            self._known[law] = known
            self._rests_until[law] = time.monotonic() + REST * (time.monotonic() - start)
        return known


def _catalog_mark() -> int:
    """Another number for another catalog."""
    models, gpus = catalog.models().values(), catalog.gpus().values()
    return hash((*(model.digest for model in models), *(gpu.digest for gpu in gpus)))
