"""
The report as tests of a CI: the verdict, the gate's rules, and every case.

A case fails where it passed before; one that failed before as well is skipped, and one without a score is an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from monitor.evals.cases import Pair
from monitor.evals.gate import GateResult, RuleState
from monitor.evals.report import EvalReport
from monitor.rollout.verdict import VerdictState
from monitor.rollout.wording import percent

_VERDICTS = {VerdictState.REGRESSION: "failure", VerdictState.CLIFF: "failure", VerdictState.WAITING: "skipped"}


class _Finding(NamedTuple):
    kind: str
    message: str
    text: str = ""


class _Test(NamedTuple):
    group: str
    name: str
    findings: Sequence[_Finding] = ()


_Suite = tuple[str, Callable[[], Iterator[_Test]], Counter[str]]
"""Its name, its tests (made anew each time, since a large suite has many), and how many have each kind of finding."""


def suites_of(report: EvalReport, gate: GateResult | None) -> Sequence[_Suite]:
    """What `templates/report.xml` writes down."""
    suites: dict[str, Callable[[], Iterator[_Test]]] = {"verdict": partial(_verdict, report)}
    if gate is not None:
        suites["gate"] = partial(_rules, gate)
    suites["cases"] = partial(_cases, report)
    return [(name, tests, _counted(tests())) for name, tests in suites.items()]


def _counted(tests: Iterable[_Test]) -> Counter[str]:
    return Counter(kind for test in tests for kind in ("test", *(finding.kind for finding in test.findings)))


def _verdict(report: EvalReport) -> Iterator[_Test]:
    found = _VERDICTS.get(report.verdict)
    finding = [_Finding(found, report.headline, "\n".join(report.reasons))] if found else []
    yield _Test("verdict", report.verdict.value, finding)


def _rules(gate: GateResult) -> Iterator[_Test]:
    for rule in gate.rules:
        found = "failure" if rule in gate.broken else "skipped" if rule.state is RuleState.UNDECIDED else None
        yield _Test("gate", rule.name, [_Finding(found, rule.sentence)] if found else [])


def _cases(report: EvalReport) -> Iterator[_Test]:
    pairing, tiering = report.pairing, report.tiering
    for pair in report.pairs:
        yield _Test(_group(pair.tier.value, pair.capability), str(pair.key), list(_findings(pair)))
    for keys, told in (
        (pairing.unpaired.unscored, "has no score in one of the runs"),
        (pairing.unpaired.baseline_only, "is missing in the candidate"),
    ):
        for key in keys:
            group = _group(tiering.tier_of(key).value, pairing.baseline.cases[key].capability)
            yield _Test(group, str(key), [_Finding("error", told)])


def _findings(pair: Pair) -> Iterator[_Finding]:
    rates = f"{percent(pair.before)} → {percent(pair.after)}"
    if pair.is_newly_failing:
        yield _Finding("failure", f"lost: passed before and fails now ({rates})", pair.candidate.failure or "")
    elif pair.is_newly_passing:
        yield _Finding("system-out", "", "won: failed before and passes now")
    elif pair.is_failing:
        yield _Finding("skipped", "failed before as well")
    if pair.is_flaky:
        yield _Finding("system-err", "", f"flaky: passes some attempts and fails others ({rates})")


def _group(tier: str, capability: str) -> str:
    return f"{tier}.{capability}" if capability else tier
