"""What gives the requests of a rollout their tier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from monitor.difficulty.tiers import HARD_TIER, Tier
from monitor.rollout.cohort import Cohort, TiersBy

_LEAST_TIERED = 0.5


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
    """Whether at least half of the requests of each arm have a tier, hard ones and easier ones among the baseline's."""
    for arm in (cohort.baseline, cohort.candidate):
        tiered = sum(stratum.requests for stratum in arm.strata if stratum.tier is not Tier.UNTIERED)
        if tiered < _LEAST_TIERED * arm.requests or not tiered:
            return False
    tiers = {stratum.tier for stratum in cohort.baseline.strata if stratum.labelled} - {Tier.UNTIERED}
    return not tiers.isdisjoint(HARD_TIER) and not tiers <= set(HARD_TIER)
