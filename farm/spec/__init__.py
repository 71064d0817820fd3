"""A sweep as someone writes it: YAML in, a checked :class:`SweepSpec` out, the grid counted before it is expanded.

``read`` checks a file key by key, ``axes`` the values of a grid, ``sweep`` puts the jobs in order.
"""

from farm.spec.read import parse_spec, read_spec
from farm.spec.sweep import SweepSpec

__all__ = ["SweepSpec", "parse_spec", "read_spec"]
