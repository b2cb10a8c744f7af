"""The counters of a story told event by event, as simply as they can be written: what the fast way is held against."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from monitor.ledger.ledger import DURATION_BUCKETS_SECONDS, STEP_BUCKETS, CounterKey, CounterName, TaggedTrace
from monitor.trace.model import Outcome, OutcomeEvent
from monitor.trace.outcome_policy import resolve
from monitor.trace.settings import OutcomeSettings


@dataclass
class _Known:
    trace: TaggedTrace | None = None
    outcomes: list[Outcome] = field(default_factory=list)


def naive_counts(events: Iterable[TaggedTrace | OutcomeEvent]) -> dict[CounterKey, int]:
    """Every counter of model versions, without caps on names."""
    counts: Counter[CounterKey] = Counter()
    known: dict[str, _Known] = {}
    for event in events:
        if isinstance(event, OutcomeEvent):
            trace = known.setdefault(event.trace_id, _Known())
            _add_outcomes(counts, trace, [event.outcome])
            continue
        trace = known.setdefault(event.trace.trace_id, _Known())
        if trace.trace is None:
            trace.outcomes.extend(event.outcomes)
            trace.trace = event
            _count_request(counts, event)
            _count_label(counts, event, _label(trace))
        else:
            _add_outcomes(counts, trace, event.outcomes)
            first = trace.trace.trace
            counts[CounterKey(CounterName.DUPLICATES, first.service, first.environment, first.model_version)] += 1
    for each in known.values():
        if each.trace is not None:
            _count_horizon(counts, each.trace, _label(each))
    return {key: value for key, value in counts.items() if value}


def naive_evidence(events: Iterable[TaggedTrace | OutcomeEvent], version: str) -> dict[tuple[object, ...], list[int]]:
    """Requests, labelled and failed ones of *version* in production, by hour, tier and capability, as they are now."""
    known: dict[str, _Known] = {}
    for event in events:
        trace = known.setdefault(event.trace.trace_id if isinstance(event, TaggedTrace) else event.trace_id, _Known())
        trace.outcomes.extend(event.outcomes if isinstance(event, TaggedTrace) else [event.outcome])
        if isinstance(event, TaggedTrace) and trace.trace is None:
            trace.trace = event
    evidence: dict[tuple[object, ...], list[int]] = {}
    for trace in known.values():
        if trace.trace is None:
            continue
        served, label = trace.trace.trace, _label(trace)
        if (served.environment, served.model_version) == ("production", version):
            key = (int(served.started_at // 3_600), trace.trace.tag.tier, served.request.capability)
            sums = evidence.setdefault(key, [0, 0, 0])
            for place, number in enumerate((1, label is not None, label is not None and not label.success)):
                sums[place] += number
    return evidence


def _add_outcomes(counts: Counter[CounterKey], known: _Known, outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        before = _label(known)
        known.outcomes.append(outcome)
        after = _label(known)
        if known.trace is None or after is None:
            continue
        if before is None:
            _count_label(counts, known.trace, after)
        elif before.success != after.success:
            moved = "success>failure" if before.success else "failure>success"
            counts[_key(CounterName.OUTCOME_REVISIONS, known.trace, detail=moved)] += 1
            if not after.success:
                _count_class(counts, known.trace, after)


def _label(known: _Known) -> Outcome | None:
    return resolve(known.outcomes, OutcomeSettings())


def _key(name: CounterName, tagged: TaggedTrace, *, detail: str = "", capability: bool = True) -> CounterKey:
    trace = tagged.trace
    where = (trace.service, trace.environment, trace.model_version)
    return CounterKey(name, *where, str(tagged.tag.tier), trace.request.capability if capability else "", detail)


def _count_label(counts: Counter[CounterKey], tagged: TaggedTrace, label: Outcome | None) -> None:
    if label is not None:
        counts[_key(CounterName.OUTCOMES, tagged, detail="success" if label.success else "failure")] += 1
        if not label.success:
            _count_class(counts, tagged, label)


def _count_class(counts: Counter[CounterKey], tagged: TaggedTrace, label: Outcome) -> None:
    name = label.failure_class or "unknown"
    counts[_key(CounterName.FAILURES_BY_CLASS, tagged, detail=name, capability=False)] += 1


def _count_horizon(counts: Counter[CounterKey], tagged: TaggedTrace, label: Outcome | None) -> None:
    trace = tagged.trace
    outcome = "unlabelled" if label is None else "success" if label.success else "failure"
    lengths = {"steps": trace.steps, "tool_calls": trace.tool_calls, "seconds": trace.duration_seconds}

    def add(name: CounterName, unit: str, amount: float, *more: str) -> None:
        longer_than = max((n for n in (0, *(2**power for power in range(13))) if n < amount), default=0)
        _add(name, unit, str(longer_than), *more)

    def _add(name: CounterName, *detail: str) -> None:
        counts[CounterKey(name, trace.service, trace.environment, trace.model_version, detail=" ".join(detail))] += 1

    for unit, amount in lengths.items():
        if amount is None:
            _add(CounterName.HORIZON, unit, "unknown", outcome)
        else:
            add(CounterName.HORIZON, unit, amount, outcome)
        if (allowed := getattr(trace.budget, unit)) is not None:
            add(CounterName.HORIZON_BUDGETS, unit, allowed)


def _count_request(counts: Counter[CounterKey], tagged: TaggedTrace) -> None:
    trace, usage = tagged.trace, tagged.trace.usage
    counts[_key(CounterName.REQUESTS, tagged)] += 1

    def add(name: CounterName, by: int | None, detail: str = "") -> None:
        counts[_key(name, tagged, detail=detail, capability=False)] += by or 0

    def add_parts(name: CounterName, total: int, unit: int) -> None:
        add(name, total // unit, "whole")
        add(name, total % unit)

    if trace.duration_seconds is not None:
        add(CounterName.DURATION_BUCKET, 1, _bucket(DURATION_BUCKETS_SECONDS, trace.duration_seconds))
        add_parts(CounterName.DURATION_MICROSECONDS, round(trace.duration_seconds * 1e6), 10**6)
    if trace.steps is not None:
        add(CounterName.STEPS_BUCKET, 1, _bucket(STEP_BUCKETS, trace.steps))
        add(CounterName.STEPS, trace.steps)
    add(CounterName.TOKENS, usage.input_tokens, "input")
    add(CounterName.TOKENS, usage.output_tokens, "output")
    add_parts(CounterName.COST_NANODOLLARS, round((usage.cost_usd or 0.0) * 1e9), 10**9)
    add(CounterName.TOOL_CALLS, trace.tool_calls)
    add(CounterName.BUDGET_EXCEEDED, int(tagged.is_over_budget))


def _bucket(bounds: Sequence[float], value: float) -> str:
    place = bisect_left(bounds, value)
    return str(float(bounds[place])) if place < len(bounds) else "+Inf"
