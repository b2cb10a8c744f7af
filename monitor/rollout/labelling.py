"""Finds missing, one-sided and wrong labels of a rollout, and corrects its counts for them."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, compress, repeat
from operator import add

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from monitor.difficulty.tiers import Tier
from monitor.labels import double_sampling
from monitor.labels.double_sampling import AUDITS, HUMAN_FAILED, JUDGE_FAILED, JUDGED, MISSING, Array, Rate, Sources
from monitor.labels.source_verdicts import KINDS, PatternCount
from monitor.rollout.cohort import Arm, ArmName, Cohort, Comparison, Stratum, TierGroup, group_of
from monitor.rollout.confidence_sequence import Counts, bernoulli_bounds, differ
from monitor.rollout.verdict import ArmLabels, CountBy, Interval, JudgeDrift, JudgeErrors

LEAST_AUDITS = 30
"""Judged requests of each arm that people must audit before its rates are corrected..."""

LEAST_AUDITED_SHARE = 0.02
"""... or this share of the judged requests, whichever is less."""

ALL_LABELLED = 0.95
"""Share of labelled requests from which labels without a failure are believed: the service does not fail."""

_FEW_AUDITS = 10  # of judge failures and of judge passes: a tier with more is corrected by its own audits
_FEW_OF_EXPECTED = 0.2  # audits over expected audits: chance hardly explains fewer
_NO_ERRORS = np.array([1e12, 1e12, 1e12, 1e12, 0.0, 1e12])  # audits by which the judge never errs
_LEAST_ONE_SIDED = 5  # verdicts of sources that label a sample
_LEAST_ALL_ALIKE = 200  # labels of each arm, from any source
_REPORTED, _JUDGE = KINDS.index("reported"), KINDS.index("judge")
_MOST = 0.5  # share of an arm's requests that need a report before reports represent the arm
_LEAST_EXPECTED = 10  # verdicts of a judge that would be due: without any, the judge was not yet in use
_DEVIATIONS = 3.0  # standard deviations of a bound that holds at every look
_ASSUMED_VARIANCE = 0.05 * 0.95  # of the errors of a judge without audits
FAILURE, SUCCESS = "failure", "success"
_JUDGE_LEVEL = 0.002  # chance of a false alarm about a judge with equal errors in both arms, in each direction
_HOUR = 3_600.0
_DRIFT_LEVEL = _JUDGE_LEVEL / 10  # at each split of a rollout into earlier and later: ten weeks have ten splits


@dataclass(frozen=True, slots=True)
class Labelling:
    """
    A cohort with corrected counts, and what is known of its labels.

    Attributes:
        cohort: With counts corrected for missing and wrong labels (`Stratum.effective`).
        arms: Baseline and candidate.
        one_sided: `failure` or `success` if the labels never say anything else; empty otherwise.
        moved: Groups in which the judge's error rates differ between the arms.
        drift: A change of the judge's error rates within an arm; None unless one is shown.
        audit_variance: Variance of the failure rate after a single audit; 0 without a judge.
    """

    cohort: Cohort
    arms: tuple[ArmLabels, ArmLabels] = (ArmLabels(), ArmLabels())
    one_sided: str = ""
    moved: tuple[TierGroup, ...] = ()
    drift: JudgeDrift | None = None
    audit_variance: float = 0.0

    def audits_needed(self, margin: float) -> int:
        """Further audits that each arm needs for a failure rate within *margin* (a ratio), if drawn evenly."""
        enough = math.ceil(_DEVIATIONS**2 * self.audit_variance / margin**2)
        return max(0, enough - min(labels.audited for labels in self.arms))


def weigh_labels(cohort: Cohort, *, error_rate: float) -> Labelling:
    """
    The labels of *cohort*, with its counts corrected for those that are missing or wrong.

    If only the final labels are known, the counts stay as they are.

    Args:
        cohort: Both arms as the ledger counted them.
        error_rate: Chance that a bound on a judge's errors is ever wrong.
    """
    arms = cohort.arms
    tiered_counts = [_by_tier_and_pattern(arm) for arm in arms]
    counts = [[count for _, count in of_arm] for of_arm in tiered_counts]
    sources = Sources.of(chain(*counts))
    if sources.is_judged and cohort.comparison is Comparison.CONCURRENT:
        arms = _reports_before_judge(arms)
        tiered_counts = [_by_tier_and_pattern(arm) for arm in arms]
    one_sided = _one_sided(arms, counts)
    if not sources.is_sampled:
        baseline, candidate = (_arm_labels(*pair) for pair in zip(arms, counts, strict=True))
        return Labelling(cohort, (baseline, candidate), one_sided)
    audits = [_audits_in(of_arm, sources) for of_arm in counts]
    tallies = [_Tallies.of(of_arm, sources) for of_arm in tiered_counts]
    unaudited = _unaudited(tallies)
    tallies = [tally.without_errors(unaudited) for tally in tallies]
    errors = [tally.errors() if number else {} for tally, number in zip(tallies, audits, strict=True)]
    comparable = errors[1].keys() & tallies[0].audited_groups() & tallies[1].audited_groups()
    moved = tuple(group for group, old in errors[0].items() if group in comparable and _moved(old, errors[1][group]))
    is_audited = all(_is_audited(*pair, sources) for pair in zip(audits, counts, strict=True))
    is_corrected = is_audited or bool(moved)
    rates = _corrected(tallies) if is_corrected else [tally.rates() for tally in tallies]
    effective = [_effective_arm(*of_arm, sources) for of_arm in zip(arms, tiered_counts, rates, strict=True)]
    parts = zip(effective, counts, audits, tallies, rates, errors, strict=True)
    baseline, candidate = (
        replace(
            _arm_labels(arm, of_arm),
            audited=number,
            count_by=CountBy.AUDITS if is_corrected else CountBy.LOOKS,
            correction=tally.correction(rate),
            judge={group: _judge_errors(pair, unaudited[group], error_rate) for group, pair in judge.items()},
            unchecked={
                group: tuple(compress(("failed", "passed"), kinds)) for group, kinds in unaudited.items() if kinds.any()
            },
        )
        for arm, of_arm, number, tally, rate, judge in parts
    )
    drifts = (_drift(name, arm, sources) for name, arm, number in zip(ArmName, arms, audits, strict=True) if number)
    return Labelling(
        replace(cohort, baseline=effective[0], candidate=effective[1]),
        (baseline, candidate),
        one_sided,
        moved,
        next(filter(None, drifts), None),
        max(tally.audit_variance(is_audited=is_audited) for tally in tallies) if sources.is_judged else 0.0,
    )


def _reports_before_judge(arms: tuple[Arm, Arm]) -> tuple[Arm, Arm]:
    """
    The arms, with reports in place of the judge's verdicts in the hours before its first one.

    Once there is a judge, a reported pass no longer counts; before that, reports are the only labels. The arms stay as
    they are unless both served in those hours, most of their requests there have a report, and a judge in use would
    have labelled some.
    """
    strata = [*chain(*(arm.strata for arm in arms))]
    judged = [(s.block, each.requests) for s in strata for each in s.by_pattern if _has_verdict(_JUDGE, each.pattern)]
    first = min((block for block, _ in judged), default=0)
    before, since = (sum(s.requests for s in strata if (s.block < first) is is_early) for is_early in (True, False))
    if before * sum(requests for _, requests in judged) < _LEAST_EXPECTED * since:
        return arms
    for arm in arms:
        early = [stratum for stratum in arm.strata if stratum.block < first]
        reported = sum(each.requests for s in early for each in s.by_pattern if _has_verdict(_REPORTED, each.pattern))
        if reported <= _MOST * sum(stratum.requests for stratum in early):
            return arms
    baseline, candidate = (
        replace(arm, strata=[_reports_as_judged(s) if s.block < first else s for s in arm.strata]) for arm in arms
    )
    return baseline, candidate


def _reports_as_judged(stratum: Stratum) -> Stratum:
    """*stratum*, with reports in the judge's place of each pattern."""
    counts = [PatternCount(p and f"{p[0]}-{p[1]}{p[3]}", *numbers) for p, *numbers in stratum.by_pattern]
    return structs.replace(stratum, by_pattern=counts)


