"""The verdict on a rollout: its state, its reasons, and the estimates and bounds behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from monitor.difficulty.tiers import Tier
from monitor.rollout.cohort import ArmName, Comparison, Runs, TierGroup, TiersBy
from monitor.rollout.oncall import OnCallLoad


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its bounds: anytime-valid ones in a verdict."""

    estimate: float
    lower: float
    upper: float

    def within(self, earlier: Interval | None) -> Interval:
        """
        This interval, narrowed by the bounds of an *earlier* look.

        Anytime-valid bounds hold at all looks together, so narrowing adds no error while the true value stays the same.
        An earlier bound that the estimate is beyond by now is dropped: the true value has changed.

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
        requests: Labelled requests, counted by tag.
        failures: Failures among them, counted by tag.
        rate: Failures per labelled request with anytime-valid bounds, ratio 0 to 1; a tier's rate is corrected for
            noisy tags. None without a labelled request.
        coverage: Labelled per matured request, ratio 0 to 1; None without a request.
    """

    requests: int
    failures: int
    rate: Interval | None
    coverage: float | None


@dataclass(frozen=True, slots=True)
class TierComparison:
    """Both arms in one tier or group, and the change of the failure rate (None while it is unknown)."""

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
    """Parts of the raw change of the hard tier's share of failures; they sum to it exactly."""

    traffic_mix: float
    easier_tiers: float
    hard_tiers: float


class CountBy(StrEnum):
    """
    What failure rates are computed from.

    `label`: final labels as counted; `looks`: labels of sampled sources, weighted to represent all requests; `audits`:
    the same, corrected for the judge's errors.
    """

    LABEL = "label"
    LOOKS = "looks"
    AUDITS = "audits"


@dataclass(frozen=True, slots=True)
class JudgeErrors:
    """Rates at which the judge fails good answers and passes bad ones, with anytime-valid bounds; None if unknown."""

    false_failure: Interval | None = None
    false_success: Interval | None = None


@dataclass(frozen=True, slots=True)
class JudgeDrift:
    """
    A change of the judge's error rates between earlier and later requests of one arm.

    Attributes:
        at: Where the later requests begin, Unix seconds.
    """

    arm: ArmName
    group: TierGroup
    at: float
    before: JudgeErrors
    after: JudgeErrors


@dataclass(frozen=True, slots=True)
class ArmLabels:
    """
    The labels of one arm.

    Attributes:
        coverage: Requests that are labelled, or represented by labelled ones through the sampling probability, over
            all matured requests; None without a request.
        sources: Requests with a verdict, by kind of source.
        audited: Requests with a verdict of the judge and one of a person.
        unfinished: Requests without any verdict, not even of an automatic check, such as timeouts.
        count_by: What the rates are computed from.
        correction: Change of the failure rate of all requests by the correction, ratio -1 to 1.
        judge: The judge's error rates by tier group; empty without audits.
        unchecked: Kinds of the judge's verdicts (`failed`, `passed`) that people do not audit, by tier group; these
            count as correct.
    """

    coverage: float | None = None
    sources: Mapping[str, int] = field(default_factory=dict)
    audited: int = 0
    unfinished: int = 0
    count_by: CountBy = CountBy.LABEL
    correction: float = 0.0
    judge: Mapping[TierGroup, JudgeErrors] = field(default_factory=dict)
    unchecked: Mapping[TierGroup, tuple[str, ...]] = field(default_factory=dict)


LEFT_BEHIND, EXCESS = "left_behind", "excess"
"""
Names in `Verdict.bounds`: the hard tier's log odds ratio of failing minus the easier tiers', and the change of the hard
tier's share of failures beyond a uniform gain.
"""


def same_mix(group: str) -> str:
    """
    Name in `Verdict.bounds` of the change of *group* without the effect of another mix of requests.

    >>> same_mix("all")
    'same_mix:all'
    """
    return f"same_mix:{group}"


