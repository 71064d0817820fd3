"""Prompts: the list that ships, COCO captions as published, or a text file with one a line."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from farm.domain import RequestError
from farm.domain.text import decode

SHIPPED: Final = Path(__file__).resolve().parent / "data" / "prompts.txt"
MAX_BYTES: Final = 96_000_000  # the captions of COCO's training set are 92 MB
MAX_LENGTH: Final = 10_000  # characters of one prompt


@dataclass(frozen=True, slots=True)
class PromptList:
    """Prompts and the hash that names them. Text and hash travel in SQL; no worker needs the file."""

    prompts: tuple[str, ...]
    sha256: str

    @classmethod
    def of(cls, prompts: tuple[str, ...]) -> PromptList:
        """These prompts with the hash of their text."""
        text = json.dumps(prompts, ensure_ascii=False, separators=(",", ":"))
        return cls(prompts, hashlib.sha256(text.encode()).hexdigest())


def read_prompts(path: Path | None, limit: int) -> PromptList:
    """The first ``limit`` prompts of a file, of the shipped list for None. RequestError for a file without any.

    A file of fewer is taken as it is: whoever needs more starts over.
    """
    source = path or SHIPPED
    text = _read(source)
    texts = _coco(text, source) if text[:1_000].lstrip()[:1] in ("{", "[") else _lines(text)
    prompts = tuple(islice(_checked(texts, source), limit))
    if not prompts:
        raise RequestError("prompts_file", str(source), "at least one prompt")
    return PromptList.of(prompts)


def _read(source: Path) -> str:
    """The text. Counted as it is read, for a device or a pipe has no size."""
    try:
        with source.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise RequestError("prompts_file", str(source), f"a file that can be read ({error.strerror})") from None
    if len(raw) > MAX_BYTES:
        raise RequestError("prompts_file", str(source), f"a file of at most {MAX_BYTES:,} bytes")
    try:
        return decode(raw)
    except UnicodeDecodeError:
        raise RequestError("prompts_file", str(source), "UTF-8 text, or COCO captions as JSON") from None


def _lines(text: str) -> Iterator[str]:
    """One at a time: only as many as are asked for are ever held."""
    return (match.group() for match in re.finditer(r"[^\r\n]+", text))


def _checked(lines: Iterable[str], source: Path) -> Iterator[str]:
    """Prompts, one a line, less what is blank; each checked when it is asked for, so that a long list costs nothing."""
    number = 0
    for line in lines:
        if len(line) <= MAX_LENGTH and not (line := " ".join(line.split())):
            continue
        number += 1
        if len(line) > MAX_LENGTH or not line.isprintable():
            remedy = f"printable, up to {MAX_LENGTH} characters"
            raise RequestError("prompts_file", f"{source}, prompt {number}", remedy)
        yield line


def _coco(text: str, source: Path) -> list[str]:
    """Captions of ``{"annotations": [{"caption": ...}, ...]}``, in the file's order."""
    try:
        document: Any = json.loads(text)
        captions = [annotation["caption"] for annotation in document["annotations"]]
        if all(isinstance(caption, str) for caption in captions):
            return captions
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise RequestError("prompts_file", str(source), 'COCO captions: {"annotations": [{"caption": "..."}, ...]}')
