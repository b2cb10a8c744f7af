"""
Turns a snapshot into metric families: traffic and outcomes, rollouts, and the monitor itself.

Traffic and outcomes are the ledger's counters, each with the labels of its metric. Each rollout under way has its
verdict, failure rates and hard shares with their bounds, and the number of requests still needed. The monitor shows the
model versions, the policy and calibration in force, lag and health.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import chain
from operator import attrgetter

from monitor import __version__
from monitor.difficulty.tiers import HARD_TIER, Tier
from monitor.difficulty.trust import LiveTrust
from monitor.ledger.labels import CAPS
from monitor.ledger.ledger import DURATION_BUCKETS_SECONDS, STEP_BUCKETS, WHOLE, CounterKey, CounterName, RolloutRecord
from monitor.metrics.exposition import Family, Labels, Row, Rows, Series, families, series_shape
from monitor.metrics.names import metric
from monitor.metrics.snapshot import Snapshot
from monitor.rollout.cohort import ArmName, TierGroup
from monitor.rollout.verdict import FailureRate, Interval, TierComparison, Verdict, VerdictState
from monitor.trace.grouping import added_up
from monitor.trace.model import PROBES_ENVIRONMENT, REFERENCE_ENVIRONMENT, DropReason, Ignored

_DAY = 86_400.0

Counted = Mapping[CounterName, Mapping[CounterKey, int]]
"""The counters of a snapshot, by name."""


def families_of(snapshot: Snapshot) -> Iterator[Family]:
    """
    All families of *snapshot*, in the same order at every scrape.

    A scrape reads a single snapshot, so it never mixes two commits, and queries neither database nor model.
    """
    yield from collect_requests(snapshot)
    for collect in (collect_model_versions, collect_rollouts, collect_policy, collect_calibration, collect_health):
        yield from families(collect(snapshot))


def collect_requests(snapshot: Snapshot) -> Iterator[Family]:
    """Requests, outcomes, durations, cost, records and spans."""
    counted: dict[CounterName, dict[CounterKey, int]] = {name: {} for name in CounterName}
    for key, value in snapshot.counters.items():
        counted[key.name][key] = value
    for projection in _PROJECTIONS:
        series = Series(metric(projection.metric))
        for labels in projection.from_start:
            series.add(0, labels)
        for key, value in counted[projection.counter].items():
            series.add(_amount(key, value, projection.unit), projection.labels_of(key), snapshot.exemplars.get(key))
        yield from series.families()
    durations = CounterName.DURATION_BUCKET, CounterName.DURATION_MICROSECONDS
    yield from _histogram(counted, "request_duration_seconds", *durations, bounds=DURATION_BUCKETS_SECONDS, unit=1e6)
    yield from _histogram(counted, "request_steps", CounterName.STEPS_BUCKET, CounterName.STEPS, bounds=STEP_BUCKETS)
    yield from families(_tier_traffic(counted[CounterName.REQUESTS]))


_VERSION = ("service", "environment", "model_version")
_labels = attrgetter("service", "environment", "baseline", "candidate")  # of a rollout
_place = attrgetter("service", "environment")
_version: Callable[..., Labels] = attrgetter(*_VERSION)
_version_detail = attrgetter(*_VERSION, "detail")
_tiered: Callable[..., Labels] = attrgetter(*_VERSION, "tier")
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


@dataclass(frozen=True, slots=True)
class _Projection:
    """
    Maps a counter of the ledger to a metric.

    Attributes:
        labels_of: Gives the label values for a counter's key.
        unit: Number of the counter's units in one of the metric's.
        from_start: Series to export as 0 from the start: Prometheus sees no increase when a series first appears.
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
    _Projection(CounterName.DEAD_LETTERS, "dead_letters_total", _detail, from_start=[(why,) for why in DropReason]),
    _Projection(CounterName.IGNORED, "ignored_total", _detail, from_start=[(why,) for why in Ignored]),
    _Projection(CounterName.SERIES_DROPPED, "series_dropped_total", _detail, from_start=[(cap,) for cap in CAPS]),
    _Projection(CounterName.DUPLICATES, "duplicate_records_total", lambda _: (), from_start=[()]),
    _Projection(CounterName.UNKNOWN_FIELDS, "unknown_fields_total", lambda _: (), from_start=[()]),
)


