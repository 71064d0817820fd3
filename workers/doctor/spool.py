"""Says what lies in the spool: results that wait for the database, and results that no database took."""

from __future__ import annotations

from collections.abc import Iterator

from farm.doctor import Finding, ok, warning
from farm.domain import OperationError
from farm.settings import Settings
from workers.runtime.spool import Spool


def spool(settings: Settings) -> Iterator[Finding]:
    """Yield a finding on what waits, and one on measurements that were set aside, if somebody should look at them."""
    results = Spool(settings.spool)
    try:
        waiting, set_aside = results.waiting, results.set_aside
    except OperationError as error:
        yield warning("spool", str(error), "run farm doctor as the user whose FARM_HOME it is")
        return
    if waiting:
        yield warning("spool", f"{waiting} result(s) wait in {settings.spool}", "a running worker delivers them")
    else:
        yield ok("spool", "nothing waits")
    if set_aside:
        state = f"{set_aside} result(s) that could not be read, or were refused, lie in {results.corrupt}"
        yield warning("spool", state, "the worker's log says why; move them away once you have looked")
