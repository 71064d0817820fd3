"""Answers that many readers share: made once, kept longer the longer they take to make."""

from __future__ import annotations

import threading

import pytest

from farm.web.recent import Recent


def test_an_answer_that_takes_long_is_kept_long():
    recent = Recent()
    made = []

    def make() -> int:
        threading.Event().wait(0.3)
        made.append(1)
        return len(made)

    assert recent("slow", make, seconds=0.0) == 1
    assert recent("slow", make, seconds=0.0) == 1
    recent.forget()
    assert recent("slow", make, seconds=0.0) == 2


def test_a_failure_is_not_kept():
    recent = Recent()
    with pytest.raises(ZeroDivisionError):
        recent("key", lambda: 1 // 0)
    assert recent("key", lambda: 3) == 3
