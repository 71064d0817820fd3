"""One way to log for every long-running process: one line an event, on stderr."""

from __future__ import annotations

import logging

from farm.settings import Settings

FORMAT = "%(asctime)s %(levelname)s %(message)s"


def configure(settings: Settings) -> None:
    """Send the project's log to stderr at the level of the settings; libraries speak only when something is wrong."""
    logging.basicConfig(format=FORMAT, level=logging.WARNING)
    logging.getLogger("psycopg").setLevel(logging.ERROR)  # that a connection broke is said by whoever used it
    for package in ("farm", "workers", "analysis"):
        logging.getLogger(package).setLevel(settings.log_level.upper())
