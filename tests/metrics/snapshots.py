"""Snapshots for tests: every argument has a default, so that a test names only what it is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monitor.difficulty.tiers import TIERS, Tier
from monitor.difficulty.trust import Drift, LiveTrust, Trust
from monitor.ledger.ledger import CounterKey, CounterName, RolloutRecord
from monitor.metrics.snapshot import (
    CalibrationStatus,
    HealthFact,
    LoopStatus,
    ModelVersionStatus,
    Snapshot,
)
from monitor.rollout.cohort import ArmName, TierGroup
from monitor.rollout.floors import CommittedFloor
from monitor.rollout.oncall import Load, NewFailure, OnCallLoad, Signature, SignatureLoad
from monitor.rollout.policy import Floor, Policy
from monitor.rollout.tracker import Role, Rollout, VersionActivity
from monitor.rollout.verdict import (
    ArmLabels,
    CountBy,
    Decomposition,
    FailureRate,
    Interval,
    JudgeDrift,
    JudgeErrors,
    ShareComparison,
    TierComparison,
    Verdict,
    VerdictState,
)

NOON = 1_790_000_000.0
"""Some moment of September 2026, Unix seconds: 2026-09-21T14:13:20Z."""

VERSION = {"service": "shop", "environment": "production", "model_version": "model-2", "tier": "hard"}


FLOORS = (Floor(service="shop", pass_rate=0.5), Floor(service="shop", pass_rate=0.375, capability="search"))


def a_rate(requests: int = 200, failures: int = 50, *, coverage: float | None = 0.5) -> FailureRate:
    if not requests:
        return FailureRate(0, 0, None, coverage)
    rate = failures / requests
    return FailureRate(requests, failures, Interval(rate, max(0.0, rate - 0.125), min(1.0, rate + 0.125)), coverage)


NO_REQUESTS = a_rate(0, 0, coverage=None)


def a_comparison(
    baseline: FailureRate | None = None, candidate: FailureRate | None = None, change: Interval | None = None
) -> TierComparison:
    return TierComparison(baseline or a_rate(), candidate or a_rate(400, 50), change)


def a_share(**changes: Any) -> ShareComparison:
    values: dict[str, Any] = {
        "baseline": Interval(0.5, 0.375, 0.625),
        "candidate": Interval(0.75, 0.625, 0.875),
        "change": Interval(0.25, 0.125, 0.375),
        "expected_change": 0.0625,
        "excess": Interval(0.1875, 0.0625, 0.3125),
    }
    return ShareComparison(**{**values, **changes})


A_LOAD = OnCallLoad(
    total=Load(70.0, 44.0),
    tiers={
        **dict.fromkeys(TIERS, Load(0.0, 0.0)),
        Tier.EASY: Load(10.0, 4.0),
        Tier.HARD: Load(60.0, 40.0),
        Tier.UNTIERED: Load(0.0, 0.0),
    },
    signatures=(SignatureLoad(Signature(Tier.HARD, "search", "timeout"), 60.0, 40.0, NewFailure.OPEN),),
    weighted=Load(3_000.0, 2_000.0),
)


_ERRORS = JudgeErrors(Interval(0.03125, 0.015625, 0.0625), Interval(0.125, 0.0625, 0.25))
LABELS = ArmLabels(
    coverage=0.5,
    sources={"check": 900, "judge": 450, "human": 45},
    audited=45,
    unfinished=3,
    count_by=CountBy.AUDITS,
    correction=-0.015625,
    judge={TierGroup.ALL: _ERRORS, TierGroup.HARD: JudgeErrors(_ERRORS.false_failure)},
)


def a_verdict(**changes: Any) -> Verdict:
    hard = a_comparison(a_rate(100, 60), a_rate(100, 55), Interval(-0.05, -0.125, 0.03125))
    tiers: Mapping[Tier, TierComparison] = {
        Tier.EASY: a_comparison(a_rate(600, 12), a_rate(640, 4), Interval(-0.015625, -0.03125, -0.0078125)),
        Tier.MEDIUM: a_comparison(),
        Tier.HARD: hard,
        Tier.FRONTIER: a_comparison(NO_REQUESTS, NO_REQUESTS),
    }
    values: dict[str, Any] = {
        "state": VerdictState.CLIFF,
        "reasons": ("hard tier 60.0 % → 55.0 % failures, not shown to improve", "share of failures 50 % → 75 %"),
        "requests_needed": 0,
        "requests_to_verdict": 840,
        "share": a_share(),
        "decomposition": Decomposition(traffic_mix=0.03125, easier_tiers=0.25, hard_tiers=-0.03125),
        "aggregate": a_comparison(a_rate(900, 122), a_rate(1140, 109), Interval(-0.0625, -0.125, -0.03125)),
        "tiers": tiers,
        "calibration_id": "cal-1",
        "hard_tier": hard,
        "capabilities": {"search": hard, "refund": a_comparison(NO_REQUESTS, NO_REQUESTS)},
        "hard_capabilities": {"search": hard, "refund": a_comparison(NO_REQUESTS, NO_REQUESTS)},
        "regressed_capabilities": ("search",),
        "on_call": A_LOAD,
        "labels": dict(zip(ArmName, (LABELS, LABELS), strict=True)),
        "coverage_gap": {TierGroup.ALL: 0.03125, TierGroup.HARD: 0.0},
        "judge_moved": (TierGroup.HARD,),
        "judge_drift": JudgeDrift(ArmName.CANDIDATE, TierGroup.ALL, NOON - 36_000.0, _ERRORS, JudgeErrors()),
        "audits_needed": 120,
    }
    return Verdict(**{**values, **changes})


def a_rollout(**changes: Any) -> Rollout:
    values: dict[str, Any] = {
        "rollout_id": "r1",
        "service": "shop",
        "environment": "production",
        "baseline": "model-1",
        "candidate": "model-2",
        "started_at": NOON,
    }
    return Rollout(**{**values, **changes})


def a_record(verdict: Verdict | None = None, **rollout: Any) -> RolloutRecord:
    """Looked at once, and held to the floors of `a_policy`, agreed on the day before."""
    return RolloutRecord(
        a_rollout(**rollout),
        verdict,
        changes=() if verdict is None else ((NOON, "waiting"),),
        floors=tuple(CommittedFloor(floor, NOON - 86_400.0) for floor in FLOORS),
    )


def a_version(model_version: str, role: Role, *, environment: str = "production", floating: bool = False) -> Any:
    seen = VersionActivity("shop", environment, model_version, NOON, NOON + 60, requests=3)
    return ModelVersionStatus(seen, role, is_floating=floating)


def a_trust(**changes: Any) -> Trust:
    values: dict[str, Any] = {
        "is_trusted": True,
        "reasons": (),
        "auc": 0.8125,
        "auc_lower": 0.75,
        "calibration_error": None,
        "versions": 12,
        "known_share": 0.625,
    }
    return Trust(**{**values, **changes})


def a_live_trust(**changes: Any) -> LiveTrust:
    """Of two live versions: too few to be heard."""
    values: dict[str, Any] = {
        "calibration_id": "cal-1",
        "trust": a_trust(is_trusted=False, reasons=("An AUC too low.",), auc=0.6875, calibration_error=0.125),
        "versions": 2,
        "drift": Drift(
            is_drifting=False,
            sentence="Live labels agree with the calibration.",
            residual_mean=-0.0625,
            anchors=64,
            anchors_moved_ratio=0.03125,
        ),
    }
    return LiveTrust(**{**values, **changes})


def a_policy(**changes: Any) -> Policy:
    """Every value is named, so that a new default changes no golden output."""
    values: dict[str, Any] = {
        "share_jump": 0.125,
        "error_rate": 0.0625,
        "min_labelled_requests": 100,
        "min_hard_failures": 20,
        "maturity_seconds": 600.0,
        "ramp_seconds": 86_400.0,
        "rollback_seconds": 1_800.0,
        "candidate_min_share": 0.25,
        "candidate_min_requests": 10,
        "floors": FLOORS,
    }
    return Policy(**{**values, **changes})


COUNTERS: Mapping[CounterKey, int] = {
    CounterKey(CounterName.REQUESTS, capability="search", **VERSION): 3,
    CounterKey(CounterName.REQUESTS, capability="refund", **VERSION): 2,
    CounterKey(CounterName.REQUESTS, capability="search", **{**VERSION, "tier": "easy"}): 15,
    CounterKey(CounterName.OUTCOMES, capability="search", detail="success", **VERSION): 1,
    CounterKey(CounterName.OUTCOMES, capability="search", detail="failure", **VERSION): 2,
    CounterKey(CounterName.OUTCOME_REVISIONS, capability="search", detail="success>failure", **VERSION): 1,
    CounterKey(CounterName.FAILURES_BY_CLASS, detail="wrong_tool", **VERSION): 2,
    CounterKey(CounterName.DURATION_BUCKET, detail="0.5", **VERSION): 2,
    CounterKey(CounterName.DURATION_BUCKET, detail="+Inf", **VERSION): 1,
    CounterKey(CounterName.DURATION_MICROSECONDS, **VERSION): 4_000_750_000,
    CounterKey(CounterName.STEPS_BUCKET, detail="3.0", **VERSION): 2,
    CounterKey(CounterName.STEPS_BUCKET, detail="+Inf", **VERSION): 1,
    CounterKey(CounterName.STEPS, **VERSION): 1_206,
    CounterKey(CounterName.HORIZON, "shop", "production", "model-2", detail="steps 2 success"): 2,
    CounterKey(CounterName.HORIZON, "shop", "production", "model-2", detail="steps unknown unlabelled"): 1,
    CounterKey(CounterName.HORIZON_BUDGETS, "shop", "production", "model-2", detail="steps 32"): 3,
    CounterKey(CounterName.TOKENS, detail="input", **VERSION): 812,
    CounterKey(CounterName.TOKENS, detail="output", **VERSION): 90,
    CounterKey(CounterName.COST_NANODOLLARS, **VERSION): 4_100_000,
    CounterKey(CounterName.TOOL_CALLS, **VERSION): 7,
    CounterKey(CounterName.BUDGET_EXCEEDED, **VERSION): 1,
    CounterKey(CounterName.ALIAS_REQUESTS, service="shop", environment="production", model_version="model-1"): 11,
    CounterKey(CounterName.DUPLICATES, service="shop", environment="production", model_version="model-1"): 4,
    CounterKey(CounterName.DUPLICATES, service="shop", environment="production", model_version="model-2"): 1,
    CounterKey(CounterName.UNKNOWN_FIELDS): 6,
    CounterKey(CounterName.RECORDS, detail="agent-traces/0"): 20,
    CounterKey(CounterName.RECORDS, detail="/var/log/traces.jsonl/0"): 9,
    CounterKey(CounterName.DEAD_LETTERS, detail="not_json"): 2,
    CounterKey(CounterName.SPANS, detail="received"): 9,
    CounterKey(CounterName.SPANS, detail="joined"): 7,
    CounterKey(CounterName.IGNORED, detail="span_irrelevant"): 4,
    CounterKey(CounterName.SERIES_DROPPED, detail="capability"): 1,
    CounterKey(CounterName.VERSIONS_UNRESOLVED, "shop", "production", "gpt-4o", detail="failure"): 3,
}


def a_snapshot(**changes: Any) -> Snapshot:
    """A snapshot that has something of everything."""
    values: dict[str, Any] = {
        "now": NOON + 120,
        "policy": a_policy(),
        "counters": COUNTERS,
        "model_versions": (
            a_version("model-1", Role.BASELINE),
            a_version("model-latest", Role.CANDIDATE, floating=True),
            a_version("old-model", Role.RETIRED, environment="reference"),
        ),
        "rollouts": (
            a_record(a_verdict()),
            a_record(service="desk", started_at=NOON + 30),
            a_record(a_verdict(), service="gone", ended_at=NOON + 50),
        ),
        "calibration": CalibrationStatus("cal-1", NOON - 3_600, a_trust(), a_live_trust()),
        "loop": LoopStatus(
            turned_at=NOON + 119.75,
            lag={("agent-traces", 0): 17},
            last_commit_at=NOON + 119.5,
            batches_fenced=2,
            pauses=3,
            job_seconds={"review": 0.5, "snapshot": 0.125},
        ),
        "is_ready": True,
        "health": (HealthFact("ledger", is_ok=True, sentence="The ledger answers."),),
    }
    return Snapshot(**{**values, **changes})
