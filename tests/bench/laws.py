"""How fast the laws fit and predict, on one core."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np

from analysis import laws, shipped
from analysis.laws.base import Law
from analysis.table import Table
from farm import catalog
from tests.bench import FARM, Row, median

CONFIGURATIONS = 1_000_000
DISTINCT = 50_000
RATES = {"paper": 1e6, "work": 1e5}
PREDICT = ("--model", "flux", "--gpu", "a100", "--resolution", "1024", "--steps", "28", "--precision", "fp16")


def rows() -> Iterator[Row]:
    known = shipped.shipped_rows()
    table = configurations()
    for name in laws.names():
        law = laws.get(name)().fit(known)
        seconds = _median(lambda law=law: law.predict(table), runs=3)
        yield Row(
            f"predict, law {name}", len(table) / seconds, "/s", RATES.get(name), f"{len(table):,} rows", at_least=True
        )
        seconds = _median(lambda name=name: laws.get(name)().fit(known), runs=3)
        yield Row(f"fit, law {name}", seconds, "s", 5.0, f"{len(known)} rows")
        distinct = table[np.arange(DISTINCT)]
        energies = law.predict(distinct) * np.exp(np.random.default_rng(0).normal(0.0, 0.02, DISTINCT))
        seconds = _cpu(lambda law=law, rows=distinct, joules=energies: law.fresh().fit(rows, joules))
        yield Row(f"fit of {DISTINCT:,} distinct rows, law {name}", seconds, "s", 5.0, "of the processor")
    yield _of_every_model(laws.get(laws.DEFAULT)().fit(known), RATES[laws.DEFAULT])
    few, many = (laws.get("paper")().fit(known[np.arange(n) % len(known)]) for n in (200, 20_000))
    part = known[:10]
    times = [_median(lambda law=law: law.partial_fit(part), runs=20) for law in (few, many)]
    yield Row("10 more rows after 20,000 / after 200", times[1] / times[0], "x", 2.0, "law paper, partial_fit")
    for command in (
        ("predict", *PREDICT),
        ("law", "fit", "--data", str(shipped.TRANSFORMERS)),
        ("law", "list"),
    ):
        yield Row(f"farm {' '.join(command[:2])}", median([FARM, *command], runs=3).seconds, "s", 5.0, "whole process")


def _of_every_model(law: Law, target: float) -> Row:
    """The slowest mix: no two rows share a size and a batch, and there are few of each model on each GPU."""
    rng, n = np.random.default_rng(0), DISTINCT
    models = [name for name, model in catalog.models().items() if not model.video]
    table = Table.from_columns(
        {
            "model": rng.choice(models, n),
            "gpu": rng.choice([name for name, gpu in catalog.gpus().items() if not gpu.is_processor], n),
            "width": rng.integers(4, 33, n) * 64 + 8 * rng.integers(0, 8, n),
            "height": rng.integers(4, 33, n) * 64 + 8 * rng.integers(0, 8, n),
            "steps": rng.integers(1, 101, n),
            "precision": rng.choice(["fp16", "bf16", "fp32"], n),
            "cfg": np.zeros(n, dtype=np.int64),
            "prompts": rng.integers(8, 101, n),
            "batch": rng.integers(1, 9, n),
        }
    )
    seconds = _cpu(lambda: law.predict(table))
    how = f"{n:,} rows of every model and GPU, no two alike, of the processor"
    return Row(f"predict, law {law.name}, the slowest mix", n / seconds, "/s", target, how, at_least=True)


def configurations() -> Table:
    """Every kind of configuration that the paper's models take, sizes in steps of 64 pixels, drawn at random."""
    rng = np.random.default_rng(0)
    n = CONFIGURATIONS
    return Table.from_columns(
        {
            "model": rng.choice(["flux", "qwen", "sd2", "sd35"], n),
            "gpu": rng.choice(["a100", "a4000", "h100"], n),
            "width": rng.integers(4, 33, n) * 64,
            "height": rng.integers(4, 33, n) * 64,
            "steps": rng.integers(1, 101, n),
            "precision": rng.choice(["fp16", "fp32"], n),
            "cfg": rng.integers(0, 2, n),
            "prompts": rng.integers(1, 101, n),
        }
    )


def _cpu(task: Callable[[], object]) -> float:
    start = time.process_time()
    task()
    return time.process_time() - start


def _median(task: Callable[[], object], *, runs: int) -> float:
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        task()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)