def _histogram(
    counted: Counted, name: str, buckets: CounterName, total: CounterName, *, bounds: Sequence[float], unit: float = 1
) -> Iterator[Family]:
    """
    A histogram from two counters; yields nothing if it has no series.

    Args:
        counted: All counters of the snapshot.
        name: Name of the metric in metrics.toml.
        buckets: Counter of observations by upper bound, not cumulative.
        total: Counter with the sum of the observations.
        bounds: Upper bounds, ascending, without infinity.
        unit: Number of the sum's units in one of the metric's.
    """
    in_bucket: dict[Labels, Counter[str]] = defaultdict(Counter)
    for key, value in counted[buckets].items():
        in_bucket[_tiered(key)][key.detail] += value
    sums = added_up((_tiered(key), _amount(key, value, unit)) for key, value in counted[total].items())
    family = Family(metric(name))
    full_name, labels = family.metric.name, family.metric.labels
    bucket = series_shape(f"{full_name}_bucket", (*labels, "le"))
    count, sum_ = (series_shape(f"{full_name}_{part}", labels) for part in ("count", "sum"))
    for values in sorted(in_bucket):
        cumulative = 0
        for bound in [*(str(float(bound)) for bound in bounds), "+Inf"]:
            cumulative += in_bucket[values][bound]
            family.rows.append(Row(bucket, (*values, bound), cumulative))
        family.rows.extend((Row(count, values, cumulative), Row(sum_, values, sums[values])))
    if family.rows:
        yield family


def _amount(key: CounterKey, value: int, unit: float) -> float:
    return value if key.detail == WHOLE else value / unit


def _tier_traffic(requests: Mapping[CounterKey, int]) -> Rows:
    of_tier = added_up((_tiered(key), value) for key, value in requests.items())
    of_version = added_up((_version(key), value) for key, value in requests.items())
    for labels, value in of_tier.items():
        if total := of_version[labels[:-1]]:
            yield "tier_traffic_ratio", value / total, labels


def collect_rollouts(snapshot: Snapshot) -> Rows:
    """Verdict and evidence of each rollout under way; of those with the same labels, only the latest."""
    under_way = (record for record in snapshot.rollouts if record.rollout.is_under_way)
    by_labels = {_labels(r.rollout): r for r in sorted(under_way, key=attrgetter("rollout.started_at"))}
    for labels, record in by_labels.items():
        yield from _of_rollout(labels, record)


def _of_rollout(labels: Labels, record: RolloutRecord) -> Rows:
    yield "rollout_info", 1, labels
    yield "rollout_start_timestamp_seconds", record.rollout.started_at, labels
    for state in VerdictState:
        yield "rollout_verdict", state is record.state, (*labels, state.value)
    for committed in record.floors:
        if committed.floor.tier is TierGroup.HARD:
            yield "rollout_floor_pass_ratio", committed.floor.pass_rate, (*labels, committed.floor.capability or "")
    if record.verdict is not None:
        for group in (_scopes, _failure_ratios, _capabilities, _shares, _evidence, _labels_of, _load):
            yield from group(labels, record.verdict)


def _scopes(labels: Labels, verdict: Verdict) -> Rows:
    for scope in sorted({*TierGroup, *verdict.scope}):
        yield "rollout_regression", scope in verdict.scope, (*labels, str(scope))
    yield "rollout_tiers_info", 1, (*labels, verdict.tiers_by.value, verdict.comparison.value)


def _failure_ratios(labels: Labels, verdict: Verdict) -> Rows:
    for tier, compared in verdict.tiers.items():
        yield from _rates("rollout_failure_ratio", compared, labels, tier.value)
        yield from _interval("rollout_failure_change", compared.change, (*labels, tier.value))
    yield from _rates("rollout_aggregate_failure_ratio", verdict.aggregate, labels)
    yield from _interval("rollout_aggregate_failure_change", verdict.aggregate.change, labels)
    if verdict.hard_tier is not None:
        yield from _rates("rollout_hard_tier_failure_ratio", verdict.hard_tier, labels)
        yield from _interval("rollout_hard_tier_failure_change", verdict.hard_tier.change, labels)


