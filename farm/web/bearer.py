"""Who may change things: bearers of the token of ``--token-file``, by a header or by the cookie that they get for it.

A browser sends the cookie with requests that other pages make it send, too; so with the cookie a request must come from
a page of ours, as the browser itself says.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final
from urllib.parse import urlsplit

from fastapi import Request, Response
from starlette.exceptions import HTTPException

COOKIE: Final = "joulefarm"
KEEP_SECONDS: Final = 30 * 86400
READ_ONLY: Final = "this page only reads: `farm serve --token-file FILE` lets bearers of a token change things"


def may(request: Request, token: str) -> bool:
    """Whether whoever asks has shown the token."""
    return _has_header(request, token) or _has_cookie(request, token)


def require(request: Request, token: str | None) -> None:
    """Refuse a change by anybody else, and one that a browser was made to send by somebody else's page."""
    if token is None:
        raise HTTPException(403, READ_ONLY)
    if _has_header(request, token):
        return
    if not _has_cookie(request, token):
        raise HTTPException(401, "the token is needed: log in, or send it as bearer", {"www-authenticate": "Bearer"})
    require_own_page(request)


def require_own_page(request: Request) -> None:
    """Refuse what another site's page had a browser send."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    from_here = origin is not None and _place(origin) == request.headers["host"]
    same_site = site == "same-origin" if site else from_here
    if not same_site or (origin is not None and not from_here):
        raise HTTPException(403, "sent by a page of another site: changes are made from this one")


def log_in(request: Request, token: str | None, sent: str, response: Response) -> bool:
    """Give a browser the cookie for the token; False where it sent another."""
    if token is None or not hmac.compare_digest(sent.encode(), token.encode()):
        return False
    response.set_cookie(
        COOKIE,
        _session(token),
        max_age=KEEP_SECONDS,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return True


def _place(origin: str) -> str | None:
    """Host and port of an origin; None where it cannot be one."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def _has_header(request: Request, token: str) -> bool:
    scheme, _, sent = request.headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(sent.strip().encode(), token.encode())


def _has_cookie(request: Request, token: str) -> bool:
    return hmac.compare_digest(request.cookies.get(COOKIE, "").encode(), _session(token).encode())


def _session(token: str) -> str:
    """What stands for the token in a cookie, so that a browser does not keep the token itself."""
    return hmac.new(token.encode(), b"joulefarm page session", hashlib.sha256).hexdigest()
