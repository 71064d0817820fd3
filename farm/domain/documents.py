"""Documents as JSON text: what commands print, the page answers and columns of SQL hold."""

from __future__ import annotations

import json
import math
from typing import Any


def json_text(document: Any, *, indent: int | None = None) -> str:
    """One JSON document; NaN and infinities become null, since they are not JSON, other values their text."""
    try:
        return json.dumps(document, indent=indent, default=str, allow_nan=False)
    except ValueError:  # a number that is none, somewhere: rare, and to look for it takes as long as to write
        return json.dumps(_finite(document), indent=indent, default=str, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return value
