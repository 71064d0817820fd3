"""What every page is made with: the database, the templates, the answers as HTML or JSON."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Annotated, Any, Final, Self

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from farm import style
from farm.database import Store
from farm.domain import words
from farm.domain.documents import json_text
from farm.domain.errors import FarmError
from farm.settings import Settings
from farm.version import __version__
from farm.web import bearer
from farm.web.database import Database
from farm.web.knowledge import Knowledge
from farm.web.live import Live
from farm.web.now import Now
from farm.web.recent import SECONDS, Recent

HERE: Final = Path(__file__).resolve().parent
STATIC: Final = HERE / "static"


@cache
def _version_of(name: str) -> str:
    content = style.sheet().encode() if name == "base.css" else (STATIC / name).read_bytes()
    return hashlib.sha256(content).hexdigest()[:8]


def asset(name: str) -> str:
    """The address of a static file, another one when its content is another."""
    return f"/static/{name}?v={_version_of(name)}"


@cache
def _environment() -> Environment:
    """Of all templates, each read and compiled once a process."""
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(asset=asset, colour=style.colour)
    filters: Mapping[str, Any] = {
        "joules": words.joules,
        "watt_hours": words.watt_hours,
        "watts": words.watts,
        "seconds": words.seconds,
        "ago": words.ago,
        "grams": words.grams,
        "amount": words.amount,
        "percent": words.percent,
        "count": words.count,
        "interval": words.interval,
        "moment": words.moment,
        "most": words.most,
        "label": words.label,
        "svg": Markup,
    }
    environment.filters.update(filters)
    return environment


@dataclass(frozen=True, slots=True)
class Page:
    """A module of farm.web.pages: its routes, and where it stands in the top bar.

    Attributes:
        title: in the bar.
        path: that the bar leads to; None for routes that the bar does not name.
        place: in the bar, from the left.
        router: its routes, of HTML and of JSON under /api/.
        live: parts that change by themselves: by the name of their topic, what makes the HTML of one, from the site and
            from what stands behind the colon of the topic (farm.web.live).
    """

    title: str
    path: str | None
    place: int
    router: APIRouter
    live: Mapping[str, Callable[[Site, str], str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Site:
    """One served page: what its modules share. A request gets it as the parameter ``site: Here``."""

    settings: Settings
    database: Database
    knowledge: Knowledge
    pages: list[Page]
    token: str | None = None  # bearers of it may change things; None: nobody may
    templates: Environment = field(default_factory=_environment)
    recent: Recent = field(default_factory=Recent)

    @cached_property
    def live(self) -> Live:
        """The parts of all pages that change by themselves."""
        return Live({name: partial(self.live_part, name) for page in self.pages for name in page.live})

    @cached_property
    def _parts(self) -> Mapping[str, Callable[[Site, str], str]]:
        return {name: part for page in self.pages for name, part in page.live.items()}

    def live_part(self, name: str, argument: str = "") -> Markup:
        """A part that changes by itself as it is now: made once for all readers, of the page and of its events."""
        html = self.recent(("part", name, argument), lambda: self._parts[name](self, argument))
        return Markup(html)  # noqa: S704 - of a template, which escapes

    def store(self) -> Store:
        """The farm's database. Raises FarmError where it is away, which the application answers with 503."""
        return self.database.store()

    def now(self) -> Now:
        """What runs now."""
        return self.recent("now", lambda: Now.of(self.store()))

    def page(self, request: Request, template: str, *, status: int = 200, **values: Any) -> Response:
        """A template of farm/web/templates: one that extends ``base.html.j2`` is a document, another a part of one.

        A link or form with ``hx-target="#main" hx-select="#main" hx-swap="outerHTML"`` changes what is below the bar.
        """
        now = values.pop("now", None) or self._now_or_none()
        common = {
            "request": request,
            "live_part": self.live_part,
            "pages": self._bar(),
            "now": now,
            "version": __version__,
            "here": request.url.path,
            "can_change": None if self.token is None else bearer.may(request, self.token),
        }
        text = self.part(template, **common, **values)
        return HTMLResponse(text, status_code=status, headers={"cache-control": "no-cache"})

    def part(self, template: str, **values: Any) -> str:
        """A template that is a part of a page, as HTML."""
        return self.templates.get_template(template).render(**values)

    def close(self) -> None:
        """Let go of the database and of what is at work behind the pages."""
        self.knowledge.close()
        self.database.close()

    def _now_or_none(self) -> Now | None:
        try:
            return self.now()
        except FarmError:
            return None

    def _bar(self) -> list[Page]:
        return [page for page in self.pages if page.path is not None]


async def _site(request: Request) -> Site:  # async: another would be asked in a thread, at every request
    site: Site = request.app.state.site
    return site


Here = Annotated[Site, Depends(_site)]


def as_json(request: Request, document: Any) -> Response:
    """A document as the commands print it, with an ETag: a reader that has it already is told so in a few bytes."""
    return _sent(request, Encoded.of(document))


def shared_json(
    request: Request, site: Site, key: Hashable, make: Callable[[], Any], *, seconds: float = SECONDS
) -> Response:
    """The same of a document that many readers ask for: made and encoded once for those who ask at about one time."""
    return _sent(request, site.recent(("json", key), lambda: Encoded.of(make()), seconds=seconds))


@dataclass(frozen=True, slots=True)
class Encoded:
    """A document as bytes, and what stands for them."""

    text: bytes
    tag: str

    @classmethod
    def of(cls, document: Any) -> Self:
        text = json_text(document).encode()
        return cls(text, f'"{hashlib.sha256(text).hexdigest()[:24]}"')


def _sent(request: Request, encoded: Encoded) -> Response:
    headers = {"etag": encoded.tag, "cache-control": "no-cache"}
    if encoded.tag in (part.strip() for part in request.headers.get("if-none-match", "").split(",")):
        return Response(status_code=304, headers=headers)
    return Response(encoded.text, media_type="application/json", headers=headers)
