"""Where events go: webhooks, mail and whatever else Apprise knows, by the URLs of one setting.

Those URLs hold passwords and tokens: no message of ours, and none of Apprise's, shows any of them.
"""

from __future__ import annotations

import hashlib
import logging
import re
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from farm.domain.errors import RequestError
from farm.settings import Settings

SETTING: Final = "FARM_EVENTS_URLS"
SHOWN: Final = 20  # events in words in one message; of the others the ids
_SEPARATORS: Final = re.compile(r"[\s]+")


@dataclass(frozen=True, slots=True)
class Receiver:
    """One place where events go."""

    key: str  # a digest, by which SQL knows who has an event already
    label: str  # for people, without secrets
    plugin: Any


class Receivers:
    """All places where events go."""

    def __init__(self, receivers: Iterable[Receiver]) -> None:
        self.all = tuple(receivers)

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """Those of the settings; None where nobody wants to be told. RequestError for what Apprise does not know."""
        urls = [url for url in _SEPARATORS.split(settings.events() or "") if url]
        if not urls:
            return None
        with warnings.catch_warnings(action="ignore"):  # its plugins import what Python has done away with
            return cls(_read(urls))

    def send(self, events: Sequence[Mapping[str, Any]], *, have: Collection[str] = ()) -> tuple[list[str], str | None]:
        """Send events of one kind in one message; the keys of those that took it, and why others did not.

        Args:
            events: rows of the outbox.
            have: keys of receivers that have them already.
        """
        title, body = message(events)
        took, refused = [], []
        for receiver in self.all:
            if receiver.key in have:
                continue
            try:
                delivered = bool(receiver.plugin.notify(body=body, title=title))
            except Exception as error:  # a plugin of a library that speaks to anything
                refused.append(f"{receiver.label}: {type(error).__name__}")
                continue
            if delivered:
                took.append(receiver.key)
            else:
                refused.append(f"{receiver.label}: not taken")
        return took, "; ".join(refused) or None


def _read(urls: Sequence[str]) -> Iterator[Receiver]:
    import apprise

    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)  # it names hosts, users and sometimes more
    for number, url in enumerate(urls, start=1):
        plugin = apprise.Apprise.instantiate(url, suppress_exceptions=True)
        if plugin is None:
            remedy = "a URL that Apprise knows, such as json://HOST/PATH or mailto://HOST?from=A&to=B"
            raise RequestError(SETTING, f"number {number} (not shown)", remedy)
        label = f"{plugin.service_name} (number {number})"
        yield Receiver(hashlib.sha256(url.encode()).hexdigest()[:16], label, plugin)


def message(events: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Title and text of one message; each event with the id by which doubles are dropped."""
    first = events[0]
    count = f" and {len(events) - 1} more" if len(events) > 1 else ""
    lines = [f"{event['text']}\n  event {event['id']} {event['kind']}" for event in events[:SHOWN]]
    lines += [f"  event {event['id']} {event['kind']}" for event in events[SHOWN:]]
    return f"joulefarm: {first['text']}{count}"[:200], "\n".join(lines)
