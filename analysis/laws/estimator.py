"""What scikit-learn asks of a regressor, by its protocol rather than by its base classes.

Importing scikit-learn takes longer than all the rest of ``farm predict`` together, and a command needs none of it;
``clone``, pipelines, searches and ``cross_validate`` ask for methods, not for ancestors.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from typing import Any, Final, Self

import numpy as np
from numpy.typing import ArrayLike


class Regressor(ABC):
    """A regressor without positional parameters: the constructor stores its keywords under their names."""

    _estimator_type: Final = "regressor"  # where scikit-learn before 1.6 looks

    @abstractmethod
    def fit(self, X: Any, y: ArrayLike | None = None, sample_weight: ArrayLike | None = None) -> Self: ...

    @abstractmethod
    def predict(self, X: Any) -> Any: ...

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's keywords and their values; none of them is an estimator, so ``deep`` changes nothing."""
        if type(self).__init__ is object.__init__:
            return {}
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def set_params(self, **params: Any) -> Self:
        known = self.get_params()
        for name, value in params.items():
            if name not in known:
                raise ValueError(f"{type(self).__name__} has no parameter {name!r}; it has {sorted(known)}")
            setattr(self, name, value)
        return self

    def fresh(self) -> Self:
        """One of the same settings, not fitted: what ``sklearn.base.clone`` makes."""
        return type(self)(**self.get_params())

    def score(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """R2 of the prediction, as of every regressor of scikit-learn."""
        from sklearn.metrics import r2_score

        return float(r2_score(np.ravel(y), self.predict(X), sample_weight=sample_weight))

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self.get_params().items())
        return f"{type(self).__name__}({settings})"

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "params_")

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags, RegressorTags, Tags, TargetTags

        return Tags(
            estimator_type="regressor",
            target_tags=TargetTags(required=True, positive_only=True),
            regressor_tags=RegressorTags(),
            # Rows are configurations, most of whose columns are names.
            input_tags=InputTags(two_d_array=False, string=True),
        )

    def _require_fit(self) -> None:
        if not self.__sklearn_is_fitted__():
            from sklearn.exceptions import NotFittedError

            raise NotFittedError(f"{self!r} is not fitted: call fit() first")
