"""The first page: what an image takes."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request, Response

from farm.web.site import Here, Page

router = APIRouter()
PAGE: Final = Page("Ask", "/", 1, router)


@router.get("/")
def ask(request: Request, site: Here) -> Response:
    """The question as a sentence, and its answer."""
    return site.page(request, "ask.html.j2")
