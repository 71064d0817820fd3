"""Names that people write for what the catalog has: other spellings of an entry's name, and other names of it.

A name is looked for in three ways, the surest first: an entry's own name but for case, blanks and punctuation; another
name of it (title, repository, alias), likewise; a pattern. The first way that finds one entry answers; one that finds
several refuses, since which is meant cannot be known.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from farm.domain.errors import RequestError

_MAKERS: Final = re.compile(r"\b(nvidia|amd|geforce|tesla|instinct|generation|gpu)\b", re.IGNORECASE)
_MEMORY: Final = re.compile(r"\s*\b[0-9]+\s?gb\b", re.IGNORECASE)
_BRACKETS: Final = re.compile(r"\s*\([^)]*\)")
_ONE_BOARD: Final = re.compile(r"\s*1\s*x\s+(?=\S)", re.IGNORECASE)  # CodeCarbon: "1 x NVIDIA A100-SXM4-80GB"
_HUB: Final = re.compile(r"\s*(https?://)?(www\.)?(huggingface\.co|hf\.co)/|\s*models--", re.IGNORECASE)

Spelling = Callable[[str], str]


class UnknownName(RequestError):
    """Nothing in the catalog is called so; ``near`` is the entry whose names come nearest, if any does."""

    def __init__(self, field: str, text: str, near: str | None, known: Iterable[str]) -> None:
        self.near = near
        hint = f"did you mean {near}? " if near else ""
        super().__init__(field, text, f"{hint}known: {', '.join(sorted(known))}")


def gpu_spelling(text: str) -> str:
    """What is left of a GPU's name without its maker, case, blanks and punctuation: rtx4090, a100sxm480gb."""
    return _folded(_MAKERS.sub(" ", _ONE_BOARD.sub("", text, count=1)))


def model_spelling(text: str) -> str:
    """What is left of a model's name, or of its address on the hub, without case, blanks and punctuation."""
    return _folded(_HUB.sub("", text, count=1))


def gpu_names(name: str, title: str, nvml_names: Sequence[str]) -> tuple[str, ...]:
    """What else a GPU type is called: its title with and without the memory, its name with it, its names in NVML."""
    memory = "".join(_MEMORY.findall(title))
    literal = [pattern for pattern in nvml_names if not set(pattern) & set("*?[")]
    return (title, _MEMORY.sub("", title), name + memory, *literal)


def model_names(title: str, repository: str, aliases: Sequence[str]) -> tuple[str, ...]:
    """What else a model is called: its title, its repository with and without the owner, its aliases."""
    published = (repository, *aliases)
    return (title, _BRACKETS.sub("", title), *published, *(each.rsplit("/", 1)[-1] for each in published))


def find(
    field: str,
    text: str,
    names: Mapping[str, Sequence[str]],
    spelling: Spelling,
    patterns: Callable[[str], Sequence[str]] = lambda text: (),
) -> str:
    """The name of the entry that a text names.

    Args:
        field: what errors call it.
        text: as somebody wrote it.
        names: by the name of each entry, what else it is called.
        spelling: what of a name counts.
        patterns: names of the entries that have a pattern for the text.

    Raises:
        UnknownName: nothing is called so.
        RequestError: several are.
    """
    text = text.strip()
    if text in names:
        return text
    wanted = spelling(text)
    by_name = [name for name in names if spelling(name) == wanted]
    by_other = [name for name, others in names.items() if wanted in map(spelling, others)]
    for matching in (by_name, by_other, patterns(_ONE_BOARD.sub("", text, count=1))):
        if len(matching) == 1:
            return matching[0]
        if matching:
            raise RequestError(field, text, f"which of {', '.join(sorted(matching))}: all of them are called so")
    raise refusal(field, text, names, spelling)


def refusal(field: str, text: str, names: Mapping[str, Sequence[str]], spelling: Spelling) -> UnknownName:
    """That nothing is called so: with the entry whose names come nearest, and all there are."""
    spelled = {spelling(other): name for name, others in names.items() for other in others}
    spelled |= {spelling(name): name for name in names}
    wanted = spelling(text)
    near = difflib.get_close_matches(wanted, spelled, n=5)

    # A slip is rather late in a name than early, and no digit for a letter: a101 is a100 and not a10, a1000 is a100 and
    # not a6000, fluxx is flux and not flux2.
    def distance(name: str) -> tuple[int, bool, bool]:
        return -_shared_start(wanted, name), _digits(name) != _digits(wanted), len(name) != len(wanted)

    near.sort(key=distance)
    return UnknownName(field, text, spelled[near[0]] if near else None, names)


def _shared_start(one: str, other: str) -> int:
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _digits(name: str) -> int:
    return sum(character.isdigit() for character in name)


def is_version(text: str, name: str) -> bool:
    """Whether two names differ in digits alone, as versions of a model do: kandinsky-2.2 is no slip for kandinsky-3."""
    plain, other = (re.sub(r"[0-9.]+", "", each) for each in (text.casefold(), name.casefold()))
    return plain == other and text != name


def _folded(text: str) -> str:
    return "".join(character for character in text.casefold() if character.isalnum())
