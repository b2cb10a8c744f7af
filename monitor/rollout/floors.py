"""Pre-committed floors: whether the pass rate of a tier or class is below one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from monitor.rollout.cohort import TierGroup
from monitor.rollout.comparison import Interval, TierComparison
from monitor.rollout.policy import Floor, Policy

GROUP_NAMES = {TierGroup.ALL: "all requests", TierGroup.EASIER: "the easier tiers", TierGroup.HARD: "the hard tier"}
"""What people call the groups."""


class Rates(Protocol):
    """What a floor is held against: a measurement, or a verdict."""

    @property
    def aggregate(self) -> TierComparison: ...
    @property
    def hard_tier(self) -> TierComparison | None: ...
    @property
    def easier_tiers(self) -> TierComparison | None: ...
    @property
    def capabilities(self) -> Mapping[str, TierComparison]: ...
    @property
    def hard_capabilities(self) -> Mapping[str, TierComparison]: ...


@dataclass(frozen=True, slots=True)
class FloorCheck:
    """A floor beside the candidate's pass rate (ratio 0 to 1), None while it cannot be told."""

    floor: Floor
    pass_rate: Interval | None

    @property
    def is_broken(self) -> bool:
        """The highest pass rate that is still believable lies below the floor."""
        return self.pass_rate is not None and self.pass_rate.upper < self.floor.pass_rate

    @property
    def scope(self) -> str:
        """How a verdict names it."""
        return ":".join(("floor", self.floor.tier, *filter(None, (self.floor.capability,))))


def floors_of(policy: Policy, *, service: str, environment: str) -> Sequence[Floor]:
    """The floors agreed for *service* in *environment*."""
    return [floor for floor in policy.floors if (floor.service, floor.environment) == (service, environment)]


def check_floors(floors: Sequence[Floor], rates: Rates) -> Sequence[FloorCheck]:
    """Each of *floors* beside what was measured."""
    return [FloorCheck(floor, pass_rate_of(floor, rates)) for floor in floors]


def pass_rate_of(floor: Floor, rates: Rates) -> Interval | None:
    """The candidate's pass rate that *floor* is about; None while it cannot be told."""
    compared = _compared(floor, rates)
    rate = None if compared is None else compared.candidate.rate
    return None if rate is None else Interval(1.0 - rate.estimate, 1.0 - rate.upper, 1.0 - rate.lower)


def floor_name(floor: Floor) -> str:
    """
    What *floor* is about, in words.

    >>> floor_name(Floor(service="shop", pass_rate=0.4, capability="search"))
    'the hard tier of search'
    """
    return GROUP_NAMES[floor.tier] + (f" of {floor.capability}" if floor.capability else "")


def _compared(floor: Floor, rates: Rates) -> TierComparison | None:
    if floor.capability is not None:
        of_class = rates.hard_capabilities if floor.tier is TierGroup.HARD else rates.capabilities
        return of_class.get(floor.capability)
    return {
        TierGroup.ALL: rates.aggregate,
        TierGroup.EASIER: rates.easier_tiers,
        TierGroup.HARD: rates.hard_tier,
    }[floor.tier]
