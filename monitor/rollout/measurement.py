"""Estimates from a cohort: changes of failure rates within similar requests, and the hard tier's share of failures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import compress
from operator import add
from typing import NamedTuple

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from monitor.difficulty import correction
from monitor.difficulty.calibration import Calibration
from monitor.difficulty.tiers import EASIER_TIERS, HARD_TIER, TIERS, Tier
from monitor.rollout import verdict
from monitor.rollout.bounds import Bounds, requests_worth
from monitor.rollout.clustering import design_effects
from monitor.rollout.cohort import LEAST_EXPECTED, Arm, ArmName, Cohort, Comparison, TierGroup, TiersBy, group_of
from monitor.rollout.confidence_sequence import Counts, differ, rise_log_e_value
from monitor.rollout.decomposition import decompose
from monitor.rollout.labelling import weigh_labels
from monitor.rollout.matching import Matched, mantel_haenszel, match
from monitor.rollout.multiplicity import closed_e_bh
from monitor.rollout.other_mix import OtherMix, other_mixes
from monitor.rollout.outages import outages, without_hours
from monitor.rollout.policy import Policy

_Array = NDArray[np.float64]
_Mask = NDArray[np.bool_]
Factors = tuple[float, float]
_ChangeAt = Callable[[Factors], verdict.Interval | None]

MIN_EASIER_FAILURES = 10
"""Failures of the easier tiers that each arm needs before `cliff`..."""

CLEARLY_FEWER = 3.0
"""... except that the candidate may have fewer if the baseline's rate predicts so many times as many: it improved."""

_TIERS_OF = {TierGroup.ALL: tuple(Tier), TierGroup.EASIER: EASIER_TIERS, TierGroup.HARD: HARD_TIER}
_TAG_NOISE_SHARE = 0.005  # excess share that noisy tags produce under a uniform gain, at any number of requests
_LEAST_EFFECTIVE = 0.75  # effective over counted labels, above which labels count as uncorrected
_CERTAIN, _LEAST_LABELS = 2.0, 100  # `OtherMix.strength` beyond chance; labels of each arm for it and side by side
_CHANCE = 2.0  # standard errors taken off a rise seen side by side: chance explains more in 2.3 % of cases
_AS_IS: Factors = (1.0, 1.0)
_UNBOUNDED = 100.0  # above any share and any log odds ratio
_GAP_LEVEL = 0.005  # chance of a false alarm about a difference of label coverage, or of who labels
_UNCHECKED_ERRORS = 0.2  # share of an unchecked judge's verdicts that may be wrong


