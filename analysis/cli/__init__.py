"""The commands that compute. One module each; numpy and scikit-learn are imported when they run."""

from __future__ import annotations

from analysis.cli.law import law
from analysis.cli.plan import plan
from analysis.cli.predict import predict

__all__ = ["law", "plan", "predict"]
