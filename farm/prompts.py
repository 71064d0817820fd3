"""Prompts: the list that ships, COCO captions as published, or a text file with one a line."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from farm.domain import RequestError

SHIPPED: Final = Path(__file__).resolve().parent / "data" / "prompts.txt"
MAX_BYTES: Final = 256 * 1024 * 1024  # the captions of COCO's training set are 90 MB
MAX_LENGTH: Final = 10_000  # characters of one prompt


@dataclass(frozen=True, slots=True)
class PromptList:
    """Prompts and the hash that names them. Text and hash travel in SQL; no worker needs the file."""

    prompts: tuple[str, ...]
    sha256: str

    @classmethod
    def of(cls, prompts: tuple[str, ...]) -> PromptList:
        text = json.dumps(prompts, ensure_ascii=False, separators=(",", ":"))
        return cls(prompts, hashlib.sha256(text.encode()).hexdigest())


def read_prompts(path: Path | None, limit: int) -> PromptList:
    """The first ``limit`` prompts of a file, of the shipped list for None. RequestError for a file without any.

    A file of fewer is taken as it is: whoever needs more starts over.
    """
    source = path or SHIPPED
    try:
        if source.stat().st_size > MAX_BYTES:
            raise RequestError("prompts_file", str(source), f"at most {MAX_BYTES:,} bytes")
        text = source.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise RequestError("prompts_file", str(source), f"a file that can be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise RequestError("prompts_file", str(source), "UTF-8 text, or COCO captions as JSON") from None
    found = _coco(text, source) if text.lstrip()[:1] in ("{", "[") else text.splitlines()
    prompts = tuple(islice((" ".join(line.split()) for line in found if line.strip()), limit))
    if not prompts:
        raise RequestError("prompts_file", str(source), "at least one prompt")
    for number, prompt in enumerate(prompts, start=1):
        if len(prompt) > MAX_LENGTH or not prompt.isprintable():
            raise RequestError(
                "prompts_file", f"{source}, prompt {number}", f"printable, up to {MAX_LENGTH} characters"
            )
    return PromptList.of(prompts)


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
