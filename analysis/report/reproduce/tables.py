"""The tables of the paper from rows at hand, beside what it prints: coefficients, and energies by setting."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from analysis import laws
from analysis.fitted import fit_once
from analysis.report.reproduce.rows import (
    FLUX_ON_BOTH,
    LAW,
    SD35_ON_BOTH,
    Choice,
    Made,
    Parts,
    predicted,
    unflagged,
    with_energy,
)
from analysis.shipped import shipped_rows
from analysis.table import Table
from farm.domain import Configuration

PRINTED: Final = Path(__file__).with_name("printed.toml")
ENERGY_MODELS: Final = {6: "flux", 7: "sd35", 8: "sd2", 9: "qwen"}


@cache
def printed() -> Mapping[str, Any]:
    """What the paper prints, by table and model."""
    return tomllib.loads(PRINTED.read_text(encoding="utf-8"))


def _coefficients(number: int, choices: Mapping[str, Choice], names: Mapping[str, str], rows: Table) -> Made:
    lines: list[dict[str, Any]] = []
    missing: list[str] = []
    for model, choice in choices.items():
        ours: dict[str, float | None] = {}
        if lacking := choice.missing(rows):
            missing += lacking
        else:
            fitted = fit_once(LAW, unflagged(choice.of(rows)))
            ours = _flat(fitted.params_)
            outcome = predicted(choice.of(rows), choice.of(rows), in_sample=True)
            ours["r2_log"] = outcome.metrics["r2_log"]
        origins = sorted(set(choice.of(rows).origin.tolist()))
        for name in [*names, "r2_log"]:
            says = printed()[f"table{number}"][model].get(name)
            value = ours.get(name)
            if says is None and value is None:
                continue
            difference = None if value is None or says is None else value - says
            lines.append(
                {"model": model, "coefficient": names.get(name, "R² of ln E"), "paper": says, "here": value,
                 "difference": difference, "rows": len(choice.of(rows)), "origin": " and ".join(origins)}
            )  # fmt: skip
    return Made(lines, None, f"rows of {', '.join(missing)}" if missing else None)


def _flat(params: Mapping[str, Any]) -> dict[str, float | None]:
    """The coefficients by one name each, ``beta_gpu {"a6000": x}`` as ``beta_a6000``."""
    flat: dict[str, float | None] = {}
    for name, value in params.items():
        if isinstance(value, Mapping):
            flat |= {f"{name.removesuffix('_gpu')}_{key}": float(number) for key, number in value.items()}
        else:
            flat[name] = float(value)
    return flat


_NAMES = {"ln_a": "ln A", "alpha": "alpha", "beta_fp32": "beta_dtype", "beta_res": "beta_res"}
_TABLE1 = {model: Choice((model,)) for model in ("flux", "sd35", "qwen")}
_TABLE2 = {"flux": FLUX_ON_BOTH, "sd35": SD35_ON_BOTH}


def _energies(model: str, rows: Table) -> Made:
    """The paper's energies of one model beside the rows at hand and what ``work`` says that never saw the model."""
    paper = shipped_rows("paper").where(model=model)
    measured = rows.where(origin="measured")
    others = measured if len(measured) else rows  # simulated ones only where there is nothing else
    others = others.take(others.model != model)
    law = laws.get(laws.DEFAULT)().fit(others) if len(others) else None
    forecast = law.forecast(paper) if law is not None else None
    here = with_energy(measured.where(model=model, gpu="a100"))
    here = here.take(~here.includes_idle)  # the paper's energies are above idle
    here = here.take(np.argsort(here.dataset != "paper", kind="stable"))  # where there are both, one's own counts
    per_image = dict(zip(map(_setting, here.configurations()), here.energy_joules / here.prompts, strict=True))
    lines = []
    for i, c in enumerate(paper.configurations()):
        joules = float(paper.energy_joules[i])
        joules_here = per_image.get(_setting(c))
        lines.append(
            {
                "resolution": f"{c.width}x{c.height}",
                "steps": c.steps,
                "precision": c.precision,
                "cfg": c.cfg,
                "paper_joules": joules,
                "measured_joules": None if joules_here is None else float(joules_here) * c.prompts,
                "predicted_joules": None if forecast is None else float(forecast.joules[i]),
                "low_joules": None if forecast is None else float(forecast.low[i]),
                "high_joules": None if forecast is None else float(forecast.high[i]),
                "off_percent": None if forecast is None else 100 * (float(forecast.joules[i]) / joules - 1),
            }
        )
    lacking = sum(line["measured_joules"] is None for line in lines)
    missing = f"rows of {model} on a100: {lacking} of {len(lines)} settings" if lacking else None
    return Made(lines, None, missing)


def _setting(c: Configuration) -> tuple[object, ...]:
    return (c.width, c.height, c.steps, c.precision, c.cfg, c.batch)


TABLES: Final[Parts] = {
    1: partial(_coefficients, 1, _TABLE1, _NAMES),
    2: partial(_coefficients, 2, _TABLE2, {**_NAMES, "beta_a6000": "beta_A6000"}),
    **{number: partial(_energies, model) for number, model in ENERGY_MODELS.items()},
}
