"""The verdict on a rollout: what it says, in which words, with which bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from monitor.difficulty.tiers import Tier
from monitor.rollout.cohort import ArmName, Comparison, TierGroup, TiersBy, Unresolved
from monitor.rollout.oncall import OnCallLoad


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
    """Both arms in one tier, and the change of its failure rate (None while it is unknown)."""

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
class JudgeDrift:
    """
    A judge that errs more often, or less, on the later requests of one arm than on the earlier ones.

    Attributes:
        at: Start of the later ones, Unix seconds.
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
        coverage: Requests whose label is known, or that others stand for by their inclusion probability, over all
            matured ones; None without a request.
        sources: Requests on which each kind of source spoke.
        audited: Those with a verdict of people beside the judge's.
        unfinished: Requests without any verdict, not even an automatic check: timeouts, runs that never ended.
        count_by: What the rates rest on.
        correction: What that changed in the failure rate of all requests, ratio -1 to 1.
        judge: Its errors by tier group; empty without audits.
        unchecked: What people leave out by tier group, so that the judge's word is taken: what it `failed`, `passed`.
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
Names in `Verdict.bounds`: how much more the hard tier's log-odds of failing rose than the easier tiers', and its share
of failures beyond what a uniform gain gives.
"""


def same_mix(group: str) -> str:
    """
    Name in `Verdict.bounds` of the change of *group* without what another mix of requests explains.

    >>> same_mix("all")
    'same_mix:all'
    """
    return f"same_mix:{group}"


def class_scope(capability: str) -> str:
    """
    How a verdict names a class.

    >>> class_scope("search")
    'capability:search'
    """
    return f"capability:{capability}"


class VerdictState(StrEnum):
    """What we say of a rollout (docs/verdicts.md has the definitions)."""

    OK = "ok"
    CLIFF = "cliff"
    REGRESSION = "regression"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    What is said of a rollout, and everything that it rests on.

    Attributes:
        reasons: Sentences with numbers, most telling first.
        requests_needed: Labelled candidate requests still needed for the next state; 0 where none are.
        requests_to_verdict: Labelled candidate requests when this state was first reached; 0 while waiting.
        share: None while it is unknown.
        decomposition: None while it is unknown.
        tiers: One entry per tier of `TIERS`.
        calibration_id: The calibration that both arms were read under; empty where there was none.
        hard_tier: Hard and frontier together, at the baseline's mix of the two; what regressions and floors are
            judged by.
        easier_tiers: Easy and medium together, likewise.
        capabilities: All requests of each capability class.
        hard_capabilities: The hard tier of each capability class, counted by tag.
        regressed_capabilities: Capability classes shown to fail more often, several looked at together allowed for.
        on_call: What each arm brings the people on call, or None while it is unknown.
        scope: What a regression is about: `all`, `hard`, `easier`, `capability:NAME`, `floor:...`; else empty.
        tiers_by: What gave the tiers.
        class_tiers: By the time until which the baseline taught them (Unix seconds), the tiers of classes as they were
            first used: labels that come later do not change them. Rows of capability, hash of the tools, and tier.
        could_still_be: Largest change of the failure rate that is not ruled out, by scope; ratios -1 to 1.
        obstacles: Sentences: what more requests will not remove.
        design_effect: Requests that say as much as one independent request, by arm; at least 1.
        unresolved: Requests of the service whose version could not be told.
        bounds: What decides, as all looks so far allow: the change of each scope, the pass rate of a floor (ratios),
            `left_behind` in logits, where tiers are learnt the `excess` share, and where the candidate gets other
            requests the change of each group without these (`same_mix:all`), as the two ways to tell it bound it.
        labels: What the labels of each arm are worth.
        coverage_gap: By how much the arms differ in the share of their requests that is labelled, by group; ratio.
        one_sided: `failure` or `success` where the labels never say anything else; else empty.
        judge_moved: Groups of requests in which the judge errs more often in one arm than in the other.
        judge_drift: How the judge changed within an arm; None where it is not shown to have.
        audits_needed: More verdicts of people beside the judge's that each arm needs; 0 where they suffice.
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
    unresolved: Unresolved = field(default_factory=Unresolved)
    bounds: Mapping[str, Interval] = field(default_factory=dict)
    labels: Mapping[ArmName, ArmLabels] = field(default_factory=dict)
    coverage_gap: Mapping[TierGroup, float] = field(default_factory=dict)
    one_sided: str = ""
    judge_moved: tuple[TierGroup, ...] = ()
    judge_drift: JudgeDrift | None = None
    audits_needed: int = 0
