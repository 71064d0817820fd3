"""Law ``paper``: the equations of arXiv 2511.17031v2, by ordinary least squares."""

from analysis.laws.paper.law import LAW

__all__ = ["LAW"]
