"""The verdict on a rollout: what it says, in which words, with which bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from monitor.difficulty.tiers import Tier


class VerdictState(StrEnum):
    """What we say of a rollout (docs/verdicts.md has the definitions)."""

    OK = "ok"
    CLIFF = "cliff"
    REGRESSION = "regression"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its anytime-valid bounds; None where it cannot be told yet."""

    estimate: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class FailureRate:
    """
    Failure rate of one arm, in one tier or overall.

    Attributes:
        requests: Labelled requests.
        failures: Failed ones among them.
        rate: Failures per labelled request, with anytime-valid bounds, ratio 0 to 1; None without a labelled request.
        coverage: Labelled per matured request, ratio 0 to 1; None without a request.
    """

    requests: int
    failures: int
    rate: Interval | None
    coverage: float | None


@dataclass(frozen=True, slots=True)
class TierComparison:
    """One tier in both arms, and the change of its failure rate (None while an arm has no labelled request)."""

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


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    What is said of a rollout, and everything that it rests on.

    Attributes:
        reasons: Sentences with numbers, most telling first.
        requests_needed: Labelled candidate requests still needed for the next state; 0 where none are.
        requests_to_verdict: Labelled candidate requests when this state was first reached; 0 while waiting.
        share: None while it cannot be told.
        decomposition: None while it cannot be told.
        tiers: One entry per tier of `TIERS`.
        calibration_id: The calibration that both arms were read under; empty where there was none.
    """

    state: VerdictState
    reasons: Sequence[str]
    requests_needed: int
    requests_to_verdict: int
    share: ShareComparison | None
    decomposition: Decomposition | None
    aggregate: TierComparison
    tiers: Mapping[Tier, TierComparison]
    calibration_id: str
