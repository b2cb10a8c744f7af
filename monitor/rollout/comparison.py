"""What a verdict shows: rates, changes and shares, each with bounds that hold however often they are looked at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its bounds: anytime-valid ones in a verdict."""

    estimate: float
    lower: float
    upper: float

    def within(self, earlier: Interval | None) -> Interval:
        """
        What this look and *earlier* ones allow, estimate included; this look alone where the two exclude each other.

        Bounds that hold at any look hold at all of them, so narrowing costs no error while the truth stays the same.

        >>> Interval(0.02, -0.01, 0.05).within(Interval(0.04, 0.03, 0.09))
        Interval(estimate=0.03, lower=0.03, upper=0.05)
        """
        if earlier is None or self.lower > earlier.upper or earlier.lower > self.upper:
            return self
        lower, upper = max(self.lower, earlier.lower), min(self.upper, earlier.upper)
        return Interval(min(max(self.estimate, lower), upper), lower, upper)


@dataclass(frozen=True, slots=True)
class FailureRate:
    """
    Failure rate of one arm, in one tier or overall.

    Attributes:
        requests: Labelled requests, by their tag.
        failures: Failed ones among them, by their tag.
        rate: Failures per labelled request, corrected for noisy tags where it is a tier's, with anytime-valid bounds,
            ratio 0 to 1; None without a labelled request.
        coverage: Labelled per matured request, ratio 0 to 1; None without a request.
    """

    requests: int
    failures: int
    rate: Interval | None
    coverage: float | None


@dataclass(frozen=True, slots=True)
class TierComparison:
    """Both arms in one tier, and the change of its failure rate (None while it cannot be told)."""

    baseline: FailureRate
    candidate: FailureRate
    change: Interval | None


@dataclass(frozen=True, slots=True)
class ShareComparison:
    """
    The hard tier's share of failures, standardised to the baseline's traffic mix; ratios 0 to 1.

    Attributes:
        baseline: Share of the baseline's failures, with bounds.
        candidate: Share of the candidate's failures at the baseline's traffic mix, with bounds.
        change: Candidate minus baseline.
        expected_change: The change that a uniform gain in ability would give.
        excess: Change minus expected change.
    """

    baseline: Interval
    candidate: Interval
    change: Interval
    expected_change: float
    excess: Interval


@dataclass(frozen=True, slots=True)
class Decomposition:
    """Parts of the raw change of the hard tier's share of failures; they add up to it exactly."""

    traffic_mix: float
    easier_tiers: float
    hard_tiers: float
