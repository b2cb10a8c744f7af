"""Pre-committed floors of pass rates: which ones hold for a rollout, since when, and whether one is broken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

from monitor.rollout.cohort import TierGroup
from monitor.rollout.policy import Floor
from monitor.rollout.tracker import Rollout
from monitor.rollout.verdict import Interval, Verdict
from monitor.rollout.wording import percent

GROUP_NAMES = {TierGroup.ALL: "all requests", TierGroup.EASIER: "the easier tiers", TierGroup.HARD: "the hard tier"}
"""Names of the groups in sentences."""


@dataclass(frozen=True, slots=True)
class FloorCheck:
    """A floor and the candidate's pass rate (ratio 0 to 1), None while it is unknown."""

    floor: Floor
    pass_rate: Interval | None

    @property
    def is_broken(self) -> bool:
        """Even the upper bound of the pass rate is below the floor."""
        return self.pass_rate is not None and self.pass_rate.upper < self.floor.pass_rate

    @property
    def scope(self) -> str:
        """Name of the floor in `Verdict.scope` and `Verdict.bounds`."""
        return ":".join(("floor", self.floor.tier, *filter(None, (self.floor.capability,))))


def pass_rate_of(floor: Floor, verdict: Verdict) -> Interval | None:
    """The candidate's pass rate that *floor* is about; None while it is unknown."""
    groups = {
        TierGroup.ALL: (verdict.aggregate, verdict.capabilities),
        TierGroup.EASIER: (verdict.easier_tiers, verdict.capabilities),
        TierGroup.HARD: (verdict.hard_tier, verdict.hard_capabilities),
    }
    of_all, by_class = groups[floor.tier]
    compared = of_all if floor.capability is None else by_class.get(floor.capability)
    rate = None if compared is None else compared.candidate.rate
    return None if rate is None else Interval(1.0 - rate.estimate, 1.0 - rate.upper, 1.0 - rate.lower)


def floor_name(floor: Floor) -> str:
    """
    The requests that *floor* applies to, in words.

    >>> floor_name(Floor(service="shop", pass_rate=0.4, capability="search"))
    'the hard tier of search'
    """
    return GROUP_NAMES[floor.tier] + (f" of {floor.capability}" if floor.capability else "")


@dataclass(frozen=True, slots=True)
class FloorSet:
    """Every floor of the config from *seen_at* (Unix seconds) until the next change."""

    seen_at: float
    floors: Sequence[Floor]


@dataclass(frozen=True, slots=True)
class CommittedFloor:
    """A floor that holds for a rollout, with its value unchanged since *seen_at* (Unix seconds)."""

    floor: Floor
    seen_at: float


def floors_in_force(seen: Sequence[FloorSet], rollout: Rollout) -> Sequence[CommittedFloor]:
    """
    The floors that hold for *rollout*: those of its service and environment when it started.

    For a rollout that started before Cliffwatch saw any floors, the first ones hold.

    Args:
        seen: Every set of floors, oldest first.
        rollout: The rollout to check.
    """
    if not seen:
        return ()
    at = max(rollout.started_at, seen[0].seen_at)
    until = [floors for floors in seen if floors.seen_at <= at]
    return [CommittedFloor(floor, _seen_at(floor, until)) for floor in _of(rollout, until[-1].floors)]


def changed_floors(configured: Sequence[Floor], committed: Sequence[CommittedFloor], rollout: Rollout) -> Iterator[str]:
    """
    A sentence for every floor of *rollout* that was changed in the config since the rollout started.

    Args:
        configured: Every floor of the config.
        committed: The floors that hold for *rollout*.
        rollout: The rollout to check.
    """
    now = {floor_name(floor): floor.pass_rate for floor in _of(rollout, configured)}
    then = {floor_name(each.floor): each.floor.pass_rate for each in committed}
    for where in sorted({*now, *then}):
        before, after = then.get(where), now.get(where)
        if before != after:
            old, new = ("none" if rate is None else percent(rate) for rate in (before, after))
            yield (
                f"The floor of {where} was changed from {old} to {new} while the rollout is under way; the change "
                "takes effect at the next one."
            )


def _of(rollout: Rollout, floors: Sequence[Floor]) -> Sequence[Floor]:
    return [floor for floor in floors if (floor.service, floor.environment) == (rollout.service, rollout.environment)]


def _seen_at(floor: Floor, until: Sequence[FloorSet]) -> float:
    """When *floor* got the value that it has in the last set of *until*."""
    unchanged = takewhile(lambda each: _identity(floor) in map(_identity, each.floors), reversed(until))
    return min(each.seen_at for each in unchanged)


def _identity(floor: Floor) -> tuple[str, str, str, float]:
    """The requests that a floor applies to, and its value."""
    return floor.service, floor.environment, floor_name(floor), floor.pass_rate
