"""How good law ``work`` is on rows that it was not fitted to: the first table of docs/laws.md, "Every split"."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from analysis.design import plan
from analysis.laws.work.law import WorkLaw
from analysis.metrics import mean_of
from analysis.shipped import DATA, shipped_rows
from analysis.table import Table
from analysis.validation import Validation, leave_out, of_fit
from tests.bench import Row

Split = tuple[Table, Table]  # rows to fit, rows to test
PAPER = ("flux", "qwen", "sd35", "sd2")


def rows() -> Iterator[Row]:
    everything, paper = shipped_rows(), shipped_rows("paper")
    known, qwen = _models_held_out(paper)
    ten = [_judged(split) for split in known]
    yield _row("ten splits not tested on qwen, mean", ten, 5.9)
    yield _row("the worst of them", [max(ten, key=lambda outcome: outcome.metrics["mape_percent"] or 0.0)], 11)
    for outcome in ten[-2:]:
        yield _row(f"sd2, fitted to {', '.join(outcome.train)}", [outcome], 10)
    models = leave_out(WorkLaw(), everything, "model").done.values()
    yield _row("each model left out, all laboratories", list(models), 7)
    for gpus in (("h100",), ("a100-40gb",), ("a100", "a100-40gb")):
        yield from _gpus_left_out(everything, gpus)
    for budget, wanted in ((4, 3.0), (8, 2.5)):
        yield _row(f"{budget} planned rows of a new model", [_planned(paper, m, budget) for m in PAPER], wanted)
    seconds = [v for outcome in models if (v := outcome.metrics.get("seconds_mape_percent")) is not None]
    yield Row("seconds, each model left out", float(np.mean(seconds)), "%", 12, f"{len(seconds)} timed models")
    yield _row("four splits tested on qwen (shown, not aimed at)", [_judged(split) for split in qwen], None)
    law = WorkLaw().fit(everything)
    for gpu in ("h100", "h200"):
        own = Table.read(DATA / "measured" / f"{gpu}.csv").of_dataset("own")
        yield _row(f"rows of this project's own, {gpu}", [of_fit(law, own)], None)


def _models_held_out(paper: Table) -> tuple[list[Split], list[Split]]:
    """The fourteen splits of the paper's models: ten that are not tested on qwen, sd2's last, and the four that are."""
    splits: dict[str, list[Split]] = {model: [] for model in PAPER}
    for tested in ("flux", "sd35", "qwen"):
        others = [model for model in PAPER if model != tested]
        for fitted in (others, *map(list, combinations(others, 2))):
            splits[tested].append((paper.where(model=fitted), paper.where(model=tested)))
    for fitted in (["flux", "qwen", "sd35"], ["flux", "sd35"]):
        splits["sd2"].append((paper.where(model=fitted), paper.where(model="sd2")))
    return splits["flux"] + splits["sd35"] + splits["sd2"], splits["qwen"]


def _gpus_left_out(everything: Table, gpus: Sequence[str]) -> Iterator[Row]:
    """Never measured; then, of one GPU, with the first row at batch 1 of each model in turn, on the other models."""
    name = " and ".join(gpus)
    others = everything.take(~np.isin(everything.gpu, gpus))
    tested = everything.take(np.isin(everything.gpu, gpus) & (everything.dataset == "mlenergy"))
    yield _row(f"{name} left out, batch 1", [_judged((others, tested.where(batch=1)))], 10)
    yield _row(f"{name} left out, all batches", [_judged((others, tested))], 11)
    if len(gpus) == 1:
        after = [
            _judged((Table.joined([others, tested.where(model=m, batch=1)[:1]]), tested.take(tested.model != m)))
            for m in tested.names("model")
        ]
        yield _row(f"one row on {name}, other models there", after, 7)


def _planned(paper: Table, model: str, budget: int) -> Validation:
    candidates, known = paper.where(model=model), paper.take(paper.model != model)
    picked = plan(known, candidates, model=model, gpu="a100", budget=budget).configurations
    keys = {c.key for c in picked.configurations()}
    chosen = np.array([c.key in keys for c in candidates.configurations()])
    return _judged((Table.joined([known, candidates.take(chosen)]), candidates.take(~chosen)))


def _judged(split: Split) -> Validation:
    fitted, tested = split
    return replace(of_fit(WorkLaw().fit(fitted), tested), train=fitted.names("model"))


def _row(name: str, outcomes: Sequence[Validation], wanted: float | None) -> Row:
    """Means over the outcomes: the error, and in words the rest."""
    metrics, interval = (mean_of([getattr(o, part) for o in outcomes]) for part in ("metrics", "interval"))
    said = "bias {bias_percent:+.1f}%, coverage {coverage:.2f}, half-width {median_halfwidth_percent:.0f}%, score "
    how = (said + "{interval_score:.3f}").format(**metrics, **interval)
    return Row(name, float(metrics["mape_percent"] or 0.0), "%", wanted, how)
