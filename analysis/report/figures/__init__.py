"""Every figure, defined once: page, report and files draw the same definition.

A definition is an Altair chart (docs/decisions/0004). It becomes PNG and SVG by vl-convert and an interactive picture
by Vega, all without a network.
"""

from analysis.report.figures.relative import relative_energy
from analysis.report.figures.render import FORMATS, SOFTWARE, Picture, csv_text, png, save, svg
from analysis.report.figures.scatter import Panel, actual_against_predicted, finding, scatters
from analysis.report.figures.work_split import compute_split

__all__ = [
    "FORMATS", "SOFTWARE", "Panel", "Picture", "actual_against_predicted", "compute_split", "csv_text", "finding",
    "png", "relative_energy", "save", "scatters", "svg",
]  # fmt: skip
