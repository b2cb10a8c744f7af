"""Writes the reasons of a verdict as sentences, most important first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from monitor.difficulty.calibration import Calibration
from monitor.rollout.cohort import ArmName, Comparison, TierGroup, TiersBy
from monitor.rollout.floors import GROUP_NAMES, FloorCheck, floor_name
from monitor.rollout.measurement import Measurement
from monitor.rollout.needed import margins
from monitor.rollout.policy import Policy
from monitor.rollout.state import Findings, alone_words, unlabelled_words
from monitor.rollout.verdict import ArmLabels, CountBy, Interval, JudgeErrors, TierComparison, Verdict, VerdictState
from monitor.rollout.wording import capitalised, minute, percent, points, with_bounds

_FAIL = {TierGroup.ALL: "fail", TierGroup.EASIER: "fail", TierGroup.HARD: "fails"}
_NAMED_CLASSES = 4
_LEAST_DESIGN_EFFECT = 1.1
_LEAST_UNTIERED = 0.05  # of the failures
_LEAST_ADJUSTED = 0.01  # difference from the raw change above which a change counts as adjusted for hours and mix


def explain(
    verdict: Verdict, findings: Findings, measurement: Measurement, calibration: Calibration | None, policy: Policy
) -> Sequence[str]:
    """The finding first, then the rates behind it, then its limits."""
    is_blocked = bool(findings.obstacles) and verdict.state is VerdictState.WAITING
    return [
        *moved_judge_words(verdict.labels, verdict.judge_moved),
        *_drift_words(verdict),
        *(() if is_blocked else _headlines(verdict, findings, measurement, policy)),
        *findings.obstacles,
        *(() if verdict.one_sided else _evidence(measurement, findings)),
        *_limits(verdict, calibration, measurement),
    ]


def _headlines(verdict: Verdict, findings: Findings, measurement: Measurement, policy: Policy) -> Iterator[str]:
    share = measurement.share
    match verdict.state:
        case VerdictState.REGRESSION:
            for each in findings.risen:
                yield f"{capitalised(GROUP_NAMES[each])} {_FAIL[each]} more often: {_rise(measurement.changes[each])}."
            yield from (_risen_class(name, measurement) for name in findings.risen_capabilities)
            yield from (_broken_floor(check) for check in findings.broken_floors)
        case VerdictState.CLIFF if share is not None:
            yield (
                f"The hard tier was left behind: its share of failures changed by {with_bounds(share.change)}; a "
                f"uniform gain implies {points(share.expected_change)}, so {with_bounds(share.excess)} are beyond it."
            )
        case VerdictState.OK:
            yield f"{_ruled_out(measurement, policy)}."
            if share is not None and share.change.estimate >= policy.share_jump:
                yield (
                    f"The hard tier's share of failures changed by {with_bounds(share.change)}, which a uniform gain "
                    f"may explain ({points(share.expected_change)} expected, excess {with_bounds(share.excess)})."
                )
        case _:
            yield _open(verdict, measurement, policy)


def moved_judge_words(
    arms: Mapping[ArmName, ArmLabels], moved: Sequence[TierGroup], scorer: str = "judge"
) -> Iterator[str]:
    """A sentence if the *scorer* errs differently in the two *arms*; it comes first, before the model is blamed."""
    for group in moved[:1]:
        before, after = (judge_words(arm.judge.get(group)) for arm in arms.values())
        yield (
            f"The {scorer} errs differently in the two arms: on {GROUP_NAMES[group]} of the baseline it {before}, of "
            f"the candidate it {after}. The rates are corrected for it."
        )


def _drift_words(verdict: Verdict) -> Iterator[str]:
    if (drift := verdict.judge_drift) is not None:
        is_corrected = verdict.labels[drift.arm].count_by is CountBy.AUDITS
        correction = "corrected for its errors on average" if is_corrected else "not corrected for its errors"
        yield (
            f"The judge errs differently over time: on {GROUP_NAMES[drift.group]} of the {drift.arm} it "
            f"{judge_words(drift.before)} before {minute(drift.at)}, and "
            f"{judge_words(drift.after)} since. The rates are {correction}."
        )


def judge_words(errors: JudgeErrors | None) -> str:
    """The error rates of a judge, as the end of a sentence about it."""
    kinds = () if errors is None else (("fails", errors.false_failure, "good"), ("passes", errors.false_success, "bad"))
    parts = [f"{verb} {percent(error.estimate)} of {what} answers" for verb, error, what in kinds if error is not None]
    return " and ".join(parts) or "errs at an unknown rate"


def audit_words(arms: Mapping[ArmName, ArmLabels], needed: int, scorer: str = "judge") -> Iterator[str]:
    """How many verdicts of the *scorer* people audited, what that changes, and how many more audits are *needed*."""
    if not arms or not any("judge" in labels.sources for labels in arms.values()):
        return
    audited = " and ".join(f"{labels.audited} of the {arm}'s" for arm, labels in arms.items())
    more = f"; about {needed} more in each arm would be enough" if needed else ""
    if not any(labels.audited for labels in arms.values()):
        enough = f" To know its errors, let people check about {needed} of its verdicts in each arm."
        yield f"No person has checked the {scorer}.{enough if needed else ''}"
        return
    if not any(labels.count_by is CountBy.AUDITS for labels in arms.values()):
        yield f"People checked {audited} verdicts of the {scorer}, too few to correct its errors{more}."
        return
    changed = " and ".join(f"the {arm}'s failure rate moves by {points(arms[arm].correction)}" for arm in arms)
    yield f"People checked {audited} verdicts of the {scorer}. Without its errors, {changed}{more}."
    unchecked = arms[ArmName.BASELINE].unchecked
    for group in [group for group in unchecked if group is not TierGroup.ALL] or unchecked:
        yield (
            f"On {GROUP_NAMES[group]}, people check almost nothing that the {scorer} {' or '.join(unchecked[group])}, "
            "so its word counts there: let them check some of it."
        )


def _rise(change: Interval | None) -> str:
    return "" if change is None else with_bounds(change)


def _risen_class(name: str, measurement: Measurement) -> str:
    return f"The class {name} fails more often: {_rise(measurement.capabilities[name].change)}."


def _broken_floor(check: FloorCheck) -> str:
    floor, rate = check.floor, check.pass_rate
    agreed = f" agreed by {floor.agreed_by}" * bool(floor.agreed_by) + f" on {floor.agreed_on}" * bool(floor.agreed_on)
    verb = "passes" if floor.tier is TierGroup.HARD else "pass"
    passes = "" if rate is None else f" {verb} {percent(rate.estimate)} ({percent(rate.upper)} at most),"
    return f"{capitalised(floor_name(floor))}{passes} below the floor of {percent(floor.pass_rate)}{agreed}."


def _ruled_out(measurement: Measurement, policy: Policy) -> str:
    parts = [
        f"{GROUP_NAMES[group]} {_FAIL[group]} {_at_most(change, margin)}"
        for group, margin in margins(measurement, policy)
        if (change := measurement.changes[group]) is not None
    ]
    return capitalised("; ".join(parts))


def _at_most(change: Interval, margin: float) -> str:
    if change.upper < 0:
        return f"less often: {with_bounds(change)}"
    return f"at most {points(change.upper, beside=margin)} more often (margin {points(margin)})"


def _open(verdict: Verdict, measurement: Measurement, policy: Policy) -> str:
    open_groups = [
        f"{GROUP_NAMES[group]} may fail up to {points(change.upper, beside=margin)} more often (ok needs less "
        f"than {points(margin)})"
        for group, margin in margins(measurement, policy)
        if (change := measurement.changes[group]) is not None and change.upper >= margin
    ]
    baseline, candidate = measurement.aggregate.baseline, measurement.aggregate.candidate
    seen = f"{baseline.requests:,} labelled requests of the baseline and {candidate.requests:,} of the candidate"
    ahead = f"About {verdict.requests_needed:,} more labelled candidate requests are needed"
    if not open_groups:
        return f"Too little is labelled yet: {seen}. {ahead}."
    return f"After {seen}, {' and '.join(open_groups)}. {ahead} at the present estimates."


def _evidence(measurement: Measurement, findings: Findings) -> Iterator[str]:
    for name in measurement.regressed_capabilities:
        if name not in findings.risen_capabilities:
            yield _risen_class(name, measurement)
    parts = [_movement("all requests", measurement.aggregate, measurement.changes[TierGroup.ALL])]
    if measurement.tiers_by is not TiersBy.NONE:
        parts.append(_movement("easier tiers", measurement.easier_tiers, measurement.easier_tiers.change))
        parts.append(_movement("hard tier", measurement.hard_tier, measurement.hard_tier.change))
    if (share := measurement.share) is not None:
        parts.append(f"{percent(share.baseline.estimate)} → {percent(share.candidate.estimate)} of failures are hard")
    if rates := "; ".join(part for part in parts if part):
        yield f"{capitalised(rates)}."
    if (causes := measurement.decomposition) is not None:
        yield (
            f"Of the raw change of the share, {points(causes.traffic_mix)} are traffic mix, "
            f"{points(causes.easier_tiers)} easier tiers and {points(causes.hard_tiers)} hard tiers."
        )


def _movement(name: str, tier: TierComparison, change: Interval | None) -> str:
    before, after = tier.baseline.rate, tier.candidate.rate
    if before is None or after is None or change is None:
        return ""
    is_raw = abs(after.estimate - before.estimate - change.estimate) < _LEAST_ADJUSTED
    change_words = f"{'change' if is_raw else 'like with like'} {with_bounds(change)}"
    return f"{name} {percent(before.estimate)} → {percent(after.estimate)} failures, {change_words}"


def _limits(verdict: Verdict, calibration: Calibration | None, measurement: Measurement) -> Iterator[str]:
    """What the verdict does not know, and which of its assumptions are weak."""
    yield from audit_words(verdict.labels, verdict.audits_needed)
    yield from _tier_limits(verdict, calibration, measurement.labels.cohort.undeclared)
    if verdict.comparison is Comparison.BEFORE_AFTER:
        yield "The arms hardly served side by side, so a change over time looks like a change of the model."
    if hours := measurement.matched.hours_alone:
        yield f"The baseline has not served for {hours} hours; candidate requests since then are not judged."
    yield from _outages(measurement)
    alone = measurement.matched.alone
    unknown = (*unlabelled_words(measurement), *([alone_words(alone)] if alone.requests else ()))
    yield from (words for words in unknown if words not in verdict.obstacles)
    if measurement.other_mixes:
        gets = "gets" if measurement.is_mix_certain else "may get"
        yield f"The candidate {gets} other requests than the baseline: the arms are compared within what both serve."
    if renamed := measurement.matched.renamed:
        some = ", ".join(sorted(renamed)[:_NAMED_CLASSES])
        yield f"{len(renamed)} classes have other names in one arm ({some}), so they are compared as one."
    if max(verdict.design_effect.values(), default=1.0) >= _LEAST_DESIGN_EFFECT:
        effects = " and ".join(f"{effect:.1f} of the {arm}'s" for arm, effect in verdict.design_effect.items())
        yield f"Requests of one conversation, user or item are similar: {effects} tell as much as one independent one."
    if verdict.unresolved.requests:
        yield (
            f"{verdict.unresolved.requests:,} requests ({verdict.unresolved.failures} failures) name no model version "
            "and count for neither arm."
        )


def _tier_limits(verdict: Verdict, calibration: Calibration | None, undeclared: ArmName | None) -> Iterator[str]:
    if verdict.tiers_by is TiersBy.NONE:
        reasons = () if calibration is None else calibration.trust.reasons
        yield " ".join(("Without trusted tiers, nothing is known about the hard tier.", *reasons))
    if undeclared is not None:
        yield f"Fewer than half of the {undeclared}'s requests declare a tier, so declared tiers are not used."
    if verdict.tiers_by is TiersBy.CLASS:
        yield "Tiers come from whole classes, so they miss hard requests inside an easier class."
    failures = verdict.aggregate.baseline.failures
    untiered = failures - sum(compared.baseline.failures for compared in verdict.tiers.values())
    if verdict.tiers_by is not TiersBy.NONE and untiered > _LEAST_UNTIERED * failures:
        why = ", because their classes had too few labels before the rollout" * (verdict.tiers_by is TiersBy.CLASS)
        yield f"{untiered:,} of the baseline's {failures:,} failures have no tier{why}; the tiers leave them out."


def _outages(measurement: Measurement) -> Iterator[str]:
    treated = ("they are left out in both arms", "they count")
    for arm, hours, what in zip(ArmName, measurement.outages, treated, strict=True):
        if hours:
            when = f"in {len(hours)} hours" if len(hours) > 1 else "in one hour"
            failures = f"{round(sum(hours.values())):,} of the {arm}'s failures"
            yield f"{failures} came {when} in which it alone failed nearly everything, as in an outage: {what}."