class Measurement:
    """
    Every estimate that a verdict needs, computed on first use.

    Estimates for all requests and for capability classes need no tiers. If tiers are learnt, the rates shown for them
    are corrected for noisy tags on known requests; the decisions use uncorrected tags.

    Args:
        cohort: Matured requests of both arms.
        calibration: The calibration that tagged both arms, or None.
        policy: Sets the error rate and the size of change that bounds are tuned for.
        floors: Number of floors to check against the rates.
        probes: The probe panel replayed on both versions, or None. It adds evidence on each tier's failure rate, but
            neither traffic nor counts.
        previous: The last verdict on this rollout, or None. Its bounds still hold if it used the same tiers, hours and
            kind of labels.

    Attributes:
        tiers_by: The source of tiers; `none` if they cannot be trusted.
        earlier: The previous verdict, if it used the same tiers, hours and kind of labels; else None.
        comparison: Whether the arms are compared at the same hours.
        design: Design effects by group.
        labelled: Labelled requests of baseline and candidate, as counted.
        labels: The labels and their corrections.
        outages: Failures of each arm by hour in which it alone was down. The baseline's are left out of the comparison
            in both arms; the candidate's count.
        matched: Both arms at the same hours.
        effective_clusters: Effective number of conversations, users or items of each arm; infinite if it has none.
    """

    def __init__(
        self,
        cohort: Cohort,
        calibration: Calibration | None,
        policy: Policy,
        *,
        floors: int = 0,
        probes: Cohort | None = None,
        previous: verdict.Verdict | None = None,
    ) -> None:
        self._bounds = Bounds(policy.error_rate, policy.share_jump, max(floors, 1))
        self.labels = weigh_labels(cohort, error_rate=policy.error_rate)
        cohort = self.labels.cohort
        self._sums_by_arm = [_by_tier_and_class(arm) for arm in cohort.arms]  # every rate needs some
        self._calibration = calibration
        self.design = design_effects(cohort)
        self.outages = outages(cohort, self.design[TierGroup.ALL])
        self._compared = without_hours(cohort, self.outages[0])
        self.matched = match(self._compared)
        if probes is not None:
            self.matched = self.matched.with_rows(_panel(probes))
        self._is_probe = np.array([row.is_probe for row in self.matched.rows], dtype=bool)
        is_untrusted = calibration is None or not calibration.trust.is_trusted
        self.tiers_by = TiersBy.NONE if cohort.tiers_by is TiersBy.LEARNT and is_untrusted else cohort.tiers_by
        self.comparison = self.matched.comparison
        self.effective_clusters = [_effective_clusters(arm) for arm in cohort.arms]
        if previous is not None and not (cohort.baseline.clusters and cohort.candidate.clusters):
            # Retention has pruned the rows that clusters are read from. The previous design effects still hold.
            old, new = (previous.design_effect.get(arm, 1.0) for arm in ArmName)
            self.design = {group: (max(old, pair[0]), max(new, pair[1])) for group, pair in self.design.items()}
        self.labelled = (cohort.baseline.labelled, cohort.candidate.labelled)
        self.earlier = None
        if previous is not None:
            count_by = previous.labels.get(ArmName.BASELINE, verdict.ArmLabels()).count_by
            basis = previous.tiers_by, previous.comparison, previous.calibration_id, count_by
            if basis == (self.tiers_by, self.comparison, cohort.calibration_id, self.labels.arms[0].count_by):
                self.earlier = previous

    @cached_property
    def changes(self) -> Mapping[TierGroup, verdict.Interval | None]:
        """
        Change of the failure rate within similar requests, by group; None if it is unknown.

        The verdict is decided by these.
        """
        return {group: self.over_all_looks(group, change) for group, change in self.changes_at(_AS_IS).items()}

    def changes_at(self, factors: Factors) -> Mapping[TierGroup, verdict.Interval | None]:
        """`changes` without earlier looks, if each arm had its factor times as many requests at the same rates."""
        return {group: change_at(factors) for group, change_at in self._changes.items()}

    @cached_property
    def _changes(self) -> Mapping[TierGroup, _ChangeAt]:
        return {group: self._change(group, _TIERS_OF[group]) for group in TierGroup}

    def over_all_looks(self, name: str, now: verdict.Interval | None) -> verdict.Interval | None:
        """*now*, narrowed by the bounds that earlier looks gave under the same *name* in `Verdict.bounds`."""
        # Earlier bounds are wrong if the mix of requests differs and earlier looks did not allow for it.
        if now is None or self.earlier is None or (self.is_mix_certain and not self._was_mix_certain):
            return now
        # After a cutover, each look has to show a rise by the hours that both arms served.
        is_change = name in {*TierGroup, verdict.LEFT_BEHIND, verdict.EXCESS}
        return now if is_change and self.side_by_side is not None else now.within(self.earlier.bounds.get(name))

    @cached_property
    def bounds(self) -> dict[str, verdict.Interval]:
        """The content of `Verdict.bounds`, without floors."""
        known: dict[str, verdict.Interval | None] = {str(group): change for group, change in self.changes.items()}
        known |= {verdict.LEFT_BEHIND: self.left_behind, verdict.EXCESS: self.excess}
        known |= {verdict.class_scope(name): compared.change for name, compared in self.capabilities.items()}
        for group, mix in self.other_mixes.items() if self.is_mix_certain else ():
            known[verdict.same_mix(group)] = verdict.Interval(mix.changes[0], min(mix.changes), max(mix.changes))
        return {name: interval for name, interval in known.items() if interval is not None}

    @cached_property
    def left_behind(self) -> verdict.Interval | None:
        """Hard tier's log odds ratio of failing minus the easier tiers'; None for learnt tiers, which use `excess`."""
        return None if self.tiers_by in {TiersBy.NONE, TiersBy.LEARNT} else self._non_uniform(verdict.LEFT_BEHIND)

    @cached_property
    def excess(self) -> verdict.Interval | None:
        """Change of the hard tier's share of failures beyond a uniform gain, by uncorrected tags; learnt tiers only."""
        return self._non_uniform(verdict.EXCESS) if self.tiers_by is TiersBy.LEARNT else None

    def _non_uniform(self, name: str) -> verdict.Interval | None:
        """The part of the change that a uniform gain does not explain, by the test called *name*."""
        test = self._odds if name == verdict.LEFT_BEHIND else self._tagged_excess
        requests, failures = self._at_baseline_mix
        enough, before = _with_least_failures(self.matched, requests, failures), self.side_by_side
        if (now := test(self.matched, requests, enough)) is None:
            return None
        shift = self._bounds.left_behind(*now) if name == verdict.LEFT_BEHIND else self._bounds.share(*now, largest=2.0)
        if enough is not failures:  # the added failures make the gain look smaller than it is
            shift = replace(shift, upper=_UNBOUNDED)
        if before is not None:
            # A change since the candidate serves alone may come from the time, so the hours before have to show it.
            seen = test(before, before.requests, _with_least_failures(before, before.requests, before.failures))
            shift = replace(shift, lower=min(shift.lower, 0.0 if seen is None else seen[0] - _CHANCE * seen[1]))
        return self.over_all_looks(name, shift)

    @property
    def is_left_behind(self) -> bool:
        """Whether the hard tier is shown to be left behind, by more than noisy tags produce under a uniform gain."""
        tests = (self.left_behind, 0.0), (self.excess, _TAG_NOISE_SHARE)
        return any(test is not None and test.lower > noise for test, noise in tests)

    def fewest_independent(self, group: TierGroup) -> tuple[float, float]:
        """
        Independent failures and passes of *group*, each in the arm that has fewer.

        A candidate with hardly any easier failures counts as having those that `CLEARLY_FEWER` allows to be missing.
        """
        chosen, effect = self._rows_of(_TIERS_OF[group]), np.array(self.design[group])
        _, requests, failures = (column[:, chosen].sum(axis=1) / effect for column in self.matched.columns)
        if group is TierGroup.EASIER:
            failures[1] = max(failures[1], expected_failures(requests, failures) / CLEARLY_FEWER)
        return float(failures.min()), float((requests - failures).min())

    @property
    def has_hard_requests(self) -> bool:
        """Whether either arm has a comparable request of the hard tier."""
        return bool(self._rows_of(HARD_TIER).any())

    @cached_property
    def regressed_capabilities(self) -> Sequence[str]:
        """Classes shown to fail more often; empty if there is one class, which is the same as all requests."""
        if len(self._classes) == 1:
            return ()
        evidence, bias = {}, self._label_bias(TierGroup.ALL, _TIERS_OF[TierGroup.ALL]) + self._class_mix_bias
        for name, chosen in self._classes.items():
            pair = self._compare(chosen, TierGroup.ALL)
            rise = self._rise_side_by_side(chosen, TierGroup.ALL)
            if pair is not None and (rise is None or rise > 0):
                evidence[name] = rise_log_e_value(pair[0], pair[1].with_fewer_failures(bias))
        regressed = set(closed_e_bh(evidence, level=self._bounds.capabilities_level))
        before = () if self.earlier is None else self.earlier.regressed_capabilities
        risen = {name for name, now in self.capabilities.items() if now.change is not None and now.change.lower > 0}
        return sorted(regressed | risen.intersection(before))

    @cached_property
    def coverage_gaps(self) -> Mapping[TierGroup, float]:
        """
        Difference of the arms' label coverage where it is more than chance, by group; ratio 0 to 1.

        Labels that are missing in one arm only can hide a change of that size, or look like one.
        """
        return {group: self._coverage_gap(_TIERS_OF[group]) for group in TierGroup}

    @cached_property
    def judge_gaps(self) -> Mapping[TierGroup, float]:
        """
        Change of the failure rate that the judge's errors may feign or hide, as it labels more of one arm; by group.

        Ratio; positive if the judge labels more of the candidate and people more of the baseline. 0 if people check the
        judge, or if chance explains the difference.

        Source:
            Judges and people disagree on 15 to 20 % of answers (Zheng et al. 2023, "Judging LLM-as-a-Judge").
        """
        gaps = dict.fromkeys(TierGroup, 0.0)
        if self.labels.arms[0].count_by is not verdict.CountBy.LOOKS:
            return gaps
        arms = [
            replace(arm, strata=[structs.replace(each, effective=each.sampled) for each in arm.strata])
            for arm in self._compared.arms
        ]
        by_judge = match(replace(self._compared, baseline=arms[0], candidate=arms[1]))
        for group, tiers in _TIERS_OF.items():
            pair = by_judge.compare(by_judge.of_tiers(tiers) | (group is TierGroup.ALL))
            if pair is not None and differ(*pair, level=_GAP_LEVEL):
                gaps[group] = _UNCHECKED_ERRORS * (pair[1].rate - pair[0].rate)
        return gaps

    @cached_property
    def unlabelled_shares(self) -> Sequence[float]:
        """Share of each arm's requests in tiers and classes that have no label, by more than chance."""
        shares = []
        for by_class in self._sums_by_arm:
            everything = _total(by_class.values())
            least = LEAST_EXPECTED * everything.requests / max(everything.labelled, 1.0)
            unlabelled = sum(n.requests for n in by_class.values() if not n.weight and n.requests >= least)
            shares.append(unlabelled / max(everything.requests, 1.0))
        return shares

    @cached_property
    def aggregate(self) -> verdict.TierComparison:
        """All requests, as counted."""
        return self._counted(tuple(Tier), TierGroup.ALL, self.changes[TierGroup.ALL])

    @cached_property
    def tiers(self) -> Mapping[Tier, verdict.TierComparison]:
        """Each tier; rates are corrected for noisy tags if tiers are learnt."""
        return {tier: self._tag_corrected((tier,), self._change(group_of(tier), (tier,))(_AS_IS)) for tier in TIERS}

    @cached_property
    def hard_tier(self) -> verdict.TierComparison:
        """Hard and frontier together, at the baseline's mix of the two."""
        return self._tag_corrected(HARD_TIER, self.changes[TierGroup.HARD])

    @cached_property
    def easier_tiers(self) -> verdict.TierComparison:
        """Easy and medium together, at the baseline's mix of the two."""
        return self._tag_corrected(EASIER_TIERS, self.changes[TierGroup.EASIER])

    @cached_property
    def capabilities(self) -> Mapping[str, verdict.TierComparison]:
        """All requests of each capability class."""
        return {name: self._of_class(name, TierGroup.ALL) for name in self._classes}

    @cached_property
    def hard_capabilities(self) -> Mapping[str, verdict.TierComparison]:
        """The hard tier of each capability class, counted by tag."""
        names = () if self.tiers_by is TiersBy.NONE else self._classes
        return {name: self._of_class(name, TierGroup.HARD) for name in names}

    @cached_property
    def shift(self) -> correction.ShareShift | None:
        """The hard tier's share of failures with standard errors; None while it is unknown."""
        return None if self._arms is None else correction.compare_shares(*self._arms)

    @cached_property
    def share(self) -> verdict.ShareComparison | None:
        """The hard tier's share of failures with bounds; None while it is unknown."""
        shift, bounds = self.shift, self._bounds
        if shift is None:
            return None
        effect = self._share_effect
        excess = bounds.share(shift.excess, shift.excess_se * effect, largest=2.0)
        return verdict.ShareComparison(
            baseline=_ratio(bounds.share(shift.baseline, shift.baseline_se * effect)),
            candidate=_ratio(bounds.share(shift.candidate, shift.candidate_se * effect)),
            change=bounds.share(shift.change, shift.change_se * effect),
            expected_change=shift.expected_change,
            excess=_by_test(excess, self.excess or self.left_behind, largest=2.0),
        )

    @property
    def _share_effect(self) -> float:
        """Largest factor by which clusters widen the standard error of a share."""
        return math.sqrt(max(max(pair) for pair in self.design.values()))

    @cached_property
    def decomposition(self) -> verdict.Decomposition | None:
        """Why the share changed; None while it is unknown."""
        if self._arms is None or self.shift is None:
            return None
        return decompose([arm.tier_mix for arm in self._arms], [arm.failure_rate for arm in self._arms])

    @cached_property
    def standardised_change(self) -> float | None:
        """Change of the failure rate of all requests at the baseline's tier mix."""
        if self._arms is None:
            return None
        baseline, candidate = self._arms
        return float(baseline.tier_mix @ (candidate.failure_rate - baseline.failure_rate))

    @cached_property
    def _arms(self) -> tuple[correction.MeasuredArm, correction.MeasuredArm] | None:
        if self.tiers_by is TiersBy.NONE or not self.matched.rows:
            return None
        if self.tiers_by is TiersBy.LEARNT and self._calibration is not None:
            cuts = self._calibration.cuts
            baseline, candidate = (correction.measure_arm(_bins(self.matched, side), cuts) for side in (0, 1))
            return None if baseline is None or candidate is None else (baseline, candidate)
        by_tier = np.arange(len(TIERS))[:, None] == self.matched.tier
        traffic, labelled, failures = (column @ by_tier.T for column in self.matched.columns)
        if not np.add.reduceat(labelled, (0, TIERS.index(HARD_TIER[0])), axis=1).all():
            return None  # without easier or without hard requests, an arm has no share of failures
        return correction.count_arms(traffic, labelled, failures)

    @cached_property
    def _classes(self) -> Mapping[str, _Mask]:
        names = {name for sums in self._sums_by_arm for _, name in sums}
        capability = np.array([row.capability for row in self.matched.rows], dtype=object)
        return {name: (capability == name) & ~self._is_probe for name in sorted(names)}

    def _rows_of(self, tiers: Sequence[Tier]) -> _Mask:
        """Rows of *tiers*; probes belong to tiers, but not to all requests."""
        return ~self._is_probe if len(tiers) > len(TIERS) else self.matched.of_tiers(tiers)

    def _compare(self, chosen: _Mask, group: TierGroup) -> tuple[Counts, Counts] | None:
        """Independent counts of both arms over the *chosen* rows; None without a common row."""
        pair, (before, after) = self.matched.compare(chosen), self.design[group]
        return None if pair is None else (pair[0].shrunk(before), pair[1].shrunk(after))

    def _change(self, group: TierGroup, tiers: Sequence[Tier], of_class: _Mask | None = None) -> _ChangeAt:
        """The change over *tiers* of *group* by factors; what does not depend on the factors is computed once."""
        chosen = self._rows_of(tiers) if of_class is None else self._rows_of(tiers) & of_class
        pair = None if group is not TierGroup.ALL and self.tiers_by is TiersBy.NONE else self.matched.compare(chosen)
        if pair is None:
            return lambda _: None
        mix = self.other_mixes.get(group) if of_class is None and tiers is _TIERS_OF[group] else None
        # The hours before the cutover have to show a rise, and a rise that they show counts even if it went away.
        gap, rise = self._label_bias(group, tiers), self._rise_side_by_side(chosen, group)
        least, most = (1.0, -1.0) if rise is None else (rise, rise)
        is_left_behind = group is TierGroup.HARD and self.is_left_behind

        def change_at(factors: Factors) -> verdict.Interval:
            old, new = (n.shrunk(e / f) for n, e, f in zip(pair, self.design[group], factors, strict=True))
            change = self._bounds.change(old, new, group, is_left_behind=is_left_behind)
            change = change if mix is None else mix.allow_for(change)
            lower, upper = min(change.lower - gap, least), max(change.upper + gap, most)
            return verdict.Interval(change.estimate, max(lower, -1.0), min(upper, 1.0))

        return change_at

    def _rise_side_by_side(self, chosen: _Mask, group: TierGroup) -> float | None:
        """Lower bound of the change in `side_by_side`; None if there is none, or no common row."""
        if (before := self.side_by_side) is None:
            return None
        rows = {*compress(self.matched.rows, chosen)}
        if (pair := before.compare(np.array([row in rows for row in before.rows], dtype=bool))) is None:
            return None
        arms = zip(pair, self.design[group], strict=True)
        # Smoothed: a rate of 0 or 1 among few requests would have no variance.
        rates = ((arm.failures + 1.0) / (arm.requests + 2.0) for arm in pair)
        variance = sum(e * p * (1.0 - p) / arm.requests for p, (arm, e) in zip(rates, arms, strict=True))
        return pair[1].rate - pair[0].rate - _CHANCE * math.sqrt(variance)

    @cached_property
    def side_by_side(self) -> Matched | None:
        """
        Both arms in the hours that both served, if the candidate then served alone; None if those hours are too few.

        A rise since the cutover may come from the time, so a verdict needs to see it here as well. Labels of one day
        but of no common hour are a cutover at that day, and not side by side.
        """
        if self.comparison is Comparison.CONCURRENT:
            return None
        blocks = [{each.block for each in arm.strata if each.labelled} for arm in self._compared.arms]
        hours, days = (set.intersection(*({b // n for b in of_arm} for of_arm in blocks)) for n in (1, 24))
        matched = match(replace(self._compared, comparison=Comparison.CONCURRENT))
        is_enough = matched.requests.sum(axis=1).min() >= _LEAST_LABELS and (hours or len(days) > 1)
        return matched if is_enough and matched.comparison is Comparison.CONCURRENT else None

    @cached_property
    def other_mixes(self) -> Mapping[TierGroup, OtherMix]:
        """Corrections for another mix of requests, by group; all of them once any group shows another mix."""
        is_mixed = self._was_mix_certain or any(mix.strength > 1.0 for mix in self._mixes.values())
        return self._mixes if is_mixed else {}

    @property
    def _was_mix_certain(self) -> bool:
        """Whether an earlier look was certain of another mix. Later looks allow for it too, so verdicts stay stable."""
        return self.earlier is not None and any(verdict.same_mix(group) in self.earlier.bounds for group in TierGroup)

    @property
    def is_mix_certain(self) -> bool:
        """Whether the candidate gets another mix of requests, by evidence that chance does not give at any look."""
        has_enough = min(self.labelled) >= _LEAST_LABELS
        return self._was_mix_certain or (has_enough and any(mix.strength > _CERTAIN for mix in self._mixes.values()))

    @cached_property
    def _mixes(self) -> Mapping[TierGroup, OtherMix]:
        """Empty if labels are corrected or hours left out: cluster sums hold all hours and uncorrected labels."""
        cohort = self.labels.cohort
        is_as_counted = not self.outages[0] and all(
            sum(s.evidence[0] for s in a.strata) >= _LEAST_EFFECTIVE * a.labelled for a in cohort.arms
        )
        groups = [sums.group for sums in cohort.shared_clusters] if is_as_counted else []
        pairs = {group: self._compare(self._rows_of(_TIERS_OF[group]), group) for group in groups}
        return other_mixes(cohort, pairs, self._bounds)

    @cached_property
    def _class_mix_bias(self) -> float:
        """Failure rate that another mix may add to a class with half of all requests, ratio 0 or more."""
        mix, pair = self.other_mixes.get(TierGroup.ALL), self._compare(self._rows_of(tuple(Tier)), TierGroup.ALL)
        return 0.0 if mix is None or pair is None else max(2.0 * (pair[1].rate - pair[0].rate - min(mix.changes)), 0.0)

    @cached_property
    def _at_baseline_mix(self) -> tuple[_Array, _Array]:
        """
        Labelled requests and failures by arm and row, for the tests of `cliff`.

        Once it is certain that the candidate gets other requests, its failures are those it would have at the
        baseline's mix. Of the two estimates of that, the one with the fewest hard and the one with the most easier
        failures count, so that no mix passes for a cliff.
        """
        requests, failures = self.matched.requests, self.matched.failures.copy()
        for group, choose in ((TierGroup.HARD, min), (TierGroup.EASIER, max)) if self.is_mix_certain else ():
            rows, mix = self._rows_of(_TIERS_OF[group]), self.other_mixes.get(group)
            pair = self._compare(rows, group)
            if mix is not None and pair is not None and pair[1].failures:
                ratio = max(pair[0].rate + choose(mix.changes), 0.0) / pair[1].rate
                failures[1, rows] = np.minimum(failures[1, rows] * ratio, requests[1, rows])
        return requests, failures

    def _label_bias(self, group: TierGroup, tiers: Sequence[Tier]) -> float:
        """Change that missing labels and errors of an unchecked judge may feign or hide, in *tiers* of *group*."""
        gap = self.coverage_gaps[group] if tiers is _TIERS_OF[group] else self._coverage_gap(tiers)
        return gap + abs(self.judge_gaps[group])

    def _coverage_gap(self, tiers: Sequence[Tier]) -> float:
        arms = (self._sums(side, tiers) for side in (0, 1))
        baseline, candidate = (Counts(sums.requests, sums.missing) for sums in arms)
        return abs(candidate.rate - baseline.rate) if differ(baseline, candidate, level=_GAP_LEVEL) else 0.0

    def _tagged_excess(self, matched: Matched, requests: _Array, failures: _Array) -> tuple[float, float] | None:
        """Change of the hard tier's share of failures beyond a uniform gain, with its standard error."""
        if self._calibration is None:
            return None
        chosen = matched.known & matched.has_tag
        tags = [column.mean(axis=0)[chosen] for column in (matched.logit, matched.variance)]
        counts = [column[:, chosen] for column in (requests, failures)]
        excess = correction.tagged_excess(tags, counts, self._calibration.cuts)
        return None if excess is None else (excess[0], excess[1] * self._share_effect)

    def _odds(self, matched: Matched, requests: _Array, failures: _Array) -> tuple[float, float] | None:
        """The hard tier's log odds ratio of failing minus the easier tiers', with its standard error."""
        ratios = []
        for group in (TierGroup.HARD, TierGroup.EASIER):
            chosen, effect = matched.of_tiers(_TIERS_OF[group]), np.array(self.design[group])[:, None]
            ratios.append(mantel_haenszel(requests[:, chosen] / effect, failures[:, chosen] / effect))
        hard, easier = ratios
        if hard is None or easier is None:
            return None
        return hard[0] - easier[0], (hard[1] + easier[1]) ** 0.5

    def _counted(
        self, tiers: Sequence[Tier], group: TierGroup, change: verdict.Interval | None, capability: str | None = None
    ) -> verdict.TierComparison:
        """Rates as counted, without correction for noisy tags."""
        baseline, candidate = (self._rate(side, tiers, group, capability) for side in (0, 1))
        return verdict.TierComparison(baseline, candidate, change)

    def _tag_corrected(self, tiers: Sequence[Tier], change: verdict.Interval | None) -> verdict.TierComparison:
        """Rates corrected for noisy tags, averaged over *tiers* at the baseline's mix; counts stay uncorrected."""
        group = group_of(tiers[0])
        if self._arms is None or self.tiers_by is not TiersBy.LEARNT:
            return self._counted(tiers, group, change)
        chosen = np.array([tier in tiers for tier in TIERS], dtype=float)
        traffic = self._arms[0].tier_mix * chosen
        weights = traffic / traffic.sum() if traffic.any() else chosen / chosen.sum()
        variances = [float(weights @ arm.failure_rate_covariance @ weights) for arm in self._arms]
        corrected = [
            (float(weights @ arm.failure_rate), (variance * effect) ** 0.5)
            for arm, variance, effect in zip(self._arms, variances, self.design[group], strict=True)
        ]
        baseline, candidate = (self._rate(side, tiers, group, corrected=corrected[side]) for side in (0, 1))
        if baseline.rate is None or candidate.rate is None:
            return verdict.TierComparison(baseline, candidate, None)
        (before, error), (after, other_error) = corrected
        difference = self._bounds.share(after - before, math.hypot(error, other_error))
        return verdict.TierComparison(baseline, candidate, _by_test(difference, change))

    def _rate(
        self,
        side: int,
        tiers: Sequence[Tier],
        group: TierGroup,
        capability: str | None = None,
        corrected: tuple[float, float] | None = None,
    ) -> verdict.FailureRate:
        """Failure rate of the arm *side* (0 or 1), as counted or *corrected* (a rate and its standard error)."""
        sums, rate = self._sums(side, tiers, capability), None
        if sums.squares > 0:
            estimate, error = corrected or (min(sums.weighted_failures / sums.weight, 1.0), 0.0)
            independent = sums.weight**2 / sums.squares / self.design[group][side]
            if error > 0:
                independent = min(independent, requests_worth(estimate, error))
            rate = self._bounds.rate(estimate, independent)
        coverage = 1.0 - sums.missing / sums.requests if sums.requests else None
        return verdict.FailureRate(int(sums.labelled), int(sums.failures), rate, coverage)

    def _sums(self, side: int, tiers: Sequence[Tier], capability: str | None = None) -> _Sums:
        """The sums over *tiers* in the arm *side* (0 or 1)."""
        items = self._sums_by_arm[side].items()
        return _total(sums for (tier, name), sums in items if tier in tiers and capability in (None, name))

    def _of_class(self, name: str, group: TierGroup) -> verdict.TierComparison:
        tiers = _TIERS_OF[group]
        change = self._change(group, tiers, self._classes[name])(_AS_IS)
        if group is TierGroup.ALL and change is not None:
            change = replace(change, lower=max(change.lower - self._class_mix_bias, -1.0))
            change = self.over_all_looks(verdict.class_scope(name), change)
        return self._counted(tiers, group, change, name)


def _effective_clusters(arm: Arm) -> float:
    """Number of clusters of equal size with the same design effect (Kish 1965); infinite without clusters."""
    of_all = (sums for sums in arm.clusters if sums.group is TierGroup.ALL)
    return min((sums.requests**2 / sums.requests_squared for sums in of_all), default=math.inf)


class _Sums(NamedTuple):
    """
    Sums over strata of one arm.

    Attributes:
        missing: Requests whose label is missing.
        weight: Requests that are labelled or represented by labelled ones: the weight of a class in a stratified rate.
        weighted_failures: Over classes, the sum of weight times failure rate.
        squares: Over classes, the sum of weight squared over effective requests.
    """

    requests: float = 0.0
    labelled: float = 0.0
    failures: float = 0.0
    missing: float = 0.0
    weight: float = 0.0
    weighted_failures: float = 0.0
    squares: float = 0.0


def _total(sums: Iterable[_Sums]) -> _Sums:
    return _Sums(*(sum(column) for column in zip(_Sums(), *sums, strict=True)))


def _by_tier_and_class(arm: Arm) -> Mapping[tuple[Tier, str], _Sums]:
    by_class: dict[tuple[Tier, str], Sequence[float]] = {}
    for each in arm.strata:
        counts = (each.requests, each.labelled, each.failures, each.unlabelled, each.represented, *each.evidence)
        so_far = by_class.get((each.tier, each.capability))
        by_class[each.tier, each.capability] = counts if so_far is None else tuple(map(add, so_far, counts))
    return {
        key: _Sums(*counts, *((w, w * failures / requests, w**2 / requests) if requests > 0 else ()))
        for key, (*counts, w, requests, failures) in by_class.items()
    }


def _panel(probes: Cohort) -> Matched:
    """Rows of a probe panel: outside the traffic, and independent once divided by their design effect."""
    matched, design = match(probes), design_effects(probes)
    effect = np.array([design[group_of(row.tier)] for row in matched.rows]).reshape(-1, 2).T
    return replace(
        matched,
        rows=[replace(row, is_probe=True) for row in matched.rows],
        traffic=np.zeros_like(matched.traffic),
        represented=matched.represented / effect,
        requests=matched.requests / effect,
        failures=matched.failures / effect,
    )


def _bins(matched: Matched, side: int) -> Sequence[correction.DifficultyBin]:
    columns = (matched.logit[side], matched.variance[side], matched.known, *(each[side] for each in matched.columns))
    return [correction.DifficultyBin(*row) for row in np.array(columns)[:, matched.has_tag].T.tolist()]


def expected_failures(requests: Sequence[float] | _Array, failures: Sequence[float] | _Array) -> float:
    """Failures of the candidate at the baseline's rate, from both arms' counts (baseline first)."""
    return float(failures[0] * requests[1] / max(requests[0], 1.0))


def _with_least_failures(matched: Matched, requests: _Array, failures: _Array) -> _Array:
    """
    *failures*, with the candidate's easier failures raised to `MIN_EASIER_FAILURES` if it has clearly fewer.

    Without failures there are no odds to test. Added failures make its gain look smaller, so they cause no false alarm.
    Returns the same array if there is nothing to add.
    """
    easier = matched.of_tiers(EASIER_TIERS)
    of, failed = requests[:, easier].sum(axis=1), failures[:, easier].sum(axis=1)
    if failed[1] >= MIN_EASIER_FAILURES or expected_failures(of, failed) < CLEARLY_FEWER * MIN_EASIER_FAILURES:
        return failures
    enough = failures.copy()
    enough[1, easier] += (MIN_EASIER_FAILURES - failed[1]) / of[1] * requests[1, easier]
    return np.minimum(enough, requests)


def _ratio(interval: verdict.Interval) -> verdict.Interval:
    return verdict.Interval(interval.estimate, max(interval.lower, 0.0), min(interval.upper, 1.0))


def _by_test(corrected: verdict.Interval, test: verdict.Interval | None, *, largest: float = 1.0) -> verdict.Interval:
    """
    *corrected* with the bounds of the *test* that decides, scaled to its estimate, if either excludes 0.

    Otherwise the bounds shown beside an alarm could include 0, or exclude it without an alarm.

    Source:
        Test-based limits of Miettinen (1976), Am. J. Epidemiol. 103:226.
    """
    if test is None or corrected.estimate * test.estimate <= 0:
        return corrected
    if all(interval.lower <= 0 <= interval.upper for interval in (corrected, test)):
        return corrected
    scale = corrected.estimate / test.estimate
    upper = corrected.upper if test.upper >= _UNBOUNDED else scale * test.upper
    return verdict.Interval(corrected.estimate, max(scale * test.lower, -largest), min(upper, largest))