def class_scope(capability: str) -> str:
    """
    Name of a capability class in `Verdict.scope` and `Verdict.bounds`.

    >>> class_scope("search")
    'capability:search'
    """
    return f"capability:{capability}"


class VerdictState(StrEnum):
    """The states of a verdict (docs/verdicts.md has the definitions)."""

    OK = "ok"
    CLIFF = "cliff"
    REGRESSION = "regression"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    The state of a rollout with its reasons and all estimates behind them.

    Attributes:
        reasons: Sentences with numbers, most important first.
        requests_needed: Labelled candidate requests still needed for the next state; 0 if none are needed.
        requests_to_verdict: Labelled candidate requests when this state was first reached; 0 while waiting.
        share: None while it is unknown.
        decomposition: None while it is unknown.
        tiers: One entry per tier of `TIERS`.
        calibration_id: The calibration that tagged both arms; empty without one.
        hard_tier: Hard and frontier together, at the baseline's mix of the two. Regressions and floors of the hard tier
            use this rate.
        easier_tiers: Easy and medium together, at the baseline's mix of the two.
        capabilities: All requests of each capability class.
        hard_capabilities: The hard tier of each capability class, counted by tag.
        regressed_capabilities: Capability classes shown to fail more often, corrected for testing several.
        on_call: Load on the people on call by arm; None while it is unknown.
        scope: What a regression is about: `all`, `hard`, `easier`, `capability:NAME`, `floor:...`; else empty.
        tiers_by: The source of tiers.
        class_tiers: Tiers of classes, frozen when first used so that later labels do not change them; rows of
            capability, hash of the tools and tier. The key is the time up to which the baseline's labels set them, Unix
            seconds.
        could_still_be: Largest change of the failure rate that is not ruled out, by scope; ratios -1 to 1.
        obstacles: Sentences about what keeps the verdict at `waiting` and more requests do not remove.
        design_effect: Requests that carry the information of one independent request, by arm; at least 1.
        unresolved: Requests of the service whose model version is unknown.
        bounds: The intervals that decide, narrowed over all looks: the change of each scope and the pass rate of each
            floor (ratios), `left_behind` in logits, the `excess` share with learnt tiers, and with another mix of
            requests the change of each group without its effect (`same_mix:all`).
        labels: The labels of each arm.
        coverage_gap: Difference of the arms' label coverage where it is more than chance, by group; ratio.
        one_sided: `failure` or `success` if the labels never say anything else; else empty.
        judge_moved: Groups in which the judge's error rates differ between the arms.
        judge_drift: A change of the judge's error rates within an arm; None unless one is shown.
        audits_needed: Further audits that each arm needs; 0 if it has enough.
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
    hard_tier: TierComparison | None = None
    capabilities: Mapping[str, TierComparison] = field(default_factory=dict)
    regressed_capabilities: Sequence[str] = ()
    on_call: OnCallLoad | None = None
    easier_tiers: TierComparison | None = None
    hard_capabilities: Mapping[str, TierComparison] = field(default_factory=dict)
    scope: tuple[str, ...] = ()
    tiers_by: TiersBy = TiersBy.NONE
    class_tiers: Mapping[float, Sequence[tuple[str, str, Tier]]] = field(default_factory=dict)
    comparison: Comparison = Comparison.CONCURRENT
    could_still_be: Mapping[str, float] = field(default_factory=dict)
    obstacles: tuple[str, ...] = ()
    design_effect: Mapping[ArmName, float] = field(default_factory=dict)
    unresolved: Runs = field(default_factory=Runs)
    bounds: Mapping[str, Interval] = field(default_factory=dict)
    labels: Mapping[ArmName, ArmLabels] = field(default_factory=dict)
    coverage_gap: Mapping[TierGroup, float] = field(default_factory=dict)
    one_sided: str = ""
    judge_moved: tuple[TierGroup, ...] = ()
    judge_drift: JudgeDrift | None = None
    audits_needed: int = 0
