"""What the tests of analysis.work share: nano pipelines, folders in diffusers layout, the study's traced counts."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

from analysis.work.trace.pipeline import Pipeline, from_catalog
from farm import catalog


def nano(name: str) -> Pipeline:
    """A catalog model with its nano configurations: the same classes and conventions, milliseconds to trace."""
    pipeline = from_catalog(catalog.model(name))
    parts = {n: replace(c, config=c.nano) for n, c in pipeline.components.items()}
    return replace(pipeline, components=parts)


def folder(path: Path, name: str = "sd2", size: str = "nano") -> Path:
    """A pipeline folder as the hub has it, configurations only."""
    model = catalog.model(name)
    index: dict[str, object] = {"_class_name": model.pipeline, "safety_checker": [None, None]}
    for part, component in model.components.items():
        index[part] = [component.library, component.cls]
        (path / part).mkdir(parents=True)
        config = dict(component.nano if size == "nano" else component.config)
        (path / part / "config.json").write_text(json.dumps({"_class_name": component.cls, **config}))
    (path / "model_index.json").write_text(json.dumps(index))
    return path


def traced_rows() -> list[dict[str, str]]:
    """work_traced.csv: model, resolution, component, paper_gflops, exact_gflops, bytes, ops, counted independently."""
    with (Path(__file__).parent / "traced.csv").open(newline="") as file:
        return list(csv.DictReader(file))
