"""Decides which of the four verdict states the evidence supports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from monitor.rollout.cohort import ArmName, TierGroup, hours_unlabelled
from monitor.rollout.confidence_sequence import Counts
from monitor.rollout.floors import GROUP_NAMES, FloorCheck
from monitor.rollout.labelling import ALL_LABELLED, FAILURE
from monitor.rollout.measurement import CLEARLY_FEWER, MIN_EASIER_FAILURES, Measurement, expected_failures
from monitor.rollout.needed import expected_at, is_beyond_baseline, is_contradicted, is_ruled_out, margins
from monitor.rollout.policy import Policy
from monitor.rollout.verdict import TierComparison, VerdictState, class_scope
from monitor.rollout.wording import percent, points_of

_MIN_INDEPENDENT = 0.5
"""Part of `MIN_EASIER_FAILURES` that must be independent; the design effect in the bounds covers the rest."""


_FEWEST_INDEPENDENT, _FEWEST_CLUSTERS = 100.0, 20.0
"""Independent requests, and clusters, below which more requests of the same clusters give no `ok`."""

_OTHER_REQUESTS = (
    "The candidate gets other requests than the baseline (items, users, prompt families or tools): the change within "
    "these contradicts that of all requests. More requests do not settle it: send both arms the same traffic."
)
_OTHER_TIMES = (
    "The hours that both versions served do not show what the days before show, so the time may be the cause. More "
    "requests do not settle it: send some to the baseline again."
)


@dataclass(frozen=True, slots=True)
class Findings:
    """
    What the evidence supports, before it becomes a verdict with reasons.

    Attributes:
        obstacles: Sentences about what stops an `ok` and more requests do not remove. They do not stop a regression;
            missing or one-sided labels also stop a new cliff.
        risen: Groups whose failure rate has risen.
        risen_capabilities: Classes whose failure rate has risen and that the policy watches or that are large.
        broken_floors: Floors that the candidate is below.
        is_left_behind: The hard tier's share of failures rose by the policy's jump or more, and more than a uniform
            gain explains.
        is_ruled_out: The bounds rule out a rise beyond any margin, and both arms have the minimum of labelled requests.
    """

    obstacles: Sequence[str]
    risen: Sequence[TierGroup]
    risen_capabilities: Sequence[str]
    broken_floors: Sequence[FloorCheck]
    is_left_behind: bool
    is_ruled_out: bool

    @property
    def scope(self) -> tuple[str, ...]:
        """What a regression is about, as in `Verdict.scope`."""
        return (*self.risen, *map(class_scope, self.risen_capabilities), *(check.scope for check in self.broken_floors))

    @property
    def state(self) -> VerdictState:
        """The gravest state that the findings support."""
        if self.scope:
            return VerdictState.REGRESSION
        if self.is_left_behind:
            return VerdictState.CLIFF
        return VerdictState.OK if self.is_ruled_out and not self.obstacles else VerdictState.WAITING


def find(measurement: Measurement, floors: Sequence[FloorCheck], policy: Policy) -> Findings:
    """Checks *measurement* and *floors* against *policy*."""
    findings = Findings(
        obstacles=(),
        risen=[group for group, change in measurement.changes.items() if change is not None and change.lower > 0],
        risen_capabilities=[name for name in measurement.regressed_capabilities if _matters(name, measurement, policy)],
        broken_floors=[check for check in floors if check.is_broken],
        is_left_behind=_is_left_behind(measurement, policy),
        is_ruled_out=is_ruled_out(measurement.changes, measurement, policy),
    )
    is_alarm = findings.state in {VerdictState.REGRESSION, VerdictState.CLIFF}
    return replace(findings, obstacles=tuple(_obstacles(measurement, policy, is_alarm=is_alarm)))


def _matters(capability: str, measurement: Measurement, policy: Policy) -> bool:
    """Whether a rise of this class is a regression: it is large or watched, or the last verdict named it."""
    of_class, everything = measurement.capabilities[capability].candidate, measurement.aggregate.candidate
    is_large = of_class.requests >= policy.capability_min_share * everything.requests
    was_named = measurement.earlier is not None and class_scope(capability) in measurement.earlier.scope
    return is_large or was_named or capability in policy.watched_capabilities


def _is_left_behind(measurement: Measurement, policy: Policy) -> bool:
    if not measurement.is_left_behind:
        return False
    if measurement.earlier is not None and measurement.earlier.state is VerdictState.CLIFF:
        return True
    before, after = measurement.easier_tiers.baseline, measurement.easier_tiers.candidate
    expected = expected_failures((before.requests, after.requests), (before.failures, after.failures))
    has_enough = (
        min(measurement.fewest_independent(TierGroup.HARD)) >= policy.min_hard_failures
        and min(before.failures, max(after.failures, expected / CLEARLY_FEWER)) >= MIN_EASIER_FAILURES
        and measurement.fewest_independent(TierGroup.EASIER)[0] >= _MIN_INDEPENDENT * MIN_EASIER_FAILURES
    )
    gaps = (*measurement.coverage_gaps.values(), *measurement.judge_gaps.values())
    if not has_enough or any(gaps) or measurement.labels.one_sided:
        return False
    shift, change = measurement.shift, measurement.standardised_change
    return shift is not None and change is not None and shift.change >= policy.share_jump and change <= 0


def _obstacles(measurement: Measurement, policy: Policy, *, is_alarm: bool) -> Iterator[str]:
    if one_sided := measurement.labels.one_sided:
        yield _one_sided(measurement)
    for group, margin in margins(measurement, policy):
        compared = measurement.hard_tier if group is TierGroup.HARD else measurement.aggregate
        gap, bias = measurement.coverage_gaps[group], measurement.judge_gaps[group]
        if gap >= margin and not one_sided:
            yield _coverage_gap(group, compared, gap)
        yield from _judge_gap(group, bias, margin)
        if measurement.changes[group] is None and expected_at(compared, measurement.labelled) <= min(
            measurement.labelled
        ):
            yield f"There is nothing to compare on {GROUP_NAMES[group]}: the arms share no similar labelled requests."
    if measurement.aggregate.candidate.coverage is not None and not any(measurement.labelled):
        yield "No request of either version has a label, not even an old one: send outcomes or evaluations."
    elif not is_ruled_out(measurement.changes, measurement, policy):
        yield from unlabelled_words(measurement)
        yield from _spent_baseline(measurement, policy, is_alarm=is_alarm)
    for arm, share in zip(ArmName, measurement.unlabelled_shares, strict=True):
        if share >= policy.ok_margin and not one_sided and all(measurement.labelled):
            yield (
                f"{percent(share)} of the {arm}'s requests are in tiers and classes without any label, so the failure "
                "rate covers only the others: label some of these too."
            )
    yield from _few_clusters(measurement, policy)
    yield from _uneven_weights(measurement, policy)
    if measurement.matched.alone.requests >= policy.ok_margin * max(measurement.labelled[1], 1):
        yield alone_words(measurement.matched.alone)


def unlabelled_words(measurement: Measurement) -> Iterator[str]:
    """A sentence if labels have ceased."""
    if hours := hours_unlabelled(measurement.labels.cohort):
        yield f"No request of the last {hours} hours has a label, although earlier ones have: check what labels them."


def alone_words(alone: Counts) -> str:
    """The labelled requests of the candidate that are *alone*, as in `Matched.alone`."""
    return (
        f"{alone.requests:,} of the candidate's labelled requests ({percent(alone.rate)} of them fail) are of kinds "
        "that the baseline does not serve (other classes, or requests never seen before), so there is nothing to "
        "compare them with."
    )


def _spent_baseline(measurement: Measurement, policy: Policy, *, is_alarm: bool) -> Iterator[str]:
    if not is_alarm and is_beyond_baseline(measurement, policy):
        yield (
            f"The baseline's {measurement.labelled[0]:,} labelled requests are too few, and hardly any more arrive. If "
            "the estimates stay as they are, no number of candidate requests is enough for `ok`."
        )
    elif is_contradicted(measurement, policy):
        yield _OTHER_TIMES if measurement.side_by_side is not None else _OTHER_REQUESTS


def _few_clusters(measurement: Measurement, policy: Policy) -> Iterator[str]:
    for arm, labelled, effect, clusters in zip(
        ArmName, measurement.labelled, measurement.design[TierGroup.ALL], measurement.effective_clusters, strict=True
    ):
        has_few = min(clusters, labelled / effect) < _FEWEST_CLUSTERS and labelled < _FEWEST_INDEPENDENT * effect
        if has_few and labelled >= policy.min_labelled_requests:
            yield (
                f"The {arm}'s {labelled:,} labelled requests tell no more than {labelled / effect:.0f} independent "
                "ones would: many share a conversation, user or item. Check these ids, and send a load test or a "
                "scheduled job under its own environment."
            )


def _uneven_weights(measurement: Measurement, policy: Policy) -> Iterator[str]:
    for name, arm in zip(ArmName, measurement.labels.cohort.arms, strict=True):
        counts = [count for stratum in arm.strata for count in stratum.by_pattern]
        for what, weight in (("labels", "label_weight"), ("verdicts of people", "audit_weight")):
            number = sum(count.requests for count in counts if getattr(count, weight))
            total, squares = (sum(getattr(count, each) for count in counts) for each in (weight, f"{weight}_squared"))
            if number >= policy.min_labelled_requests and total**2 < _FEWEST_INDEPENDENT * squares:
                yield (
                    f"The {name}'s {number:,.0f} {what} tell no more than {total**2 / squares:.0f} would: a few have a "
                    "`sampling_probability` far below the others'. Correct it if it is wrong, or send more such labels."
                )


def _one_sided(measurement: Measurement) -> str:
    what, other = ("failure", "successes") if measurement.labels.one_sided == FAILURE else ("success", "failures")
    arms = measurement.labels.cohort.arms
    shares = [number / max(arm.requests, 1) for number, arm in zip(measurement.labelled, arms, strict=True)]
    if min(shares) >= ALL_LABELLED:
        return f"Labels only ever say {what}, of nearly every request: check what gives them, and the service itself."
    return (
        f"Judges, people and reports only ever say {what}: {other} seem to go unlabelled, so there is no failure rate. "
        f"They label {percent(shares[0])} of the baseline's requests and {percent(shares[1])} of the candidate's."
    )


def _judge_gap(group: TierGroup, bias: float, margin: float) -> Iterator[str]:
    behind = ArmName.CANDIDATE if bias > 0 else ArmName.BASELINE
    if abs(bias) >= margin:
        yield (
            f"On {GROUP_NAMES[group]}, people label a smaller part of the {behind}, and an unchecked judge or reports "
            f"label the rest. Wrong labels could look like a change of {points_of(abs(bias))}, or hide one. Label both "
            "arms in the same way, or let people check the judge in both."
        )


def _coverage_gap(group: TierGroup, compared: TierComparison, gap: float) -> str:
    before, after = compared.baseline.coverage or 0.0, compared.candidate.coverage or 0.0
    behind, lower, upper = ("candidate", after, before) if after < before else ("baseline", before, after)
    what = "hard-tier labels" if group is TierGroup.HARD else "labels"
    return (
        f"The {behind}'s {what} lag behind: {percent(lower)} of its matured requests are labelled, {percent(upper)} of "
        f"the other arm's. The missing ones could hide a change of {points_of(gap)}. If you choose at random "
        "which runs are labelled, send the chance of each as `sampling_probability`."
    )
