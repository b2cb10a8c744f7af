"""
The report as a page: HTML for a browser, Markdown for a pull request.

The HTML is one file with nothing to load and no script, charts as SVG, light and dark. Of the Markdown, verdict, gate
and cases are open, and the rest is to unfold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from monitor.evals import summary
from monitor.evals.gate import GateResult
from monitor.evals.report import EvalReport
from monitor.evals.share import ShareReport
from monitor.evals.words import bounds, one_line
from monitor.output.charts.palette import CHART_STYLE
from monitor.output.charts.parts import Part, parts_chart
from monitor.output.charts.rates import RateRow, rates_chart
from monitor.output.charts.shares import share_chart
from monitor.rollout.wording import percent, points, signed, with_bounds

_SPECIAL = str.maketrans({letter: f"\\{letter}" for letter in "\\`*_[]|#~"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"})


def html_report(report: EvalReport, gate: GateResult | None = None) -> str:
    """The whole document; everything that came from a file is escaped."""
    style = CHART_STYLE + files("monitor.evals").joinpath("templates/report.css").read_text("utf-8")
    charts = _charts(report, {} if gate is None else gate.floors)
    return _page(
        "report.html",
        report,
        gate,
        style=Markup(style),  # noqa: S704  (our own)
        charts=charts,
    )


def markdown_report(report: EvalReport, gate: GateResult | None = None) -> str:
    """The whole document, at most some dozen kilobytes: comments are limited to 64."""
    return _page("report.md", report, gate)


def _page(template: str, report: EvalReport, gate: GateResult | None, **more: object) -> str:
    return _environment().get_template(template).render(report=report, gate=gate, summary=summary, **more)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("monitor.evals"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    shown = (percent, points, signed, with_bounds, bounds)
    environment.filters |= {each.__name__: each for each in shown} | {"text": _markdown}
    return environment


def _markdown(text: str) -> str:
    """*text* as it is, in one line: neither Markdown nor HTML, and nobody is mentioned."""
    return one_line(text, None).translate(_SPECIAL).replace("@", "@\u200b")


def _charts(report: EvalReport, floors: Mapping[str, float]) -> Sequence[tuple[str, Markup]]:
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


def _rates(report: EvalReport, floors: Mapping[str, float]) -> Markup:
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


def _share(report: EvalReport, share: ShareReport) -> Markup:
    return share_chart(
        name="share",
        title="The hard tier's share of failures",
        baseline=share.baseline,
        candidate=share.candidate,
        expected_change=share.expected_change,
        baseline_name=report.baseline.label,
        candidate_name=report.candidate.label,
    )
