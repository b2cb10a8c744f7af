"""Anytime-valid bounds, with the policy's error rate shared between the alarms that may be false."""

from __future__ import annotations

from dataclasses import dataclass

from monitor.rollout.comparison import Interval
from monitor.rollout.confidence_sequence import bernoulli_bounds, normal_mixture_bounds
from monitor.rollout.policy import Policy

_DECISION_Z = 3.0
_SMALLEST_SE = 1e-9


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
