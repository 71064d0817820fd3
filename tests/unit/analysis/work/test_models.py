"""A model that is a folder, or a repository in the local cache of the hub, is counted once and predicted."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from analysis.cli import counting
from analysis.work import models, ondemand
from farm import catalog
from farm.domain import RequestError
from tests.processes import wait_until
from tests.unit.analysis.work.pipelines import folder

pytest.importorskip("torch")
ASKED = ("--gpu", "a100", "--resolution", "256", "--steps", "10", "--precision", "fp16")
REVISION = "0" * 40


@pytest.fixture(autouse=True)
def fresh_catalog(home: Path) -> Iterator[None]:
    catalog.refresh()
    yield
    catalog.refresh()


def test_a_folder_is_predicted_and_counted_once(farm: Callable[..., Any], tmp_path: Path) -> None:
    path = folder(tmp_path / "pipeline")
    first = farm("predict", "--model", path, *ASKED, "--json")
    assert first.code == 0, first.err
    found = json.loads(first.out)
    assert found["energy_joules"] > 0
    assert (found["model"], found["fits"]) == (str(path), True)
    assert "was never measured: predicted from its work" in found["rests_on"]
    assert first.err == "" or first.err.startswith("farm: counting the work of")
    catalog.refresh()
    again = farm("predict", "--model", path, *ASKED, "--json")
    assert (json.loads(again.out), again.err) == (found, "")


def test_a_count_is_said_where_it_takes_long_and_not_where_it_fails_at_once(monkeypatch) -> None:
    told = io.StringIO()
    with pytest.raises(RequestError), counting.shown("more", stream=told):
        raise RequestError("model", "x", "another")
    assert told.getvalue() == ""
    monkeypatch.setattr(counting, "LONG_SECONDS", 0.0)
    with counting.shown("counting", stream=told):
        wait_until(told.getvalue, what="the line")
    assert told.getvalue() == "farm: counting\n"


def test_its_parameters_say_whether_it_fits(tmp_path: Path) -> None:
    """Built on the meta device from the configurations of SD 2, against the published counts."""
    from analysis.work.trace.pipeline import from_folder

    counted = ondemand.parameters(from_folder(folder(tmp_path / "pipeline", "sd2", size="full")))
    assert counted == pytest.approx(catalog.model("sd2").parameters, rel=0.02)


def test_a_repository_of_the_local_cache_is_found_without_a_network(
    farm: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    repository = tmp_path / "hub" / "models--somebody--new-model"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    assert models.cached_folder("somebody/new-model") is None
    shutil.copytree(folder(tmp_path / "pipeline"), repository / "snapshots" / REVISION)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(REVISION)
    assert models.find("somebody/new-model") == "somebody/new-model"
    counted = farm("flops", "somebody/new-model", "--resolution", "256", "--json")
    assert counted.code == 0, counted.err
    assert json.loads(counted.out)["exact"]["denoise_step"] > 0


@pytest.mark.parametrize("name", ["somebody/no-such-model", "nothing", "../no/such/folder"])
def test_what_is_no_model_is_refused(name: str) -> None:
    with pytest.raises(RequestError, match=r"known: .*folder in diffusers layout"):
        models.find(name)
