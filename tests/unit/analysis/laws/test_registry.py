"""analysis.laws: a law is one file that exports LAW, here or in another distribution."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from analysis import laws
from analysis.shipped import TRANSFORMERS as SHIPPED
from farm.domain.errors import OperationError, RequestError
from tests.outcomes import document

# What docs/add-a-law.md asks for, and nothing more: energy in proportion to steps, prompts and pixels.
FLAT = '''
import numpy as np
from analysis.laws.base import Forecast, Law


class FlatLaw(Law):
    version = 1

    def _fit(self, table, energy_joules, weight):
        logarithm = np.log(energy_joules / self._size(table))
        self.params_ = {"ln_k": float(np.average(logarithm, weights=weight))}
        self.params_std_ = {"ln_k": float(np.std(logarithm)) + 0.1}

    def _predict(self, table):
        return np.exp(self.params_["ln_k"]) * self._size(table)

    def _forecast(self, table, level):
        """E exp(+- level x 10 s): a spread that nobody would publish."""
        joules, half = self._predict(table), 10 * level * self.params_std_["ln_k"]
        return Forecast(joules, joules * np.exp(-half), joules * np.exp(half))

    def _size(self, table):
        return table.steps * table.prompts * table.pixels / 2**20

    def _state(self):
        return {}

    def _restore(self, state):
        pass


LAW = FlatLaw
'''
FLUX = ("--model", "flux", "--gpu", "a100", "--resolution", 1024, "--steps", 28, "--precision", "fp16")


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers is forgotten after it."""
    laws._registered.cache_clear()
    yield
    monkeypatch.undo()
    for name in ("analysis.laws.flat", "lab_power"):
        sys.modules.pop(name, None)
        if name.startswith("analysis.") and hasattr(laws, "flat"):
            del laws.flat
    importlib.invalidate_caches()
    laws._registered.cache_clear()


def in_the_folder(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file flat.py in analysis/laws, as good as there: its folder is one more place of the package."""
    (folder / "flat.py").write_text(text)
    monkeypatch.setattr(laws, "__path__", [*laws.__path__, str(folder)])


def installed(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch, name: str = "power") -> None:
    """A distribution lab-laws with one module and its entry point, on the path as an installer leaves it."""
    (folder / "lab_power.py").write_text(text)
    information = folder / "lab_laws-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-laws\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(f"[joulefarm.laws]\n{name} = lab_power\n")
    monkeypatch.syspath_prepend(str(folder))


def test_one_file_is_a_law_of_every_command(farm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_the_folder(tmp_path, FLAT, monkeypatch)
    fitted = document(farm("law", "fit", "--law", "flat", "--data", SHIPPED, "--json"))
    assert (fitted["law"], fitted["n"]) == ("flat", 200)
    assert document(farm("law", "list", "--json"))["laws"] == ["flat", "paper", "work"]
    answer = document(farm("predict", *FLUX, "--law", "flat", "--json"))
    assert answer["low_joules"] < answer["energy_joules"] < answer["high_joules"]
    assert (answer["law"], answer["duration_seconds"]) == ("flat", None)
    held_out = ("--train", "flux", "--test", "sd35")
    assert document(farm("law", "validate", "--law", "flat", "--data", SHIPPED, *held_out, "--json"))["n_test"] == 80


def test_an_entry_point_brings_a_law_of_another_distribution(
    farm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path, FLAT, monkeypatch)
    fitted = document(farm("law", "fit", "--law", "power", "--data", SHIPPED, "--json"))
    assert (fitted["law"], fitted["n"]) == ("power", 200)
    again = laws.get("power")().fit(str(SHIPPED))
    assert type(again).from_json(again.to_json()).params_ == fitted["params"]


@pytest.mark.parametrize(
    ("text", "name", "why"),
    [
        ("LAW = 3", "power", "it exports no LAW"),
        ("import no_such_module", "power", "no_such_module"),
        (FLAT, "work", "its name is taken"),
    ],
)
def test_a_law_of_others_that_cannot_be_used_is_warned_of_and_strands_no_other(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    text: str,
    name: str,
    why: str,
) -> None:
    installed(tmp_path, text, monkeypatch, name)
    assert laws.names() == ("paper", "work")
    assert laws.get("work").__module__ == "analysis.laws.work.law"
    assert f"law {name} of lab-laws is left out: " in caplog.text
    assert why in caplog.text
    with pytest.raises(RequestError, match="paper, work"):
        laws.get("power")


def test_a_file_here_that_exports_no_law_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_the_folder(tmp_path, "LAWS = []", monkeypatch)
    with pytest.raises(OperationError, match="analysis/laws/flat is no law: it exports no LAW"):
        laws.names()
