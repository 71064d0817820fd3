"""What every law is: a regressor, by scikit-learn's conventions, from configurations to joules.

A law is one module or package beside this one that exports ``LAW``, a subclass of :class:`Law`. It writes five hooks:
``_fit``, ``_predict``, ``_forecast``, ``_state`` and ``_restore``. ``tests/contract/test_law_contract.py`` holds every
law to what is said here.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis import laws
from analysis.laws.estimator import Regressor
from analysis.laws.rows import LeftOut, Rows, scope_of
from analysis.table import DataError, Floats, Table
from farm import catalog
from farm.domain.errors import RequestError
from farm.version import __version__, commit

Params = dict[str, Any]  # name -> float, or name -> {category -> float} for one coefficient a category

VIDEO_REFUSED: Final = "a video, whose frames this law does not count"
LEVEL: Final = 0.9  # of an interval, where nobody says otherwise


@dataclass(frozen=True, slots=True)
class Forecast:
    """A law's whole answer for n configurations, worked out once.

    Attributes:
        joules: energy above idle of all prompts together, (n,).
        low, high: bounds in joules, (n,) each, between which the energy of one run lies with the asked probability.
        seconds: of one pass over all prompts, (n,); None from a law that knows no time.
        phases: joules of text, denoise and decode, (n,) each, which add up to ``joules``; None from a law that knows no
            phases.
        idle_watts: of the board, above which ``joules`` are, (n,); None from a law that knows no idle power.
    """

    joules: Floats
    low: Floats
    high: Floats
    seconds: Floats | None = None
    phases: Mapping[str, Floats] | None = None
    idle_watts: Floats | None = None

    @classmethod
    def joined(cls, parts: Sequence[Forecast]) -> Self:
        """The forecast of the rows of all parts, one after the other. ValueError for no part."""
        seconds = [part.seconds for part in parts if part.seconds is not None]
        phases = [part.phases for part in parts if part.phases is not None]
        idle_watts = [part.idle_watts for part in parts if part.idle_watts is not None]
        return cls(
            joules=np.concatenate([part.joules for part in parts]),
            low=np.concatenate([part.low for part in parts]),
            high=np.concatenate([part.high for part in parts]),
            seconds=np.concatenate(seconds) if seconds else None,
            phases={name: np.concatenate([part[name] for part in phases]) for name in phases[0]} if phases else None,
            idle_watts=np.concatenate(idle_watts) if idle_watts else None,
        )


class Law(Regressor):
    """Energy of image generation, in joules above idle, for all prompts of a configuration together.

    Attributes, once fitted:
        params_, params_std_: coefficients and their standard errors, by name.
        left_out_: what was not used, each with a reason: spoiled rows, constant columns.
        n_: rows used.
        scope: what they were: {"origin", "models", "gpus", "precisions", "cells"}; cells are "model on gpu" -> rows.
        data_sha256_: digest of the rows used, whatever their order.
    """

    version: ClassVar[int]  # of the law's form; raised when the same rows would give other numbers
    minimum_rows: ClassVar[int] = 1
    rests_on_columns: ClassVar[tuple[str, ...]] = ("model", "gpu")  # rows that agree in these rest on the same
    takes_seconds: ClassVar[bool] = False  # whether rows of seconds without an energy tell it something
    takes_videos: ClassVar[bool] = False  # whether it knows what more frames than one take
    takes_idle: ClassVar[bool] = False  # whether it can tell idle power from the rest of an energy that includes it

    params_: Params
    params_std_: Params
    left_out_: LeftOut
    n_: int
    scope: dict[str, Any]
    data_sha256_: str

    @property
    def name(self) -> str:
        """The name under which :func:`analysis.laws.get` knows it."""
        return laws.name_of(type(self))

    # --- fitting and predicting

    def fit(self, X: Any, y: ArrayLike | None = None, sample_weight: ArrayLike | None = None) -> Self:
        """Fit to measured rows.

        Args:
            X: n configurations, anything that :meth:`analysis.table.Table.of` takes. Rows that a flag spoils are left
                out and listed in ``left_out_``.
            y: energies in joules, (n,); by default those that X carries.
            sample_weight: weights of rows, (n,).

        Raises:
            DataError: too few rows, an energy that is not a positive finite number, measured rows among simulated or
                estimated ones, or what the law itself cannot fit; with the reason.
        """
        rows = self.usable(X, y, sample_weight)
        if len(rows.table) < self.minimum_rows:
            raise DataError("rows", len(rows.table), f"at least {self.minimum_rows} for law {self.name}")
        self.left_out_ = list(rows.left_out)
        self.n_ = len(rows.table)
        self.scope = scope_of(rows.table)
        self.data_sha256_ = rows.table.digest(rows.energy_joules)
        self._fit(rows.table, rows.energy_joules, rows.weight)
        return self

    def usable(self, X: Any, y: ArrayLike | None = None, sample_weight: ArrayLike | None = None) -> Rows:
        """The rows that :meth:`fit` would use, checked, and those it would leave out, with reasons. Energies are NaN of
        rows that state seconds alone, which a law may take (``takes_seconds``)."""
        return Rows.of(X, y, sample_weight, self._unknown, seconds_alone=self.takes_seconds)

    def updated(self, X: Any) -> Law:
        """A fit to all these rows that may begin from this one, which was fitted to some of them."""
        return self.fresh().fit(X)

    @overload
    def predict(self, X: Any, level: None = None) -> Floats: ...
    @overload
    def predict(self, X: Any, level: float) -> tuple[Floats, Floats, Floats]: ...
    def predict(self, X: Any, level: float | None = None) -> Floats | tuple[Floats, Floats, Floats]:
        """Joules (n,), as scikit-learn asks for them; with ``level``, also the bounds of :meth:`forecast`."""
        if level is not None:
            answer = self.forecast(X, level)
            return answer.joules, answer.low, answer.high
        self._require_fit()
        return self._predict(self._able(X))

    def forecast(self, X: Any, level: float = LEVEL) -> Forecast:
        """Joules, interval, seconds and phases of n configurations, with what they share worked out once.

        Args:
            X: n configurations, anything that :meth:`analysis.table.Table.of` takes.
            level: probability that the energy of one run lies within the bounds; the law's ``_forecast`` says on which
                assumptions.

        Raises:
            DataError: a level that is not between 0 and 1.
            RequestError: a configuration that the law has no answer for: a model or GPU type that the catalog lacks,
                guidance or frames that its model does not take.
            NotFittedError: before :meth:`fit`.
        """
        self._require_fit()
        if not 0 < level < 1:
            raise DataError("level", level, "a number between 0 and 1, such as 0.9")
        return self._forecast(self._able(X), level)

    def _able(self, X: Any) -> Table:
        """Rows to predict. DataError for videos that the law knows nothing of, RequestError for those that their model
        does not make."""
        table = Table.of(X)
        videos = table.take(table.frames > 1)
        if len(videos) and not self.takes_videos:
            raise DataError("law", self.name, "a law that counts the frames of a video, such as work")
        for row in videos.groups("model")[0].tolist():
            video = videos.configuration(row)
            catalog.build(video.model).check_frames(video.frames)
        return table

    def predict_seconds(self, X: Any) -> Floats | None:
        """The seconds of :meth:`forecast`, (n,); None from a law that knows no time."""
        return self.forecast(X).seconds

    def predict_phases(self, X: Any) -> Mapping[str, Floats] | None:
        """The phases of :meth:`forecast`, (n,) each; None from a law that knows no phases."""
        return self.forecast(X).phases

    def rests_on(self, X: Any) -> str:
        """In words: which rows, and what where there were none, the prediction of the first configuration rests on."""
        self._require_fit()
        row = Table.of(X).configuration(0)
        rows_of_pair = self.scope["cells"].get(f"{row.model} on {row.gpu}", 0)
        left_out = sum(entry["count"] for entry in self.left_out_ if entry["what"] == "rows")
        unused = [f"{left_out} more left out"] if left_out else []
        if rows_of_pair:
            words = f"{rows_of_pair} {self.scope['origin']} rows of {row.model} on {row.gpu}, {self.n_} rows in all"
            return "; ".join([words, *unused])
        words = f"{self.n_} {self.scope['origin']} rows, none of {row.model} on {row.gpu}"
        return "; ".join([words, *self._gaps(row), *unused])

    # --- what a law writes

    @abstractmethod
    def _fit(self, table: Table, energy_joules: Floats, weight: Floats | None) -> None:
        """Set ``params_`` and ``params_std_``; append what was dropped to ``left_out_``."""

    @abstractmethod
    def _predict(self, table: Table) -> Floats:
        """Joules, (n,), and no more: what searches and cross-validation ask for often."""

    @abstractmethod
    def _forecast(self, table: Table, level: float) -> Forecast:
        """The same joules with all that goes with them. The docstring gives the interval's formula, assumptions and
        source."""

    def _unknown(self, table: Table) -> dict[str, NDArray[np.bool_]]:
        """Rows that the law cannot place, a mask (n,) by the reason: fits leave them out."""
        models = {name for name in table.names("model") if not catalog.has_build(name)}
        masks = {f"model {name} is not in the catalog": table.model == name for name in sorted(models)}
        if not self.takes_idle:
            masks["idle power is in its energy"] = table.includes_idle
        if not self.takes_videos:
            masks[VIDEO_REFUSED] = table.frames > 1
        return masks

    @abstractmethod
    def _state(self) -> dict[str, Any]:
        """What ``_restore`` needs beside the attributes above, as plain JSON."""

    @abstractmethod
    def _restore(self, state: Mapping[str, Any]) -> None:
        """Set what ``_state`` gave."""

    def _gaps(self, row: Any) -> list[str]:
        """What stands in for rows that are not there, in words."""
        gaps = []
        if row.model not in self.scope["models"]:
            gaps.append(f"model {row.model} was never measured: predicted from its work")
        if row.gpu not in self.scope["gpus"]:
            gaps.append(f"GPU {row.gpu} was never measured: predicted from its specification")
        return gaps

    # --- saved and loaded

    def to_json(self) -> str:
        """The fit as one JSON document; :meth:`from_json` gives back a law that predicts the same numbers."""
        return json.dumps(self.to_document())

    def to_document(self) -> dict[str, Any]:
        """What :meth:`to_json` writes, before it is text."""
        self._require_fit()
        return {
            "law": self.name,
            "law_version": self.version,
            "code_version": f"{__version__}+{commit()}" if commit() else __version__,
            "data_sha256": self.data_sha256_,
            "settings": self.get_params(deep=False),
            "n": self.n_,
            "scope": self.scope,
            "params": self.params_,
            "params_std": self.params_std_,
            "left_out": self.left_out_,
            "state": self._state(),
        }

    @staticmethod
    def from_json(text: str) -> Law:
        """A fitted law of whichever kind the document names. RequestError for another version of its form."""
        try:
            return Law.from_document(json.loads(text))
        except ValueError as error:
            raise _no_fit(text, error) from error

    @staticmethod
    def from_document(document: Any) -> Law:
        """As :meth:`from_json`, of a document that was read already."""
        try:
            law_class = laws.get(document["law"])
            if document["law_version"] != law_class.version:
                raise RequestError("law_version", document["law_version"], f"{law_class.version}; fit the law again")
            law = law_class(**document["settings"])
            law.n_, law.scope = document["n"], document["scope"]
            law.params_, law.params_std_ = document["params"], document["params_std"]
            law.left_out_, law.data_sha256_ = document["left_out"], document["data_sha256"]
            law._restore(document["state"])
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise _no_fit(str(document), error) from error
        return law


def _no_fit(text: str, error: Exception) -> RequestError:
    return RequestError("fit", text[:40], f"a document that to_json() wrote ({error!r})")
