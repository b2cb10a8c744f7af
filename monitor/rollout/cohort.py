"""Cohorts: the matured requests of both arms, grouped so that every statistic can be computed from them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

from msgspec import Struct

from monitor.difficulty.tiers import EASIER_TIERS, HARD_TIER, Tier
from monitor.labels.source_verdicts import PatternCount

SPAN_HOURS = 6
"""Hours that are compared as one block if the arms share hardly any single hour."""

LEAST_EXPECTED = 20.0
"""Expected requests from which observing none is more than chance."""

_LEAST_TIERED = 0.5


class ArmName(StrEnum):
    """The two sides of a rollout."""

    BASELINE = "baseline"
    CANDIDATE = "candidate"


class TiersBy(StrEnum):
    """
    The source of tiers.

    `declared` by the operator, `learnt` per request from reference runs and earlier versions, `class` from the
    baseline's failure rate in the request's class before the rollout, or `none`.
    """

    DECLARED = "declared"
    LEARNT = "learnt"
    CLASS = "class"
    NONE = "none"


class Comparison(StrEnum):
    """Whether both arms served in the same hours, or the candidate after the baseline."""

    CONCURRENT = "concurrent"
    BEFORE_AFTER = "before_after"


class TierGroup(StrEnum):
    """The groups of requests that a verdict judges."""

    ALL = "all"
    EASIER = "easier"
    HARD = "hard"


def group_of(tier: Tier) -> TierGroup:
    """The tier group of *tier*; `ALL` for untiered requests."""
    if tier in HARD_TIER:
        return TierGroup.HARD
    return TierGroup.EASIER if tier in EASIER_TIERS else TierGroup.ALL


class Stratum(Struct, frozen=True, gc=False):
    """
    Requests of one arm with the same hour, tier, capability, difficulty bin and `is_known`.

    Attributes:
        tier: Tier by the rollout's source of tiers.
        is_known: Whether at least two earlier versions served the same request.
        requests: Matured requests, labelled or not.
        labelled: Those with an outcome.
        failures: Those whose outcome is a failure.
        logit_sum: Sum of the difficulty logits of all *requests*.
        variance_sum: Sum of the difficulty variances of all *requests*.
        block: Hour in which the requests started, hours since 1970.
        by_pattern: The same requests by verdict pattern; empty if only the final labels are known.
        effective: Effective labelled requests and failures, corrected for missing and wrong labels (`labelling`); None
            if they are as counted.
        missing: Requests that have no label and that no label represents; None if all without a label are missing.
        sampled: Effective labels by the judge or by people, and those of them that the judge gave, audited or not.
    """

    tier: Tier
    capability: str
    bin: int
    is_known: bool
    requests: int
    labelled: int
    failures: int
    logit_sum: float
    variance_sum: float
    block: int = 0
    by_pattern: Sequence[PatternCount] = ()
    effective: tuple[float, float] | None = None
    missing: float | None = None
    sampled: tuple[float, float] = (0.0, 0.0)

    @property
    def evidence(self) -> tuple[float, float]:
        """Labelled requests and failures: the effective ones where labels were corrected."""
        return self.effective or (self.labelled, self.failures)

    @property
    def unlabelled(self) -> float:
        """Requests whose label is missing."""
        return self.requests - self.labelled if self.missing is None else self.missing

    @property
    def represented(self) -> float:
        """Requests that are labelled or represented by labelled ones: the stratum's weight in rates over strata."""
        return self.labelled if self.effective is None else self.requests


@dataclass(frozen=True, slots=True)
class ClusterSums:
    """
    Sums over the clusters of one arm, in one group of tiers: what a design effect is computed from.

    A cluster is a conversation, else a user, else a repeated item: its requests have correlated outcomes. With n
    labelled requests and f failures of a cluster *in this group*:

    Attributes:
        group: A cluster with requests of several tiers counts in each of their groups.
        clusters: Clusters with a labelled request in the group; a request without a cluster key is its own cluster.
        requests, failures: Sums of n and f.
        requests_squared, requests_failures, failures_squared: Sums of n * n, n * f and f * f.
    """

    group: TierGroup
    clusters: int
    requests: int
    failures: int
    requests_squared: int
    requests_failures: int
    failures_squared: int


class Mix(NamedTuple):
    """
    Sums over what both arms served (such as items): each with n requests and f failures in the baseline, m and g in
    the candidate.

    Attributes:
        weighted: Sums of n * m / (n + m), f * m / (n + m) and n * g / (n + m), over the sample that was read.
        served: Sums of n, f, m and g, scaled up to all requests.
    """

    weighted: tuple[float, ...]
    served: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SharedClusterSums:
    """
    Sums over the clusters that both arms served (an item, a user), in one group of tiers.

    A cluster that is hard in one arm is hard in the other, so shared clusters add less variance to the difference of
    the arms than to each arm's rate. With n requests and f failures of a cluster in the baseline, m and g in the
    candidate:

    Attributes:
        requests_requests, failures_requests, requests_failures, failures_failures: Sums of n * m, f * m, n * g, f * g.
        mixes: What both arms served, compared from fine to coarse: by cluster; adding requests of the same prompt
            family; adding requests of the same class with the same tools on offer.
    """

    group: TierGroup
    requests_requests: int
    failures_requests: int
    requests_failures: int
    failures_failures: int
    mixes: Sequence[Mix] = ()


