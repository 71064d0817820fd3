"""The references are what the commands, the settings and the keys of a sweep file say of themselves."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from farm.cli import COMMANDS
from farm.cli.reference import DOCUMENTS, render
from farm.settings import Settings
from farm.sweeps.axes import AXES
from farm.sweeps.file import KEYS, SweepFile
from farm.sweeps.read import parse_spec

DOCS = Path(__file__).resolve().parents[2] / "docs"
DOCUMENT = DOCS / "commands.md"


def test_every_command_is_documented_as_it_is():
    text = render()
    assert all(f"\n## farm {name}\n" in text for name in COMMANDS)
    assert text == DOCUMENT.read_text(), "run: python -m farm.cli.reference > docs/commands.md"


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("settings", "settings.md"),
        ("sweeps", "sweeps.md"),
        ("sweep-schema", "schemas/sweep.schema.json"),
        ("gpu-schema", "schemas/gpu.schema.json"),
        ("model-schema", "schemas/model.schema.json"),
    ],
)
def test_what_is_made_from_a_model_is_current(name, file):
    assert DOCUMENTS[name]() == (DOCS / file).read_text(), f"run: python -m farm.cli.reference {name} > docs/{file}"


def test_every_setting_and_every_key_says_what_it_means():
    for field in (*Settings.model_fields.values(), *SweepFile.model_fields.values()):
        assert field.description
    text = DOCUMENTS["settings"]()
    assert all(f"`FARM_{name.upper()}`" in text for name in Settings.model_fields)


def test_every_variable_that_the_code_reads_is_documented():
    """Also those that are no settings, found in the source by their names."""
    places = (DOCS.parent / name for name in ("farm", "workers", "analysis"))
    read = {
        name
        for place in places
        for path in place.rglob("*.py")
        for name in re.findall(r"\bFARM_[A-Z][A-Z0-9_]+\b", path.read_text())
    }
    assert {"FARM_HOME", "FARM_LOCK_TOKENS", "FARM_TF32"} <= read
    text = DOCUMENTS["settings"]()
    assert {name for name in read if f"`{name}`" not in text} == set()


def test_the_model_of_a_sweep_file_is_what_is_read():
    """Every axis is a key of it, with the default that the reader has; every sweep that ships is valid by it."""
    assert {key for key, _, _ in AXES} <= set(KEYS)
    spec = parse_spec({"models": ["sd2"], "gpus": ["a100"]}, folder=Path())
    defaults = SweepFile(models=["sd2"], gpus=["a100"]).model_dump()
    written = json.loads(json.dumps(spec.to_dict()))
    written["resolutions"] = [width for width, _height in written["resolutions"]]
    assert {key: value for key, value in defaults.items() if key != "name"} == {
        key: value for key, value in written.items() if key != "name"
    }
    with pytest.raises(ValidationError, match="gpu"):
        SweepFile.model_validate({"models": ["sd2"], "gpus": ["a100"], "gpu": "a100"})
