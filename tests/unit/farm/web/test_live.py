"""Parts of pages that change: made once for all readers, sent when they changed, and to whoever shows them."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from farm.domain.errors import OperationError, RequestError
from farm.web import live as module
from farm.web.live import Live, event


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)


class Part:
    """A part whose text a test sets, and which counts how often it was made."""

    def __init__(self) -> None:
        self.text = "first"
        self.made = Counter()

    def __call__(self, argument: str) -> str:
        self.made[argument] += 1
        if self.text == "away":
            raise OperationError("the database is away")
        if self.text == "broken":
            raise ZeroDivisionError
        return f"{self.text} {argument}"


async def next_event(reader) -> str:
    return await asyncio.wait_for(anext(reader), 5)


def test_all_readers_get_what_changed_and_it_is_made_once_for_all() -> None:
    part = Part()
    live = Live({"part": part})

    async def scenario() -> None:
        readers = [live.read(live.check(["part:3"])) for _ in range(20)]
        assert {await next_event(reader) for reader in readers} == {"retry: 2000\n\n"}
        assert {await next_event(reader) for reader in readers} == {event("part:3", "first 3")}
        before = part.made["3"]
        part.text = "second"
        assert {await next_event(reader) for reader in readers} == {event("part:3", "second 3")}
        assert part.made["3"] - before < 20
        for reader in readers:
            await reader.aclose()
        await asyncio.sleep(0.1)
        before = part.made["3"]
        await asyncio.sleep(0.1)
        assert part.made["3"] == before  # nobody reads, so nobody asks

    asyncio.run(scenario())


def test_a_reader_gets_only_what_it_shows_and_who_comes_later_the_newest_text() -> None:
    part, other = Part(), Part()
    live = Live({"part": part, "other": other})

    async def scenario() -> None:
        first = live.read(live.check(["part", "other:7"]))
        await next_event(first)
        got = await next_event(first)  # what changed together is sent together
        assert sorted(got.split("\n\n")) == sorted(
            (event("part", "first ") + event("other:7", "first 7")).split("\n\n")
        )
        second = live.read(live.check(["part"]))
        await next_event(second)
        assert await next_event(second) == event("part", "first ")
        other.text = "second"
        assert await next_event(first) == event("other:7", "second 7")
        await first.aclose()
        await second.aclose()

    asyncio.run(scenario())


@pytest.mark.parametrize("trouble", ["away", "broken"])
def test_what_cannot_be_made_for_a_while_stays_and_comes_back(trouble) -> None:
    part = Part()
    live = Live({"part": part})

    async def scenario() -> None:
        reader = live.read(live.check(["part"]))
        await next_event(reader)
        await next_event(reader)
        part.text = trouble
        await asyncio.sleep(0.1)
        part.text = "again"
        assert await next_event(reader) == event("part", "again ")
        await reader.aclose()

    asyncio.run(scenario())


def test_readers_are_let_go_when_the_server_ends() -> None:
    live = Live({"part": Part()})

    async def scenario() -> None:
        reader = live.read(live.check(["part"]))
        await next_event(reader)
        await next_event(reader)
        live.ends = lambda: True
        with pytest.raises(StopAsyncIteration):
            await next_event(reader)

    asyncio.run(scenario())


@pytest.mark.parametrize("topics", [[], ["weather"], ["part:" + "x" * 400], [f"part:{n}" for n in range(9)]])
def test_topics_that_nobody_makes_and_too_many_are_refused(topics) -> None:
    with pytest.raises(RequestError, match="topic"):
        Live({"part": Part()}).check(topics)


def test_topics_that_cannot_be_made_count_among_those_that_are_shown() -> None:
    """Each is tried once a second, whether something comes of it or not."""
    part = Part()
    part.text = "away"
    live = Live({"part": part})

    async def scenario() -> None:
        readers = []
        for first in range(0, module.MOST_TOPICS, module.TOPICS_EACH):
            readers.append(live.read(live.check([f"part:{first + n}" for n in range(module.TOPICS_EACH)])))
            await next_event(readers[-1])
        live.check(["part:0"])
        with pytest.raises(RequestError, match="fewer readers"):
            live.check(["part:one-more"])
        for reader in readers:
            await reader.aclose()

    asyncio.run(scenario())


def test_an_event_of_several_lines_is_one() -> None:
    assert event("a", "x\ny") == "event: a\ndata: x\ndata: y\n\n"
