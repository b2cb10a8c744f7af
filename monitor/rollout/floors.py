"""Pre-committed floors: whether the hard tier's pass rate is below one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from monitor.rollout.comparison import Interval, TierComparison
from monitor.rollout.policy import Floor, Policy


@dataclass(frozen=True, slots=True)
class FloorCheck:
    """A floor beside the candidate's hard-tier pass rate (ratio 0 to 1), None while it cannot be told."""

    floor: Floor
    pass_rate: Interval | None

    @property
    def is_broken(self) -> bool:
        """The highest pass rate that is still believable lies below the floor."""
        return self.pass_rate is not None and self.pass_rate.upper < self.floor.pass_rate


def floors_of(policy: Policy, *, service: str, environment: str) -> Sequence[Floor]:
    """The floors agreed for *service* in *environment*."""
    return [floor for floor in policy.floors if (floor.service, floor.environment) == (service, environment)]


def check_floors(
    floors: Sequence[Floor], hard_tier: TierComparison, capabilities: Mapping[str, TierComparison]
) -> Sequence[FloorCheck]:
    """Each of *floors* beside what was measured."""
    return [FloorCheck(floor, hard_pass_rate(floor, hard_tier, capabilities)) for floor in floors]


def hard_pass_rate(
    floor: Floor, hard_tier: TierComparison, capabilities: Mapping[str, TierComparison]
) -> Interval | None:
    """The candidate's pass rate that *floor* is about; None while it cannot be told."""
    tier = hard_tier if floor.capability is None else capabilities.get(floor.capability)
    rate = None if tier is None else tier.candidate.rate
    return None if rate is None else Interval(1.0 - rate.estimate, 1.0 - rate.upper, 1.0 - rate.lower)
