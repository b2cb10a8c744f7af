"""
The report as JUnit XML, so that a CI shows it as tests: the verdict, the gate's rules, and every case.

A case fails where it passed before; one that failed before as well is skipped, and one without a score is an error.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from xml.etree import ElementTree as ET

from monitor.evals.gate import GateResult, RuleState
from monitor.evals.pairing import Pair
from monitor.evals.report import EvalReport
from monitor.rollout.verdict import VerdictState
from monitor.rollout.wording import percent

_HALF = 0.5
_COUNTED = {"failures": "failure", "errors": "error", "skipped": "skipped"}
_VERDICTS = {VerdictState.REGRESSION: "failure", VerdictState.CLIFF: "failure", VerdictState.WAITING: "skipped"}


_Suite = tuple[str, Callable[[], Iterator[ET.Element]]]
"""Its name, and its tests: gone through once to count them and once to write them, since a large suite has many."""


def junit_report(report: EvalReport, gate: GateResult | None = None) -> Iterator[str]:
    """The whole document, in pieces."""
    suites: list[_Suite] = [("verdict", lambda: _verdict(report)), ("cases", lambda: _cases(report))]
    if gate is not None:
        suites.insert(1, ("gate", lambda: _rules(gate)))
    counts = {name: _counts(tests()) for name, tests in suites}
    totals: Counter[str] = sum(counts.values(), Counter())
    label = f"{report.baseline.label} → {report.candidate.label}"
    yield f'<?xml version="1.0" encoding="UTF-8"?>\n{_start("testsuites", label, totals)}\n'
    for name, tests in suites:
        yield f"  {_start('testsuite', name, counts[name], time='0')}\n"
        for test in tests():
            _make_valid(test)
            ET.indent(test, level=2)
            yield f"    {ET.tostring(test, encoding='unicode')}\n"
        yield "  </testsuite>\n"
    yield "</testsuites>\n"


def _counts(tests: Iterable[ET.Element]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for test in tests:
        counts["tests"] += 1
        counts.update(name for name, kind in _COUNTED.items() if test.find(kind) is not None)
    return counts


def _start(tag: str, name: str, counts: Mapping[str, int], **more: str) -> str:
    counted = {kind: str(counts.get(kind, 0)) for kind in ("tests", *_COUNTED)}
    empty = ET.tostring(ET.Element(tag, {"name": _valid(name), **counted, **more}), encoding="unicode")
    return f"{empty.removesuffix(' />')}>"


def _verdict(report: EvalReport) -> Iterator[ET.Element]:
    test = _test("verdict", report.verdict.value)
    if report.verdict in _VERDICTS:
        _finding(test, _VERDICTS[report.verdict], report.headline, "\n".join(report.reasons))
    yield test


def _rules(gate: GateResult) -> Iterator[ET.Element]:
    for rule in gate.rules:
        test = _test("gate", rule.name)
        if rule in gate.broken:
            _finding(test, "failure", rule.sentence)
        elif rule.state is RuleState.UNDECIDED:
            _finding(test, "skipped", rule.sentence)
        yield test


def _cases(report: EvalReport) -> Iterator[ET.Element]:
    pairing, tiering = report.pairing, report.tiering
    for pair in report.pairs:
        test = _test(_class_name(pair.tier.value, pair.capability), str(pair.key))
        for kind, message, text in _findings(pair):
            _finding(test, kind, message, text)
        yield test
    for keys, told in (
        (pairing.unpaired.unscored, "has no score in one of the runs"),
        (pairing.unpaired.baseline_only, "is missing in the candidate"),
    ):
        for key in keys:
            test = _test(_class_name(tiering.tier_of(key).value, pairing.baseline.cases[key].capability), str(key))
            _finding(test, "error", told)
            yield test


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


def _test(class_name: str, name: str) -> ET.Element:
    return ET.Element("testcase", {"classname": class_name, "name": name, "time": "0"})


def _finding(test: ET.Element, kind: str, message: str, text: str = "") -> None:
    finding = ET.SubElement(test, kind, {"message": message} if message else {})
    if kind in {"failure", "error"}:
        finding.set("type", "regression" if kind == "failure" else "unscored")
    finding.text = text or None


def _make_valid(root: ET.Element) -> None:
    """Leave out what XML 1.0 has no letter for: a failure's text is whatever a model said."""
    for element in root.iter():
        element.text = _valid(element.text) if element.text else element.text
        for name, value in element.attrib.items():
            element.set(name, _valid(value))


def _valid(text: str) -> str:
    return _NO_XML.sub("", text)


_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