def _has_verdict(kind: int, pattern: str) -> bool:
    """Whether the source at index *kind* of `KINDS` gave a verdict in *pattern*."""
    return pattern[kind : kind + 1] not in {"", "-"}


_TieredCounts = Sequence[tuple[Tier, PatternCount]]


def _by_tier_and_pattern(arm: Arm) -> _TieredCounts:
    """The counts of *arm* by tier and verdict pattern, added up over hours and classes."""
    sums: dict[tuple[Tier, str], Sequence[float]] = {}
    for stratum in arm.strata:
        for pattern, *numbers in stratum.by_pattern:
            sums[stratum.tier, pattern] = [*map(add, sums.get((stratum.tier, pattern), repeat(0.0)), numbers)]
    return [(tier, PatternCount(pattern, *numbers)) for (tier, pattern), numbers in sums.items()]


_Errors = tuple[tuple[float, float], tuple[float, float]]
"""The judge's false failures and false passes, as `double_sampling.judge_errors` returns them."""

_JudgedKinds = NDArray[np.bool_]
"""A flag for the judge's failures and one for its passes, shape (2,)."""


@dataclass(frozen=True, slots=True)
class _Tallies:
    """The tallies of one arm (`Sources.tally`), by tier."""

    by_tier: Mapping[Tier, Array]

    @classmethod
    def of(cls, counts: _TieredCounts, sources: Sources) -> _Tallies:
        by_tier: dict[Tier, Array] = defaultdict(lambda: np.zeros(14))
        for tier, count in counts:
            by_tier[tier] += sources.tally(count)
        return cls(dict(by_tier))

    def without_errors(self, unaudited: Mapping[TierGroup, _JudgedKinds]) -> _Tallies:
        """The same, taking *unaudited* kinds of the judge's verdicts as correct."""
        by_tier = {tier: tally.copy() for tier, tally in self.by_tier.items()}
        for tier, tally in by_tier.items():
            tally[AUDITS] = np.where(np.repeat(unaudited[group_of(tier)], 3), _NO_ERRORS, tally[AUDITS])
        return _Tallies(by_tier)

    def group(self, tier: Tier) -> Array:
        """The sum over all tiers in the group of *tier*."""
        of_group = [tally for other, tally in self.by_tier.items() if group_of(other) is group_of(tier)]
        return np.asarray(np.sum(of_group, axis=0))

    def rates(self) -> Mapping[Tier, Rate]:
        return {tier: double_sampling.estimate(tally) for tier, tally in self.by_tier.items()}

    def corrected(self, own: set[Tier]) -> Mapping[Tier, Rate]:
        """Rates corrected by the tier's own audits for tiers in *own*, else by its part of the group's audits."""
        rates = {}
        for tier, tally in self.by_tier.items():
            audits = tally[AUDITS]
            if tier not in own:
                group = self.group(tier)
                # If each tier used all audits of the group, their errors would count once per tier.
                part = np.repeat(tally[JUDGED] / np.maximum(group[JUDGED], 1e-300), 3)
                audits = group[AUDITS] * part
            rates[tier] = double_sampling.estimate(tally, audits)
        return rates

    def correction(self, corrected: Mapping[Tier, Rate]) -> float:
        """Change of the failure rate of all requests by the correction."""
        requests = sum(float(tally[0]) for tally in self.by_tier.values())
        plain = self.rates()
        return sum(float(self.by_tier[t][0]) * (corrected[t].rate - plain[t].rate) for t in plain) / max(requests, 1.0)

    def audit_variance(self, *, is_audited: bool) -> float:
        """Variance of the failure rate after a single audit."""
        tally = np.sum(list(self.by_tier.values()), axis=0)
        return double_sampling.audit_variance(tally, tally[AUDITS]) if is_audited else _ASSUMED_VARIANCE

    def by_group(self) -> Mapping[TierGroup, Array]:
        sums: dict[TierGroup, Array] = {}
        for tier, tally in self.by_tier.items():
            for group in {TierGroup.ALL, group_of(tier)}:
                sums[group] = sums.get(group, np.zeros(14)) + tally
        return {group: sums[group] for group in TierGroup if group in sums}

    def errors(self) -> Mapping[TierGroup, _Errors]:
        return {group: double_sampling.judge_errors(tally, tally[AUDITS]) for group, tally in self.by_group().items()}

    def audited_groups(self) -> set[TierGroup]:
        """Groups in which people audited enough of the judge's failures and of its passes, where it has any."""
        tallies = self.by_group().items()
        return {group for group, tally in tallies if np.all((_audits(tally) >= _FEW_AUDITS) | (tally[JUDGED] == 0))}


