"""What lies in the spool: results that wait for the database, and results that no database took. Nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator

from farm.doctor import Finding, ok, warning
from farm.settings import Settings
from workers.runtime.spool import Spool


def spool(settings: Settings) -> Iterator[Finding]:
    """One finding on what waits; one more where measurements were set aside, which somebody should look at."""
    results = Spool(settings.spool)
    if waiting := results.waiting:
        state = f"{waiting} result(s) wait in {settings.spool}"
        yield warning("spool", state, "a running worker delivers them")
    else:
        yield ok("spool", "nothing waits")
    try:
        count = results.set_aside
    except OSError as error:
        remedy = "run farm doctor as the user whose FARM_HOME it is"
        yield warning("spool", f"{results.corrupt}: {error.strerror}", remedy)
        return
    if count:
        state = f"{count} result(s) that could not be read, or were refused, lie in {results.corrupt}"
        yield warning("spool", state, "the worker's log says why; move them away once you have looked")
