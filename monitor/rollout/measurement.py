"""What a cohort says: changes within groups of alike requests, and the hard tier's share of failures and its causes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from operator import add

import numpy as np
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

MIN_EASIER_FAILURES = 10
"""Failures of the easier tiers that each arm needs before `cliff`..."""

MISSED = 3.0
"""... but if so many times as many were due at the baseline's rate, the candidate may lack them: that is its gain."""

_TIERS_OF = {TierGroup.ALL: tuple(Tier), TierGroup.EASIER: EASIER_TIERS, TierGroup.HARD: HARD_TIER}
_FEIGNED_SHARE = 0.005  # what noisy tags feign under a uniform gain, however many requests come
_LEAST_BELIEVED = 0.75  # part of all labels that counts as it is, without correction
_SURE, _LEAST_SURE = 2.0, 100  # times what chance explains, so that no look would see it by chance; labels of each arm
_CHANCE = 2.0  # standard errors that chance may add to what rose side by side: more in 2.3 % of cases
_UNBOUNDED = 100.0  # more than any share, and than any odds in logits
_GAP_LEVEL = 0.005  # chance that chance alone passes for a difference of label coverage


class Measurement:
    """
    Everything that a verdict rests on, computed when it is asked for.

    All requests and capability classes need no tiers. Where tiers are learnt, their rates are corrected for noisy tags
    on known requests; what is decided rests on the tags as they are.

    Args:
        cohort: Matured requests of both arms.
        calibration: What both arms were tagged with, or None.
        policy: Error rate, and the jump that bounds are tuned for.
        floors: Floors that will be checked against the rates.
        probes: The probe panel replayed on both versions, or None. It adds to what is known of each tier's failure
            rate, and neither to the traffic mix nor to the counts that are shown.
        previous: The last verdict on this rollout, or None. What it has shown by the same tiers, hours
            and kind of labels still counts.

    Attributes:
        tiers_by: What gives the tiers; `none` where they cannot be trusted.
        earlier: The previous verdict, if it is about the same tiers, hours and kind of labels.
        comparison: Whether the arms are compared at the same hours.
        design: Design effects by group.
        labelled: Labelled requests of baseline and candidate, as counted.
        labels: What the labels are worth.
        outages: Failures by hour in which one arm was down alone, of each arm. Those of the baseline are left out of
            what is compared, in both arms; those of the candidate count.
        matched: Both arms at the same hours.
        equal_clusters: Conversations, users or items of one size that would make the requests of each arm as much
            alike; infinite where it has none.
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
        # Added up once: every rate asks for some.
        self._sides = [_by_tier_and_class(arm) for arm in cohort.arms]
        self._calibration = calibration
        self.design = design_effects(cohort)
        self.outages = outages(cohort, self.design[TierGroup.ALL])
        self._compared = without_hours(cohort, self.outages[0])
        self.matched = match(self._compared)
        if probes is not None:
            self.matched = self.matched.beside(_panel(probes))
        self._is_probe = np.array([row.is_probe for row in self.matched.rows], dtype=bool)
        is_untrusted = calibration is None or not calibration.trust.is_trusted
        self.tiers_by = TiersBy.NONE if cohort.tiers_by is TiersBy.LEARNT and is_untrusted else cohort.tiers_by
        self.comparison = self.matched.comparison
        self.equal_clusters = [
            min(
                (c.requests**2 / c.requests_squared for c in arm.clusters if c.group is TierGroup.ALL), default=math.inf
            )
            for arm in cohort.arms
        ]
        if previous is not None and not (cohort.baseline.clusters and cohort.candidate.clusters):
            # The rows that told it went, and what they told still holds.
            kept = [previous.design_effect.get(arm, 1.0) for arm in ArmName]
            self.design = {group: (max(kept[0], own[0]), max(kept[1], own[1])) for group, own in self.design.items()}
        self.labelled = (cohort.baseline.labelled, cohort.candidate.labelled)
        self.earlier = None
        if previous is not None:
            count_by = previous.labels.get(ArmName.BASELINE, verdict.ArmLabels()).count_by
            theirs = previous.tiers_by, previous.comparison, previous.calibration_id, count_by
            if theirs == (self.tiers_by, self.comparison, cohort.calibration_id, self.labels.arms[0].count_by):
                self.earlier = previous

    @cached_property
    def changes(self) -> Mapping[TierGroup, verdict.Interval | None]:
        """Change of the failure rate within alike requests, by group: what is decided by. None if it is unknown."""
        return {group: self.over_all_looks(group, change) for group, change in self.grown((1.0, 1.0)).items()}

    def grown(self, factors: Factors) -> Mapping[TierGroup, verdict.Interval | None]:
        """`changes` by this look alone, had the arms so many times as many requests of the same kinds and rates."""
        return {group: self._change(group, _TIERS_OF[group], factors=factors) for group in TierGroup}

    def over_all_looks(self, name: str, now: verdict.Interval | None) -> verdict.Interval | None:
        """*now*, narrowed by what earlier looks showed of what `Verdict.bounds` calls *name*."""
        # Until the candidate is known to get other requests, their mix passes for a change.
        if now is None or self.earlier is None or (self.is_surely_mixed and not self._was_mixed):
            return now
        # What rises later has to show side by side at each look.
        is_change = name in {*TierGroup, verdict.LEFT_BEHIND, verdict.EXCESS}
        return now if is_change and self.beside is not None else now.within(self.earlier.bounds.get(name))

    @cached_property
    def bounds(self) -> dict[str, verdict.Interval]:
        """What `Verdict.bounds` is to hold, without floors."""
        told: dict[str, verdict.Interval | None] = {str(group): change for group, change in self.changes.items()}
        told |= {verdict.LEFT_BEHIND: self.left_behind, verdict.EXCESS: self.excess}
        told |= {verdict.class_scope(name): compared.change for name, compared in self.capabilities.items()}
        for group, mix in self.other_mixes.items() if self.is_surely_mixed else ():
            told[verdict.same_mix(group)] = verdict.Interval(mix.changes[0], min(mix.changes), max(mix.changes))
        return {name: interval for name, interval in told.items() if interval is not None}

    @cached_property
    def left_behind(self) -> verdict.Interval | None:
        """How much more the odds of failing of hard requests rose than easier ones', in logits; not of learnt tiers."""
        return None if self.tiers_by in {TiersBy.NONE, TiersBy.LEARNT} else self._non_uniform(verdict.LEFT_BEHIND)

    @cached_property
    def excess(self) -> verdict.Interval | None:
        """The hard tier's share of failures beyond a uniform gain, by tags as they are; of learnt tiers alone."""
        return self._non_uniform(verdict.EXCESS) if self.tiers_by is TiersBy.LEARNT else None

    def _non_uniform(self, name: str) -> verdict.Interval | None:
        """What a uniform gain does not explain, by the test of that *name*."""
        test = self._odds if name == verdict.LEFT_BEHIND else self._tagged_excess
        requests, failures = self._of_same_mix
        enough, beside = _with_enough(self.matched, requests, failures), self.beside
        if (now := test(self.matched, requests, enough)) is None:
            return None
        shift = self._bounds.left_behind(*now) if name == verdict.LEFT_BEHIND else self._bounds.share(*now, largest=2.0)
        if enough is not failures:  # how much more it gained is not known
            shift = replace(shift, upper=_UNBOUNDED)
        if beside is not None:
            # What moved since the candidate serves alone may come from the time.
            shown = test(beside, beside.requests, _with_enough(beside, beside.requests, beside.failures))
            shift = replace(shift, lower=min(shift.lower, 0.0 if shown is None else shown[0] - _CHANCE * shown[1]))
        return self.over_all_looks(name, shift)

    @property
    def is_left_behind(self) -> bool:
        """Whether the hard tier is shown to be left behind, by more than noisy tags feign of a uniform gain."""
        tests = (self.left_behind, 0.0), (self.excess, _FEIGNED_SHARE)
        return any(test is not None and test.lower > feigned for test, feigned in tests)

    def least(self, group: TierGroup) -> tuple[float, float]:
        """
        Independent failures and passes of *group* in the arm that has fewer: what `left_behind` rests on.

        A candidate without easier failures has as many as may lack (see `MISSED`).
        """
        chosen, effect = self._of(_TIERS_OF[group]), np.array(self.design[group])
        columns = self.matched.requests, self.matched.failures
        requests, failures = (each[:, chosen].sum(axis=1) / effect for each in columns)
        if group is TierGroup.EASIER:
            failures[1] = max(failures[1], failures_due(requests, failures) / MISSED)
        return float(failures.min()), float((requests - failures).min())

    @property
    def has_hard_requests(self) -> bool:
        """Whether either arm has a request of the hard tier that it can be compared by."""
        return bool(self._of(HARD_TIER).any())

    @cached_property
    def regressed_capabilities(self) -> Sequence[str]:
        """Classes shown to fail more often; a class that is alone says nothing that all requests do not."""
        if len(self._classes) == 1:
            return ()
        evidence, gap = {}, self.coverage_gaps[TierGroup.ALL] + self._mixed
        for name, chosen in self._classes.items():
            pair = self._compare(chosen, TierGroup.ALL)
            shown = self._least_beside(chosen, TierGroup.ALL)
            if pair is not None and (shown is None or shown > 0):
                evidence[name] = rise_log_e_value(pair[0], pair[1].with_fewer_failures(gap))
        found = set(closed_e_bh(evidence, level=self._bounds.capabilities_level))
        before = () if self.earlier is None else self.earlier.regressed_capabilities
        risen = {name for name, now in self.capabilities.items() if now.change is not None and now.change.lower > 0}
        return sorted(found | risen.intersection(before))

    @cached_property
    def coverage_gaps(self) -> Mapping[TierGroup, float]:
        """
        By how much the arms are shown to differ in the share of their requests that are labelled, ratio 0 to 1.

        Those labels are missing in one arm alone, so they can hide or feign a change of that size.
        """
        return {group: self._coverage_gap(_TIERS_OF[group]) for group in TierGroup}

    @cached_property
    def untold(self) -> Sequence[float]:
        """Share of each arm's requests in tiers and classes without a label, where chance would have given some."""
        shares = []
        for side in self._sides:
            requests, labelled, *_ = (sum(column) for column in zip((0,) * 7, *side.values(), strict=True))
            least = LEAST_EXPECTED * requests / max(labelled, 1.0)
            untold = sum(n for n, *_, weight, _, _ in side.values() if not weight and n >= least)
            shares.append(untold / max(requests, 1.0))
        return shares

    @cached_property
    def aggregate(self) -> verdict.TierComparison:
        """All requests, as counted."""
        return self._counted(tuple(Tier), TierGroup.ALL, self.changes[TierGroup.ALL])

    @cached_property
    def tiers(self) -> Mapping[Tier, verdict.TierComparison]:
        """Each tier; rates are corrected for noisy tags where tiers are learnt."""
        return {tier: self._shown((tier,), self._change(group_of(tier), (tier,))) for tier in TIERS}

    @cached_property
    def hard_tier(self) -> verdict.TierComparison:
        """Hard and frontier together, at the baseline's mix of the two."""
        return self._shown(HARD_TIER, self.changes[TierGroup.HARD])

    @cached_property
    def easier_tiers(self) -> verdict.TierComparison:
        """Easy and medium together, likewise."""
        return self._shown(EASIER_TIERS, self.changes[TierGroup.EASIER])

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
        """The same with bounds."""
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
            excess=_by_test(excess, self.excess or self.left_behind),
        )

    @property
    def _share_effect(self) -> float:
        """By how much clusters widen the standard error of a share at most."""
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
        traffic, labelled, failures = (each @ by_tier.T for each in self.matched.columns)
        if not np.add.reduceat(labelled, (0, TIERS.index(HARD_TIER[0])), axis=1).all():
            return None  # an arm has no easier requests, or no hard ones, to have a share of failures
        return correction.count_arms(traffic, labelled, failures)

    @cached_property
    def _classes(self) -> Mapping[str, _Mask]:
        names = {name for side in self._sides for _, name in side}
        capability = np.array([row.capability for row in self.matched.rows], dtype=object)
        return {name: (capability == name) & ~self._is_probe for name in sorted(names)}

    def _of(self, tiers: Sequence[Tier]) -> _Mask:
        return ~self._is_probe if len(tiers) > len(TIERS) else self.matched.of_tiers(tiers)

    def _compare(self, chosen: _Mask, group: TierGroup, factors: Factors = (1.0, 1.0)) -> tuple[Counts, Counts] | None:
        pair = self.matched.compare(chosen)
        if pair is None:
            return None
        (baseline, candidate), (before, after) = pair, self.design[group]
        return baseline.shrunk(before / factors[0]), candidate.shrunk(after / factors[1])

    def _change(
        self, group: TierGroup, tiers: Sequence[Tier], of_class: _Mask | None = None, factors: Factors = (1.0, 1.0)
    ) -> verdict.Interval | None:
        if group is not TierGroup.ALL and self.tiers_by is TiersBy.NONE:
            return None
        chosen = self._of(tiers) if of_class is None else self._of(tiers) & of_class
        pair = self._compare(chosen, group, factors)
        if pair is None:
            return None
        change = self._bounds.change(*pair, group, is_left_behind=group is TierGroup.HARD and self.is_left_behind)
        gap = self._coverage_gap(tiers)
        if of_class is None and tiers is _TIERS_OF[group] and group in self.other_mixes:
            change = self.other_mixes[group].allow_for(change)
        # A rise has to show side by side, and what shows there is none that time has made good.
        least, most = (1.0, -1.0) if (shown := self._least_beside(chosen, group)) is None else (shown, shown)
        lower, upper = min(change.lower - gap, least), max(change.upper + gap, most)
        return verdict.Interval(change.estimate, max(lower, -1.0), min(upper, 1.0))

    def _least_beside(self, chosen: _Mask, group: TierGroup) -> float | None:
        """By how much the candidate failed more often side by side, less what chance may add; None where few tell."""
        if self.beside is None or (pair := self.beside.compare(np.append(chosen, False)[self._places_beside])) is None:
            return None
        arms = zip(pair, self.design[group], strict=True)
        # Of few requests, all or none of which failed, chance still makes others fail.
        rates = ((arm.failures + 1.0) / (arm.requests + 2.0) for arm in pair)
        variance = sum(e * p * (1.0 - p) / arm.requests for p, (arm, e) in zip(rates, arms, strict=True))
        return pair[1].rate - pair[0].rate - _CHANCE * math.sqrt(variance)

    @cached_property
    def _places_beside(self) -> Sequence[int]:
        """Where each row of `beside` is among those of `matched`; -1 for one that is not."""
        places = {row: place for place, row in enumerate(self.matched.rows)}
        return [] if self.beside is None else [places.get(row, -1) for row in self.beside.rows]

    @cached_property
    def beside(self) -> Matched | None:
        """
        Both arms at the hours in which they served side by side, before the candidate went on alone; None if few did.

        A rise since then may come from the time, so it has to show here as well.
        """
        if self.comparison is Comparison.CONCURRENT:
            return None
        matched = match(replace(self._compared, comparison=Comparison.CONCURRENT))
        is_enough = matched.requests.sum(axis=1).min() >= _LEAST_SURE
        return matched if is_enough and matched.comparison is Comparison.CONCURRENT else None

    @cached_property
    def other_mixes(self) -> Mapping[TierGroup, OtherMix]:
        """What is to be allowed for in each group: nothing until another mix is seen; seen in one, it counts in all."""
        is_mixed = self._was_mixed or any(mix.seen > 1.0 for mix in self._mixes.values())
        return self._mixes if is_mixed else {}

    @property
    def _was_mixed(self) -> bool:
        """Whether an earlier look was sure of it; then every later one allows for it, or verdicts would come and go."""
        return self.earlier is not None and any(verdict.same_mix(group) in self.earlier.bounds for group in TierGroup)

    @property
    def is_surely_mixed(self) -> bool:
        """Whether no look at all would see another mix by chance; of a few requests, none is sure."""
        has_enough = min(self.labelled) >= _LEAST_SURE
        return self._was_mixed or (has_enough and any(mix.seen > _SURE for mix in self._mixes.values()))

    @cached_property
    def _mixes(self) -> Mapping[TierGroup, OtherMix]:
        """None where labels are corrected, or hours left out: clusters are counted with all hours, as labelled."""
        cohort = self.labels.cohort
        is_believed = not self.outages[0] and all(
            sum(s.evidence[0] for s in a.strata) >= _LEAST_BELIEVED * a.labelled for a in cohort.arms
        )
        groups = [sums.group for sums in cohort.shared_clusters] if is_believed else []
        pairs = {group: self._compare(self._of(_TIERS_OF[group]), group) for group in groups}
        return other_mixes(cohort, pairs, self._bounds)

    @cached_property
    def _mixed(self) -> float:
        """What another mix may add to the failure rate of a class that has half of all requests."""
        mix, pair = self.other_mixes.get(TierGroup.ALL), self._compare(self._of(tuple(Tier)), TierGroup.ALL)
        return 0.0 if mix is None or pair is None else max(2.0 * (pair[1].rate - pair[0].rate - min(mix.changes)), 0.0)

    @cached_property
    def _of_same_mix(self) -> tuple[_Array, _Array]:
        """
        Labelled requests and failures by arm and row, as tests of `cliff` take them.

        Once it is sure that the candidate gets other requests, its failures are those that it would have with the
        baseline's mix: of what may be, the fewest hard ones and the most easier ones.
        """
        requests, failures = self.matched.requests, self.matched.failures.copy()
        for group, choose in ((TierGroup.HARD, min), (TierGroup.EASIER, max)) if self.is_surely_mixed else ():
            rows, mix = self._of(_TIERS_OF[group]), self.other_mixes.get(group)
            pair = self._compare(rows, group)
            if mix is not None and pair is not None and pair[1].failures:
                part = max(pair[0].rate + choose(mix.changes), 0.0) / pair[1].rate
                failures[1, rows] = np.minimum(failures[1, rows] * part, requests[1, rows])
        return requests, failures

    def _coverage_gap(self, tiers: Sequence[Tier]) -> float:
        sides = (self._sums(side, tiers) for side in (0, 1))
        baseline, candidate = (Counts(requests, missing) for requests, _, _, missing, *_ in sides)
        return abs(candidate.rate - baseline.rate) if differ(baseline, candidate, level=_GAP_LEVEL) else 0.0

    def _tagged_excess(self, matched: Matched, requests: _Array, failures: _Array) -> tuple[float, float] | None:
        """The hard tier's share beyond a uniform gain, with its standard error."""
        if self._calibration is None:
            return None
        chosen = matched.known & matched.has_tag
        tags = [each.mean(axis=0)[chosen] for each in (matched.logit, matched.variance)]
        counts = [each[:, chosen] for each in (requests, failures)]
        tagged = correction.tagged_excess(tags, counts, self._calibration.cuts)
        return None if tagged is None else (tagged[0], tagged[1] * self._share_effect)

    def _odds(self, matched: Matched, requests: _Array, failures: _Array) -> tuple[float, float] | None:
        """The hard tier's log odds ratio less the easier tiers', with its standard error."""
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
        """Rates as counted."""
        baseline, candidate = (self._rate(side, tiers, group, capability) for side in (0, 1))
        return verdict.TierComparison(baseline, candidate, change)

    def _shown(self, tiers: Sequence[Tier], change: verdict.Interval | None) -> verdict.TierComparison:
        """Rates corrected for noisy tags, averaged over *tiers* at the baseline's mix; the counts beside are by tag."""
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
        moved = self._bounds.share(after - before, math.hypot(error, other_error))
        return verdict.TierComparison(baseline, candidate, _by_test(moved, change))

    def _rate(
        self,
        side: int,
        tiers: Sequence[Tier],
        group: TierGroup,
        capability: str | None = None,
        corrected: tuple[float, float] | None = None,
    ) -> verdict.FailureRate:
        """Of one arm, as counted, or *corrected*: a rate and its standard error."""
        requests, labelled, failures, missing, weight, failing, spread = self._sums(side, tiers, capability)
        rate = None
        if spread > 0:
            estimate, error = corrected or (min(failing / weight, 1.0), 0.0)
            independent = weight**2 / spread / self.design[group][side]
            if error > 0:
                independent = min(independent, requests_worth(estimate, error))
            rate = self._bounds.rate(estimate, independent)
        return verdict.FailureRate(int(labelled), int(failures), rate, 1.0 - missing / requests if requests else None)

    def _sums(self, side: int, tiers: Sequence[Tier], capability: str | None = None) -> Sequence[float]:
        """Of one arm, as `_by_tier_and_class` counts."""
        chosen = (
            sums for (tier, name), sums in self._sides[side].items() if tier in tiers and capability in (None, name)
        )
        return [sum(column) for column in zip((0,) * 7, *chosen, strict=True)]

    def _of_class(self, name: str, group: TierGroup) -> verdict.TierComparison:
        tiers = _TIERS_OF[group]
        change = self._change(group, tiers, self._classes[name])
        if group is TierGroup.ALL and change is not None:
            change = replace(change, lower=max(change.lower - self._mixed, -1.0))
            change = self.over_all_looks(verdict.class_scope(name), change)
        return self._counted(tiers, group, change, name)