def _audits(tally: Array) -> Array:
    """Effective audits of the judge's failures and of its passes, shape (2,)."""
    return np.asarray(tally[[8, 11]] ** 2 / np.maximum(tally[[10, 13]], 1e-300))


def _unaudited(tallies: Sequence[_Tallies]) -> Mapping[TierGroup, _JudgedKinds]:
    """By group: whether people hardly audit the judge's failures, or its passes, in either arm."""
    unaudited: dict[TierGroup, _JudgedKinds] = {}
    for of_arm in tallies:
        groups = {group_of(tier): of_arm.group(tier) for tier in of_arm.by_tier}
        audits = sum(float(_audits(tally).sum()) for tally in groups.values())
        share = audits / max(sum(float(tally[JUDGED].sum()) for tally in groups.values()), 1.0)
        for group, tally in groups.items():
            expected = tally[JUDGED] * share  # if audits were spread evenly
            few = (expected >= _FEW_AUDITS) & (_audits(tally) < np.minimum(expected * _FEW_OF_EXPECTED, _FEW_AUDITS))
            unaudited[group] = unaudited.get(group, np.zeros(2, dtype=bool)) | few
    return {**unaudited, TierGroup.ALL: np.any([*unaudited.values()], axis=0)}


def _corrected(tallies: Sequence[_Tallies]) -> list[Mapping[Tier, Rate]]:
    """Rates of both arms; a tier is corrected by its own audits if it has enough of them in both arms."""
    baseline, candidate = (tally.by_tier for tally in tallies)
    shared = baseline.keys() & candidate.keys()
    own = {tier for tier in shared if min(*_audits(baseline[tier]), *_audits(candidate[tier])) >= _FEW_AUDITS}
    return [tally.corrected(own) for tally in tallies]


