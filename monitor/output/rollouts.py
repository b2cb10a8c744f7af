"""A rollout as JSON: the one shape that `replay --output json`, the HTTP interface and the status page show."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TypedDict

from monitor.difficulty.tiers import TIERS
from monitor.ledger.ledger import CounterName, RolloutRecord
from monitor.metrics.snapshot import Snapshot
from monitor.rollout.commitment import CommittedFloor
from monitor.rollout.oncall import OnCallLoad
from monitor.rollout.verdict import (
    Decomposition,
    FailureRate,
    Interval,
    ShareComparison,
    TierComparison,
    VerdictState,
)


class RateJson(TypedDict):
    """Failure rate of one arm, 0 to 1; null where no labelled request is there."""

    requests: int
    failures: int
    rate: float | None
    lower: float | None
    upper: float | None


class IntervalJson(TypedDict):
    """An estimate with its bounds."""

    estimate: float
    lower: float
    upper: float


class ArmsJson(TypedDict):
    """The failure rate of both arms."""

    baseline: RateJson
    candidate: RateJson


class TierJson(ArmsJson):
    """One tier, or all, in both arms; *change* is null while an arm has no labelled request."""

    change: IntervalJson | None


class ShareJson(TypedDict):
    """The hard tier's share of failures in both arms, its change, and the part that a uniform gain explains."""

    baseline: float
    candidate: float
    change: float
    lower: float
    upper: float
    expected_change: float
    excess: float
    excess_lower: float
    excess_upper: float


class DecompositionJson(TypedDict):
    """Parts of the raw change of the share; they add up to it."""

    traffic_mix: float
    easier_tiers: float
    hard_tiers: float


class ChangeJson(TypedDict):
    """When the verdict became what it then was."""

    at: str
    verdict: str


class FloorJson(TypedDict):
    """A floor of the hard tier's pass rate that the rollout is held to; *seen_at* says since when it has this value."""

    capability: str | None
    pass_rate: float
    agreed_by: str
    agreed_on: str
    seen_at: str


class LoadJson(TypedDict):
    """Failures per 1,000 labelled requests of all kinds."""

    baseline: float
    candidate: float


class SignatureLoadJson(LoadJson):
    """The same of one kind of incident; *failure_class* is empty where nobody told it."""

    tier: str
    capability: str
    failure_class: str


class OnCallJson(TypedDict):
    """What each arm brings the people on call; *signatures* are the candidate's most frequent ones."""

    total: LoadJson
    tiers: dict[str, LoadJson]
    signatures: list[SignatureLoadJson]


class RolloutJson(TypedDict):
    """
    One rollout with its latest verdict.

    *share*, *decomposition*, *aggregate*, *hard_tier* and *on_call* are null while not known, *ended_at* while under
    way.
    """

    id: str
    service: str
    environment: str
    baseline: str
    candidate: str
    started_at: str
    ended_at: str | None
    end_reason: str
    verdict: str
    changes: list[ChangeJson]
    reasons: list[str]
    requests_to_verdict: int
    requests_needed: int
    share: ShareJson | None
    decomposition: DecompositionJson | None
    aggregate: TierJson | None
    tiers: dict[str, TierJson]
    hard_tier: TierJson | None
    floors: list[FloorJson]
    on_call: OnCallJson | None


class RecordsJson(TypedDict):
    """Records read, traces counted, traces that came again, records that say nothing, traces without an outcome."""

    read: int
    counted: int
    duplicate: int
    dead_lettered: int
    unlabelled: int


class DifficultyJson(TypedDict):
    """The calibration in force; null where there is none."""

    calibration: str | None
    trusted: bool
    auc: float | None
    calibration_error: float | None


class ReplayJson(TypedDict):
    """What `replay --output json` prints."""

    records: RecordsJson
    difficulty: DifficultyJson
    rollouts: list[RolloutJson]


NOT_LOOKED_AT = "not looked at yet"
"""The reason of a rollout that has no verdict so far."""


