"""Tokenizers made in code: the same in every process and on every host, nothing downloaded, nothing trained.

(The trainers of BPE with word ends and of Unigram give another vocabulary in every process.) CLIP and T5 pad to a
fixed length, so any vocabulary costs the same. Qwen does not pad: its text length is the number of tokens, so its
vocabulary holds the words of its template and of everyday captions as single tokens, as the published one does.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable
from typing import Any, Final

from tokenizers import pre_tokenizers
from transformers import CLIPTokenizer, Qwen2Tokenizer, T5TokenizerFast

_BYTES: Final = tuple(sorted(pre_tokenizers.ByteLevel.alphabet()))  # alphabet() itself comes in random order
_SPACE: Final = "Ġ"  # a leading space in byte-level BPE

# The pipeline cuts its template off by a fixed number of tokens, 34: every word of it has to be one token.
_QWEN_BARE: Final = ("system", "user", "assistant", "Describe")
_QWEN_TEMPLATE: Final = """
the image by detailing color shape size texture quantity text spatial relationships of objects and background
"""
_CAPTION_WORDS: Final = """
a an at and are as behind beside between by down for from front has her his in inside into is its near next no of off on
one onto or out outside over people some that their there through to together top two three four several group under up
view while with man woman boy girl child children person player dog cat horse bird sheep cow elephant bear zebra giraffe
street road car bus train truck bike boat plane tree grass field beach water snow mountain sky city building house room
kitchen bathroom bed table chair couch desk bench window door wall floor plate bowl cup glass bottle knife food pizza
cake sandwich fruit apple banana orange vegetables phone laptop computer television book clock umbrella ball tennis
baseball bat skateboard surfboard wave ski frisbee kite sign light red blue green yellow black white brown gray pink
small large big little old young wooden open full parked sitting standing walking riding holding playing eating looking
flying lying running wearing hanging filled covered made hat shirt hand head day night side
"""


def clip(length: int) -> CLIPTokenizer:
    """Byte-level, without merges, ``length`` tokens at most."""
    vocabulary = ["<|startoftext|>", "<|endoftext|>", *_BYTES, *(c + "</w>" for c in _BYTES)]
    return CLIPTokenizer(vocab=_numbered(vocabulary), merges=[], model_max_length=length)


def t5(length: int) -> T5TokenizerFast:
    """A unigram model of single characters, ``length`` tokens at most."""
    characters = string.ascii_letters + string.digits + string.punctuation
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((c, -4.0) for c in characters)]
    return T5TokenizerFast(vocab=pieces, extra_ids=0, model_max_length=length)


def qwen(length: int) -> Qwen2Tokenizer:
    """Byte-level BPE whose merges spell everyday words from left to right; other words fall into a few pieces."""
    words = (_QWEN_TEMPLATE + _CAPTION_WORDS).split()
    merges = _spell([_SPACE + word for word in words] + list(_QWEN_BARE))
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    vocabulary = _numbered([*special, *_BYTES, *(left + right for left, right in merges)])
    return Qwen2Tokenizer(
        vocab=vocabulary, merges=merges, additional_special_tokens=special[1:], model_max_length=length
    )


# The catalog's kinds: how a tokenizer of so many tokens is made.
TOKENIZERS: Final[dict[str, Callable[[int], Any]]] = {"clip": clip, "t5": t5, "qwen": qwen}


def _numbered(tokens: Iterable[str]) -> dict[str, int]:
    return {token: number for number, token in enumerate(dict.fromkeys(tokens))}


def _spell(words: Iterable[str]) -> list[tuple[str, str]]:
    """Merges that join each word letter by letter: (c, a), (ca, t)."""
    merges = {(word[:i], word[i]): None for word in words for i in range(1, len(word))}
    return list(merges)
