"""One TOML file of the catalog, read key by key. RequestError names the file, the key and what would be right."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from farm.domain.errors import RequestError

_NUMBER: Final = "a number, 0 or more"
_NAME: Final = "a name of up to 64 letters, digits, dots, dashes and underscores"


@dataclass(frozen=True, slots=True)
class Entry:
    """The keys of a file, or of one table of it. A key without a ``default`` has to be there."""

    path: Path
    values: Mapping[str, Any]
    within: str = ""  # name of the table, with a dot at its end

    def states(self, key: str) -> bool:
        """Whether the key is there."""
        return key in self.values

    def text(self, key: str, default: str | None = None, one_of: Sequence[str] = ()) -> str:
        value = self._get(key, f"one of {', '.join(one_of)}" if one_of else "a text", default)
        if not isinstance(value, str) or (one_of and value not in one_of):
            raise self._refusal(key, value, f"one of {', '.join(one_of)}" if one_of else "a text")
        return value

    def texts(self, key: str, default: Sequence[str] | None = None) -> tuple[str, ...]:
        value = self._get(key, "a list of texts", default)
        if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
            raise self._refusal(key, value, "a list of texts")
        return tuple(value)

    def number(self, key: str) -> float:
        value = self._get(key, _NUMBER)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
            raise self._refusal(key, value, _NUMBER)
        return float(value)

    def positive(self, key: str, at_most: float = math.inf) -> float:
        """A number above 0, and not above ``at_most``."""
        remedy = "a number above 0" + (f", at most {at_most:g}" if at_most < math.inf else "")
        value = self._get(key, remedy)
        fits = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= at_most
        if not fits or value == math.inf:
            raise self._refusal(key, value, remedy)
        return float(value)

    def name(self, key: str, default: str) -> str:
        """A name that can stand in rules and patterns of other programs without meaning anything there."""
        value = self._get(key, _NAME, default)
        if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", value):
            raise self._refusal(key, value, _NAME)
        return value

    def whole(self, key: str) -> int:
        value = self._get(key, "a whole number above 0")
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self._refusal(key, value, "a whole number above 0")
        return value

    def switch(self, key: str, default: bool) -> bool:
        value = self._get(key, "true or false", default)
        if not isinstance(value, bool):
            raise self._refusal(key, value, "true or false")
        return value

    def table(self, key: str, *, optional: bool = False) -> Entry:
        """A table of the file; with ``optional`` an empty one where it is not there."""
        value = self._get(key, f"a table: [{self.within}{key}]", {} if optional else None)
        if not isinstance(value, dict):
            raise self._refusal(key, value, f"a table: [{self.within}{key}]")
        return Entry(self.path, value, f"{self.within}{key}.")

    def numbers(self, *required: str) -> dict[str, float]:
        """Every key of this table, a number each; ``required`` ones have to be among them."""
        return {key: self.number(key) for key in (*required, *(key for key in self.values if key not in required))}

    def tables(self) -> Iterator[tuple[str, Entry]]:
        """Every key of this table, a table each."""
        return ((key, self.table(key)) for key in self.values)

    def _get(self, key: str, remedy: str, default: Any = None) -> Any:
        value = self.values.get(key, default)
        if value is None:
            raise self._refusal(key, "missing", remedy)
        return value

    def _refusal(self, key: str, value: Any, remedy: str) -> RequestError:
        return RequestError(f"{self.path}: {self.within}{key}", value, remedy)