def _effective_arm(arm: Arm, counts: _TieredCounts, rates: Mapping[Tier, Rate], sources: Sources) -> Arm:
    missing = _missing_shares(counts, sources)
    rate_of = {(tier, count.pattern): (sources.place(count.pattern), rates[tier]) for tier, count in counts}
    return replace(arm, strata=[_effective_stratum(s, rate_of, missing.get(s.tier, 0.0)) for s in arm.strata])


def _missing_shares(counts: _TieredCounts, sources: Sources) -> Mapping[Tier, float]:
    """By tier: share of the requests that passed the checks and that no sampled label represents, beyond chance."""
    sums: dict[Tier, Array] = defaultdict(lambda: np.zeros(3))
    for tier, count in counts:
        place = sources.place(count.pattern)
        if place == MISSING or place >= JUDGE_FAILED:
            is_labelled = place != MISSING
            sums[tier] += (count.requests, is_labelled * count.label_weight, is_labelled * count.label_weight_squared)
    return {
        tier: max(0.0, 1.0 - (weight + _DEVIATIONS * math.sqrt(max(squares - weight, 0.0))) / max(requests, 1.0))
        for tier, (requests, weight, squares) in sums.items()
    }


_RateOf = Mapping[tuple[Tier, str], tuple[int, Rate]]
"""Index in the tally, and rate, of each tier and verdict pattern."""


def _effective_stratum(stratum: Stratum, rate_of: _RateOf, missing_share: float) -> Stratum:
    if not stratum.by_pattern:
        return stratum
    requests = failures = labelled = failed = missing = sampled = judged = 0.0
    for count in stratum.by_pattern:
        place, rate = rate_of[stratum.tier, count.pattern]
        effective = rate.of(count, place)
        requests, failures = requests + effective[0], failures + effective[1]
        if place != MISSING:
            labelled, failed = labelled + count.labelled, failed + count.failures
        sampled += effective[0] * (place >= JUDGE_FAILED)
        judged += effective[0] * (JUDGE_FAILED <= place < HUMAN_FAILED)
        is_sampled = place == MISSING or place >= JUDGE_FAILED
        missing += missing_share * count.requests if is_sampled else count.requests - count.labelled
    return structs.replace(
        stratum,
        labelled=int(labelled),
        failures=int(failed),
        effective=(requests, failures),
        missing=missing,
        sampled=(sampled, judged),
    )


