"""A report in every form that is text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from itertools import islice
from pathlib import PurePath

from monitor.errors import UsageError
from monitor.evals.gate import GateResult
from monitor.evals.json_report import json_report
from monitor.evals.junit import junit_report
from monitor.evals.pages import html_report, markdown_report
from monitor.evals.report import EvalReport


class ReportFormat(StrEnum):
    """How a report is written."""

    TABLE = "table"
    MARKDOWN = "markdown"
    JSON = "json"
    JUNIT = "junit"
    HTML = "html"


_RENDERED: Mapping[ReportFormat, Callable[[EvalReport, GateResult | None], Iterable[str]]] = {
    ReportFormat.MARKDOWN: lambda report, gate: [markdown_report(report, gate)],
    ReportFormat.JSON: json_report,
    ReportFormat.JUNIT: junit_report,
    ReportFormat.HTML: lambda report, gate: [html_report(report, gate)],
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
    pieces = iter(_RENDERED[form](report, gate))
    while block := "".join(islice(pieces, _PIECES_A_BLOCK)):
        yield block
