"""Rows to fit or predict, column by column: what every law takes, whatever the caller holds.

Three modules make it: ``columns`` holds the arrays of one value a row and the properties by which laws ask for them;
``parse`` makes those arrays of objects, data frames and arrays, by the rules that files are read by
(:mod:`farm.domain.row`); ``table`` is the value itself, made of anything and taken apart by rows and groups of rows.
"""

from analysis.table.columns import ARRAY_COLUMNS, DataError, Floats, Integers
from analysis.table.table import Table

__all__ = ["ARRAY_COLUMNS", "DataError", "Floats", "Integers", "Table"]
