"""
Renders a report in every text format, with the same wording in each.

The HTML is one file without scripts or external resources, with charts as SVG, light and dark. The Markdown shows
verdict, gate and cases, and folds the rest. The JSON names its version in `schema`, and a golden file tests its form.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from enum import StrEnum
from functools import cache
from itertools import islice
from json import dumps
from pathlib import PurePath
from typing import Any

from jinja2 import Environment
from markupsafe import Markup
from msgspec import json, to_builtins

from monitor.difficulty.tiers import HARD_TIER, Tier
from monitor.errors import UsageError
from monitor.evals.cases import CaseKey, Pair, Run
from monitor.evals.comparison import Comparison, Stratum
from monitor.evals.gate import GateResult, RuleState
from monitor.evals.report import ArmSource, EvalReport
from monitor.output.charts.comparisons import RateRow
from monitor.output.charts.drawing import CHART_STYLE
from monitor.output.templating import templates_of
from monitor.rollout.wording import bounds, count, counted, one_line, percent, probability, signed, some_of

SCHEMA = "cliffwatch.eval-report/v1"
HEADINGS = ("cases", "before", "after", "change", "bounds", "failures", "lost", "won", "p")
"""Headings of the columns of `cells`."""

VARIANT_HEADINGS = ("cases", "as written", "variants", *HEADINGS[3:6], "brittle", "variants only", "p")
"""Headings of the columns of `cells` that compare cases with their variants."""

_NAMED = 5
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def cells(stratum: Stratum) -> Sequence[str]:
    """The numbers of a row: rates are pass rates, the change and its bounds are in points."""
    return (
        f"{stratum.cases:,}",
        percent(stratum.before.estimate),
        percent(stratum.after.estimate),
        signed(stratum.change.estimate),
        bounds(stratum.change),
        f"{count(stratum.failures_before)} → {count(stratum.failures_after)}",
        f"{stratum.newly_failing:,}",
        f"{stratum.newly_passing:,}",
        probability(stratum.p_value),
    )


def rate_rows(report: EvalReport, gate: GateResult | None) -> Sequence[RateRow]:
    """The rows of the chart of pass rates, each with its floor in the gate."""
    floors = {} if gate is None else gate.floors
    return [
        RateRow(name, stratum.before, stratum.after, floors.get(name.replace(" ", "_")))
        for name, stratum in report.comparison.rows().items()
    ]


def classes_worst_first(comparison: Comparison) -> Mapping[str, Stratum]:
    """Capability classes by their change; none if there is only one, which is the same as all cases."""
    classes = comparison.capabilities
    names = sorted(classes, key=lambda name: classes[name].change.estimate) if len(classes) > 1 else []
    return {name: classes[name] for name in names}


def case_lists(report: EvalReport) -> Sequence[tuple[str, str, Sequence[Pair]]]:
    """The lists of cases that are not empty: name, meaning and cases."""
    lists = (
        ("Lost", "passed before and failed now", report.lost),
        ("Won", "failed before and passed now", report.won),
        ("Flaky", "passed some attempts and failed others", report.flaky),
        ("Brittle", "passed as written, while half of the variants or more failed", report.brittle),
    )
    return [each for each in lists if each[2]]


def cases_line(report: EvalReport) -> str:
    """Numbers of cases that are lost, won, flaky and without a score in the candidate, and the first lost ones."""
    counts = f"{len(report.lost):,} lost, {len(report.won):,} won"
    counts += f", {len(report.flaky):,} flaky" if report.flaky else ""
    unknown = len(report.pairing.unknown_after)
    counts += f", {unknown:,} without a score" if unknown else ""
    named = some_of([case.key for case in report.lost], _NAMED)
    return f"{counts}: {named}" if named else counts


def case_words(case: Pair, longest: int) -> str:
    """One case of a list, and its failure in at most *longest* characters."""
    before, after = case.baseline.audited_rate, case.candidate.audited_rate
    about = [case.tier.value] if case.tier is not Tier.UNTIERED else []
    about += [case.capability] if case.capability else []
    about += [f"{percent(before)} → {percent(after)}"] if not {before, after} <= {0.0, 1.0} else []
    about += ["flaky"] if case.is_flaky else []
    failure = case.candidate.failure
    return (f" ({', '.join(about)})" if about else "") + (f": {one_line(failure, longest)}" if failure else "")


def gate_line(gate: GateResult) -> str:
    """Whether the gate is open, and how many rules keep it closed."""
    rules = counted(len(gate.rules), "rule")
    kept = sum(rule.state is RuleState.KEPT for rule in gate.rules)
    return f"open, {kept:,} of {rules} kept" if gate.is_open else f"closed by {len(gate.broken):,} of {rules}"


def repeats(comparison: Comparison) -> Iterator[str]:
    """Per row, how reliably repeated cases pass; nothing if each case was asked once."""
    for name, stratum in comparison.rows().items():
        if stratum.flaky or stratum.tries > 1:
            share = f"{stratum.flaky:,} of {counted(stratum.cases, 'case')} flaky ({stratum.flaky / stratum.cases:.0%})"
            rates = f"{percent(stratum.all_tries_before)} → {percent(stratum.all_tries_after)}"
            yield f"{name}: {share}, pass^{stratum.tries} {rates}"


def provenance(report: EvalReport) -> Iterator[str]:
    """The sources of the numbers, and how to read them."""
    yield report.tiering.explanation
    yield from report.tiering.notes
    for name, source in (("Baseline", report.baseline), ("Candidate", report.candidate)):
        yield f"{name}: {some_of(source.files)} ({', '.join(source.formats)}). {' '.join(source.notes)}".rstrip()
    yield (
        f"Bounds are paired (Newcombe) and hold with {percent(report.comparison.confidence)} over all tiers, and over "
        "all classes, together; p is McNemar's exact test for one look at a fixed sample, raised for their number "
        "(Holm). Lost: newly failing, won: newly passing, by the majority of attempts. A case counts if at least half "
        "of its attempts have a score."
    )
    if families := report.pairing.candidate.families:
        yield f"Variants of {counted(len(families), 'case')} are compared with these alone and count nowhere else."


@cache
def _environment() -> Environment:
    environment = templates_of("monitor.evals", finalize=_valid)
    environment.filters["bounds"] = bounds
    shared = (cells, rate_rows, classes_worst_first, case_lists, cases_line, case_words, gate_line, repeats, provenance)
    environment.globals |= {function.__name__: function for function in shared}
    environment.globals |= {"HEADINGS": HEADINGS, "VARIANT_HEADINGS": VARIANT_HEADINGS}
    environment.globals["chart_style"] = Markup(CHART_STYLE)  # noqa: S704  (our own)
    return environment


def _valid(value: object) -> object:
    """*value* without characters that XML 1.0 does not allow: a failure's text may hold any output of a model."""
    text = _NO_XML.sub("", str(value))
    return Markup(text) if isinstance(value, Markup) else text  # noqa: S704  (it was escaped before)


