"""The experiments of the paper's Sections 4.2 and 5.1 to 5.6: how a law does on rows that it was not fitted to.

- :func:`within`: folds of the rows of one model (and GPU).
- :func:`held_out`: fitted to some models, GPUs or data sets, tested on others.
- :func:`leave_out`: each model, GPU or data set in turn held out of all the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from analysis.laws.base import LEVEL, Forecast, Law
from analysis.laws.rows import Rows
from analysis.metrics import interval_metrics, mean_of, metrics, seconds_mape_percent
from analysis.table import DataError, Floats, Table

FOLDS: Final = 2
LEAVE_OUT: Final = ("model", "gpu", "dataset")


@dataclass(frozen=True, slots=True)
class Validation:
    """Predictions for rows that were not fitted, and the rows."""

    law: str
    train: tuple[str, ...]  # names of models, or of GPUs or data sets where those were held out
    test: tuple[str, ...]
    n_train: int  # rows of a fit; of the smallest fold's, where there are folds
    table: Table  # the test rows
    measured_joules: Floats
    predicted_joules: Floats
    low_joules: Floats
    high_joules: Floats
    level: float
    predicted_seconds: Floats | None = None  # of a law that knows time

    @property
    def scatter_percent(self) -> float:
        """Standard deviation of ln E about the law."""
        return float(np.std(np.log(self.measured_joules / self.predicted_joules)) * 100)

    @property
    def metrics(self) -> dict[str, float | None]:
        """Those of energies and, where rows and law have them, of seconds."""
        numbers = metrics(self.measured_joules, self.predicted_joules)
        seconds = self.predicted_seconds
        of_seconds = None if seconds is None else seconds_mape_percent(self.table.duration_seconds, seconds)
        return numbers if of_seconds is None else {**numbers, "seconds_mape_percent": of_seconds}

    @property
    def interval(self) -> dict[str, float | None]:
        """How often the intervals hold, how wide they are, and both in one number: as `farm law validate` does."""
        return interval_metrics(self.measured_joules, self.low_joules, self.high_joules, self.level)

    def take(self, rows: Any) -> Validation:
        """Those test rows that a mask or positions pick."""
        seconds = self.predicted_seconds
        return replace(
            self,
            table=self.table.take(rows),
            measured_joules=self.measured_joules[rows],
            predicted_joules=self.predicted_joules[rows],
            low_joules=self.low_joules[rows],
            high_joules=self.high_joules[rows],
            predicted_seconds=None if seconds is None else seconds[rows],
        )

    def summary(self) -> dict[str, Any]:
        """What `farm law validate --json` prints."""
        return {
            "law": self.law,
            "train": list(self.train),
            "test": list(self.test),
            "n_train": self.n_train,
            "n_test": len(self.table),
            "metrics": self.metrics,
            "interval": self.interval,
        }


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What came of leaving out each group of a kind in turn: by its name, the validation, or why there is none."""

    law: str
    column: str  # model, gpu or dataset
    groups: Mapping[str, Validation | str]

    @property
    def done(self) -> dict[str, Validation]:
        return {name: outcome for name, outcome in self.groups.items() if isinstance(outcome, Validation)}

    def joined(self) -> Validation:
        """All rows together, each predicted by the fit that did not see its group. DataError where there is none."""
        parts = list(self.done.values())
        if not parts:
            raise DataError("leave-out", self.column, "groups that a law can predict from the others")
        seconds = [part.predicted_seconds for part in parts if part.predicted_seconds is not None]
        return Validation(
            law=self.law,
            train=(),
            test=tuple(self.done),
            n_train=min(part.n_train for part in parts),
            table=Table.joined([part.table for part in parts]),
            measured_joules=np.concatenate([part.measured_joules for part in parts]),
            predicted_joules=np.concatenate([part.predicted_joules for part in parts]),
            low_joules=np.concatenate([part.low_joules for part in parts]),
            high_joules=np.concatenate([part.high_joules for part in parts]),
            level=parts[0].level,
            predicted_seconds=np.concatenate(seconds) if len(seconds) == len(parts) else None,
        )

    def summary(self) -> dict[str, Any]:
        """What `farm law validate --leave-out --json` prints: ``metrics`` and ``interval`` are means over groups."""
        done = self.done
        return {
            "law": self.law,
            "leave_out": self.column,
            "n_test": sum(len(outcome.table) for outcome in done.values()),
            "groups": {
                name: outcome.summary() if isinstance(outcome, Validation) else {"refused": outcome}
                for name, outcome in self.groups.items()
            },
            "metrics": mean_of([outcome.metrics for outcome in done.values()]),
            # All have one level, of which a mean would be rounded.
            "interval": mean_of([o.interval for o in done.values()]) | {"level": self.joined().level},
        }


def of_fit(law: Law, X: Any, *, level: float = LEVEL) -> Validation:
    """What a fitted law says of rows, which are those that it was fitted to or came since; nothing is fitted."""
    rows = law.usable(X)
    table, joules = rows.table.take(rows.with_energy), rows.energy_joules[rows.with_energy]
    names = table.names("model")
    return _validation(law, table, joules, law.forecast(table, level), names, names, law.n_, level)


def in_sample(law: Law, X: Any, *, level: float = LEVEL) -> Validation:
    """The rows that are fitted, predicted: how well the form follows them, not how well it predicts."""
    rows = law.usable(X)
    everything = np.arange(len(rows.table))
    names = rows.table.names("model")
    return _assembled(law, rows, iter([(everything, everything)]), names, names, level)


