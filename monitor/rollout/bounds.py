"""The error budget of one rollout, and bounds that keep it."""

from __future__ import annotations

from dataclasses import dataclass

from monitor.rollout.cohort import TierGroup
from monitor.rollout.confidence_sequence import Counts, bernoulli_bounds, change_bounds, normal_bounds
from monitor.rollout.verdict import Interval

_CLIFF_SHARE = 0.5
_CAPABILITIES_SHARE = 0.05
_FLOORS_SHARE = 0.05
_GROUP_SHARES = {TierGroup.ALL: 0.15, TierGroup.HARD: 0.15, TierGroup.EASIER: 0.10}
_OK_SHARE = 0.5
_LOGIT_SCALE = 0.75
_SMALLEST_SE = 1e-9


@dataclass(frozen=True, slots=True)
class Bounds:
    """
    Bounds that keep the false alarms of one rollout, over all scopes and looks, within the policy's error rate.

    Half of the budget is for `cliff`, the rest for regressions: of all requests, the hard tier, the easier tiers, all
    capability classes together and all floors together. `ok` has a budget of its own, half of the error rate for each
    margin. Once the gain is shown not to be uniform, the hypothesis of `cliff` is rejected, and its part of the budget
    passes to the hard tier.

    Attributes:
        error_rate: Chance of a false alarm (`Policy.error_rate`), ratio 0 to 1.
        share_jump: Change of a share that bounds are tuned for (`Policy.share_jump`), ratio.
        floors: Number of floors that are checked, at least 1.
    """

    error_rate: float
    share_jump: float
    floors: int = 1

    @property
    def cliff_level(self) -> float:
        """Chance that a uniform gain is called a cliff at any look."""
        return self.error_rate * _CLIFF_SHARE

    @property
    def capabilities_level(self) -> float:
        """False discovery rate of the capability classes that are called regressed."""
        return self.error_rate * _CAPABILITIES_SHARE

    def change(
        self, baseline: Counts, candidate: Counts, group: TierGroup, *, is_left_behind: bool = False
    ) -> Interval:
        """
        Candidate's rate minus baseline's. The lower bound uses the group's part of the budget, the upper that of `ok`.

        Args:
            baseline: Independent counts of the baseline.
            candidate: Independent counts of the candidate.
            group: The requests that are counted.
            is_left_behind: Whether the part of `cliff` has passed to this group.

        Source:
            Graphical procedure of Bretz, Maurer, Brannath and Posch (2009), Stat. Med. 28:586, with tests for any look.
        """
        level = self.error_rate * _GROUP_SHARES[group] + self.cliff_level * is_left_behind
        lower, upper = change_bounds(baseline, candidate, lower_level=level, upper_level=self.error_rate * _OK_SHARE)
        return Interval(candidate.rate - baseline.rate, lower, upper)

    def rate(self, rate: float, requests: float) -> Interval:
        """Bounds of a failure rate from so many independent requests, with the floors' part of the budget."""
        lower, upper = bernoulli_bounds(
            rate * requests, requests, error_rate=2 * self.error_rate * _FLOORS_SHARE / self.floors
        )
        return Interval(rate, min(lower, rate), max(upper, rate))

    def share(self, estimate: float, standard_error: float, *, largest: float = 1.0) -> Interval:
        """Bounds of a share or its change, limited to -*largest* and *largest*."""
        error = max(standard_error, _SMALLEST_SE)
        lower, upper = normal_bounds(estimate, error, level=self.cliff_level, scale=self.share_jump)
        return Interval(estimate, max(lower, -largest), min(upper, largest))

    def left_behind(self, logits: float, standard_error: float) -> Interval:
        """Bounds of the hard tier's log odds ratio of failing minus the easier tiers', in logits."""
        lower, upper = normal_bounds(logits, standard_error, level=self.cliff_level, scale=_LOGIT_SCALE)
        return Interval(logits, lower, upper)


def requests_worth(rate: float, error: float) -> float:
    """
    Number of independent requests that give a rate this standard error (above 0).

    A rate within a standard error of 0 or 1 counts as one standard error away, because at 0 and 1 the variance is 0.

    >>> round(requests_worth(0.2, 0.01)), round(requests_worth(0.0001, 0.01))
    (1600, 99)
    """
    distance = min(error, 0.5)
    inside = min(max(rate, distance), 1.0 - distance)
    return inside * (1.0 - inside) / error**2
