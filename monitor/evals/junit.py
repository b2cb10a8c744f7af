"""
The report as JUnit XML, so that a CI shows it as tests: the gate's rules, and the hard cases.

A hard case fails where it passed before; one that failed before as well is skipped, and one without a score an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree as ET

from monitor.difficulty.tiers import HARD_TIER
from monitor.evals.cases import CaseKey
from monitor.evals.gate import GateResult, RuleState
from monitor.evals.pairing import Pair
from monitor.evals.report import EvalReport
from monitor.evals.words import percent

_HALF = 0.5


def junit_report(report: EvalReport, gate: GateResult | None = None) -> str:
    """The whole document."""
    suites = [_hard_cases(report)]
    if gate is not None:
        suites.insert(0, _rules(gate))
    root = ET.Element("testsuites", {"name": f"{report.baseline.label} → {report.candidate.label}"})
    for suite in suites:
        root.append(suite)
    for name in ("tests", "failures", "errors", "skipped"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in suites)))
    _make_valid(root)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _rules(gate: GateResult) -> ET.Element:
    suite = ET.Element("testsuite", {"name": "gate"})
    for rule in gate.rules:
        test = _test(suite, "gate", rule.name)
        if rule in gate.broken:
            _finding(test, "failure", rule.sentence)
        elif rule.state is RuleState.UNDECIDED:
            _finding(test, "skipped", rule.sentence)
    return _counted(suite)


def _hard_cases(report: EvalReport) -> ET.Element:
    suite = ET.Element("testsuite", {"name": "hard cases"})
    for pair in report.tiering.tiered(report.pairing.pairs):
        if pair.tier in HARD_TIER:
            test = _test(suite, _class_name(pair.tier.value, pair.capability), str(pair.key))
            for kind, message, text in _findings(pair):
                _finding(test, kind, message, text)
    for key in report.pairing.unpaired.unscored:
        if report.tiering.tier_of(key) in HARD_TIER:
            test = _test(suite, _class_name(report.tiering.tier_of(key).value, _capability(report, key)), str(key))
            _finding(test, "error", "has no score in one of the runs")
    return _counted(suite)


def _findings(pair: Pair) -> Iterator[tuple[str, str, str]]:
    if pair.is_newly_failing:
        told = f"passed before and fails now ({percent(pair.before)} → {percent(pair.after)})"
        yield "failure", told, pair.candidate.failure or ""
    elif pair.after <= _HALF:
        yield "skipped", "failed before as well", ""


def _capability(report: EvalReport, key: CaseKey) -> str:
    return report.pairing.candidate.cases[key].capability


def _class_name(tier: str, capability: str) -> str:
    return f"{tier}.{capability}" if capability else tier


def _test(suite: ET.Element, class_name: str, name: str) -> ET.Element:
    return ET.SubElement(suite, "testcase", {"classname": class_name, "name": name, "time": "0"})


def _finding(test: ET.Element, kind: str, message: str, text: str = "") -> None:
    finding = ET.SubElement(test, kind, {"message": message})
    if kind != "skipped":
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
