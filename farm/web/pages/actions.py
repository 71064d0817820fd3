"""What bearers of the token may do from the page: pause, resume, cancel, retry and rank sweeps, take devices off."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qs, quote

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from farm.database import Store
from farm.domain.errors import FarmError, OperationError, RequestError
from farm.domain.job import PRIORITIES
from farm.domain.parsing import parse_switch, parse_text, parse_whole
from farm.domain.worker import NO_REASON
from farm.hosts import Hosts
from farm.sweeps import control
from farm.web import bearer
from farm.web.site import Here, Page, Site

MOST_BYTES: Final = 10_000  # of a form
ACTIONS: Final[Mapping[str, Callable[[Store, int], int]]] = {
    "pause": control.pause, "resume": control.resume, "cancel": control.cancel, "retry": control.retry,
}  # fmt: skip

router = APIRouter()


@router.post("/api/sweeps/{sweep}/{action}")
async def api_act(request: Request, site: Here, sweep: str, action: str) -> Response:
    """Do something to a sweep: pause, resume, cancel, retry; or priority, with `priority=N` in the body."""
    return JSONResponse(await _act(request, site, sweep, action))


@router.post("/sweeps/{sweep}/{action}", include_in_schema=False)
async def act(request: Request, site: Here, sweep: str, action: str) -> Response:
    """The same from a button; then the sweep again."""
    done = await _act(request, site, sweep, action)
    return RedirectResponse(f"/sweeps/{done['sweep']}", status_code=303)


@router.post("/api/workers/{name}/maintenance")
async def api_maintenance(request: Request, site: Here, name: str) -> Response:
    """Take the device of a worker off, with a `reason`, or back, with `end=1`."""
    return JSONResponse(await _maintain(request, site, name))


@router.post("/devices/{name}/maintenance", include_in_schema=False)
async def maintenance(request: Request, site: Here, name: str) -> Response:
    """The same from a button; then the devices again."""
    await _maintain(request, site, name)
    return RedirectResponse("/devices", status_code=303)


@router.get("/login", include_in_schema=False)
def login(request: Request, site: Here, to: str = "/sweeps") -> Response:
    """A form for the token."""
    return site.page(request, "login.html.j2", to=_own(to), refused=False)


@router.post("/login", include_in_schema=False)
async def log_in(request: Request, site: Here) -> Response:
    """A cookie for whoever knows the token."""
    bearer.require_own_page(request)
    form = await _form(request)
    to = _own(form.get("to", "/sweeps"))
    response: Response = RedirectResponse(to, status_code=303)
    if bearer.log_in(request, site.token, form.get("token", ""), response):
        return response
    return await run_in_threadpool(site.page, request, "login.html.j2", status=403, to=to, refused=True)


@router.post("/logout", include_in_schema=False)
async def log_out(request: Request, site: Here) -> Response:
    """Take the cookie away."""
    bearer.require_own_page(request)
    response = RedirectResponse("/sweeps", status_code=303)
    response.delete_cookie(bearer.COOKIE)
    return response


async def _act(request: Request, site: Site, sweep: str, action: str) -> dict[str, Any]:
    bearer.require(request, site.token)
    form = await _form(request)
    if action not in {*ACTIONS, "priority"}:
        raise HTTPException(404, f"no such action: {action}; there are {', '.join(ACTIONS)}, priority")
    return await run_in_threadpool(_done, site, sweep, action, form)


def _done(site: Site, sweep: str, action: str, form: Mapping[str, str]) -> dict[str, Any]:
    """As the commands print it: how many jobs it was about."""
    store = site.store()
    try:
        row = control.resolve(store, sweep)
    except RequestError as error:
        raise HTTPException(404, str(error)) from None
    more = {"priority": _priority(form.get("priority"))} if action == "priority" else {}
    do = partial(control.set_priority, priority=more["priority"]) if more else ACTIONS[action]
    try:
        jobs = do(store, row["id"])
    except FarmError as error:
        raise _refusal(error) from error
    finally:
        site.recent.forget()
    return {"sweep": row["id"], "name": row["name"], **more, "jobs": jobs}


async def _maintain(request: Request, site: Site, name: str) -> dict[str, Any]:
    bearer.require(request, site.token)
    form = await _form(request)
    return await run_in_threadpool(_maintained, site, name, form)


def _maintained(site: Site, name: str, form: Mapping[str, str]) -> dict[str, Any]:
    """As `farm workers maintenance --json` prints it."""
    hosts = Hosts(site.store())
    end = parse_switch("end", form.get("end") or "0")
    reason = parse_text("reason", form.get("reason")) or NO_REASON
    try:
        device = hosts.put_back(name) if end else hosts.take_off(name, reason)
    except RequestError as error:
        raise (HTTPException(404, str(error)) if error.field == "worker" else _refusal(error)) from error
    except FarmError as error:
        raise _refusal(error) from error
    finally:
        site.recent.forget()
    return {**device, "off": not end}


def _priority(text: object) -> int:
    low, high = PRIORITIES
    number = parse_whole("priority", text)
    if not low <= number <= high:
        raise RequestError("priority", text, f"a whole number from {low} to {high}")
    return number


def _refusal(error: FarmError) -> Exception:
    """A database that this page may only read is no fault of the request's, nor away."""
    only_reads = (isinstance(error, RequestError) and error.field == "database") or (
        isinstance(error, OperationError) and "permission denied" in str(error)
    )
    return HTTPException(403, f"the database lets this page only read ({error})") if only_reads else error


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form, the last of each name."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise HTTPException(413, f"a form of more than {MOST_BYTES} bytes")
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=20)
    except ValueError:
        raise HTTPException(400, "a form: fields as application/x-www-form-urlencoded") from None
    return {name: values[-1] for name, values in fields.items()}


def _own(path: str) -> str:
    """A path of this page; anybody can write a link with another."""
    return quote(path, safe="/?=&%:@-._~") if path.startswith("/") and not path.startswith(("//", "/\\")) else "/sweeps"


PAGE: Final = Page("Actions", None, 101, router)
