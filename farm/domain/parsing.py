"""One cell of a table, text or number as it comes, read as what its column holds. RequestError names the column."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, Final

from farm.domain.errors import RequestError

MAX_TEXT: Final = 500
# Energies and powers outside cannot have been measured: a board draws a nanojoule in a nanosecond, and 1e15 J is what
# a million boards take in a month. Within, no sum, ratio or square of a fit leaves the range of a double.
MIN_JOULES: Final = 1e-9
MAX_JOULES: Final = 1e15
MAX_WATTS: Final = 10_000.0  # of a board, at rest or at work


_PRECISIONS: Final = {
    "float16": "fp16", "f16": "fp16", "half": "fp16", "bfloat16": "bf16",
    "float32": "fp32", "f32": "fp32", "float": "fp32", "single": "fp32",
}  # fmt: skip

# What spreadsheets, pandas, R, SQL and people write where nothing is known.
ABSENT_WORDS: Final = frozenset({"", "n/a", "na", "#n/a", "#na", "nan", "<na>", "null", "none", "nil", "-", "--", "?"})
_LONGEST_ABSENT: Final = max(map(len, ABSENT_WORDS))


def is_empty(value: Any) -> bool:
    """Whether a cell holds nothing: no value, a text of blanks, or the NaN that tables use for a missing value."""
    return value is None or (isinstance(value, str) and not value.strip()) or value != value


def is_absent(value: Any) -> bool:
    """Whether a cell is empty or says that nothing is known: ``N/A``, ``null``, ``-``."""
    if isinstance(value, str):
        text = value.strip()
        return len(text) <= _LONGEST_ABSENT and text.lower() in ABSENT_WORDS
    return value is None or value != value


def parse_real(value: Any) -> float:
    """The number that a value is or spells. ValueError or TypeError where it is none, OverflowError where it is too
    large.

    Python's own spellings (1_000, digits of other scripts) are no numbers in a table: there they are slips.
    """
    if isinstance(value, str) and ("_" in value or not value.isascii()):
        raise ValueError(value)
    return float(value)


def parse_whole(field: str, value: Any) -> int:
    """A whole number from an int, an integral float or its text."""
    if isinstance(value, bool):
        raise RequestError(field, value, "a whole number")
    try:
        number = parse_real(value)
        if math.isfinite(number) and number == int(number):
            return int(value) if isinstance(value, int) else int(number)
    except (TypeError, ValueError, OverflowError):
        pass
    raise RequestError(field, value, "a whole number")


def parse_switch(field: str, value: Any) -> bool:
    """True or false from a bool, 0/1 or its usual texts."""
    text = str(value).strip().lower()
    if text in ("1", "true", "yes", "on", "1.0"):
        return True
    if text in ("0", "false", "no", "off", "0.0"):
        return False
    raise RequestError(field, value, "0 or 1")


def split_sides(value: Any) -> tuple[Any, Any]:
    """Width and height, not yet numbers, of a resolution: 512 is a square; 512x768 and (512, 768) name both sides."""
    if not isinstance(value, str):
        return value, value
    width, times, height = re.sub(r"[x×*,]", "x", value.lower().strip("()[] ")).partition("x")
    return width, height if times else width


def parse_path(field: str, value: str | Path) -> Path:
    """A path, in which ``~`` and ``~USER`` stand for a home. RequestError where this host knows none."""
    try:
        return Path(value).expanduser()
    except RuntimeError:
        raise RequestError(field, str(value), "a path without ~: this host knows no such user's home") from None


def parse_precision(value: Any) -> Any:
    """The precision that a text names as torch, NumPy or people call it: ``float16``, ``torch.bfloat16``, ``FP32``."""
    text = str(value).strip().lower().removeprefix("torch.")
    return _PRECISIONS.get(text, text if isinstance(value, str) else value)


def parse_text(column: str, value: Any) -> str:
    """Read one line of text, empty for an empty cell."""
    text = "" if is_absent(value) else str(value).strip()
    if not text.isprintable() or len(text) > MAX_TEXT:
        raise RequestError(column, text, f"printable text of up to {MAX_TEXT} characters")
    return text


def parse_positive_joules(column: str, value: Any, unit: float = 1.0) -> float | None:
    """Joules of a number above 0, in units of so many joules; None for an absent one.

    A NaN is refused: a row without energy is left out by choice only.
    """
    remedy = "a finite energy above 0 (leave the row out when it is not known)"
    number = _number(column, value, remedy)
    if number is None:
        return None
    if number <= 0:
        raise RequestError(column, value, remedy)
    if not MIN_JOULES <= number * unit <= MAX_JOULES:
        raise RequestError(column, value, f"an energy that can be measured, from {MIN_JOULES:g} to {MAX_JOULES:g} J")
    return number * unit


def parse_not_negative(column: str, value: Any) -> float | None:
    """A number, 0 or more; None for an empty cell."""
    remedy = "a finite number, 0 or more, or nothing when it is not known"
    # Parquet writers that know no nulls put NaN there: in an optional column it means "not known".
    number = None if isinstance(value, float) and math.isnan(value) else _number(column, value, remedy)
    if number is not None and number < 0:
        raise RequestError(column, value, remedy)
    if number is not None and number > MAX_JOULES:
        raise RequestError(column, value, f"a number that can be measured, up to {MAX_JOULES:g}")
    return number


def _number(column: str, value: Any, remedy: str) -> float | None:
    """None for an absent one; a NaN that a column of numbers carries is refused by name."""
    if value is None or (isinstance(value, str) and is_absent(value)):
        return None
    try:
        number = parse_real(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number):
        raise RequestError(column, value, remedy)
    return number