def rollout_json(record: RolloutRecord) -> RolloutJson:
    """*record* with full floats; times are ISO 8601 in UTC."""
    rollout, verdict = record.rollout, record.verdict
    return {
        "id": rollout.rollout_id,
        "service": rollout.service,
        "environment": rollout.environment,
        "baseline": rollout.baseline,
        "candidate": rollout.candidate,
        "started_at": iso_time(rollout.started_at),
        "ended_at": None if rollout.ended_at is None else iso_time(rollout.ended_at),
        "end_reason": rollout.end_reason,
        "verdict": (VerdictState.WAITING if verdict is None else verdict.state).value,
        "changes": [{"at": iso_time(at), "verdict": state} for at, state in record.changes],
        "reasons": [NOT_LOOKED_AT] if verdict is None else list(verdict.reasons),
        "requests_to_verdict": 0 if verdict is None else verdict.requests_to_verdict,
        "requests_needed": 0 if verdict is None else verdict.requests_needed,
        "share": None if verdict is None else _share(verdict.share),
        "decomposition": None if verdict is None else _decomposition(verdict.decomposition),
        "aggregate": None if verdict is None else _tier(verdict.aggregate),
        "tiers": {} if verdict is None else {t.value: _tier(verdict.tiers[t]) for t in TIERS if t in verdict.tiers},
        "hard_tier": None if verdict is None or verdict.hard_tier is None else _tier(verdict.hard_tier),
        "floors": [_floor(committed) for committed in record.floors],
        "on_call": None if verdict is None or verdict.on_call is None else _on_call(verdict.on_call),
    }


def replay_json(snapshot: Snapshot) -> ReplayJson:
    """*snapshot* at the end of a replay."""
    totals: Counter[CounterName] = Counter()
    for key, value in snapshot.counters.items():
        totals[key.name] += value
    status = snapshot.calibration
    return {
        "records": {
            "read": totals[CounterName.RECORDS],
            "counted": totals[CounterName.REQUESTS],
            "duplicate": totals[CounterName.DUPLICATES],
            "dead_lettered": totals[CounterName.DEAD_LETTERS],
            "unlabelled": totals[CounterName.REQUESTS] - totals[CounterName.OUTCOMES],
        },
        "difficulty": {
            "calibration": None if status is None else status.calibration_id,
            "trusted": status is not None and status.trust.is_trusted,
            "auc": None if status is None else status.trust.auc,
            "calibration_error": None if status is None else status.trust.calibration_error,
        },
        "rollouts": [rollout_json(record) for record in snapshot.rollouts],
    }


def iso_time(unix_seconds: float) -> str:
    """*unix_seconds* as ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(unix_seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _rate(rate: FailureRate) -> RateJson:
    known = rate.rate
    return {
        "requests": rate.requests,
        "failures": rate.failures,
        "rate": None if known is None else known.estimate,
        "lower": None if known is None else known.lower,
        "upper": None if known is None else known.upper,
    }


def _tier(comparison: TierComparison) -> TierJson:
    return {
        "baseline": _rate(comparison.baseline),
        "candidate": _rate(comparison.candidate),
        "change": _interval(comparison.change),
    }


def _floor(committed: CommittedFloor) -> FloorJson:
    floor = committed.floor
    return {
        "capability": floor.capability,
        "pass_rate": floor.pass_rate,
        "agreed_by": floor.agreed_by,
        "agreed_on": floor.agreed_on,
        "seen_at": iso_time(committed.seen_at),
    }


def _on_call(load: OnCallLoad) -> OnCallJson:
    return {
        "total": {"baseline": load.total[0], "candidate": load.total[1]},
        "tiers": {tier.value: {"baseline": before, "candidate": after} for tier, (before, after) in load.tiers.items()},
        "signatures": [
            {
                "tier": each.signature.tier.value,
                "capability": each.signature.capability,
                "failure_class": each.signature.failure_class,
                "baseline": each.baseline,
                "candidate": each.candidate,
            }
            for each in load.signatures
        ],
    }


def _interval(interval: Interval | None) -> IntervalJson | None:
    if interval is None:
        return None
    return {"estimate": interval.estimate, "lower": interval.lower, "upper": interval.upper}


def _share(share: ShareComparison | None) -> ShareJson | None:
    if share is None:
        return None
    return {
        "baseline": share.baseline.estimate,
        "candidate": share.candidate.estimate,
        "change": share.change.estimate,
        "lower": share.change.lower,
        "upper": share.change.upper,
        "expected_change": share.expected_change,
        "excess": share.excess.estimate,
        "excess_lower": share.excess.lower,
        "excess_upper": share.excess.upper,
    }


def _decomposition(parts: Decomposition | None) -> DecompositionJson | None:
    if parts is None:
        return None
    return {
        "traffic_mix": parts.traffic_mix,
        "easier_tiers": parts.easier_tiers,
        "hard_tiers": parts.hard_tiers,
    }
