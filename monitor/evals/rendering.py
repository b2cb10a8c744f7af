"""
A report in every form that is text.

The HTML is one file with nothing to load and no script, charts as SVG, light and dark. Of the Markdown, verdict, gate
and cases are open, and the rest is to unfold. Of the JSON, `schema` names the version of its form, and a golden file
in the tests holds it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict
from enum import StrEnum
from functools import cache
from itertools import islice
from pathlib import PurePath
from typing import Any

from jinja2 import Environment
from markupsafe import Markup
from msgspec import json, to_builtins

from monitor.difficulty.tiers import HARD_TIER
from monitor.errors import UsageError
from monitor.evals import summary
from monitor.evals.cases import CaseKey, Pair, Run
from monitor.evals.comparison import Stratum
from monitor.evals.gate import GateResult
from monitor.evals.report import ArmSource, EvalReport
from monitor.output.charts.drawing import CHART_STYLE
from monitor.output.templating import templates_of
from monitor.rollout.wording import bounds

SCHEMA = "cliffwatch.eval-report/v1"
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


def json_report(report: EvalReport, gate: GateResult | None = None) -> Iterator[str]:
    """
    *report* in its stable form, and what the gate says of it, if there is one; rates are pass rates, 0 to 1.

    In pieces, since a large suite has many cases.
    """
    comparison, pairing, share = report.comparison, report.pairing, report.comparison.share
    document = {
        "schema": SCHEMA,
        "baseline": _arm(report.baseline, pairing.baseline),
        "candidate": _arm(report.candidate, pairing.candidate),
        "tiers_by": report.tiers_by,
        "tiers_from": _fields(report.tiering, "source", "explanation", "notes"),
        **_fields(report, "verdict", "scope", "headline"),
        "reasons": list(report.reasons),
        "could_still_be": report.could_still_be,
        "cases_needed": report.cases_needed,
        "obstacles": list(report.obstacles),
        "confidence": comparison.confidence,
        "aggregate": _stratum(comparison.aggregate),
        "tiers": {tier: _stratum(stratum) for tier, stratum in comparison.tiers.items()},
        "hard_tier": _stratum(comparison.hard_tier),
        "easier_tiers": _stratum(comparison.easier_tiers),
        "capabilities": {name: _stratum(stratum) for name, stratum in comparison.capabilities.items()},
        "share": share
        and {**to_builtins(share), "baseline": share.baseline.estimate, "candidate": share.candidate.estimate},
        "lost": map(_case, report.lost),
        "won": map(_case, report.won),
        "flaky": map(_case, report.flaky),
        "regressed_hard_cases": (_case(case) for case in report.lost if case.tier in HARD_TIER),
        "unknown": map(_key, pairing.unknown_after),
        "unpaired": {name: list(map(_key, keys)) for name, keys in asdict(pairing.unpaired).items()},
        "blind_spots": report.audit.blind_spots,
        "sight": report.audit.sight,
        "gate": None if gate is None else {"open": gate.is_open, "rules": gate.rules},
    }
    for number, (name, value) in enumerate(document.items()):
        yield f'{"," if number else "{"}\n  "{name}": '
        yield from _listed(value) if isinstance(value, Iterator) else (_indented(value, 2),)
    yield "\n}\n"


def _listed(values: Iterator[Any]) -> Iterator[str]:
    start = "["
    for value in values:
        yield f"{start}\n    {_indented(value, 4)}"
        start = ","
    yield "[]" if start == "[" else "\n  ]"


def _indented(value: Any, width: int) -> str:
    return json.format(json.encode(value), indent=2).decode().replace("\n", f"\n{' ' * width}")


def _arm(source: ArmSource, run: Run) -> dict[str, Any]:
    return {
        "label": source.label,
        "model": run.model or None,
        **_fields(source, "files", "formats"),
        "cases": len(run.cases),
        "attempts": sum(case.scored for case in run.cases.values()),
        "notes": source.notes,
    }


def _stratum(stratum: Stratum | None) -> dict[str, Any] | None:
    if stratum is None:
        return None
    return {
        **_fields(stratum, "cases", "hard_cases"),
        "passed": _both(stratum.passed_before, stratum.passed_after),
        "failures": _both(stratum.failures_before, stratum.failures_after),
        "pass_rate": _both(stratum.before, stratum.after),
        **_fields(stratum, "newly_failing", "newly_passing", "change", "p_value", "flaky"),
        "all_tries": {"tries": stratum.tries, **_both(stratum.all_tries_before, stratum.all_tries_after)},
    }


def _both(baseline: object, candidate: object) -> dict[str, Any]:
    return {"baseline": baseline, "candidate": candidate}


def _case(pair: Pair) -> dict[str, Any]:
    said = {**_key(pair.key), **_fields(pair, "tier", "capability", "before", "after")}
    return said | {"failure": pair.candidate.failure, "flaky": pair.is_flaky}


def _key(key: CaseKey) -> dict[str, str]:
    return {"task": key.task, "case": key.case_id}


def _fields(value: object, *names: str) -> dict[str, Any]:
    return {name: getattr(value, name) for name in names}
