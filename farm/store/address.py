"""What a database URL says: where the database is, how it is connected to, what of it may be shown."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from farm.domain.errors import RequestError
from farm.urls import SQLITE, file_of, is_plain

URL_REMEDY: Final = "sqlite:///PATH or postgresql://USER@HOST/NAME, special characters of a password percent-encoded"


def parse(url: str) -> URL:
    """The address of a SQLite file or a PostgreSQL database. RequestError, without a password, for anything else."""
    try:
        if (file := file_of(url)) is not None:
            return make_url(SQLITE + "?" + url.partition("?")[2]).set(database=str(file))
        if not is_plain(url):
            raise ValueError
        parsed = make_url(url)
        if parsed.get_backend_name() in ("postgres", "postgresql"):
            parsed = parsed.set(drivername="postgresql+psycopg")
            options(parsed)
            return parsed
        if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
            return parsed
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise RequestError("database URL", "(not shown, it may hold a password)", URL_REMEDY) from None
    raise RequestError("database URL", shown(parsed), URL_REMEDY)


def options(url: URL) -> dict[str, Any]:
    """What the query of a PostgreSQL URL says, as the driver takes it; RequestError for an option it does not have."""
    from psycopg import pq

    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()} | {"prepare_threshold"}
    stated: dict[str, Any] = {}
    for name, value in url.query.items():
        text = value if isinstance(value, str) else ",".join(value)
        if name not in known:
            raise RequestError("database URL", f"?{name}=", "an option of libpq, such as sslmode or connect_timeout")
        stated[name] = text
    if "prepare_threshold" in stated:
        threshold = stated["prepare_threshold"]
        if not threshold.isascii() or not (threshold.isdecimal() or threshold.lower() == "none"):
            raise RequestError("database URL", f"?prepare_threshold={threshold}", "a number of executions, or none")
        stated["prepare_threshold"] = int(threshold) if threshold.isdecimal() else None
    return stated


def shown(url: URL) -> str:
    """The URL without passwords, which libpq also takes in the query (``password``, ``sslpassword``)."""
    hidden = {key: "***" for key in url.query if "password" in key}
    return url.update_query_dict(hidden).render_as_string(hide_password=True)
