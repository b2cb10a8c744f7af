"""Families of the rollouts under way: verdict, rates and shares with their bounds, and what is still needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict

from monitor.difficulty.tiers import HARD_TIER, Tier
from monitor.ledger.ledger import RolloutRecord
from monitor.metrics import names
from monitor.metrics.family import Family, Labels, Series
from monitor.metrics.snapshot import Snapshot
from monitor.rollout.cohort import ArmName, TierGroup
from monitor.rollout.tracker import Rollout
from monitor.rollout.verdict import FailureRate, Interval, TierComparison, Verdict, VerdictState


def collect_rollouts(snapshot: Snapshot) -> Iterator[Family]:
    """Everything that is said of each rollout under way."""
    rollouts = rollouts_under_way(snapshot.rollouts)
    for group in (_facts, _scopes, _failure_ratios, _hard_tier, _capabilities, _shares, _evidence, _floors, _load):
        for series in group(rollouts):
            yield from series.families()


def rollouts_under_way(records: Iterable[RolloutRecord]) -> Mapping[Labels, RolloutRecord]:
    """The rollouts that have not ended, by their labels; of those that share labels the last one."""
    under_way = (record for record in records if record.rollout.is_under_way)
    return {_labels(record.rollout): record for record in sorted(under_way, key=lambda each: each.rollout.started_at)}


def _labels(rollout: Rollout) -> Labels:
    return rollout.service, rollout.environment, rollout.baseline, rollout.candidate


def _verdicts(rollouts: Mapping[Labels, RolloutRecord]) -> Iterator[tuple[Labels, Verdict]]:
    return ((labels, record.verdict) for labels, record in rollouts.items() if record.verdict is not None)


def _facts(rollouts: Mapping[Labels, RolloutRecord]) -> Iterator[Series]:
    info, start, verdict = (
        Series(names.ROLLOUT_INFO),
        Series(names.ROLLOUT_START),
        Series(names.ROLLOUT_VERDICT),
    )
    for labels, record in rollouts.items():
        info.set(1, *labels)
        start.set(record.rollout.started_at, *labels)
        state = VerdictState.WAITING if record.verdict is None else record.verdict.state
        for each in VerdictState:
            verdict.set(each is state, *labels, each.value)
    return iter((info, start, verdict))


def _scopes(rollouts: Mapping[Labels, RolloutRecord]) -> Iterator[Series]:
    regression, tiers = Series(names.ROLLOUT_REGRESSION), Series(names.ROLLOUT_TIERS)
    for labels, verdict in _verdicts(rollouts):
        for scope in sorted({*TierGroup, *verdict.scope}):
            regression.set(scope in verdict.scope, *labels, str(scope))
        tiers.set(1, *labels, verdict.tiers_by.value, verdict.comparison.value)
    return iter((regression, tiers))


def _failure_ratios(rollouts: Mapping[Labels, RolloutRecord]) -> Iterator[Series]:
    tiers, tier_changes = Series(names.ROLLOUT_FAILURE_RATIO), Series(names.ROLLOUT_FAILURE_CHANGE)
    aggregate = Series(names.ROLLOUT_AGGREGATE_FAILURE_RATIO)
    aggregate_change = Series(names.ROLLOUT_AGGREGATE_FAILURE_CHANGE)
    for labels, verdict in _verdicts(rollouts):
        for tier, comparison in verdict.tiers.items():
            for arm, rate in _arms(comparison):
                _set_interval(tiers, rate.rate, *labels, arm.value, tier.value)
            _set_interval(tier_changes, comparison.change, *labels, tier.value)
        for arm, rate in _arms(verdict.aggregate):
            _set_interval(aggregate, rate.rate, *labels, arm.value)
        _set_interval(aggregate_change, verdict.aggregate.change, *labels)
    return iter((tiers, tier_changes, aggregate, aggregate_change))


def _hard_tier(rollouts: Mapping[Labels, RolloutRecord]) -> Iterator[Series]:
    ratio, change = Series(names.ROLLOUT_HARD_TIER_FAILURE_RATIO), Series(names.ROLLOUT_HARD_TIER_FAILURE_CHANGE)
    for labels, verdict in _verdicts(rollouts):
        if verdict.hard_tier is not None:
            for arm, rate in _arms(verdict.hard_tier):
                _set_interval(ratio, rate.rate, *labels, arm.value)
            _set_interval(change, verdict.hard_tier.change, *labels)
    return iter((ratio, change))


def _capabilities(rollouts: Mapping[Labels, RolloutRecord]) -> Iterator[Series]:
    hard, ratio = Series(names.ROLLOUT_CAPABILITY_FAILURE_RATIO), Series(names.ROLLOUT_CLASS_FAILURE_RATIO)
    regressed = Series(names.ROLLOUT_CAPABILITY_REGRESSED)
    for labels, verdict in _verdicts(rollouts):
        for series, compared in ((hard, verdict.hard_capabilities), (ratio, verdict.capabilities)):
            for capability, comparison in compared.items():
                for arm, rate in _arms(comparison):
                    _set_interval(series, rate.rate, *labels, capability, arm.value)
        for capability in verdict.capabilities:
            regressed.set(capability in verdict.regressed_capabilities, *labels, capability)
    return iter((hard, ratio, regressed))


def _shares(rollouts: Mapping[Labels, RolloutRecord]) -> Iterator[Series]:
    share, change = Series(names.ROLLOUT_HARD_SHARE), Series(names.ROLLOUT_HARD_SHARE_CHANGE)
    expected, excess = Series(names.ROLLOUT_EXPECTED_CHANGE), Series(names.ROLLOUT_HARD_SHARE_EXCESS)
    component = Series(names.ROLLOUT_HARD_SHARE_COMPONENT)
    for labels, verdict in _verdicts(rollouts):
        if verdict.share is not None:
            _set_interval(share, verdict.share.baseline, *labels, ArmName.BASELINE.value, Tier.HARD.value)
            _set_interval(share, verdict.share.candidate, *labels, ArmName.CANDIDATE.value, Tier.HARD.value)
            _set_interval(change, verdict.share.change, *labels)
            expected.set(verdict.share.expected_change, *labels)
            _set_interval(excess, verdict.share.excess, *labels)
        if verdict.decomposition is not None:
            for part, value in asdict(verdict.decomposition).items():
                component.set(value, *labels, part)
    return iter((share, change, expected, excess, component))


def _evidence(rollouts: Mapping[Labels, RolloutRecord]) -> Iterator[Series]:
    needed, labelled = Series(names.ROLLOUT_REQUESTS_NEEDED), Series(names.ROLLOUT_LABELLED_REQUESTS)
    hard_failures, coverage = Series(names.ROLLOUT_HARD_FAILURES), Series(names.LABEL_COVERAGE)
    for labels, verdict in _verdicts(rollouts):
        needed.set(verdict.requests_needed, *labels)
        for arm, rate in _arms(verdict.aggregate):
            labelled.set(rate.requests, *labels, arm.value)
            hard_failures.set(_hard_failures(verdict, arm), *labels, arm.value)
        for tier, comparison in verdict.tiers.items():
            for arm, rate in _arms(comparison):
                coverage.set(rate.coverage, *_coverage_labels(labels, arm, tier))
    return iter((needed, labelled, hard_failures, coverage))


def _floors(rollouts: Mapping[Labels, RolloutRecord]) -> Iterator[Series]:
    floors = Series(names.ROLLOUT_FLOOR)
    for labels, record in rollouts.items():
        for committed in record.floors:
            if committed.floor.tier is TierGroup.HARD:
                floors.set(committed.floor.pass_rate, *labels, committed.floor.capability or "")
    return iter((floors,))


def _load(rollouts: Mapping[Labels, RolloutRecord]) -> Iterator[Series]:
    load = Series(names.ROLLOUT_LOAD)
    for labels, verdict in _verdicts(rollouts):
        if verdict.on_call is not None:
            for tier, both in verdict.on_call.tiers.items():
                for arm, value in zip(ArmName, both, strict=True):
                    load.set(value, *labels, arm.value, tier.value)
    return iter((load,))


def _hard_failures(verdict: Verdict, arm: ArmName) -> int:
    rates = (dict(_arms(verdict.tiers[tier]))[arm] for tier in HARD_TIER if tier in verdict.tiers)
    return sum(rate.failures for rate in rates)


def _coverage_labels(labels: Labels, arm: ArmName, tier: Tier) -> Labels:
    service, environment, baseline, candidate = labels
    model_version = baseline if arm is ArmName.BASELINE else candidate
    return service, environment, model_version, baseline, candidate, arm.value, tier.value


def _arms(comparison: TierComparison) -> Iterator[tuple[ArmName, FailureRate]]:
    return iter(((ArmName.BASELINE, comparison.baseline), (ArmName.CANDIDATE, comparison.candidate)))


def _set_interval(series: Series, interval: Interval | None, *labels: str) -> None:
    if interval is not None:
        series.set(interval.lower, *labels, "lower")
        series.set(interval.estimate, *labels, "estimate")
        series.set(interval.upper, *labels, "upper")