def _arm_labels(arm: Arm, counts: Iterable[PatternCount]) -> ArmLabels:
    by_source: Counter[str] = Counter()
    unfinished = 0
    for count in counts:
        unfinished += int(count.requests - count.labelled) if not count.pattern else 0
        for kind, verdict in zip(KINDS, count.pattern, strict=False):
            by_source[kind] += int(count.requests) if verdict != "-" else 0
    # Share of requests that are labelled or represented by labelled ones.
    coverage = 1.0 - sum(stratum.unlabelled for stratum in arm.strata) / arm.requests if arm.requests else None
    return ArmLabels(coverage=coverage, sources=dict(+by_source), unfinished=unfinished)


def _audits_in(counts: Iterable[PatternCount], sources: Sources) -> int:
    """Requests with a verdict of the judge and one of a person."""
    return int(sum(n.requests for n in counts if n.pattern and "-" not in (n.pattern[sources.judge], n.pattern[3])))


def _is_audited(audits: int, counts: Iterable[PatternCount], sources: Sources) -> bool:
    """Whether an arm has enough *audits* to correct its rates."""
    judged = sum(count.requests for count in counts if _has_verdict(sources.judge, count.pattern))
    return audits > 0 and audits >= min(LEAST_AUDITS, LEAST_AUDITED_SHARE * judged)


def _one_sided(arms: Sequence[Arm], counts: Iterable[Iterable[PatternCount]]) -> str:
    """`failure` or `success` if all labels, or all labels of sources other than checks, say that; else empty."""
    passed = failed = unlabelled = 0.0
    for count in chain(*counts):
        others = count.pattern[1:]
        failed += count.requests * ("f" in others)
        passed += count.requests * ("p" in others and "f" not in others)
        unlabelled += count.requests * (not others.strip("-"))
    if failed >= _LEAST_ONE_SIDED and not passed:
        return FAILURE
    if passed >= _LEAST_ALL_ALIKE and not failed and unlabelled > passed and not any(arm.failures for arm in arms):
        return SUCCESS

    if min(arm.labelled for arm in arms) < _LEAST_ALL_ALIKE:
        return ""
    failures, labelled = (sum(getattr(arm, name) for arm in arms) for name in ("failures", "labelled"))
    if failures == labelled:
        return FAILURE
    return SUCCESS if not failures and labelled < ALL_LABELLED * sum(arm.requests for arm in arms) else ""


def _judge_errors(errors: _Errors, unaudited: _JudgedKinds, error_rate: float) -> JudgeErrors:
    kinds = zip(errors, unaudited, strict=True)
    return JudgeErrors(*(None if is_unknown else _interval(*each, error_rate) for each, is_unknown in kinds))


def _interval(requests: float, errors: float, error_rate: float) -> Interval | None:
    if requests <= 0:
        return None
    return Interval(errors / requests, *bernoulli_bounds(errors, requests, error_rate=error_rate))


def _moved(before: _Errors, after: _Errors, level: float = _JUDGE_LEVEL) -> bool:
    return any(differ(Counts(*old), Counts(*new), level=level) for old, new in zip(before, after, strict=True))


def _drift(name: ArmName, arm: Arm, sources: Sources) -> JudgeDrift | None:
    """
    A change of the judge's error rates between earlier and later requests; None unless one is shown.

    The hour that splits them moves only when the arm has served twice as long, so few splits are tested. Each tier
    group is compared with itself: more hard requests do not mean that the judge changed. A group counts only if people
    audited the judge's failures and passes both before and after that hour.
    """
    hours = [stratum.block for stratum in arm.strata if stratum.by_pattern]
    first, last = min(hours, default=0), max(hours, default=0)
    since = first + (1 << max((last - first + 1).bit_length() - 2, 0))
    parts = ([stratum for stratum in arm.strata if (stratum.block >= since) is is_late] for is_late in (False, True))
    before, after = (_Tallies.of(_by_tier_and_pattern(replace(arm, strata=part)), sources) for part in parts)
    groups = {*before.by_group(), *after.by_group()} - {TierGroup.ALL} or {TierGroup.ALL}
    for group in sorted(groups & before.audited_groups() & after.audited_groups()):
        old, new = before.errors()[group], after.errors()[group]
        if _moved(old, new, _DRIFT_LEVEL):
            errors = (JudgeErrors(*(_interval(*each, _DRIFT_LEVEL) for each in part)) for part in (old, new))
            return JudgeDrift(name, group, since * _HOUR, *errors)
    return None
