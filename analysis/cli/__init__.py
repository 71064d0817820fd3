"""The commands that compute. One module each; numpy and scikit-learn are imported when they run."""

from __future__ import annotations

import os

from analysis.cli.law import law
from analysis.cli.plan import plan
from analysis.cli.predict import predict
from analysis.cli.reproduce import reproduce

__all__ = ["law", "plan", "predict", "reproduce"]

# Read by numpy when it is imported, which the commands do later. The laws' matrices are small: threads of BLAS would
# only wait for each other, and on a busy host for long.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
