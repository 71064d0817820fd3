"""Prompt lists: shipped, COCO captions, plain text."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from farm.domain import RequestError
from farm.sweeps.prompts import MAX_BYTES, PromptList, read_prompts


def test_a_hundred_different_ones_ship():
    listed = read_prompts(None, 1000)
    assert len(listed.prompts) == len(set(listed.prompts)) == 100
    assert all(20 < len(prompt) < 120 for prompt in listed.prompts)


def test_only_as_many_as_are_needed():
    assert read_prompts(None, 3).prompts == read_prompts(None, 100).prompts[:3]


def test_coco_captions_as_published(tmp_path):
    path = tmp_path / "captions_val2014.json"
    captions = [{"image_id": n, "id": n, "caption": f"A  cat \n on mat {n}. "} for n in range(3)]
    path.write_text(json.dumps({"info": {}, "images": [], "annotations": captions}))
    assert read_prompts(path, 2).prompts == ("A cat on mat 0.", "A cat on mat 1.")


def test_plain_lines(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("\ufeffone\n\n  two \r\nthree", encoding="utf-8")
    assert read_prompts(path, 10).prompts == ("one", "two", "three")


def test_hash_is_of_the_text():
    assert PromptList.of(("a", "b")).sha256 == PromptList.of(("a", "b")).sha256 != PromptList.of(("ab",)).sha256


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "at least one prompt"),
        (b"\n \n", "at least one prompt"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b'{"annotations": 3}', "COCO"),
        (b'{"annotations": [{"caption": 3}]}', "COCO"),
        (b'{"captions": []}', "COCO"),
        (b"[1", "COCO"),
        (b"[" * 100_000, "COCO"),
        (b"a" * 20_000, "prompt 1"),
        (b"a\x07b", "prompt 1"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    path = tmp_path / "prompts"
    path.write_bytes(content)
    with pytest.raises(RequestError, match=message):
        read_prompts(path, 10)


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/urandom"])
def test_what_never_ends_is_refused_when_it_is_too_much(device):
    with pytest.raises(RequestError, match="at most 96,000,000 bytes"):
        read_prompts(Path(device), 10)


def test_a_file_of_100_mb_is_refused_and_one_below_the_limit_is_read_as_far_as_needed(tmp_path):
    path = tmp_path / "prompts.txt"
    with path.open("wb") as file:
        file.write(b"a cat on a mat\n" * 100)
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(RequestError, match="at most 96,000,000 bytes"):
        read_prompts(path, 10)
    with path.open("rb+") as file:
        file.truncate(MAX_BYTES)
    started = time.process_time()
    assert read_prompts(path, 100).prompts == ("a cat on a mat",) * 100
    assert time.process_time() - started < 3
    with pytest.raises(RequestError, match="prompt 101"):  # zeros, on one line
        read_prompts(path, 101)


def test_missing_file(tmp_path):
    with pytest.raises(RequestError, match="No such file"):
        read_prompts(tmp_path / "none", 10)
