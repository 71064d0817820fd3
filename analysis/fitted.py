"""Laws fitted to rows: once in a process for what was asked for lately, whoever asks."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

from analysis import laws
from analysis.laws.base import Law
from analysis.table import Table
from farm import catalog

KEPT: Final = 8  # fits that a process keeps
_kept: Final[OrderedDict[tuple[str, str, str], Law]] = OrderedDict()
_lock: Final = threading.Lock()


def fit_once(name: str, rows: Table) -> Law:
    """The law of that name, as it comes, fitted to these rows. It is shared: fit a fresh one to change it.

    Raises:
        RequestError: no law of that name, or rows that it refuses.
    """
    key = (name, f"{rows.digest()} {' '.join(rows.flags.tolist())}", _entries(rows))
    with _lock:
        law = _kept.get(key)
        if law is not None:
            _kept.move_to_end(key)
            return law
    law = laws.get(name)().fit(rows)
    with _lock:
        _kept[key] = law
        while len(_kept) > KEPT:
            _kept.popitem(last=False)
    return law


def _entries(rows: Table) -> str:
    """The digests of the catalog's entries that these rows are of: a fit is of them, too."""
    models, gpus = catalog.models(), catalog.gpus()
    digests = [models[name].digest for name in rows.names("model") if name in models]
    return " ".join([*digests, *(gpus[name].digest for name in rows.names("gpu") if name in gpus)])
