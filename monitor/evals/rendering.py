"""
A report in every form that is text.

The HTML is one file with nothing to load and no script, charts as SVG, light and dark. Of the Markdown, verdict, gate
and cases are open, and the rest is to unfold.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from functools import cache
from itertools import islice
from pathlib import PurePath

from jinja2 import Environment
from markupsafe import Markup

from monitor.errors import UsageError
from monitor.evals import summary
from monitor.evals.gate import GateResult
from monitor.evals.json_report import json_report
from monitor.evals.report import EvalReport
from monitor.evals.words import bounds
from monitor.output.charts.drawing import CHART_STYLE
from monitor.output.templating import templates_of

_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@cache
def _environment() -> Environment:
    environment = templates_of("monitor.evals", finalize=_valid)
    environment.filters["bounds"] = bounds
    environment.globals |= {"summary": summary, "chart_style": Markup(CHART_STYLE)}  # noqa: S704  (our own)
    return environment


def _valid(value: object) -> object:
    """*value* without what XML 1.0 has no letter for: a failure's text is whatever a model said."""
    return _NO_XML.sub("", value) if type(value) is str else value


class ReportFormat(StrEnum):
    """How a report is written."""

    TABLE = "table"
    MARKDOWN = "markdown"
    JSON = "json"
    JUNIT = "junit"
    HTML = "html"


_TEMPLATES = {
    ReportFormat.MARKDOWN: "report.md",  # at most some dozen kilobytes: comments are limited to 64
    ReportFormat.JUNIT: "report.xml",
    ReportFormat.HTML: "report.html",
}
_PIECES_A_BLOCK = 1_000
_BY_ENDING = {
    ".md": ReportFormat.MARKDOWN,
    ".markdown": ReportFormat.MARKDOWN,
    ".json": ReportFormat.JSON,
    ".xml": ReportFormat.JUNIT,
    ".html": ReportFormat.HTML,
    ".txt": ReportFormat.TABLE,
}


def format_of(path: str) -> ReportFormat:
    """
    The format that a file's ending asks for.

    Raises:
        UsageError: none does.
    """
    found = _BY_ENDING.get(PurePath(path).suffix.casefold())
    if found is None:
        raise UsageError(f"{path} does not say its format by its ending; give one of {', '.join(_BY_ENDING)}.")
    return found


def render(report: EvalReport, gate: GateResult | None, form: ReportFormat) -> Iterator[str]:
    """*report* as text in *form*, which is any but a table; block by block, so that it is never held whole."""
    if form is ReportFormat.JSON:
        pieces = json_report(report, gate)
    else:
        pieces = _environment().get_template(_TEMPLATES[form]).generate(report=report, gate=gate)
    while block := "".join(islice(pieces, _PIECES_A_BLOCK)):
        yield block
