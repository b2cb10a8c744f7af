"""Families of traffic and outcomes: the ledger's counters, each projected on the labels of its metric."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from monitor.ledger.labels import CAPS
from monitor.ledger.ledger import DURATION_BUCKETS_SECONDS, STEP_BUCKETS, WHOLE, CounterKey, CounterName
from monitor.metrics.family import Family, Labels, Row, Rows, Series, families, series_shape
from monitor.metrics.names import metric
from monitor.metrics.snapshot import Snapshot
from monitor.trace.model import DropReason, Ignored

Counted = Mapping[CounterName, Mapping[CounterKey, int]]
"""The counters of a snapshot, by name."""


def collect_requests(snapshot: Snapshot) -> Iterator[Family]:
    """Requests, outcomes, durations and cost, and what was read of them."""
    counted: dict[CounterName, dict[CounterKey, int]] = {name: {} for name in CounterName}
    for key, value in snapshot.counters.items():
        counted[key.name][key] = value
    for shown in _PROJECTIONS:
        series = Series(metric(shown.metric))
        for labels in shown.from_start:
            series.add(0, labels)
        for key, value in counted[shown.counter].items():
            series.add(_amount(key, value, shown.unit), shown.labels_of(key), snapshot.exemplars.get(key))
        yield from series.families()
    durations = CounterName.DURATION_BUCKET, CounterName.DURATION_MICROSECONDS
    yield from _histogram(counted, "request_duration_seconds", *durations, bounds=DURATION_BUCKETS_SECONDS, unit=1e6)
    yield from _histogram(counted, "request_steps", CounterName.STEPS_BUCKET, CounterName.STEPS, bounds=STEP_BUCKETS)
    yield from families(_tier_traffic(counted[CounterName.REQUESTS]))


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


def _version_words(words: int) -> Callable[[CounterKey], Labels]:
    return lambda key: (*_version(key), *f"{key.detail}  ".split(" ")[:words])


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
    _Projection(CounterName.HORIZON, "horizon_requests", _version_words(3)),
    _Projection(CounterName.HORIZON_BUDGETS, "horizon_budgets", _version_words(2)),
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


def _histogram(
    counted: Counted, name: str, buckets: CounterName, total: CounterName, *, bounds: Sequence[float], unit: float = 1
) -> Iterator[Family]:
    """
    A histogram out of two counters; nothing where there is no series.

    Args:
        counted: Every counter of the snapshot.
        name: Name of the metric in metrics.toml.
        buckets: Counts observations by upper bound, each in one bucket only.
        total: Sum of the observations.
        bounds: Every upper bound but the infinite one, ascending.
        unit: How many of the sum's units make one of the metric's.
    """
    observed: dict[Labels, Counter[str]] = defaultdict(Counter)
    for key, value in counted[buckets].items():
        observed[_tiered(key)][key.detail] += value
    sums: dict[Labels, float] = defaultdict(float)
    for key, value in counted[total].items():
        sums[_tiered(key)] += _amount(key, value, unit)
    family = Family(metric(name))
    full_name, labels = family.metric.name, family.metric.labels
    bucket = series_shape(f"{full_name}_bucket", (*labels, "le"))
    count, whole = (series_shape(f"{full_name}_{part}", labels) for part in ("count", "sum"))
    for values in sorted(observed):
        seen = 0
        for bound in [*(str(float(bound)) for bound in bounds), "+Inf"]:
            seen += observed[values][bound]
            family.rows.append(Row(bucket, (*values, bound), seen))
        family.rows.extend((Row(count, values, seen), Row(whole, values, sums[values])))
    if family.rows:
        yield family


def _amount(key: CounterKey, value: int, unit: float) -> float:
    return value if key.detail == WHOLE else value / unit


def _tier_traffic(requests: Mapping[CounterKey, int]) -> Rows:
    of_tier: Counter[Labels] = Counter()
    of_version: Counter[Labels] = Counter()
    for key, value in requests.items():
        of_tier[_tiered(key)] += value
        of_version[_version(key)] += value
    for labels, value in of_tier.items():
        if total := of_version[labels[:-1]]:
            yield "tier_traffic_ratio", value / total, labels