def _capabilities(labels: Labels, verdict: Verdict) -> Rows:
    for capability, compared in verdict.hard_capabilities.items():
        yield from _rates("rollout_capability_failure_ratio", compared, (*labels, capability))
    for capability, compared in verdict.capabilities.items():
        yield from _rates("rollout_class_failure_ratio", compared, (*labels, capability))
        yield "rollout_capability_regressed", capability in verdict.regressed_capabilities, (*labels, capability)


def _shares(labels: Labels, verdict: Verdict) -> Rows:
    share = verdict.share
    if share is not None:
        for arm, of_arm in zip(ArmName, (share.baseline, share.candidate), strict=True):
            yield from _interval("rollout_hard_share_ratio", of_arm, (*labels, arm.value, Tier.HARD.value))
        yield from _interval("rollout_hard_share_change", share.change, labels)
        yield "rollout_expected_change", share.expected_change, labels
        yield from _interval("rollout_hard_share_excess", share.excess, labels)
    if verdict.decomposition is not None:
        for part, value in asdict(verdict.decomposition).items():
            yield "rollout_hard_share_change_component", value, (*labels, part)


def _evidence(labels: Labels, verdict: Verdict) -> Rows:
    yield "rollout_requests_needed", verdict.requests_needed, labels
    for arm, rate in _arms(verdict.aggregate):
        yield "rollout_labelled_requests", rate.requests, (*labels, arm.value)
        yield "rollout_hard_failures", _hard_failures(verdict, arm), (*labels, arm.value)
    service, environment, *versions = labels
    for tier, compared in (("all", verdict.aggregate), *verdict.tiers.items()):
        for version, (arm, rate) in zip(versions, _arms(compared), strict=True):
            where = service, environment, version, *versions, arm.value, str(tier)
            yield "label_coverage_ratio", rate.coverage, where


def _labels_of(labels: Labels, verdict: Verdict) -> Rows:
    """How reliable the labels are, as far as it is known."""
    for group, gap in verdict.coverage_gap.items():
        yield "label_coverage_gap_ratio", gap, (*labels, group.value)
    yield "labels_one_sided", bool(verdict.one_sided), labels
    moved = {*verdict.judge_moved, None if verdict.judge_drift is None else verdict.judge_drift.group}
    for arm, of_arm in verdict.labels.items():
        for group, errors in of_arm.judge.items():
            yield "judge_moved", group in moved, (*labels, group.value)
            for kind in fields(errors):
                error, where = getattr(errors, kind.name), (*labels, arm.value, group.value, kind.name)
                yield from _interval("judge_error_ratio", error, where)


def _load(labels: Labels, verdict: Verdict) -> Rows:
    if verdict.on_call is not None:
        for tier, both in verdict.on_call.tiers.items():
            for arm, value in zip(ArmName, both, strict=True):
                yield "rollout_failures_per_1000_requests", value, (*labels, arm.value, tier.value)


def _hard_failures(verdict: Verdict, arm: ArmName) -> int | None:
    rates = [dict(_arms(verdict.tiers[tier]))[arm] for tier in HARD_TIER if tier in verdict.tiers]
    return sum(rate.failures for rate in rates) if any(rate.requests for rate in rates) else None


def _arms(comparison: TierComparison) -> Iterator[tuple[ArmName, FailureRate]]:
    return zip(ArmName, (comparison.baseline, comparison.candidate), strict=True)


def _rates(name: str, compared: TierComparison, labels: Labels, *after_arm: str) -> Rows:
    for arm, rate in _arms(compared):
        yield from _interval(name, rate.rate, (*labels, arm.value, *after_arm))


def _interval(name: str, interval: Interval | None, labels: Labels) -> Rows:
    if interval is not None:
        for bound, value in asdict(interval).items():
            yield name, value, (*labels, bound)


def collect_model_versions(snapshot: Snapshot) -> Rows:
    """Each model version with its role, and when it last was the first to pass a frontier probe."""
    for version in snapshot.model_versions:
        role, floating = version.role.value, str(version.is_floating).lower()
        yield "model_version_info", 1, (*_version(version.activity), role, floating)
    for (service, model_version, capability), at in snapshot.frontier_solved.items():
        labels = service, PROBES_ENVIRONMENT, model_version, capability
        yield "frontier_probe_solved_timestamp_seconds", at, labels


