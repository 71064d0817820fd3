"""What a command came to, read: its JSON document, or its refusal."""

from __future__ import annotations

import json
from typing import Any


def document(outcome: Any) -> Any:
    """The one JSON document of a command that succeeded."""
    assert outcome.code == 0, outcome.err
    return json.loads(outcome.out)


def refused(outcome: Any, *words: object) -> None:
    """The command was refused in one line that holds all these words, and answered nothing."""
    assert (outcome.code, outcome.out) == (2, ""), outcome
    assert outcome.err.count("\n") == 1
    assert all(str(word) in outcome.err for word in words), outcome.err
