"""What a cohort says: rates, changes, the hard tier's share of failures and its causes, all with bounds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from monitor.difficulty.correction import DifficultyBin, MeasuredArm, ShareShift, compare_shares, measure_arm
from monitor.difficulty.cuts import TierCuts
from monitor.difficulty.tiers import EASIER_TIERS, HARD_TIER, TIERS, Tier
from monitor.difficulty.trust import Trust
from monitor.rollout.cohort import Arm, Cell, Cohort
from monitor.rollout.comparison import Decomposition, FailureRate, Interval, ShareComparison, TierComparison
from monitor.rollout.confidence_sequence import bernoulli_bounds, normal_mixture_bounds, rate_rise_log_e_value
from monitor.rollout.decomposition import decompose
from monitor.rollout.multiplicity import closed_e_bh
from monitor.rollout.policy import Policy

_Array = NDArray[np.float64]

_IS_HARD = np.array([tier in HARD_TIER for tier in TIERS])
_DECISION_Z = 3.0
_SMALLEST_SE = 1e-9


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
        known_share: Known requests per request in the arm that has fewer, ratio 0 to 1.
        known_failures: Failures of known requests in the arm that has fewer.
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
    known_share: float
    known_failures: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """
    How bounds are made.

    A false alarm comes from a cliff, from a risen hard-tier rate or from a broken floor: each has a third of the
    policy's error rate. The first two need one side of a two-sided interval; floors share the last third.

    Attributes:
        error_rate: Chance that a two-sided interval is ever wrong, half of it on either side, ratio 0 to 1.
        best_standard_error: Where intervals are tightest: where a jump of the policy's size is decided.
        floors: Floors that are checked beside each other, at least 1.
    """

    error_rate: float
    best_standard_error: float
    floors: int

    @classmethod
    def of(cls, policy: Policy, *, floors: int = 0) -> Bounds:
        """Bounds that keep the false alarms of *policy*, with so many floors to check, within its error rate."""
        return cls(
            error_rate=2.0 * policy.error_rate / 3.0,
            best_standard_error=policy.share_jump / _DECISION_Z,
            floors=max(floors, 1),
        )

    def change(self, estimate: float, standard_error: float, *, largest: float = 1.0) -> Interval:
        """An estimate with a standard error, within -*largest* to *largest*."""
        lower, upper = normal_mixture_bounds(
            estimate,
            max(standard_error, _SMALLEST_SE),
            error_rate=self.error_rate,
            best_standard_error=self.best_standard_error,
        )
        return Interval(estimate, max(lower, -largest), min(upper, largest))

    def rate(self, estimate: float, standard_error: float, labelled: float) -> Interval:
        """A rate as if counted on as many requests as would give it this standard error, *labelled* at most."""
        variance = standard_error**2
        effective = min(labelled, estimate * (1.0 - estimate) / variance) if variance > 0 else labelled
        lower, upper = bernoulli_bounds(estimate * effective, effective, error_rate=self.error_rate / 2.0 / self.floors)
        return Interval(estimate, lower, upper)

    def ratio(self, estimate: float, standard_error: float) -> Interval:
        """A share, within 0 to 1."""
        interval = self.change(estimate, standard_error)
        return Interval(estimate, max(interval.lower, 0.0), min(interval.upper, 1.0))


def measure(cohort: Cohort, calibration: Yardstick | None, policy: Policy, *, floors: int = 0) -> Measurement:
    """
    What *cohort* says.

    Without a calibration, or without a known label in both arms, there are counts but neither tier changes nor shares.

    Args:
        cohort: Matured requests of both arms.
        calibration: What both arms were tagged with, or None.
        policy: Error rate, and the jump that bounds are tuned for.
        floors: Floors that will be checked against the rates.
    """
    bounds = Bounds.of(policy, floors=floors)
    arms = (cohort.baseline, cohort.candidate)
    known_failures = min(sum(c.failures for c in arm.cells if c.is_known) for arm in arms)
    measured = None if calibration is None else _measured_arms(cohort, calibration)
    aggregate = _counted(cohort, _is_any, bounds)
    known_share = min(_known_share(arm) for arm in arms)
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
            known_share=known_share,
            known_failures=known_failures,
        )
    baseline, candidate = measured
    shift = compare_shares(baseline, candidate)
    return Measurement(
        aggregate=aggregate,
        tiers={
            tier: _corrected(cohort, measured, np.eye(len(TIERS))[index], (tier,), bounds)
            for index, tier in enumerate(TIERS)
        },
        hard_tier=_corrected(cohort, measured, _weights(baseline.tier_mix, _IS_HARD), HARD_TIER, bounds),
        easier_tiers=_corrected(cohort, measured, _weights(baseline.tier_mix, ~_IS_HARD), EASIER_TIERS, bounds),
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
        known_share=known_share,
        known_failures=known_failures,
    )


def difficulty_bins(cells: Iterable[Cell]) -> Sequence[DifficultyBin]:
    """
    Cells that share a difficulty bin, known and unknown ones apart; tier and capability are left out.

    Requests too unlike the history to be given one tier still have a difficulty, if a wide one, and belong to the
    traffic mix; those that no calibration has seen (`NO_TAG`) have none.
    """
    groups: dict[tuple[int, bool], list[Cell]] = defaultdict(list)
    for cell in cells:
        if cell.requests > 0 and (cell.tier is not Tier.UNTIERED or cell.variance_sum > 0):
            groups[cell.bin, cell.is_known].append(cell)
    return [_bin(group, is_known=is_known) for (_, is_known), group in sorted(groups.items())]


def _bin(cells: Sequence[Cell], *, is_known: bool) -> DifficultyBin:
    requests = sum(cell.requests for cell in cells)
    return DifficultyBin(
        difficulty_logit=sum(cell.logit_sum for cell in cells) / requests,
        difficulty_variance=sum(cell.variance_sum for cell in cells) / requests,
        is_known=is_known,
        requests=requests,
        labelled=sum(cell.labelled for cell in cells),
        failures=sum(cell.failures for cell in cells),
    )


def _measured_arms(cohort: Cohort, calibration: Yardstick) -> tuple[MeasuredArm, MeasuredArm] | None:
    baseline = measure_arm(difficulty_bins(cohort.baseline.cells), calibration.cuts)
    candidate = measure_arm(difficulty_bins(cohort.candidate.cells), calibration.cuts)
    return None if baseline is None or candidate is None else (baseline, candidate)


def _share(shift: ShareShift, bounds: Bounds) -> ShareComparison:
    return ShareComparison(
        baseline=bounds.ratio(shift.baseline, shift.baseline_se),
        candidate=bounds.ratio(shift.candidate, shift.candidate_se),
        change=bounds.change(shift.change, shift.change_se),
        expected_change=shift.expected_change,
        excess=bounds.change(shift.excess, shift.excess_se, largest=2.0),
    )


def _corrected(
    cohort: Cohort,
    measured: tuple[MeasuredArm, MeasuredArm],
    weights: _Array,
    tiers: Sequence[Tier],
    bounds: Bounds,
) -> TierComparison:
    """Rates corrected for noisy tags, averaged over *tiers* by *weights*; the counts beside them are by tag."""
    arms = []
    for arm, corrected in zip((cohort.baseline, cohort.candidate), measured, strict=True):
        cells = [cell for cell in arm.cells if cell.tier in tiers]
        rate = float(weights @ corrected.failure_rate)
        error = float(weights @ corrected.failure_rate_covariance @ weights) ** 0.5
        labelled = sum(cell.labelled for cell in cells)
        arms.append((_failure_rate(cells, bounds.rate(rate, error, labelled) if labelled else None), rate, error))
    (baseline, before, before_error), (candidate, after, after_error) = arms
    told = baseline.rate is not None and candidate.rate is not None
    error = float(np.hypot(before_error, after_error))
    return TierComparison(baseline, candidate, bounds.change(after - before, error) if told else None)


def _counted(cohort: Cohort, belongs: Callable[[Cell], bool], bounds: Bounds) -> TierComparison:
    """Rates as counted over the cells that belong."""
    arms = []
    for arm in (cohort.baseline, cohort.candidate):
        cells = [cell for cell in arm.cells if belongs(cell)]
        labelled, failures = sum(cell.labelled for cell in cells), sum(cell.failures for cell in cells)
        rate = bounds.rate(failures / labelled, 0.0, labelled) if labelled else None
        arms.append((_failure_rate(cells, rate), _smoothed_variance(failures, labelled)))
    (baseline, before_variance), (candidate, after_variance) = arms
    change = None
    if baseline.rate is not None and candidate.rate is not None:
        estimate = candidate.rate.estimate - baseline.rate.estimate
        change = bounds.change(estimate, (before_variance + after_variance) ** 0.5)
    return TierComparison(baseline, candidate, change)


def _failure_rate(cells: Sequence[Cell], rate: Interval | None) -> FailureRate:
    requests, labelled = sum(cell.requests for cell in cells), sum(cell.labelled for cell in cells)
    return FailureRate(
        requests=labelled,
        failures=sum(cell.failures for cell in cells),
        rate=rate,
        coverage=labelled / requests if requests else None,
    )


def _smoothed_variance(failures: int, labelled: int) -> float:
    """Variance of a counted rate; one failure and one pass are added, or no failure would look like no doubt."""
    rate = (failures + 1) / (labelled + 2)
    return rate * (1.0 - rate) / max(labelled, 1)


def _capabilities(cohort: Cohort, bounds: Bounds) -> Mapping[str, TierComparison]:
    names = {cell.capability for arm in (cohort.baseline, cohort.candidate) for cell in arm.cells if _is_hard(cell)}
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


def _is_any(_: Cell) -> bool:
    return True


def _is_in(tiers: Sequence[Tier], cell: Cell) -> bool:
    return cell.tier in tiers


def _is_hard(cell: Cell) -> bool:
    return cell.tier in HARD_TIER


def _is_hard_of(capability: str, cell: Cell) -> bool:
    return _is_hard(cell) and cell.capability == capability


def _known_share(arm: Arm) -> float:
    requests = arm.requests
    return sum(cell.requests for cell in arm.cells if cell.is_known) / requests if requests else 0.0


def _weights(tier_mix: _Array, chosen: NDArray[np.bool_]) -> _Array:
    """Weights of the chosen tiers by their traffic; equal where they have none."""
    traffic = tier_mix * chosen if (tier_mix * chosen).any() else chosen.astype(np.float64)
    weights: _Array = traffic / traffic.sum()
    return weights