class ReportFormat(StrEnum):
    """The format of a report."""

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
_BY_ENDING = {PurePath(template).suffix: form for form, template in _TEMPLATES.items()} | {
    ".markdown": ReportFormat.MARKDOWN,
    ".json": ReportFormat.JSON,
    ".txt": ReportFormat.TABLE,
}


def format_of(path: str) -> ReportFormat:
    """
    The report format of a file name's ending.

    Raises:
        UsageError: no format has this ending.
    """
    report_format = _BY_ENDING.get(PurePath(path).suffix.casefold())
    if report_format is None:
        raise UsageError(f"{path} does not say its format by its ending; give one of {', '.join(_BY_ENDING)}.")
    return report_format


def render(report: EvalReport, gate: GateResult | None, form: ReportFormat) -> Iterator[str]:
    """*report* as text in *form* (not a table), in blocks, so that memory never holds all of it."""
    if form is ReportFormat.JSON:
        pieces = json_report(report, gate)
    else:
        pieces = _environment().get_template(_TEMPLATES[form]).generate(report=report, gate=gate)
    while block := "".join(islice(pieces, 1_000)):
        yield block


def json_report(report: EvalReport, gate: GateResult | None = None) -> Iterator[str]:
    """
    *report* as JSON, with the result of the gate if there is one; rates are pass rates, 0 to 1.

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
        "labels": (labels := report.labelling)
        and {**_both(*labels.arms), "judge_moved": labels.moved, "audits_needed": report.audits_needed},
        **{name: map(_case, getattr(report, name)) for name in ("lost", "won", "flaky", "brittle")},
        "variants": {name: _stratum(stratum) for name, stratum in report.variants.items()},
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
    text = json.format(json.encode(value), indent=2).decode()
    if not text.replace("\n", "").isprintable():  # terminal escapes are no valid JSON
        text = "".join(each if each.isprintable() or each == "\n" else dumps(each)[1:-1] for each in text)
    return text.replace("\n", f"\n{' ' * width}")


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
    result: dict[str, Any] = {"before": pair.baseline.audited_rate, "after": pair.candidate.audited_rate}
    result |= {"failure": pair.candidate.failure, "flaky": pair.is_flaky}
    return {**_key(pair.key), **_fields(pair, "tier", "capability"), **result}


def _key(key: CaseKey) -> dict[str, str]:
    return {"task": key.task, "case": key.case_id}


def _fields(value: object, *names: str) -> dict[str, Any]:
    return {name: getattr(value, name) for name in names}
