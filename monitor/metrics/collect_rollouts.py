"""Families of the rollouts under way: verdict, rates and shares with their bounds, and what is still needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, fields

from monitor.difficulty.tiers import HARD_TIER, Tier
from monitor.ledger.ledger import RolloutRecord
from monitor.metrics.family import Labels, Rows
from monitor.metrics.snapshot import Snapshot
from monitor.rollout.cohort import ArmName, TierGroup
from monitor.rollout.tracker import Rollout
from monitor.rollout.verdict import FailureRate, Interval, TierComparison, Verdict, VerdictState


def collect_rollouts(snapshot: Snapshot) -> Rows:
    """Everything that is said of each rollout under way; of those that share labels the last one."""
    under_way = (record for record in snapshot.rollouts if record.rollout.is_under_way)
    by_labels = {_labels(each.rollout): each for each in sorted(under_way, key=lambda each: each.rollout.started_at)}
    for labels, record in by_labels.items():
        yield from _of_rollout(labels, record)


def _labels(rollout: Rollout) -> Labels:
    return rollout.service, rollout.environment, rollout.baseline, rollout.candidate


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
        for arm, rate in _arms(compared):
            yield from _interval("rollout_failure_ratio", rate.rate, (*labels, arm.value, tier.value))
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
        is_regressed = capability in verdict.regressed_capabilities
        yield "rollout_capability_regressed", is_regressed, (*labels, capability)


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
    """What the labels are worth, where anything is known of them."""
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
    return iter(((ArmName.BASELINE, comparison.baseline), (ArmName.CANDIDATE, comparison.candidate)))


def _rates(name: str, compared: TierComparison, labels: Labels) -> Rows:
    for arm, rate in _arms(compared):
        yield from _interval(name, rate.rate, (*labels, arm.value))


def _interval(name: str, interval: Interval | None, labels: Labels) -> Rows:
    if interval is not None:
        for bound, value in asdict(interval).items():
            yield name, value, (*labels, bound)
