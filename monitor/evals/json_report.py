"""The report as JSON; `schema` names the version of its form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from monitor.evals.audit import Sight
from monitor.evals.cases import CaseKey
from monitor.evals.comparison import Stratum
from monitor.evals.gate import GateResult
from monitor.evals.pairing import Unpaired
from monitor.evals.report import ArmSource, EvalReport
from monitor.evals.share import ShareReport
from monitor.rollout.comparison import Interval

SCHEMA = "cliffwatch.eval-report/v1"


class BoundedJson(TypedDict):
    """A ratio or a change with its bounds."""

    estimate: float
    lower: float
    upper: float


class ArmJson(TypedDict):
    """Where one run came from."""

    label: str
    model: str | None
    files: list[str]
    formats: list[str]
    cases: int
    attempts: int
    notes: list[str]


class StratumJson(TypedDict):
    """Both runs on the same cases; *passed* is fractional where cases were repeated."""

    cases: int
    hard_cases: int
    passed: dict[str, float]
    failures: dict[str, float]
    pass_rate: dict[str, BoundedJson]
    newly_failing: int
    newly_passing: int
    change: BoundedJson
    p_value: float
    flaky: int


class ShareJson(TypedDict):
    """The hard tier's share of failures."""

    baseline: float
    candidate: float
    change: BoundedJson
    expected_change: float
    excess: BoundedJson
    decomposition: dict[str, float] | None


class TiersJson(TypedDict):
    """Who told the tiers."""

    source: str
    explanation: str
    notes: list[str]


class CaseJson(TypedDict):
    """A hard case that is newly failing."""

    task: str
    case: str
    tier: str
    capability: str
    before: float
    after: float
    failure: str | None


class KeyJson(TypedDict):
    """Names a case."""

    task: str
    case: str


class BlindSpotJson(TypedDict):
    """One thing that the suite cannot see."""

    kind: str
    tier: str | None
    sentence: str
    cases_to_add: int | None


class SightJson(TypedDict):
    """What a tier's cases can show."""

    cases: int
    smallest_visible_drop: float | None
    cases_to_see_5_points: int | None


class RuleJson(TypedDict):
    """One rule of the gate."""

    name: str
    state: str
    sentence: str


class GateJson(TypedDict):
    """What the gate says."""

    open: bool
    rules: list[RuleJson]


class ReportJson(TypedDict):
    """What `report --output json` prints; rates are pass rates, 0 to 1."""

    schema: str
    baseline: ArmJson
    candidate: ArmJson
    tiers_from: TiersJson
    verdict: str
    reasons: list[str]
    confidence: float
    aggregate: StratumJson
    tiers: dict[str, StratumJson]
    hard_tier: StratumJson | None
    easier_tiers: StratumJson | None
    capabilities: dict[str, StratumJson]
    share: ShareJson | None
    regressed_hard_cases: list[CaseJson]
    unpaired: dict[str, list[KeyJson]]
    blind_spots: list[BlindSpotJson]
    sight: dict[str, SightJson]
    gate: GateJson | None


def report_json(report: EvalReport, gate: GateResult | None = None) -> ReportJson:
    """*report* in its stable form, and what the gate says of it, if there is one."""
    comparison = report.comparison
    return {
        "schema": SCHEMA,
        "baseline": _arm(report, report.baseline, is_candidate=False),
        "candidate": _arm(report, report.candidate, is_candidate=True),
        "tiers_from": {
            "source": report.tiering.source.value,
            "explanation": report.tiering.explanation,
            "notes": list(report.tiering.notes),
        },
        "verdict": report.verdict.value,
        "reasons": list(report.reasons),
        "confidence": comparison.confidence,
        "aggregate": _stratum(comparison.aggregate),
        "tiers": {tier.value: _stratum(stratum) for tier, stratum in comparison.tiers.items()},
        "hard_tier": _stratum_or_none(comparison.hard_tier),
        "easier_tiers": _stratum_or_none(comparison.easier_tiers),
        "capabilities": {name: _stratum(stratum) for name, stratum in comparison.capabilities.items()},
        "share": None if comparison.share is None else _share(comparison.share),
        "regressed_hard_cases": [
            {
                "task": case.key.task,
                "case": case.key.case_id,
                "tier": case.tier,
                "capability": case.capability,
                "before": case.before,
                "after": case.after,
                "failure": case.failure,
            }
            for case in report.regressed
        ],
        "unpaired": _unpaired(report.pairing.unpaired),
        "blind_spots": [
            {
                "kind": spot.kind.value,
                "tier": None if spot.tier is None else spot.tier.value,
                "sentence": spot.sentence,
                "cases_to_add": spot.cases_to_add,
            }
            for spot in report.audit.blind_spots
        ],
        "sight": {tier.value: _sight(sight) for tier, sight in report.audit.sight.items()},
        "gate": None
        if gate is None
        else {
            "open": gate.is_open,
            "rules": [{"name": rule.name, "state": rule.state.value, "sentence": rule.sentence} for rule in gate.rules],
        },
    }


def _arm(report: EvalReport, source: ArmSource, *, is_candidate: bool) -> ArmJson:
    run = report.pairing.candidate if is_candidate else report.pairing.baseline
    return {
        "label": source.label,
        "model": run.model or None,
        "files": list(source.files),
        "formats": list(source.formats),
        "cases": len(run.cases),
        "attempts": run.attempts,
        "notes": list(source.notes),
    }


def _stratum_or_none(stratum: Stratum | None) -> StratumJson | None:
    return None if stratum is None else _stratum(stratum)


def _stratum(stratum: Stratum) -> StratumJson:
    return {
        "cases": stratum.cases,
        "hard_cases": stratum.hard_cases,
        "passed": {"baseline": stratum.passed_before, "candidate": stratum.passed_after},
        "failures": {"baseline": stratum.failures_before, "candidate": stratum.failures_after},
        "pass_rate": {"baseline": _bounded(stratum.before), "candidate": _bounded(stratum.after)},
        "newly_failing": stratum.newly_failing,
        "newly_passing": stratum.newly_passing,
        "change": _bounded(stratum.change),
        "p_value": stratum.p_value,
        "flaky": stratum.flaky,
    }


def _share(share: ShareReport) -> ShareJson:
    parts = share.decomposition
    return {
        "baseline": share.baseline.estimate,
        "candidate": share.candidate.estimate,
        "change": _bounded(share.change),
        "expected_change": share.expected_change,
        "excess": _bounded(share.excess),
        "decomposition": None
        if parts is None
        else {
            "traffic_mix": parts.traffic_mix,
            "easier_tiers": parts.easier_tiers,
            "hard_tiers": parts.hard_tiers,
        },
    }


def _unpaired(unpaired: Unpaired) -> dict[str, list[KeyJson]]:
    return {
        "baseline_only": _keys(unpaired.baseline_only),
        "candidate_only": _keys(unpaired.candidate_only),
        "unscored": _keys(unpaired.unscored),
        "changed": _keys(unpaired.changed),
    }


def _keys(keys: Sequence[CaseKey]) -> list[KeyJson]:
    return [{"task": key.task, "case": key.case_id} for key in keys]


def _bounded(interval: Interval) -> BoundedJson:
    return {"estimate": interval.estimate, "lower": interval.lower, "upper": interval.upper}


def _sight(sight: Sight) -> SightJson:
    return {
        "cases": sight.cases,
        "smallest_visible_drop": sight.smallest_visible_drop,
        "cases_to_see_5_points": sight.cases_needed,
    }
