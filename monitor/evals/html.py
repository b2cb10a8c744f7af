"""The report as one HTML file: nothing to load, no script, charts as SVG, light and dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from monitor.evals import words
from monitor.evals.gate import GateResult
from monitor.evals.report import EvalReport
from monitor.evals.share import ShareReport
from monitor.evals.summary import (
    HEADINGS,
    case_lists,
    case_words,
    cases_line,
    cells,
    classes_worst_first,
    gate_line,
    provenance,
    repeats,
)
from monitor.output.charts import CHART_STYLE, Part, RateRow, parts_chart, rates_chart, share_chart


def html_report(report: EvalReport, gate: GateResult | None = None) -> str:
    """The whole document; everything that came from a file is escaped."""
    return (
        _environment()
        .get_template("report.html")
        .render(
            report=report,
            gate=gate,
            style=Markup(CHART_STYLE + files("monitor.evals").joinpath("templates/report.css").read_text("utf-8")),  # noqa: S704  (our own)
            charts=[(caption, Markup(svg)) for caption, svg in _charts(report, {} if gate is None else gate.floors)],  # noqa: S704  (text in it is escaped)
            headings=HEADINGS,
            tiers=report.comparison.rows(),
            share=report.comparison.share,
            classes=classes_worst_first(report.comparison),
            gate_line=None if gate is None else gate_line(gate),
            cases_line=cases_line(report),
            case_lists=case_lists(report),
            repeats=list(repeats(report.comparison)),
            provenance=list(provenance(report)),
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("monitor.evals"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {
        "percent": words.percent,
        "points": words.points,
        "with_bounds": words.change_words,
        "cells": cells,
        "case_words": lambda case: case_words(case, 0),
    }
    return environment


def _charts(report: EvalReport, floors: Mapping[str, float]) -> Sequence[tuple[str, str]]:
    charts = [("Pass rate", _rates(report, floors))] if report.comparison.aggregate is not None else []
    share = report.comparison.share
    if share is not None:
        charts.append(("The hard tier's share of failures", _share(report, share)))
        if share.decomposition is not None:
            parts = [
                Part("easier tiers", share.decomposition.easier_tiers),
                Part("hard tiers", share.decomposition.hard_tiers),
            ]
            charts.append(("What changed the share", parts_chart(parts, name="parts", title="What changed the share")))
    return charts


def _rates(report: EvalReport, floors: Mapping[str, float]) -> str:
    return rates_chart(
        [
            RateRow(name, stratum.before, stratum.after, floors.get(name.replace(" ", "_")))
            for name, stratum in report.comparison.rows().items()
        ],
        name="rates",
        title="Pass rate by tier",
        baseline=report.baseline.label,
        candidate=report.candidate.label,
    )


def _share(report: EvalReport, share: ShareReport) -> str:
    return share_chart(
        name="share",
        title="The hard tier's share of failures",
        baseline=share.baseline,
        candidate=share.candidate,
        expected_change=share.expected_change,
        baseline_name=report.baseline.label,
        candidate_name=report.candidate.label,
    )
