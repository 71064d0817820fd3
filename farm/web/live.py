"""Parts of pages that change by themselves: made once for all readers, and sent to those that show them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from farm.domain.errors import FarmError, RequestError

logger = logging.getLogger(__name__)

POLL_SECONDS: Final = 1.0
ALIVE_SECONDS: Final = 15.0  # a reader that left is noticed when something is sent
MOST_READERS: Final = 500
MOST_TOPICS: Final = 200  # that different readers show together
TOPICS_EACH: Final = 8

Render = Callable[[str], str]  # HTML, from what stands behind the colon of a topic


@dataclass(eq=False)
class _Reader:
    topics: frozenset[str]
    news: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: dict[str, str] = field(default_factory=dict)  # the newest event of each topic, not yet sent


class Live:
    """The topics that somebody reads, looked at once a second.

    A topic is the name of a part, with an argument where it is of something: ``now``, ``sweep:3``.

    Args:
        parts: by name, what makes the HTML of one.

    Attributes:
        ends: whether the server wants to end: readers are let go then.
    """

    def __init__(self, parts: Mapping[str, Render]) -> None:
        self.ends: Callable[[], bool] = lambda: False
        self._parts = parts
        self._readers: set[_Reader] = set()
        self._events: dict[str, str] = {}  # by topic, as they are sent
        self._task: asyncio.Task[None] | None = None

    def check(self, topics: Collection[str]) -> frozenset[str]:
        """The topics, once each. RequestError for one that nobody makes, or for too many."""
        for topic in topics:
            if topic.partition(":")[0] not in self._parts or len(topic) > 300 or not topic.isprintable():
                raise RequestError("topic", topic, f"one of {', '.join(sorted(self._parts))}, with its argument")
        asked = frozenset(topics)
        if not 0 < len(asked) <= TOPICS_EACH:
            raise RequestError("topic", len(asked), f"from 1 to {TOPICS_EACH} topics")
        readers = list(self._readers)
        if len(readers) >= MOST_READERS or len(asked.union(*(reader.topics for reader in readers))) > MOST_TOPICS:
            raise RequestError("topic", len(readers), "fewer readers at once: this page serves no more")
        return asked

    async def read(self, topics: frozenset[str]) -> AsyncIterator[str]:
        """What changes in these topics, as server-sent events, until the reader leaves or the page ends."""
        reader = _Reader(topics)
        reader.waiting = {topic: self._events[topic] for topic in topics & self._events.keys()}
        self._readers.add(reader)
        if self._task is None:
            self._task = asyncio.create_task(self._watch())
        try:
            yield "retry: 2000\n\n"
            while not self.ends():
                reader.news.clear()  # before what waits is taken: what comes while it is sent must wake us again
                sent, reader.waiting = reader.waiting, {}
                if sent:
                    yield "".join(sent.values())
                try:
                    await asyncio.wait_for(reader.news.wait(), ALIVE_SECONDS)
                except TimeoutError:
                    yield ": still here\n\n"
        finally:
            self._readers.discard(reader)

    async def _watch(self) -> None:
        """Make every topic that somebody reads anew, and hand out what changed, for as long as anybody reads."""
        try:
            while self._readers and not self.ends():
                topics = frozenset().union(*(reader.topics for reader in self._readers))
                events = await run_in_threadpool(self._make, topics)
                changed = {topic: text for topic, text in events.items() if self._events.get(topic) != text}
                kept = {topic: text for topic, text in self._events.items() if topic in topics}
                self._events = kept | changed
                for reader in self._readers:
                    if news := {topic: text for topic, text in changed.items() if topic in reader.topics}:
                        reader.waiting |= news
                        reader.news.set()
                await asyncio.sleep(POLL_SECONDS)
        finally:
            self._task = None
            self._events = {}
            for reader in self._readers:
                reader.news.set()

    def _make(self, topics: Collection[str]) -> dict[str, str]:
        events = {}
        for topic in topics:
            name, _, argument = topic.partition(":")
            try:
                events[topic] = event(topic, self._parts[name](argument))
            except (FarmError, HTTPException):
                continue  # what is shown stays, or there is no such thing; the top bar says what is away
            except Exception:
                logger.exception("the part %s of a page", topic)
        return events


def event(topic: str, text: str) -> str:
    """One server-sent event."""
    lines = "".join(f"data: {line}\n" for line in text.splitlines() or [""])
    return f"event: {topic}\n{lines}\n"