def within(law: Law, X: Any, folds: int = FOLDS, *, level: float = LEVEL, seed: int = 0) -> Validation:
    """Each row predicted by a fit to the other folds. Rows are shuffled with the seed; ``folds`` equal to the number of
    rows leaves one out.

    Raises:
        DataError: fewer rows than folds, or too few of them to fit.
    """
    rows = law.usable(X)
    n = len(rows.table)
    if not 2 <= folds <= n:
        raise DataError("folds", folds, f"from 2 to the number of rows ({n})")
    names = rows.table.names("model")
    return _assembled(law, rows, _folds(n, folds, seed), names, names, level)


def _folds(n: int, folds: int, seed: int) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """What is fitted and what is tested of n shuffled rows: the splits of scikit-learn's KFold, which takes longer to
    import than a fit to thousands of rows."""
    order = np.arange(n)
    np.random.RandomState(seed).shuffle(order)
    for part in np.array_split(order, folds):
        tested = np.zeros(n, dtype=np.bool_)
        tested[part] = True
        yield np.flatnonzero(~tested), np.flatnonzero(tested)


def held_out(
    law: Law,
    X: Any,
    *,
    train: Sequence[str] = (),
    test: Sequence[str] = (),
    train_gpu: Sequence[str] = (),
    test_gpu: Sequence[str] = (),
    train_dataset: Sequence[str] = (),
    test_dataset: Sequence[str] = (),
    level: float = LEVEL,
) -> Validation:
    """Fitted to the models (and GPUs, and data sets) of ``train``, tested on those of ``test``; an empty choice is all
    of them.

    Raises:
        DataError: a choice that no row has, or rows that would be both fitted and tested.
    """
    rows = law.usable(X)
    fitted, tested = (
        _chosen(rows.table, side, model=models)
        & _chosen(rows.table, f"{side}-gpu", gpu=gpus)
        & _chosen(rows.table, f"{side}-dataset", dataset=datasets)
        for side, models, gpus, datasets in (
            ("train", train, train_gpu, train_dataset),
            ("test", test, test_gpu, test_dataset),
        )
    )
    if (fitted & tested).any():
        raise DataError(
            "test",
            ", ".join([*test, *test_gpu, *test_dataset]) or "all rows",
            "other rows than those of train; never fit what you test on",
        )
    tested &= rows.with_energy
    for name, mask in (("train", fitted), ("test", tested)):
        if not mask.any():
            raise DataError(name, "no rows", "models, GPUs and data sets that the data have together")
    chosen = {"model": [*train, *test], "gpu": [*train_gpu, *test_gpu], "dataset": [*train_dataset, *test_dataset]}
    column = next((name for name, values in chosen.items() if values), "model")
    fitted_names, tested_names = (rows.table.take(part).names(column) for part in (fitted, tested))
    split = (np.flatnonzero(fitted), np.flatnonzero(tested))
    return _assembled(law, rows, iter([split]), fitted_names, tested_names, level)


def leave_out(law: Law, X: Any, column: str, *, level: float = LEVEL) -> LeftOut:
    """Each model, GPU or data set (``column``) in turn predicted by a fit to all the others.

    Raises:
        DataError: another column, or only one group of that kind.
    """
    if column not in LEAVE_OUT:
        raise DataError("leave-out", column, f"one of {', '.join(LEAVE_OUT)}")
    rows = law.usable(X)
    names = rows.table.take(rows.with_energy).names(column)
    if len(names) < 2:
        raise DataError("leave-out", column, f"rows of at least two; there are {', '.join(names) or 'none'}")
    groups: dict[str, Validation | str] = {}
    for name in names:
        tested = getattr(rows.table, column) == name
        split = (np.flatnonzero(~tested), np.flatnonzero(tested))
        try:
            others = tuple(other for other in names if other != name)
            groups[name] = _assembled(law, rows, iter([split]), others, (name,), level)
        except DataError as refusal:
            groups[name] = str(refusal)
    return LeftOut(law.name, column, groups)


def _assembled(
    law: Law,
    rows: Rows,
    splits: Iterator[tuple[NDArray[Any], NDArray[Any]]],
    train: tuple[str, ...],
    test: tuple[str, ...],
    level: float,
) -> Validation:
    tested_rows, forecasts = [], []
    n_train = len(rows.table)
    for fitted, tested in splits:
        fresh = law.fresh().fit(rows.table.take(fitted))
        tested = tested[rows.with_energy[tested]]
        tested_rows.append(tested)
        forecasts.append(fresh.forecast(rows.table.take(tested), level))
        n_train = min(n_train, len(fitted))
    order, answer = np.concatenate(tested_rows), Forecast.joined(forecasts)
    table = rows.table.take(order)
    return _validation(law, table, rows.energy_joules[order], answer, train, test, n_train, level)


def _validation(
    law: Law,
    tested: Table,
    energy_joules: Floats,
    answer: Forecast,
    train: tuple[str, ...],
    test: tuple[str, ...],
    n_train: int,
    level: float,
) -> Validation:
    return Validation(
        law=law.name,
        train=train,
        test=test,
        n_train=n_train,
        table=tested,
        measured_joules=energy_joules,
        predicted_joules=answer.joules,
        low_joules=answer.low,
        high_joules=answer.high,
        level=level,
        predicted_seconds=answer.seconds,
    )


def _chosen(table: Table, option: str, **column: Sequence[str]) -> NDArray[np.bool_]:
    (name, values), *_ = column.items()
    if not values:
        return np.ones(len(table), dtype=np.bool_)
    known = table.names(name)
    for value in values:
        if value not in known:
            raise DataError(option, value, f"one of {', '.join(known) or 'nothing: there are no rows'}")
    return np.isin(getattr(table, name), list(values))
