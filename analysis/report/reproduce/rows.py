"""Which rows a figure or table of the paper wants, and which of those at hand are missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from analysis import laws, validation
from analysis.report.figures import Picture
from analysis.table import Table
from analysis.validation import Validation

LAW: Final = "paper"  # figures show Eq. 3, as the paper's do
SIMULATED: Final = "simulated"  # flag and data set of rows that were not measured
WITHOUT_50: Final = 50  # the paper's cross-GPU parts leave out the runs of 50 prompts


@dataclass(frozen=True, slots=True)
class Choice:
    """Which rows a panel shows, in columns and values: of those that no flag spoils and that state an energy."""

    models: tuple[str, ...]
    gpus: tuple[str, ...] = ("a100",)
    precision: str | None = None
    cfg: bool | None = None
    without_50: bool = False

    def of(self, table: Table) -> Table:
        wanted: dict[str, Any] = {"model": list(self.models), "gpu": list(self.gpus)}
        wanted |= {"precision": self.precision} if self.precision else {}
        wanted |= {"cfg": self.cfg} if self.cfg is not None else {}
        rows = with_energy(table.where(**wanted))
        return rows.take(rows.prompts != WITHOUT_50) if self.without_50 else rows

    def missing(self, table: Table) -> list[str]:
        """The model and GPU pairs without a row."""
        rows = self.of(table)
        return [
            f"{model} on {gpu}{self._settings()}"
            for model in self.models
            for gpu in self.gpus
            if not ((rows.model == model) & (rows.gpu == gpu)).any()
        ]

    def _settings(self) -> str:
        words = [self.precision or "", {None: "", True: "with guidance", False: "without guidance"}[self.cfg]]
        said = ", ".join(filter(None, words))
        return f" ({said})" if said else ""


def with_energy(rows: Table) -> Table:
    """The rows that no flag spoils and that state an energy."""
    return rows.take(~rows.spoiled & np.isfinite(rows.energy_joules))


@dataclass(frozen=True, slots=True)
class Made:
    """One figure or table: its picture, its rows, and the rows that were not there."""

    rows: Sequence[Mapping[str, Any]]
    picture: Picture | None
    missing: str | None  # None: nothing is


Parts = Mapping[int, Callable[[Table], Made]]

BOTH: Final = ("a100", "a6000")
FLUX_ON_BOTH: Final = Choice(("flux",), BOTH, "fp16", False, True)
SD35_ON_BOTH: Final = Choice(("sd35",), BOTH, "fp16", True, True)


def predicted(train: Table, test: Table, *, in_sample: bool) -> Validation:
    """Fit to some rows and predict others, or the same; one fit takes measured and simulated rows together."""
    law = laws.get(LAW)()
    fitted, tested = unflagged(train), unflagged(test)
    if in_sample:
        return validation.in_sample(law, fitted)
    both = Table.joined([fitted, tested])
    return validation.held_out(law, both, train=fitted.names("model"), test=tested.names("model"))


def unflagged(table: Table) -> Table:
    """The rows without the flag ``simulated``: no law fits rows of both kinds together.

    They keep their data set's name, by which figures and tables mark them.
    """
    if SIMULATED not in table.origin:
        return table
    flags = [" ".join(name for name in text.split() if name != SIMULATED) for text in table.flags.tolist()]
    return Table.from_rows(
        {**c.to_dict(), "energy_joules": float(joules), "dataset": str(dataset), "flags": others}
        for c, joules, dataset, others in zip(
            table.configurations(), table.energy_joules, table.dataset, flags, strict=True
        )
    )
