"""Families of traffic and outcomes: the ledger's counters, each projected on the labels of its metric."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from monitor.ledger.labels import CAPS
from monitor.ledger.ledger import DURATION_BUCKETS_SECONDS, STEP_BUCKETS, WHOLE, CounterKey, CounterName
from monitor.metrics.family import Family, Labels, Series, histogram_family
from monitor.metrics.names import metric
from monitor.metrics.snapshot import Snapshot, TraceExemplar
from monitor.trace.model import DropReason, Ignored

Counted = Mapping[CounterName, Mapping[CounterKey, int]]
"""The counters of a snapshot, by name."""


def collect_requests(snapshot: Snapshot) -> Iterator[Family]:
    """Requests, outcomes, durations and cost, and what was read of them."""
    counted: dict[CounterName, dict[CounterKey, int]] = {name: {} for name in CounterName}
    for key, value in snapshot.counters.items():
        counted[key.name][key] = value
    for shown in _PROJECTIONS:
        yield from _projected(counted[shown.counter], snapshot.exemplars, shown).families()
    for histogram in _HISTOGRAMS:
        yield from _histogram(counted, histogram)
    yield from _tier_traffic(counted).families()


_VERSION = ("service", "environment", "model_version")
_version = attrgetter(*_VERSION)
_version_detail = attrgetter(*_VERSION, "detail")
_tiered = attrgetter(*_VERSION, "tier")
_tiered_detail = attrgetter(*_VERSION, "tier", "detail")
_classed = attrgetter(*_VERSION, "tier", "capability")
_classed_detail = attrgetter(*_VERSION, "tier", "capability", "detail")


def _revision(key: CounterKey) -> Labels:
    before, _, after = key.detail.partition(">")
    return *_classed(key), before, after


def _topic_partition(key: CounterKey) -> Labels:
    topic, _, partition = key.detail.rpartition("/")  # a topic may be the path of a file
    return topic, partition


def _detail(key: CounterKey) -> Labels:
    return (key.detail,)


def _nothing(_: CounterKey) -> Labels:
    return ()


@dataclass(frozen=True, slots=True)
class _Projection:
    """
    A metric out of a counter.

    Attributes:
        labels_of: Its label values, of a counter's key.
        unit: How many of the counter's units make one of the metric's.
        from_start: Labels of series shown before they are counted: a rise from a missing series is none to Prometheus.
    """

    counter: CounterName
    metric: str
    labels_of: Callable[[CounterKey], Labels]
    unit: float = 1
    from_start: Sequence[Labels] = ()


_PROJECTIONS = (
    _Projection(CounterName.REQUESTS, "requests_total", _classed),
    _Projection(CounterName.OUTCOMES, "outcomes_total", _classed_detail),
    _Projection(CounterName.OUTCOME_REVISIONS, "outcome_revisions_total", _revision),
    _Projection(CounterName.FAILURES_BY_CLASS, "failures_by_class_total", _tiered_detail),
    _Projection(CounterName.TOKENS, "request_tokens_total", _tiered_detail),
    _Projection(CounterName.COST_NANODOLLARS, "request_cost_dollars_total", _tiered, unit=1e9),
    _Projection(CounterName.TOOL_CALLS, "tool_calls_total", _tiered),
    _Projection(CounterName.BUDGET_EXCEEDED, "budget_exceeded_total", _tiered),
    _Projection(CounterName.ALIAS_REQUESTS, "alias_requests_total", _version),
    _Projection(CounterName.RECORDS, "records_consumed_total", _topic_partition),
    _Projection(CounterName.SPANS, "spans_total", _detail),
    _Projection(CounterName.VERSIONS_UNRESOLVED, "versions_unresolved_total", _version_detail),
    _Projection(CounterName.DEAD_LETTERS, "dead_letters_total", _detail, from_start=[(each,) for each in DropReason]),
    _Projection(CounterName.IGNORED, "ignored_total", _detail, from_start=[(each,) for each in Ignored]),
    _Projection(CounterName.SERIES_DROPPED, "series_dropped_total", _detail, from_start=[(each,) for each in CAPS]),
    _Projection(CounterName.DUPLICATES, "duplicate_records_total", _nothing, from_start=[()]),
    _Projection(CounterName.UNKNOWN_FIELDS, "unknown_fields_total", _nothing, from_start=[()]),
)


@dataclass(frozen=True, slots=True)
class _Histogram:
    """A histogram out of two counters; *unit* says how many of the sum's units make one of the metric's."""

    metric: str
    buckets: CounterName
    sum: CounterName
    bounds: Sequence[float]
    unit: float = 1


_HISTOGRAMS = (
    _Histogram(
        "request_duration_seconds",
        CounterName.DURATION_BUCKET,
        CounterName.DURATION_MICROSECONDS,
        DURATION_BUCKETS_SECONDS,
        unit=1e6,
    ),
    _Histogram("request_steps", CounterName.STEPS_BUCKET, CounterName.STEPS, STEP_BUCKETS),
)


def _projected(
    counters: Mapping[CounterKey, int], exemplars: Mapping[CounterKey, TraceExemplar], shown: _Projection
) -> Series:
    series = Series(metric(shown.metric))
    for labels in shown.from_start:
        series.add(0, labels)
    for key, value in counters.items():
        series.add(_amount(key, value, shown.unit), shown.labels_of(key), exemplars.get(key))
    return series


def _histogram(counted: Counted, shown: _Histogram) -> Iterator[Family]:
    buckets: dict[Labels, dict[str, int]] = defaultdict(dict)
    for key, value in counted[shown.buckets].items():
        bucket = buckets[_tiered(key)]
        bucket[key.detail] = bucket.get(key.detail, 0) + value
    sums: dict[Labels, float] = defaultdict(float)
    for key, value in counted[shown.sum].items():
        sums[_tiered(key)] += _amount(key, value, shown.unit)
    yield from histogram_family(
        metric(shown.metric), buckets, sums, bounds=[*(str(float(bound)) for bound in shown.bounds), "+Inf"]
    )


def _amount(key: CounterKey, value: int, unit: float) -> float:
    return value if key.detail == WHOLE else value / unit


def _tier_traffic(counted: Counted) -> Series:
    requests: dict[Labels, int] = defaultdict(int)
    of_version: dict[Labels, int] = defaultdict(int)
    for key, value in counted[CounterName.REQUESTS].items():
        requests[_tiered(key)] += value
        of_version[_tiered(key)[:-1]] += value
    series = Series(metric("tier_traffic_ratio"))
    for labels, value in requests.items():
        if total := of_version[labels[:-1]]:
            series.set(value / total, *labels)
    return series
