"""What a cohort says: rates, changes, the hard tier's share of failures and its causes, all with bounds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from monitor.difficulty.correction import DifficultyBin, MeasuredArm, ShareShift, compare_shares, measure_arm
from monitor.difficulty.tiers import EASIER_TIERS, HARD_TIER, TIERS, Tier, TierCuts
from monitor.difficulty.trust import Trust
from monitor.rollout.bounds import Bounds
from monitor.rollout.cohort import Cohort, Stratum
from monitor.rollout.comparison import Decomposition, FailureRate, Interval, ShareComparison, TierComparison
from monitor.rollout.confidence_sequence import rate_rise_log_e_value
from monitor.rollout.decomposition import decompose
from monitor.rollout.multiplicity import closed_e_bh
from monitor.rollout.policy import Policy

_Array = NDArray[np.float64]

_IS_HARD = np.array([tier in HARD_TIER for tier in TIERS])


class Yardstick(Protocol):
    """What the rollout has to know of the `Calibration` that tagged both of its arms."""

    @property
    def calibration_id(self) -> str:
        """Identity of the frozen fit."""
        ...

    @property
    def cuts(self) -> TierCuts:
        """Where tiers begin."""
        ...

    @property
    def trust(self) -> Trust:
        """Whether tiers may be believed."""
        ...


@dataclass(frozen=True, slots=True)
class Measurement:
    """
    Everything that a verdict rests on.

    Attributes:
        aggregate: All tiers together, counted.
        tiers: One entry per tier of `TIERS`.
        hard_tier: Hard and frontier together, at the baseline's mix of the two.
        easier_tiers: Easy and medium together, at the baseline's mix of the two.
        capabilities: The hard tier of each capability class, counted by tag.
        regressed_capabilities: Those shown to fail more often; the share of false ones among them is at most the
            policy's error rate on average.
        share: None while it cannot be told.
        shift: *share* with standard errors instead of bounds.
        decomposition: None while it cannot be told.
        standardised_change: Change of the aggregate failure rate at the baseline's traffic mix, or None.
        known_failures: Failures of known requests in the arm that has fewer, probes included.
    """

    aggregate: TierComparison
    tiers: Mapping[Tier, TierComparison]
    hard_tier: TierComparison
    easier_tiers: TierComparison
    capabilities: Mapping[str, TierComparison]
    regressed_capabilities: Sequence[str]
    share: ShareComparison | None
    shift: ShareShift | None
    decomposition: Decomposition | None
    standardised_change: float | None
    known_failures: int


def measure(
    cohort: Cohort,
    calibration: Yardstick | None,
    policy: Policy,
    *,
    floors: int = 0,
    probes: Cohort | None = None,
) -> Measurement:
    """
    What *cohort* says.

    Without a calibration, or without a known label in both arms, there are counts but neither tier changes nor shares.

    Args:
        cohort: Matured requests of both arms.
        calibration: What both arms were tagged with, or None.
        policy: Error rate, and the jump that bounds are tuned for.
        floors: Floors that will be checked against the rates.
        probes: The probe panel replayed on both versions, or None. It adds to what is known of each tier's failure
            rate, and neither to the traffic mix nor to the counts that are shown.
    """
    bounds = Bounds.of(policy, floors=floors)
    beside = ((), ()) if probes is None else (probes.baseline.strata, probes.candidate.strata)
    evidence = ([*cohort.baseline.strata, *beside[0]], [*cohort.candidate.strata, *beside[1]])
    known_failures = min(sum(stratum.failures for stratum in strata if stratum.is_known) for strata in evidence)
    measured = None if calibration is None else _measured_arms(cohort, beside, calibration)
    aggregate = _counted(cohort, _is_any, bounds)
    capabilities = _capabilities(cohort, bounds)
    regressed = _regressed(capabilities, policy.error_rate)
    if measured is None:
        return Measurement(
            aggregate=aggregate,
            tiers={tier: _counted(cohort, partial(_is_in, (tier,)), bounds) for tier in TIERS},
            hard_tier=_counted(cohort, _is_hard, bounds),
            easier_tiers=_counted(cohort, partial(_is_in, EASIER_TIERS), bounds),
            capabilities=capabilities,
            regressed_capabilities=regressed,
            share=None,
            shift=None,
            decomposition=None,
            standardised_change=None,
            known_failures=known_failures,
        )
    baseline, candidate = measured
    shift = compare_shares(baseline, candidate)
    corrected = partial(_corrected, _Evidence(cohort, evidence, measured, bounds))
    return Measurement(
        aggregate=aggregate,
        tiers={tier: corrected(np.eye(len(TIERS))[index], (tier,)) for index, tier in enumerate(TIERS)},
        hard_tier=corrected(_weights(baseline.tier_mix, _IS_HARD), HARD_TIER),
        easier_tiers=corrected(_weights(baseline.tier_mix, ~_IS_HARD), EASIER_TIERS),
        capabilities=capabilities,
        regressed_capabilities=regressed,
        share=None if shift is None else _share(shift, bounds),
        shift=shift,
        decomposition=decompose(
            baseline_mix=baseline.tier_mix,
            baseline_rate=baseline.failure_rate,
            candidate_mix=candidate.tier_mix,
            candidate_rate=candidate.failure_rate,
        ),
        standardised_change=float(baseline.tier_mix @ (candidate.failure_rate - baseline.failure_rate)),
        known_failures=known_failures,
    )


def difficulty_bins(strata: Iterable[Stratum]) -> Sequence[DifficultyBin]:
    """
    Strata that share a difficulty bin, known and unknown ones apart; tier and capability are left out.

    Requests too unlike the history to be given one tier still have a difficulty, if a wide one, and belong to the
    traffic mix; those that no calibration has seen (`NO_TAG`) have none.
    """
    groups: dict[tuple[int, bool], list[Stratum]] = defaultdict(list)
    for stratum in strata:
        if stratum.requests > 0 and (stratum.tier is not Tier.UNTIERED or stratum.variance_sum > 0):
            groups[stratum.bin, stratum.is_known].append(stratum)
    return [_bin(group, is_known=is_known) for (_, is_known), group in sorted(groups.items())]


def _bin(strata: Sequence[Stratum], *, is_known: bool) -> DifficultyBin:
    requests = sum(stratum.requests for stratum in strata)
    return DifficultyBin(
        difficulty_logit=sum(stratum.logit_sum for stratum in strata) / requests,
        difficulty_variance=sum(stratum.variance_sum for stratum in strata) / requests,
        is_known=is_known,
        requests=requests,
        labelled=sum(stratum.labelled for stratum in strata),
        failures=sum(stratum.failures for stratum in strata),
    )


def _measured_arms(
    cohort: Cohort, probes: tuple[Sequence[Stratum], Sequence[Stratum]], calibration: Yardstick
) -> tuple[MeasuredArm, MeasuredArm] | None:
    baseline, candidate = (
        measure_arm([*difficulty_bins(arm.strata), *_outside_the_mix(beside)], calibration.cuts)
        for arm, beside in zip((cohort.baseline, cohort.candidate), probes, strict=True)
    )
    return None if baseline is None or candidate is None else (baseline, candidate)


def _outside_the_mix(probes: Sequence[Stratum]) -> Sequence[DifficultyBin]:
    return [replace(group, requests=0) for group in difficulty_bins(probes)]


def _share(shift: ShareShift, bounds: Bounds) -> ShareComparison:
    return ShareComparison(
        baseline=bounds.ratio(shift.baseline, shift.baseline_se),
        candidate=bounds.ratio(shift.candidate, shift.candidate_se),
        change=bounds.change(shift.change, shift.change_se),
        expected_change=shift.expected_change,
        excess=bounds.change(shift.excess, shift.excess_se, largest=2.0),
    )


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What corrected rates rest on: counts to show, counts that inform (probes beside them), rates, bounds."""

    cohort: Cohort
    strata: tuple[Sequence[Stratum], Sequence[Stratum]]
    measured: tuple[MeasuredArm, MeasuredArm]
    bounds: Bounds