def collect_policy(snapshot: Snapshot) -> Rows:
    """Thresholds and floors that the alerting rules compare with, for each service and environment."""
    policy = snapshot.policy
    for where in sorted(_environments(snapshot)):
        yield "policy_share_jump_ratio", policy.share_jump, where
        yield "policy_error_ratio", policy.error_rate, where
        yield "policy_min_labelled_requests", policy.min_labelled_requests, where
        yield "policy_min_hard_failures", policy.min_hard_failures, where
        yield "policy_ok_margin_ratio", policy.ok_margin, where
        yield "policy_ok_margin_hard_ratio", policy.ok_margin_hard, where
        yield "policy_capability_min_share_ratio", policy.capability_min_share, where
        yield "policy_baseline_seconds", policy.baseline_days * _DAY, where
        yield "policy_maturity_seconds", policy.judged_after(), where
        yield "policy_ramp_seconds", policy.ramp_seconds, where
        yield "policy_rollback_seconds", policy.rollback_seconds, where
        yield "policy_candidate_min_share_ratio", policy.candidate_min_share, where
        yield "policy_candidate_min_requests", policy.candidate_min_requests, where
        for tier in ("easy", "medium", "hard"):
            yield "policy_objective_pass_ratio", getattr(policy, f"{tier}_objective") or None, (*where, tier)
        for runbook in policy.class_runbooks:
            yield "policy_class_runbook_info", 1, (*where, runbook.capability, runbook.runbook_url)
    for floor in policy.floors:
        if floor.tier is TierGroup.HARD:
            yield "policy_floor_pass_ratio", floor.pass_rate, (*_place(floor), floor.capability or "")


def _environments(snapshot: Snapshot) -> set[tuple[str, str]]:
    """Every (service, environment) that may have a rollout."""
    versions = [version.activity for version in snapshot.model_versions]
    rollouts = [record.rollout for record in snapshot.rollouts]
    places = map(_place, chain(versions, rollouts, snapshot.policy.floors))
    return {(service, environment) for service, environment in places if environment != REFERENCE_ENVIRONMENT}


def collect_calibration(snapshot: Snapshot) -> Rows:
    """The calibration in force, and whether it can be trusted."""
    calibration = snapshot.calibration
    if calibration is None:
        return
    trust, named = calibration.trust, (calibration.calibration_id,)
    yield "calibration_info", 1, named
    yield "calibration_auc", trust.auc, named
    yield "calibration_error", trust.calibration_error, named
    yield "calibration_age_seconds", max(0.0, snapshot.now - calibration.frozen_at), named
    yield "calibration_trusted", trust.is_trusted, named
    yield "calibration_versions", trust.versions, named
    yield "calibration_known_ratio", trust.known_share, named
    for reason in (*trust.reasons, *trust.hard_rate_reasons, *calibration.live_reasons):
        yield "calibration_missing_info", 1, (*named, reason)
    if calibration.live is not None:
        yield from _live_trust(calibration.live, (calibration.live.calibration_id,))


def _live_trust(live: LiveTrust, named: Labels) -> Rows:
    trust, drift = live.trust, live.drift
    yield "calibration_live_trusted", live.is_trusted, named
    yield "calibration_live_versions", live.versions, named
    if trust is not None:
        yield "calibration_live_auc", trust.auc, named
        yield "calibration_live_error", trust.calibration_error, named
        yield "calibration_live_known_ratio", trust.known_share, named
    yield "calibration_drifting", drift.is_drifting, named
    yield "calibration_live_residual", drift.residual_mean, named
    yield "calibration_anchors_moved_ratio", drift.anchors_moved_ratio, named


def collect_health(snapshot: Snapshot) -> Rows:
    """Lag, last commit, readiness, health checks, version and jobs of this replica."""
    loop = snapshot.loop
    for (topic, partition), records in loop.lag.items():
        yield "consumer_lag_records", records, (topic, str(partition))
    yield "last_commit_timestamp_seconds", loop.last_commit_at, ()
    yield "spans_waiting", snapshot.pending_spans, ()
    yield "ready", snapshot.is_ready, ()
    for fact in snapshot.health:
        yield "health", fact.is_ok, (fact.name,)
    yield "build_info", 1, (__version__,)
    yield "last_turn_timestamp_seconds", loop.turned_at, ()
    yield "batches_fenced_total", loop.batches_fenced, ()
    yield "pauses_total", loop.pauses, ()
    for job, seconds in loop.job_seconds.items():
        yield "job_duration_seconds", seconds, (job,)
