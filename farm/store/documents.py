"""JSON as both databases take it: PostgreSQL refuses the NaN and Infinity that Python writes."""

from __future__ import annotations

import json
import math
from typing import Any


def dump(value: Any) -> str:
    """JSON text; a number that is not finite becomes null, a value that JSON does not know its text."""
    try:
        return json.dumps(value, allow_nan=False, default=str)
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False, default=str)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    return value