def _corrected(evidence: _Evidence, weights: _Array, tiers: Sequence[Tier]) -> TierComparison:
    """Rates corrected for noisy tags, averaged over *tiers* by *weights*; the counts beside them are by tag."""
    arms = []
    shown = (evidence.cohort.baseline.strata, evidence.cohort.candidate.strata)
    for strata, informing, arm in zip(shown, evidence.strata, evidence.measured, strict=True):
        rate = float(weights @ arm.failure_rate)
        error = float(weights @ arm.failure_rate_covariance @ weights) ** 0.5
        labelled = sum(stratum.labelled for stratum in informing if stratum.tier in tiers)
        interval = evidence.bounds.rate(rate, error, labelled) if labelled else None
        arms.append((_failure_rate([stratum for stratum in strata if stratum.tier in tiers], interval), rate, error))
    (baseline, before, before_error), (candidate, after, after_error) = arms
    told = baseline.rate is not None and candidate.rate is not None
    error = float(np.hypot(before_error, after_error))
    return TierComparison(baseline, candidate, evidence.bounds.change(after - before, error) if told else None)


def _counted(cohort: Cohort, belongs: Callable[[Stratum], bool], bounds: Bounds) -> TierComparison:
    """Rates as counted over the strata that belong."""
    arms = []
    for arm in (cohort.baseline, cohort.candidate):
        strata = [stratum for stratum in arm.strata if belongs(stratum)]
        labelled, failures = sum(stratum.labelled for stratum in strata), sum(stratum.failures for stratum in strata)
        rate = bounds.rate(failures / labelled, 0.0, labelled) if labelled else None
        arms.append((_failure_rate(strata, rate), _smoothed_variance(failures, labelled)))
    (baseline, before_variance), (candidate, after_variance) = arms
    change = None
    if baseline.rate is not None and candidate.rate is not None:
        estimate = candidate.rate.estimate - baseline.rate.estimate
        change = bounds.change(estimate, (before_variance + after_variance) ** 0.5)
    return TierComparison(baseline, candidate, change)


