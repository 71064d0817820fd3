"""Rows to fit or predict, column by column: what every law takes, whatever the caller holds.

``table`` is the value itself, on ``columns``, its arrays; ``parse`` makes columns of objects, data frames and arrays by
the rules that files are read by (:mod:`farm.domain.row`), and ``select`` finds rows by value and rows that agree.
"""

from analysis.table.columns import ARRAY_COLUMNS, DataError, Floats, Integers
from analysis.table.table import Table

__all__ = ["ARRAY_COLUMNS", "DataError", "Floats", "Integers", "Table"]
