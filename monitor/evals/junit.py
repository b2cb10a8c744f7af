"""
The report as JUnit XML, so that a CI shows it as tests: the verdict, the gate's rules, and every case.

A case fails where it passed before; one that failed before as well is skipped, and one without a score is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree as ET

from monitor.evals.gate import GateResult, RuleState
from monitor.evals.pairing import Pair
from monitor.evals.report import EvalReport
from monitor.rollout.verdict import VerdictState
from monitor.rollout.wording import percent

_HALF = 0.5
_VERDICTS = {VerdictState.REGRESSION: "failure", VerdictState.CLIFF: "failure", VerdictState.WAITING: "skipped"}


def junit_report(report: EvalReport, gate: GateResult | None = None) -> str:
    """The whole document."""
    suites = [_verdict(report), *([] if gate is None else [_rules(gate)]), _cases(report)]
    root = ET.Element("testsuites", {"name": f"{report.baseline.label} → {report.candidate.label}"})
    for suite in suites:
        root.append(suite)
    for name in ("tests", "failures", "errors", "skipped"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in suites)))
    _make_valid(root)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _verdict(report: EvalReport) -> ET.Element:
    suite = ET.Element("testsuite", {"name": "verdict"})
    test = _test(suite, "verdict", report.verdict.value)
    if report.verdict in _VERDICTS:
        _finding(test, _VERDICTS[report.verdict], report.headline, "\n".join(report.reasons))
    return _counted(suite)


def _rules(gate: GateResult) -> ET.Element:
    suite = ET.Element("testsuite", {"name": "gate"})
    for rule in gate.rules:
        test = _test(suite, "gate", rule.name)
        if rule in gate.broken:
            _finding(test, "failure", rule.sentence)
        elif rule.state is RuleState.UNDECIDED:
            _finding(test, "skipped", rule.sentence)
    return _counted(suite)


def _cases(report: EvalReport) -> ET.Element:
    suite = ET.Element("testsuite", {"name": "cases"})
    pairing, tiering = report.pairing, report.tiering
    for pair in report.pairs:
        test = _test(suite, _class_name(pair.tier.value, pair.capability), str(pair.key))
        for kind, message, text in _findings(pair):
            _finding(test, kind, message, text)
    for keys, told in (
        (pairing.unpaired.unscored, "has no score in one of the runs"),
        (pairing.unpaired.baseline_only, "is missing in the candidate"),
    ):
        for key in keys:
            case = pairing.baseline.cases[key]
            _finding(_test(suite, _class_name(tiering.tier_of(key).value, case.capability), str(key)), "error", told)
    return _counted(suite)


def _findings(pair: Pair) -> Iterator[tuple[str, str, str]]:
    rates = f"{percent(pair.before)} → {percent(pair.after)}"
    if pair.is_newly_failing:
        yield "failure", f"lost: passed before and fails now ({rates})", pair.candidate.failure or ""
    elif pair.after <= _HALF:
        yield "skipped", "failed before as well", ""
    elif pair.is_newly_passing:
        yield "system-out", "", "won: failed before and passes now"
    if pair.is_flaky:
        yield "system-err", "", f"flaky: passes some attempts and fails others ({rates})"


def _class_name(tier: str, capability: str) -> str:
    return f"{tier}.{capability}" if capability else tier


def _test(suite: ET.Element, class_name: str, name: str) -> ET.Element:
    return ET.SubElement(suite, "testcase", {"classname": class_name, "name": name, "time": "0"})


def _finding(test: ET.Element, kind: str, message: str, text: str = "") -> None:
    finding = ET.SubElement(test, kind, {"message": message} if message else {})
    if kind in {"failure", "error"}:
        finding.set("type", "regression" if kind == "failure" else "unscored")
    finding.text = text or None


def _counted(suite: ET.Element) -> ET.Element:
    tests = list(suite)
    suite.set("tests", str(len(tests)))
    for name, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(name, str(sum(test.find(kind) is not None for test in tests)))
    suite.set("time", "0")
    return suite


def _make_valid(root: ET.Element) -> None:
    """Leave out what XML 1.0 has no letter for: a failure's text is whatever a model said."""
    for element in root.iter():
        element.text = _valid(element.text) if element.text else element.text
        for name, value in element.attrib.items():
            element.set(name, _valid(value))


def _valid(text: str) -> str:
    return _NO_XML.sub("", text)


_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
