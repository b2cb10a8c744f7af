"""What a verdict shows: rates, changes and shares, each with bounds that hold however often they are looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from monitor.rollout.cohort import TierGroup


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its bounds: anytime-valid ones in a verdict."""

    estimate: float
    lower: float
    upper: float

    def within(self, earlier: Interval | None) -> Interval:
        """
        What this look and *earlier* ones allow; a bound that the estimate is beyond by now is contradicted, and goes.

        Bounds that hold at any look hold at all of them, so narrowing costs no error while the truth stays the same.

        >>> Interval(0.04, -0.01, 0.12).within(Interval(0.05, 0.03, 0.09))
        Interval(estimate=0.04, lower=0.03, upper=0.09)
        >>> Interval(0.02, -0.01, 0.05).within(Interval(0.05, 0.03, 0.09))
        Interval(estimate=0.02, lower=-0.01, upper=0.05)
        """
        if earlier is None:
            return self
        lower = max(self.lower, earlier.lower) if earlier.lower <= self.estimate else self.lower
        upper = min(self.upper, earlier.upper) if self.estimate <= earlier.upper else self.upper
        return Interval(self.estimate, lower, upper)


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


class CountBy(StrEnum):
    """What rates rest on: the label that stands, whoever looked, or these and what people said of the judge."""

    LABEL = "label"
    LOOKS = "looks"
    AUDITS = "audits"


@dataclass(frozen=True, slots=True)
class JudgeErrors:
    """How often the judge fails what is good and passes what is bad, with anytime-valid bounds; None where unknown."""

    false_failure: Interval | None = None
    false_success: Interval | None = None


@dataclass(frozen=True, slots=True)
class ArmLabels:
    """
    The labels of one arm.

    Attributes:
        coverage: Requests whose label is known, or that others stand for by their inclusion probability, over all
            matured ones; None without a request.
        sources: Requests on which each kind of source spoke.
        audited: Those with a verdict of people beside the judge's.
        unfinished: Those on which nobody spoke, not even a check: timeouts, runs that never ended.
        count_by: What the rates rest on.
        correction: What that changed in the failure rate of all requests, ratio -1 to 1.
        judge: Its errors by tier group; empty without audits.
    """

    coverage: float | None = None
    sources: Mapping[str, int] = field(default_factory=dict)
    audited: int = 0
    unfinished: int = 0
    count_by: CountBy = CountBy.LABEL
    correction: float = 0.0
    judge: Mapping[TierGroup, JudgeErrors] = field(default_factory=dict)
