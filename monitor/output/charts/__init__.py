"""
Charts: measured numbers as small SVG pictures, for the status page and for reports.

In: names, estimates and bounds. Out: one `<svg>` element as text, to be put into an HTML page.
Always: pure; no script and nothing to load; every number is also text; shapes and hatching tell the arms apart as well
as colours do; readable at 360 pixels; an unknown value is labelled as such and never drawn at zero.
"""

from monitor.output.charts.coverage import CoverageRow, coverage_chart
from monitor.output.charts.evidence import EvidencePoint, VerdictMark, evidence_chart
from monitor.output.charts.palette import CHART_STYLE
from monitor.output.charts.parts import Part, parts_chart
from monitor.output.charts.rates import RateRow, rates_chart
from monitor.output.charts.shares import share_chart

__all__ = [
    "CHART_STYLE",
    "CoverageRow",
    "EvidencePoint",
    "Part",
    "RateRow",
    "VerdictMark",
    "coverage_chart",
    "evidence_chart",
    "parts_chart",
    "rates_chart",
    "share_chart",
]
