"""A CSV file as people have it: encoding, separator and decimal sign are found out, not prescribed.

What comes out are the texts that the rules of a table read (:mod:`farm.domain.row`): numbers with a decimal point. What
can be read in two ways is refused, and the refusal says which two.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from farm.domain import RequestError
from farm.domain.row import NUMBERS, column_name, is_column
from farm.domain.text import decode

Cells = list[list[str]]

_OTHER_FORMATS: Final = (
    (b"PK\x03\x04", "a workbook or an archive: save the sheet as CSV"),
    (b"\xd0\xcf\x11\xe0", "an old workbook: save the sheet as CSV"),
    (b"\x1f\x8b", "compressed: unpack it first"),
    (b"PAR1", "Parquet: let its name end in .parquet"),
)
_SEPARATORS: Final = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_STATED: Final = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)  # a first line that Excel writes and reads

# Signs that set groups of three digits apart, beside the one of comma and point that is not the decimal sign.
_GAPS: Final = re.compile(r"[+-]?[0-9]{1,3}(['’\u00a0\u202f ][0-9]{3})+([.,][0-9]+)?")
_NUMBER: Final = re.compile(r"[+-]?[0-9]*[.,][0-9.,]*([eE][+-]?[0-9]+)?")
_GROUPS: Final = {sign: re.compile(rf"[+-]?[1-9][0-9]{{0,2}}(\{sign}[0-9]{{3}})+") for sign in ",."}


@dataclass(frozen=True, slots=True)
class Sheet:
    """The cells of a file, and how they were read."""

    header: list[str]
    rows: Cells
    understood: str  # how the file was read, where that is not plainly: "separated by semicolons, decimal comma"


def read_sheet(path: Path) -> Sheet:
    """Every cell of a CSV file. RequestError for one that cannot be read, or that can be read in two ways."""
    text = _decoded(path)
    separator, text = _separator(text)
    try:
        cells = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    except csv.Error as error:
        raise RequestError("table", str(path), f"a CSV file in UTF-8 ({error})") from None
    filled = next((place for place, row in enumerate(cells) if any(map(str.strip, row))), None)
    if filled is None:
        raise RequestError("table", str(path), "a header line, then one row a measurement")
    header, rows = cells[filled], cells[filled + 1 :]
    may_have_signs = separator != "," or '"' in text or any(gap in text for gap in "'’\u00a0\u202f")
    decimal = _with_points(path, header, rows, separator) if may_have_signs else "."
    parts = [f"separated by {_SEPARATORS.get(separator, repr(separator))}"] if separator != "," else []
    return Sheet(header, rows, ", ".join([*parts, "decimal comma"] if decimal == "," else parts))


def _decoded(path: Path) -> str:
    """The text of a file: in the encoding that its byte order mark states, else UTF-8."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise RequestError("table", str(path), f"a readable file ({error.strerror})") from None
    for start, what in _OTHER_FORMATS:
        if raw.startswith(start):
            raise RequestError("table", str(path), f"a CSV file; this one is {what}")
    try:
        text = decode(raw)
    except UnicodeDecodeError as error:
        raise RequestError("table", str(path), f"a CSV file in UTF-8, or in UTF-16 with its mark ({error})") from None
    if "\0" in text:
        raise RequestError("table", str(path), "a CSV file in UTF-8, or in UTF-16 with its mark (it holds NULs)")
    return text


def _separator(text: str) -> tuple[str, str]:
    """What separates cells, and the text less a line that states it: the sign by which the header has most columns."""
    first, _, rest = text.partition("\n")
    stated = _STATED.fullmatch(first.strip("\r"))
    if stated:
        return stated[1], rest
    header = next((line for line in text.splitlines() if line.strip(" ,;|\t")), "")

    def columns(separator: str) -> int:
        cells = next(csv.reader([header], delimiter=separator), [])
        return sum(map(is_column, cells))

    try:
        return max(_SEPARATORS, key=columns), text
    except csv.Error:
        return ",", text  # reading it all says what is wrong


def _with_points(path: Path, header: Sequence[str], rows: Cells, separator: str) -> str:
    """Write every number with a decimal point and nothing between its digits, in place; the decimal sign there was."""
    places = [place for place, name in enumerate(header) if column_name(name) in NUMBERS]
    for row in rows:
        for place in places:
            if place < len(row) and _GAPS.fullmatch(row[place].strip()):
                row[place] = re.sub(r"['’\u00a0\u202f ]", "", row[place])
    measured = [place for place in places if column_name(header[place]) != "resolution"]
    decimal = _decimal_sign(path, header, separator, _signed_cells(rows, measured))
    for number, place, text in _signed_cells(rows, places):
        rows[number][place] = _with_point(text, decimal)
    return decimal


def _signed_cells(rows: Cells, places: Sequence[int]) -> Iterator[tuple[int, int, str]]:
    """Row, place and text of every number with a comma or a point."""
    for number, row in enumerate(rows):
        for place in places:
            text = row[place].strip() if place < len(row) else ""
            if _NUMBER.fullmatch(text):
                yield number, place, text


def _decimal_sign(path: Path, header: Sequence[str], separator: str, cells: Iterable[tuple[int, int, str]]) -> str:
    """The decimal sign of a file, comma or point: the one that every number allows.

    RequestError where some say comma and some point, or where none says and one could be either.
    """
    evidence: dict[str, str] = {}
    unclear: dict[str, str] = {}
    for number, place, text in cells:
        name = f"row {number + 1}, {header[place].strip()}: {text}"
        sign = _decimal_of(text)
        if sign:
            evidence.setdefault(sign, name)
        else:
            unclear.setdefault("," if "," in text else ".", name)
    if len(evidence) == 2:
        remedy = f"one decimal sign: it is a comma in {evidence[',']}, a point in {evidence['.']}"
        raise RequestError("table", str(path), remedy)
    if evidence:
        return next(iter(evidence))
    doubtful = unclear.get(",") or (unclear.get(".") if separator == ";" else None)
    if doubtful:
        words = _SEPARATORS.get(separator, repr(separator))
        remedy = f"numbers that can be read in one way; separated by {words}, {doubtful} may be grouped or a fraction"
        raise RequestError("table", str(path), f"{remedy}: write it without a sign between thousands")
    return "."


def _decimal_of(text: str) -> str:
    """The decimal sign of one number; nothing where it may be a whole one whose thousands are set apart."""
    if "," in text and "." in text:
        return max(",.", key=text.rindex)
    sign, other = (",", ".") if "," in text else (".", ",")
    if not _GROUPS[sign].fullmatch(text):
        return sign
    return other if text.count(sign) > 1 else ""


def _with_point(text: str, decimal: str) -> str:
    """A number with a decimal point; as it is where it cannot be one."""
    whole, sign, rest = text.partition(decimal)
    group = "," if decimal == "." else "."
    if group in rest or decimal in rest or (group in whole and not _GROUPS[group].fullmatch(whole)):
        return text
    return whole.replace(group, "") + ("." if sign else "") + rest
