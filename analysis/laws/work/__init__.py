"""Law ``work``: energy above idle from the work of a configuration and the figures of its GPU."""

from analysis.laws.work.law import LAW

__all__ = ["LAW"]
