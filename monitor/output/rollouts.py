"""A rollout as JSON, the same for `--output json`, the HTTP API and the status page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from monitor.difficulty.tiers import TIERS
from monitor.ledger.ledger import CounterKey, CounterName, RolloutRecord
from monitor.metrics.snapshot import Snapshot
from monitor.output.plain import Json, fields_of, iso_time, plain
from monitor.rollout.floors import CommittedFloor
from monitor.rollout.oncall import SignatureLoad
from monitor.rollout.tracker import earlier
from monitor.rollout.verdict import FailureRate, Interval, ShareComparison, TierComparison, Verdict, VerdictState
from monitor.trace.grouping import added_up

NOT_LOOKED_AT = "not looked at yet"
"""The reason shown for a rollout without a verdict."""

_MOST_URGENT_FIRST = (VerdictState.REGRESSION, VerdictState.CLIFF, VerdictState.WAITING, VerdictState.OK)
_NO_REQUESTS = FailureRate(0, 0, None, None)
_NOT_REVIEWED = Verdict(
    state=VerdictState.WAITING,
    reasons=(NOT_LOOKED_AT,),
    requests_needed=0,
    requests_to_verdict=0,
    share=None,
    decomposition=None,
    aggregate=TierComparison(_NO_REQUESTS, _NO_REQUESTS, None),
    tiers={},
    calibration_id="",
)


@dataclass(frozen=True, slots=True)
class RecordCounts:
    """Records read, traces counted, duplicate traces, dead letters, and traces without an outcome."""

    read: int
    counted: int
    duplicate: int
    dead_lettered: int
    unlabelled: int


def story(record: RolloutRecord, records: Iterable[RolloutRecord]) -> Sequence[tuple[float, str]]:
    """Events of *record* with their time (Unix seconds), oldest first; *records* show whether it is a retry."""
    rollout = record.rollout
    is_retry = rollout.candidate in {past.candidate for past in earlier(rollout, [other.rollout for other in records])}
    events = [(rollout.started_at, "started again; the earlier attempt does not count" if is_retry else "started")]
    previous = ""
    for at, state in record.changes:
        events.append((at, f"{previous} became {state}" if previous else f"first verdict: {state}"))
        previous = state
    if rollout.ended_at is not None:
        events.append((rollout.ended_at, f"ended: {rollout.end_reason.replace('_', ' ')}"))
    return events


def rollout_json(record: RolloutRecord) -> Json:
    """
    *record* with every field of its verdict; numbers are not rounded, times are ISO 8601 in UTC.

    Unknown values are null: `ended_at` while the rollout is under way, and all numbers before the first review.
    """
    rollout, verdict = plain(record.rollout), plain(record.verdict or _NOT_REVIEWED)
    if record.verdict is None:
        verdict["aggregate"] = None
    return {
        "id": rollout.pop("rollout_id"),
        **rollout,
        "verdict": verdict.pop("state"),
        "changes": [{"at": iso_time(at), "verdict": state} for at, state in record.changes],
        **verdict,
        "floors": plain(record.floors),
    }


def rollouts_json(records: Iterable[RolloutRecord]) -> Json:
    """A list of rollouts, for `verdict` and `rollouts list`."""
    return {"rollouts": [rollout_json(record) for record in records]}


def replay_json(snapshot: Snapshot) -> Json:
    """*snapshot* at the end of a replay."""
    status = snapshot.calibration
    return {
        "records": plain(record_counts(snapshot.counters)),
        "difficulty": {
            "calibration": None if status is None else status.calibration_id,
            "trusted": status is not None and status.trust.is_trusted,
            "auc": None if status is None else status.trust.auc,
            "calibration_error": None if status is None else status.trust.calibration_error,
        },
        **rollouts_json(snapshot.rollouts),
    }


def record_counts(counters: Mapping[CounterKey, int], *, since: Mapping[CounterKey, int] | None = None) -> RecordCounts:
    """The totals of *counters*, minus those of *since*."""
    totals = counter_totals(counters)
    totals.subtract(counter_totals(since or {}))
    return RecordCounts(
        read=totals[CounterName.RECORDS],
        counted=totals[CounterName.REQUESTS],
        duplicate=totals[CounterName.DUPLICATES],
        dead_lettered=totals[CounterName.DEAD_LETTERS],
        unlabelled=totals[CounterName.REQUESTS] - totals[CounterName.OUTCOMES],
    )


def counter_totals(counters: Mapping[CounterKey, int]) -> Counter[CounterName]:
    """Each counter summed over its labels."""
    return Counter(added_up((key.name, value) for key, value in counters.items()))


def urgency(record: RolloutRecord) -> int:
    """Sort key of *record*: the lowest needs attention first."""
    return _MOST_URGENT_FIRST.index(record.state)


@plain.register
def _verdict(verdict: Verdict) -> Json:
    return fields_of(verdict) | {"tiers": {t.value: plain(verdict.tiers[t]) for t in TIERS if t in verdict.tiers}}


@plain.register
def _rate(rate: FailureRate) -> Json:
    return fields_of(rate) | _flat("rate", rate.rate)


@plain.register
def _share(share: ShareComparison) -> Json:
    arms = {"baseline": share.baseline.estimate, "candidate": share.candidate.estimate}
    return fields_of(share) | arms | _flat("change", share.change) | _flat("excess", share.excess, prefix="excess_")


def _flat(name: str, interval: Interval | None, *, prefix: str = "") -> Json:
    """*interval* as flat fields: the estimate as *name*, the bounds with *prefix*."""
    names = {"estimate": name, "lower": f"{prefix}lower", "upper": f"{prefix}upper"}
    return {key: None if interval is None else getattr(interval, part) for part, key in names.items()}


@plain.register
def _signature_load(load: SignatureLoad) -> Json:
    return {**plain(load.signature), "baseline": load.baseline, "candidate": load.candidate, "state": plain(load.state)}


@plain.register
def _floor(committed: CommittedFloor) -> Json:
    return {**plain(committed.floor), "seen_at": iso_time(committed.seen_at)}