def _failure_rate(strata: Sequence[Stratum], rate: Interval | None) -> FailureRate:
    requests, labelled = sum(stratum.requests for stratum in strata), sum(stratum.labelled for stratum in strata)
    return FailureRate(
        requests=labelled,
        failures=sum(stratum.failures for stratum in strata),
        rate=rate,
        coverage=labelled / requests if requests else None,
    )


def _smoothed_variance(failures: int, labelled: int) -> float:
    """Variance of a counted rate; one failure and one pass are added, or no failure would look like no doubt."""
    rate = (failures + 1) / (labelled + 2)
    return rate * (1.0 - rate) / max(labelled, 1)


def _capabilities(cohort: Cohort, bounds: Bounds) -> Mapping[str, TierComparison]:
    names = {
        stratum.capability for arm in (cohort.baseline, cohort.candidate) for stratum in arm.strata if _is_hard(stratum)
    }
    return {name: _counted(cohort, partial(_is_hard_of, name), bounds) for name in sorted(names)}


def _regressed(capabilities: Mapping[str, TierComparison], level: float) -> Sequence[str]:
    evidence = {
        name: rate_rise_log_e_value(
            baseline_failures=tier.baseline.failures,
            baseline_requests=tier.baseline.requests,
            candidate_failures=tier.candidate.failures,
            candidate_requests=tier.candidate.requests,
        )
        for name, tier in capabilities.items()
    }
    return sorted(closed_e_bh(evidence, level=level))


def _is_any(_: Stratum) -> bool:
    return True


def _is_in(tiers: Sequence[Tier], stratum: Stratum) -> bool:
    return stratum.tier in tiers


def _is_hard(stratum: Stratum) -> bool:
    return stratum.tier in HARD_TIER


def _is_hard_of(capability: str, stratum: Stratum) -> bool:
    return _is_hard(stratum) and stratum.capability == capability


def _weights(tier_mix: _Array, chosen: NDArray[np.bool_]) -> _Array:
    """Weights of the chosen tiers by their traffic; equal where they have none."""
    traffic = tier_mix * chosen if (tier_mix * chosen).any() else chosen.astype(np.float64)
    weights: _Array = traffic / traffic.sum()
    return weights
