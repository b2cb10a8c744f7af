"""A verdict in words and numbers, most telling sentence first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from monitor.rollout.comparison import ShareComparison, TierComparison
from monitor.rollout.floors import FloorCheck
from monitor.rollout.measurement import Measurement, Yardstick
from monitor.rollout.policy import Policy
from monitor.rollout.state import Findings
from monitor.rollout.verdict import VerdictState
from monitor.rollout.wording import percent, points, with_bounds


def explain(
    findings: Findings, measurement: Measurement, calibration: Yardstick | None, policy: Policy, *, needed: int
) -> Sequence[str]:
    """Why the state is what it is: the finding first, then the rates behind it, then what else was seen."""
    sentences = [*findings.obstacles]
    if not findings.obstacles:
        sentences += _headlines(findings, measurement, policy, needed)
        sentences += _evidence(measurement)
    if calibration is not None and calibration.trust.is_trusted and not findings.has_hard_rate:
        gates = " ".join(calibration.trust.hard_rate_reasons)
        sentences.append(f"The hard tier's own failure rate is shown, but not judged. {gates}")
    return sentences


def _headlines(findings: Findings, measurement: Measurement, policy: Policy, needed: int) -> Iterator[str]:
    hard, share = measurement.hard_tier.change, measurement.share
    state = findings.state
    if state is VerdictState.WAITING or share is None:
        yield _too_little(measurement, policy, needed)
    if findings.has_hard_rate_risen and hard is not None:
        yield f"The hard tier fails more often: {with_bounds(hard)}."
    yield from (_broken_floor(check) for check in findings.broken_floors)
    if state is VerdictState.CLIFF and share is not None:
        yield _left_behind(share)
    if state is VerdictState.OK and share is not None:
        yield _no_alarm(findings, measurement, share, policy, needed)


def _too_little(measurement: Measurement, policy: Policy, needed: int) -> str:
    aggregate, hard = measurement.aggregate, measurement.hard_tier
    return (
        f"Too little is labelled yet: baseline {aggregate.baseline.requests} requests with {hard.baseline.failures} "
        f"hard-tier failures, candidate {aggregate.candidate.requests} with {hard.candidate.failures} "
        f"({policy.min_labelled_requests} and {policy.min_hard_failures} needed in each); about {needed} more labelled "
        "candidate requests."
    )


def _broken_floor(check: FloorCheck) -> str:
    floor, rate = check.floor, check.pass_rate
    where = "The hard tier" if floor.capability is None else f"The hard tier of {floor.capability}"
    agreed = "".join(
        (f" agreed by {floor.agreed_by}" * bool(floor.agreed_by), f" on {floor.agreed_on}" * bool(floor.agreed_on))
    )
    passes = "" if rate is None else f" passes {percent(rate.estimate)} ({percent(rate.upper)} at most),"
    return f"{where}{passes} below the floor of {percent(floor.pass_rate)}{agreed}."


def _left_behind(share: ShareComparison) -> str:
    return (
        f"The hard tier was left behind: its share of failures changed by {with_bounds(share.change)}; a uniform gain "
        f"implies {points(share.expected_change)}, so {with_bounds(share.excess)} are beyond it."
    )


def _no_alarm(findings: Findings, measurement: Measurement, share: ShareComparison, policy: Policy, needed: int) -> str:
    change = f"The hard tier's share of failures changed by {with_bounds(share.change)}"
    implied = f"{points(share.expected_change)} expected, excess {with_bounds(share.excess)}"
    if share.excess.lower > 0 and findings.has_share_jumped:
        return f"{change}, beyond what a uniform gain implies ({implied}), but the aggregate got worse: no cliff."
    if share.excess.lower > 0:
        return f"{change}, less than the jump of {points(policy.share_jump)} that matters ({implied})."
    if share.change.estimate <= 0 < share.expected_change and _has_improved(measurement.aggregate):
        return f"{change}, at most as a uniform gain implies ({implied})."
    if share.change.estimate > 0 and _has_improved(measurement.aggregate):
        forecast = f"; about {needed} more labelled candidate requests would tell them apart" if needed else ""
        return f"{change}, as a uniform gain implies ({implied}){forecast}."
    return f"Neither a regression nor a cliff is shown. {change} ({implied})."


def _evidence(measurement: Measurement) -> Iterator[str]:
    share = measurement.share
    parts = [
        _movement("hard tier", measurement.hard_tier),
        _movement("easier tiers", measurement.easier_tiers),
    ]
    if share is not None:
        parts.append(
            f"{percent(share.baseline.estimate)} -> {percent(share.candidate.estimate)} of failures are now hard"
        )
    yield _sentence("; ".join(part for part in parts if part))
    yield _sentence(_movement("all requests", measurement.aggregate))
    causes = measurement.decomposition
    if causes is not None:
        yield (
            f"Of the raw change of the share, {points(causes.traffic_mix)} are traffic mix, "
            f"{points(causes.easier_tiers)} easier tiers and {points(causes.hard_tiers)} hard tiers."
        )
    for capability in measurement.regressed_capabilities:
        yield _sentence(_movement(f"the hard tier of {capability}", measurement.capabilities[capability]))


def _movement(name: str, tier: TierComparison) -> str:
    before, after = tier.baseline.rate, tier.candidate.rate
    if before is None or after is None or tier.change is None:
        return ""
    change = tier.change
    shown = (
        "improved"
        if change.upper < 0
        else "got worse"
        if change.lower > 0
        else "not shown to improve"
        if change.estimate <= 0
        else "not shown to get worse"
    )
    return f"{name} {percent(before.estimate)} -> {percent(after.estimate)} failures, {shown}"


def _has_improved(aggregate: TierComparison) -> bool:
    return aggregate.change is not None and aggregate.change.upper < 0


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}." if words else ""
