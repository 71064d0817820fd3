"""What the shell is offered for a word that was begun."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import click
import pytest

from farm.cli import cli
from farm.cli.options import CatalogName
from tests.conftest import FARM


def completion(**variables: str) -> list[str]:
    environment = {**os.environ, **variables}
    done = subprocess.run([FARM], env=environment, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.splitlines()


def offered(words: str, current: int) -> list[str]:
    """What bash completes the word of that number with."""
    lines = completion(_FARM_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(current))
    return [line.partition(",")[2] for line in lines if line]


def test_a_value_after_an_equals_sign() -> None:
    """bash makes three words of it and replaces the last; zsh and fish replace the whole word."""
    assert offered("farm predict --gpu = a100 --model = hunyuand", 7) == ["hunyuandit-1.2"]
    assert "flux" in offered("farm predict --model =", 3)
    word = "--model=hunyuand"
    zsh = completion(_FARM_COMPLETE="zsh_complete", COMP_WORDS=f"farm predict {word}", COMP_CWORD="2")
    assert zsh == ["plain", "--model=hunyuandit-1.2", "_"]
    fish = completion(_FARM_COMPLETE="fish_complete", COMP_WORDS=f"farm predict {word}", COMP_CWORD=word)
    assert fish == ["plain,--model=hunyuandit-1.2"]


def test_fish_keeps_the_commas_of_a_list() -> None:
    assert any('string split --max 1 ","' in line for line in completion(_FARM_COMPLETE="fish_source"))
    asked = {"COMP_WORDS": "farm up --simulate a100,a40", "COMP_CWORD": "a100,a40"}
    assert completion(_FARM_COMPLETE="fish_complete", **asked) == ["plain,a100,a4000"]


def test_models_and_gpu_types_by_their_beginning_and_in_lists() -> None:
    assert "flux" in offered("farm predict --model fl", 3)
    assert offered("farm measure --gpu h200-", 3) == ["h200-nvl"]
    assert offered("farm plan --model flux,qw", 3) == ["flux,qwen"]
    assert "sd35,sd35-medium" in offered("farm predict --model sd35,sd35", 3)


def test_wherever_a_command_takes_one() -> None:
    assert offered("farm flops sana-1", 2) == ["sana-1.6b"]
    assert offered("farm up --simulate a100,a40", 3) == ["a100,a4000"]
    assert offered("farm law validate --train flux --test qw", 6) == ["qwen"]


@pytest.mark.parametrize("begun", ["./my", "/srv/models/"])
def test_a_model_may_be_a_folder(begun) -> None:
    """The shell itself completes the folder."""
    assert offered(f"farm predict --model {begun}", 3) == offered(f"farm flops {begun}", 2) == [begun]


def parameters(command: click.Command, words: str = "farm") -> Iterator[tuple[str, click.Parameter]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            yield from parameters(command.get_command(context, name), f"{words} {name}")
    else:
        yield from ((words, parameter) for parameter in command.params)


def completes(parameter: click.Parameter) -> bool:
    return parameter._custom_shell_complete is not None or isinstance(parameter.type, CatalogName)


def test_every_option_of_models_gpu_types_and_sweeps_completes() -> None:
    names = {"model", "gpu", "sweep_id", "simulate", "cpu", "within", "train", "test", "train_gpu", "test_gpu"}
    found = [
        (path, each) for path, each in parameters(cli) if each.name in names and not getattr(each, "is_flag", False)
    ]
    assert len(found) > 30
    assert [(path, each.name) for path, each in found if not completes(each)] == []


def test_commands() -> None:
    assert {"models", "measure", "meter"} <= set(offered("farm m", 1))


def test_sweeps_of_the_farm_and_none_without_a_database(farm, tmp_path) -> None:
    assert offered("farm sweep status ", 3) == []
    spec = tmp_path / "sweep.yaml"
    spec.write_text("name: weekend\nmodels: [sd2]\ngpus: [a100]\nsteps: [10]\nresolutions: [512]\nprecisions: [fp16]\n")
    assert farm("sweep", "submit", spec).code == 0
    assert (
        offered("farm sweep status ", 3)
        == offered("farm sweep show ", 3)
        == offered("farm jobs list --sweep ", 4)
        == ["1"]
    )
