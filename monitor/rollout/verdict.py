"""The verdict on a rollout: what it says, in which words, with which bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from monitor.difficulty.tiers import Tier
from monitor.rollout.cohort import ArmName, Comparison, TierGroup, TiersBy, Unresolved
from monitor.rollout.comparison import ArmLabels, Decomposition, FailureRate, Interval, ShareComparison, TierComparison
from monitor.rollout.oncall import OnCallLoad

__all__ = ["Decomposition", "FailureRate", "Interval", "ShareComparison", "TierComparison", "Verdict", "VerdictState"]


LEFT_BEHIND, EXCESS = "left_behind", "excess"
"""
Names in `Verdict.bounds`: how much more the hard tier's log-odds of failing rose than the easier tiers', and its share
of failures beyond what a uniform gain gives.
"""


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
        share: None while it cannot be told.
        decomposition: None while it cannot be told.
        tiers: One entry per tier of `TIERS`.
        calibration_id: The calibration that both arms were read under; empty where there was none.
        hard_tier: Hard and frontier together, at the baseline's mix of the two; what regressions and floors are
            judged by.
        easier_tiers: Easy and medium together, likewise.
        capabilities: All requests of each capability class.
        hard_capabilities: The hard tier of each capability class, counted by tag.
        regressed_capabilities: Capability classes shown to fail more often, several looked at together allowed for.
        on_call: What each arm brings the people on call, or None while it cannot be told.
        scope: What a regression is about: `all`, `hard`, `easier`, `capability:NAME`, `floor:...`; else empty.
        tiers_by: What gave the tiers.
        could_still_be: Largest change of the failure rate that is not ruled out, by scope; ratios -1 to 1.
        obstacles: Sentences: what more requests will not remove.
        design_effect: Requests that say as much as one independent request, by arm; at least 1.
        unresolved: Requests of the service whose version could not be told.
        bounds: What decides, as all looks so far allow: the change of each scope, the pass rate of a floor (ratios),
            `left_behind` in logits, and where tiers are learnt the `excess` share.
        labels: What the labels of each arm are worth.
        coverage_gap: By how much the arms differ in the share of their requests that is labelled, by group; ratio.
        one_sided: `failure` or `success` where the labels never say anything else; else empty.
        judge_moved: Groups of requests in which the judge errs more often in one arm than in the other.
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
    audits_needed: int = 0
