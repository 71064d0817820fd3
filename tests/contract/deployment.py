"""What deploy/ holds, as its tests read it: the cluster's documents, environment files, command lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from farm.cli import cli

ROOT = Path(__file__).resolve().parents[2]

DEPLOY = ROOT / "deploy"

KUBERNETES = DEPLOY / "kubernetes"

COMPOSE = DEPLOY / "compose"

GPUS = sorted(p.name for p in (KUBERNETES / "gpus").iterdir())


def merged(base: Any, patch: Any) -> Any:
    """A strategic merge of Kubernetes: mappings by key, lists of named things by name, what is else replaced."""
    if isinstance(base, dict) and isinstance(patch, dict):
        return base | {key: merged(base.get(key), value) for key, value in patch.items()}
    if isinstance(base, list) and all(isinstance(item, dict) and "name" in item for item in [*base, *patch]):
        named = {item["name"]: item for item in base}
        return list((named | {item["name"]: merged(named.get(item["name"]), item) for item in patch}).values())
    return patch


def documents(folder: Path) -> Iterator[dict[str, Any]]:
    """What a kustomization lists, all the way down, its patches applied."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    patches = [yaml.safe_load((folder / patch["path"]).read_text()) for patch in kustomization.get("patches", ())]
    for name in kustomization["resources"]:
        path = folder / name
        found = documents(path) if path.is_dir() else yaml.safe_load_all(path.read_text())
        for document in found:
            for patch in patches:
                document = merged(document, patch)
            document["metadata"]["name"] += kustomization.get("nameSuffix", "")
            yield document


def pods() -> dict[str, dict[str, Any]]:
    """The pod's specification of everything that runs, by ``Kind/name``."""
    return {
        f"{document['kind']}/{document['metadata']['name']}": document["spec"]["template"]["spec"]
        for document in documents(KUBERNETES)
        if "template" in document.get("spec", {})
    }


def containers() -> list[Any]:
    return [
        pytest.param(container, id=f"{name}/{container['name']}")
        for name, pod in pods().items()
        for container in [*pod.get("initContainers", ()), *pod["containers"]]
    ]


def check_command(words: list[str]) -> None:
    """Those words are a command of `farm` with options and arguments that it takes."""
    context = click.Context(cli, info_name="farm", **cli.context_settings)
    command: click.Command = cli
    while isinstance(command, click.Group):
        if not words:
            raise click.UsageError("a command is missing", context)
        name, _, words = command.resolve_command(context, words)
        command = context.command.get_command(context, str(name))
        context = click.Context(command, info_name=name, parent=context, **cli.context_settings)
    command.parse_args(context, list(words))


def environment(container: dict[str, Any]) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in container["env"]}


def secret_files(variables: dict[str, str]) -> list[Path]:
    """The files of secrets and certificates that settings name."""
    return [Path(value) for name, value in variables.items() if name.endswith(("_FILE", "_CA"))]


def settings_of(file: Path) -> dict[str, str]:
    """An environment file of systemd."""
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)