@dataclass(frozen=True, slots=True)
class Runs:
    """Requests, and how many of them failed."""

    requests: int = 0
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Arm:
    """
    One side of a rollout.

    Attributes:
        clusters: At most one entry per group; without one, every request of the group is independent.
    """

    model_version: str
    strata: Sequence[Stratum]
    clusters: Sequence[ClusterSums] = ()

    @property
    def requests(self) -> int:
        return sum(stratum.requests for stratum in self.strata)

    @property
    def labelled(self) -> int:
        return sum(stratum.labelled for stratum in self.strata)

    @property
    def failures(self) -> int:
        return sum(stratum.failures for stratum in self.strata)


@dataclass(frozen=True, slots=True)
class Cohort:
    """
    Both arms, tagged by one calibration and with tiers from one source.

    Attributes:
        baseline: With `before_after`, its strata of the policy's `baseline_days` before the cutover.
        shared_clusters: At most one entry per group; without one, the arms share no cluster.
        unresolved: Requests of the service that belong to neither arm.
        undeclared: The arm that declares too few tiers for declared ones to be used, although some request does; None
            without such an arm.
    """

    baseline: Arm
    candidate: Arm
    calibration_id: str
    tiers_by: TiersBy = TiersBy.LEARNT
    comparison: Comparison = Comparison.CONCURRENT
    shared_clusters: Sequence[SharedClusterSums] = ()
    unresolved: Runs = field(default_factory=Runs)
    undeclared: ArmName | None = None

    @property
    def arms(self) -> tuple[Arm, Arm]:
        return self.baseline, self.candidate


@dataclass(frozen=True, slots=True)
class TierView:
    """
    How to assign tiers to the requests of a rollout.

    Attributes:
        class_tiers: Tier of each class, a class being (capability, hash of the tools on offer); the hash is empty
            except for the capability `unclassified`. Frozen when the rollout began.
    """

    tiers_by: TiersBy = TiersBy.LEARNT
    class_tiers: Mapping[tuple[str, str], Tier] = field(default_factory=dict)


LEARNT = TierView()
"""Tiers from the calibration of the rollout."""


def untiered_arm(cohort: Cohort) -> ArmName | None:
    """An arm of which fewer than half of the requests have a tier; None if both have enough."""
    for name, arm in zip(ArmName, cohort.arms, strict=True):
        tiered = sum(stratum.requests for stratum in arm.strata if stratum.tier is not Tier.UNTIERED)
        if tiered < _LEAST_TIERED * arm.requests or not tiered:
            return name
    return None


def gives_tiers(cohort: Cohort) -> bool:
    """
    Whether at least half of the requests of each arm have a tier, and the baseline has both hard and easier ones.

    With declared tiers, a tier that only the candidate has counts too, if the baseline lacks it by more than chance:
    then the candidate gets other requests, and the verdict has to say so.
    """
    if untiered_arm(cohort) is not None:
        return False
    tiers = {stratum.tier for stratum in cohort.baseline.strata if stratum.labelled}
    if cohort.tiers_by is TiersBy.DECLARED:
        ratio = cohort.baseline.labelled / max(cohort.candidate.labelled, 1)
        labelled = {tier: sum(s.labelled for s in cohort.candidate.strata if s.tier is tier) for tier in Tier}
        tiers |= {tier for tier, number in labelled.items() if number * ratio >= LEAST_EXPECTED}
    return not tiers.isdisjoint(HARD_TIER) and not tiers <= {*HARD_TIER, Tier.UNTIERED}


_ByHour = Collection[tuple[int, float]]
"""Requests by hour, hours since 1970; an hour may occur more than once."""


def hours_alone(ceased: _ByHour, other: _ByHour) -> int:
    """
    Hours that *other* requests have come alone since the last of those that *ceased*.

    0 if that was no more than a few hours, or if so few would have come by now that chance explains the gap.
    """
    last, latest = (max((hour for hour, _ in served), default=0) for served in (ceased, other))
    since = sum(requests for hour, requests in other if hour > last)
    expected = since * sum(n for _, n in ceased) / max(sum(n for _, n in other) - since, 1)
    return latest - last if expected >= LEAST_EXPECTED and latest - last > SPAN_HOURS else 0


def hours_unlabelled(cohort: Cohort) -> int:
    """
    Hours since the last request with a label in either arm.

    0 if chance explains them, or if labels paused half as long before (people who label some days of a week).
    """
    requests = [(each.block, each.requests) for arm in cohort.arms for each in arm.strata]
    labelled = sorted((each.block, each.labelled) for arm in cohort.arms for each in arm.strata if each.labelled)
    longest = max((later - hour for (hour, _), (later, _) in pairwise(labelled)), default=0)
    since = hours_alone(labelled, requests)
    return since if since > 2 * longest else 0
