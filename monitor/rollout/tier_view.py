"""What gives the requests of a rollout their tier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from monitor.difficulty.tiers import Tier
from monitor.rollout.cohort import TiersBy


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
