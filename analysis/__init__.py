"""The law of the energy of image generation, for a notebook: numpy and scikit-learn are all it needs.

    import analysis
    analysis.predict(model="flux", gpu="a100", resolution=1024, steps=28, precision="fp16").energy_joules
    table = analysis.Table.read("measurements.csv")
    law = analysis.law("work").fit(table)
    law.predict(table, level=0.9)
    analysis.held_out(analysis.law("paper"), table, train=["flux", "qwen"], test=["sd35"]).summary()

Everything is imported when it is first asked for, so that ``import analysis`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from analysis.costs import Terms
    from analysis.prediction import law, paper_rows, predict
    from analysis.predictions import Prediction, Predictions
    from analysis.shipped import shipped_rows
    from analysis.table import DataError, Table
    from analysis.validation import Validation, held_out, within

__all__ = [
    "DataError",
    "Prediction",
    "Predictions",
    "Table",
    "Terms",
    "Validation",
    "held_out",
    "law",
    "paper_rows",
    "predict",
    "shipped_rows",
    "within",
]

_HOMES: Final = {
    "Terms": "analysis.costs",
    "DataError": "analysis.table",
    "Table": "analysis.table",
    "Prediction": "analysis.predictions",
    "Predictions": "analysis.predictions",
    "law": "analysis.prediction",
    "paper_rows": "analysis.prediction",
    "predict": "analysis.prediction",
    "shipped_rows": "analysis.shipped",
    "Validation": "analysis.validation",
    "held_out": "analysis.validation",
    "within": "analysis.validation",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    _refuse_shadow()
    return getattr(import_module(_HOMES[name]), name)


def _refuse_shadow() -> None:
    """ImportError that names the file, where another package called farm comes before the one beside this."""
    spec = find_spec("farm")
    ours = Path(__file__).resolve().parents[1] / "farm" / "__init__.py"
    if spec is not None and spec.origin is not None and Path(spec.origin).resolve() != ours and ours.is_file():
        raise ImportError(f"{spec.origin} hides joulefarm's own farm ({ours}): rename it, or start elsewhere")


def __dir__() -> list[str]:
    return sorted({*(name for name in globals() if name.startswith("__")), *__all__})
