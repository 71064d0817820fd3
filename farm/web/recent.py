"""What was asked of the database a moment ago: asked once for all readers, however many there are."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

SECONDS: Final = 0.5  # that an answer is good for
REST: Final = 49  # times as long as it took to make: the same question takes a fiftieth of a core at most
OLDEST: Final = 5.0  # seconds: no answer gets older for that
KEPT: Final = 128  # answers

T = TypeVar("T")


@dataclass
class _Answer:
    lock: threading.Lock = field(default_factory=threading.Lock)
    value: Any = None
    good_until: float = 0.0


class Recent:
    """Answers by key. Whoever asks while an answer is being made waits for that one; errors are not kept."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: OrderedDict[Hashable, _Answer] = OrderedDict()

    def __call__(self, key: Hashable, make: Callable[[], T], *, seconds: float = SECONDS) -> T:
        """The answer of ``make``, so many seconds old at most, or up to OLDEST where it takes long to make."""
        with self._lock:
            answer = self._answers.setdefault(key, _Answer())
            self._answers.move_to_end(key)
            while len(self._answers) > KEPT:
                self._answers.popitem(last=False)
        with answer.lock:
            if time.monotonic() >= answer.good_until:
                start = time.monotonic()
                answer.value = make()
                end = time.monotonic()
                answer.good_until = end + max(seconds, min(REST * (end - start), OLDEST))
            value: T = answer.value
            return value

    def forget(self) -> None:
        """Ask anew: somebody changed something."""
        with self._lock:
            self._answers.clear()
