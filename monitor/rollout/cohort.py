"""Cohorts: the matured requests of both arms, grouped so that every statistic can be computed from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct

from monitor.difficulty.tiers import EASIER_TIERS, HARD_TIER, Tier
from monitor.labels.source_verdicts import SaidCount

SPAN_HOURS = 6
"""Hours that are compared as one where the arms share hardly any by itself."""

LEAST_EXPECTED = 20.0
"""Labelled requests of a kind that an arm would have at the share of the other: of fewer, none may be chance."""

_LEAST_TIERED = 0.5


class ArmName(StrEnum):
    """The two sides of a rollout."""

    BASELINE = "baseline"
    CANDIDATE = "candidate"


class TiersBy(StrEnum):
    """
    What gives requests their tier: the rung of the ladder that a rollout is judged by.

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
    """The groups of requests that are judged beside each other."""

    ALL = "all"
    EASIER = "easier"
    HARD = "hard"


def group_of(tier: Tier) -> TierGroup:
    """The group that *tier* is judged in, beside all requests."""
    if tier in HARD_TIER:
        return TierGroup.HARD
    return TierGroup.EASIER if tier in EASIER_TIERS else TierGroup.ALL


class Stratum(Struct, frozen=True, gc=False):
    """
    Requests of one arm that are alike: one hour, tier, capability, difficulty bin, and known or not.

    Attributes:
        tier: Tier under the rollout's rung.
        requests: Matured requests, labelled or not.
        labelled: Those with an outcome.
        failures: Those whose outcome is a failure.
        logit_sum: Sum of the difficulty logits of all *requests*.
        variance_sum: Sum of the difficulty variances of all *requests*.
        block: Hour in which the requests started, hours since 1970.
        said: The same requests by who said what of them; empty where only the final label is known.
        effective: Labelled requests and failures that say as much, once missing and mistaken labels are allowed for
            (`labelling`); None where they are as counted.
        missing: Requests that no label tells of or stands for; None where they are those without a label.
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
    said: Sequence[SaidCount] = ()
    effective: tuple[float, float] | None = None
    missing: float | None = None

    @property
    def evidence(self) -> tuple[float, float]:
        """Labelled requests and failures to compute with."""
        return self.effective or (self.labelled, self.failures)

    @property
    def unlabelled(self) -> float:
        """Requests whose label is missing."""
        return self.requests - self.labelled if self.missing is None else self.missing

    @property
    def represented(self) -> float:
        """Requests that are labelled or that labelled ones stand for: their weight in a rate over several tiers."""
        return self.labelled if self.effective is None else self.requests


@dataclass(frozen=True, slots=True)
class ClusterSums:
    """
    Sums over the clusters of one arm, in one group of tiers: what a design effect is computed from.

    A cluster is what makes requests alike: a conversation, else a user, else an item that comes again. With n labelled
    requests and f failures of a cluster *in this group*:

    Attributes:
        group: A cluster that has requests of several tiers counts in each group with what it has there.
        clusters: Clusters with a labelled request in the group; a request without any cluster key is one of its own.
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
    Kinds of requests that both arms served: n requests and f failures in the baseline, m and g in the candidate.

    Attributes:
        alike: Sums of n * m, f * m and n * g, each divided by n + m first, over those that were read.
        served: Sums of n, f, m and g.
    """

    alike: tuple[float, ...]
    served: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SharedClusterSums:
    """
    Sums over the clusters that both arms served (an item, a user), in one group of tiers.

    What makes such a cluster hard makes it hard in both arms, so it says less against their difference than the sums of
    each arm alone. With n requests and f failures of a cluster in the baseline, m and g in the candidate:

    Attributes:
        requests_requests, failures_requests, requests_failures, failures_failures: Sums of n * m, f * m, n * g, f * g.
        mixes: What they tell of the arms' mixes; then what they tell with other requests that are alike: of one prompt
            family, of a class with the same tools on offer.
    """

    group: TierGroup
    requests_requests: int
    failures_requests: int
    requests_failures: int
    failures_failures: int
    mixes: Sequence[Mix] = ()


@dataclass(frozen=True, slots=True)
class Unresolved:
    """Requests of a service, in the time of its rollout, whose model version is unknown."""

    requests: int = 0
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Arm:
    """
    One side of a rollout.

    Attributes:
        clusters: At most one entry per group; a group without one counts every request for itself.
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
    Both arms, read under one calibration and one rung of tiers.

    Attributes:
        baseline: With `before_after`, its strata of the policy's `baseline_days` before the cutover.
        shared_clusters: At most one entry per group; without one, the arms are taken to serve different clusters.
        unresolved: Of the service; such requests belong to neither arm.
    """

    baseline: Arm
    candidate: Arm
    calibration_id: str
    tiers_by: TiersBy = TiersBy.LEARNT
    comparison: Comparison = Comparison.CONCURRENT
    shared_clusters: Sequence[SharedClusterSums] = ()
    unresolved: Unresolved = field(default_factory=Unresolved)

    @property
    def arms(self) -> tuple[Arm, Arm]:
        return self.baseline, self.candidate


@dataclass(frozen=True, slots=True)
class TierView:
    """
    The rung of the ladder that a rollout is read by.

    Attributes:
        class_tiers: Tier of each class, a class being (capability, hash of the tools on offer); the second is empty but
            for the capability `unclassified`. Frozen when the rollout began.
    """

    tiers_by: TiersBy = TiersBy.LEARNT
    class_tiers: Mapping[tuple[str, str], Tier] = field(default_factory=dict)


LEARNT = TierView()
"""Read by the calibration of the rollout."""


def gives_tiers(cohort: Cohort) -> bool:
    """
    Whether at least half of the requests of each arm have a tier.

    There have to be hard ones and easier ones, among the baseline's; of declared tiers in either arm, since one that
    the baseline lacks, and not by chance, says that the candidate gets other requests.
    """
    for arm in cohort.arms:
        tiered = sum(stratum.requests for stratum in arm.strata if stratum.tier is not Tier.UNTIERED)
        if tiered < _LEAST_TIERED * arm.requests or not tiered:
            return False
    tiers = {stratum.tier for stratum in cohort.baseline.strata if stratum.labelled}
    if cohort.tiers_by is TiersBy.DECLARED:
        due = cohort.baseline.labelled / max(cohort.candidate.labelled, 1)
        labelled = {tier: sum(s.labelled for s in cohort.candidate.strata if s.tier is tier) for tier in Tier}
        tiers |= {tier for tier, number in labelled.items() if number * due >= LEAST_EXPECTED}
    return not tiers.isdisjoint(HARD_TIER) and not tiers <= {*HARD_TIER, Tier.UNTIERED}


def hours_alone(baseline: Mapping[int, float], candidate: Mapping[int, float]) -> int:
    """
    Hours since the baseline's last request in which it would have served many, had it gone on; else 0.

    Args:
        baseline: Its requests by hour since the rollout began, hours since 1970.
        candidate: Likewise.
    """
    last, latest = max(baseline, default=0), max(candidate, default=0)
    since = sum(requests for hour, requests in candidate.items() if hour > last)
    expected = since * sum(baseline.values()) / max(sum(candidate.values()) - since, 1)
    return latest - last if expected >= LEAST_EXPECTED and latest - last > SPAN_HOURS else 0