def _by_tier_and_class(arm: Arm) -> Mapping[tuple[Tier, str], Sequence[float]]:
    """
    What adds up over tiers and classes.

    Requests, labelled ones, failures, and requests without a label; then the weight of the class in its arm, that times
    its failure rate, and its weight squared over the labelled requests that its rate is worth.
    """
    sums: dict[tuple[Tier, str], Sequence[float]] = {}
    for each in arm.strata:
        counted = (each.requests, each.labelled, each.failures, each.unlabelled, each.represented, *each.evidence)
        have = sums.get((each.tier, each.capability))
        sums[each.tier, each.capability] = counted if have is None else tuple(map(add, have, counted))
    return {
        key: (*counts, weight, weight * failing / worth, weight**2 / worth) if worth > 0 else (*counts, 0.0, 0.0, 0.0)
        for key, (*counts, weight, worth, failing) in sums.items()
    }


def _panel(probes: Cohort) -> Matched:
    """Rows of a panel: outside the traffic, each probe counted once per version."""
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


def failures_due(requests: Sequence[float] | _Array, failures: Sequence[float] | _Array) -> float:
    """How often the candidate would have failed at the baseline's rate; of both, baseline first."""
    return float(failures[0] * requests[1] / max(requests[0], 1.0))


def _with_enough(matched: Matched, requests: _Array, failures: _Array) -> _Array:
    """
    *failures* with those of easier tiers that the candidate lacks to be tested, if many more were due; else the same.

    Of none, no odds are known; if it had failed more often than it did, it would have gained less.
    """
    easier = matched.of_tiers(EASIER_TIERS)
    of, failed = requests[:, easier].sum(axis=1), failures[:, easier].sum(axis=1)
    if failed[1] >= MIN_EASIER_FAILURES or failures_due(of, failed) < MISSED * MIN_EASIER_FAILURES:
        return failures
    enough = failures.copy()
    enough[1, easier] += (MIN_EASIER_FAILURES - failed[1]) / of[1] * requests[1, easier]
    return np.minimum(enough, requests)


def _ratio(interval: verdict.Interval) -> verdict.Interval:
    return verdict.Interval(interval.estimate, max(interval.lower, 0.0), min(interval.upper, 1.0))


def _by_test(corrected: verdict.Interval, test: verdict.Interval | None) -> verdict.Interval:
    """
    *corrected* with the bounds of the *test* that decides, in proportion, where either shows a change.

    Else an alarm could stand beside bounds that speak against it, or bounds that show a change beside no alarm.

    Source:
        Test-based limits of Miettinen (1976), Am. J. Epidemiol. 103:226.
    """
    if test is None or corrected.estimate * test.estimate <= 0:
        return corrected
    if all(each.lower <= 0 <= each.upper for each in (corrected, test)):
        return corrected
    scale = corrected.estimate / test.estimate
    upper = corrected.upper if test.upper >= _UNBOUNDED else scale * test.upper
    return verdict.Interval(corrected.estimate, max(scale * test.lower, -1.0), min(upper, 1.0))
