"""The application: every page of farm.web.pages over one database, guarded, with errors as pages and as JSON."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from farm import style
from farm.domain.errors import FarmError, RequestError
from farm.domain.text import one_line
from farm.settings import Settings
from farm.version import __version__
from farm.web import pages
from farm.web.database import Database
from farm.web.guard import Guard
from farm.web.knowledge import Knowledge, NotFitted
from farm.web.site import STATIC, Site

logger = logging.getLogger(__name__)

API: Final = "/api/"
FOREVER: Final = "public, max-age=31536000, immutable"  # an address of a static file names its content


def create_app(
    database: Database, settings: Settings, *, token: str | None = None, names: Collection[str] = ()
) -> FastAPI:
    """The ASGI application.

    Args:
        database: what is shown; it may be away, and come back.
        settings: of the farm.
        token: whose bearers may change things; None: nobody may.
        names: hosts that it may be asked for by, beside addresses and this machine's own names.
    """
    site = Site(settings, database, Knowledge(database, settings), pages.registered(), token)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        site.knowledge.begin()
        yield
        site.close()

    app = FastAPI(title="joulefarm", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.state.site = site
    app.add_middleware(Guard, names=names)
    for page in site.pages:
        app.include_router(page.router)

    @app.get("/static/base.css", include_in_schema=False)
    def base_css() -> Response:
        return Response(style.sheet(), media_type="text/css", headers={"cache-control": FOREVER})

    app.mount("/static", _Static(directory=STATIC))
    app.add_exception_handler(FarmError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _failed)
    return app


class _Static(StaticFiles):
    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["cache-control"] = FOREVER
        return response


def _refused(request: Request, error: Exception) -> Response:
    """A wrong request, a law that cannot be asked, or a database that is away: that is opened anew at the next one."""
    site: Site = request.app.state.site
    if isinstance(error, NotFitted):
        return _problem(request, 503, "The law cannot be asked", str(error))
    if isinstance(error, RequestError) and error.field != "database":
        details = {"field": error.field, "value": error.value, "remedy": error.remedy}
        return _problem(request, 422, "This cannot be answered", str(error), details)
    site.database.forget()
    site.recent.forget()
    return _problem(request, 503, "The database is away", str(error), away=True)


def _invalid(request: Request, error: Exception) -> Response:
    """A parameter that is not what the route declares, as one line."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field, value = str(first["loc"][-1]), first.get("input")
    return _refused(request, RequestError(field, value, str(first["msg"]).lower()))


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    title = "There is no such page" if error.status_code == 404 else str(error.detail)
    response = _problem(request, error.status_code, title, f"{request.url.path}: {str(error.detail).lower()}")
    response.headers.update(error.headers or {})
    return response


def _failed(request: Request, error: Exception) -> Response:
    logger.error("%s %s", request.method, request.url.path, exc_info=error)
    return _problem(request, 500, "This failed", "A fault of the page's own; its log says more.")


def _problem(
    request: Request,
    status: int,
    title: str,
    line: str,
    details: dict[str, Any] | None = None,
    *,
    away: bool = False,
) -> Response:
    """One line of what, where and what to do: JSON for programs, a page for people."""
    line = one_line(line)  # it repeats what was asked for
    if request.url.path.startswith(API) or request.url.path in ("/healthz", "/metrics", "/openapi.json"):
        known = {name: value if _plain(value) else str(value) for name, value in (details or {}).items()}
        return JSONResponse({"error": line, **known}, status_code=status)
    site: Site = request.app.state.site
    return site.page(request, "problem.html.j2", status=status, title=title, line=line, away=away)


def _plain(value: object) -> bool:
    return value is None or isinstance(value, (str, int, bool)) or (isinstance(value, float) and value == value)
