"""Floors as agreed on before a rollout: when each was first seen, which of them hold, and what was changed since."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from monitor.rollout.floors import floor_name
from monitor.rollout.policy import Floor
from monitor.rollout.tracker import Rollout


@dataclass(frozen=True, slots=True)
class FloorSet:
    """Every floor of the config, as it was seen from *seen_at* (Unix seconds) on."""

    seen_at: float
    floors: Sequence[Floor]


@dataclass(frozen=True, slots=True)
class CommittedFloor:
    """A floor that holds for a rollout; *seen_at* says since when it had this value, Unix seconds."""

    floor: Floor
    seen_at: float


def floors_in_force(seen: Sequence[FloorSet], rollout: Rollout) -> Sequence[CommittedFloor]:
    """
    The floors that *rollout* is held to: those of its service and environment when it started.

    A rollout that started before anybody watched is held to the first floors that were seen.

    Args:
        seen: Every set of floors, oldest first.
        rollout: Whose floors they are.
    """
    if not seen:
        return ()
    at = max(rollout.started_at, seen[0].seen_at)
    until = [floors for floors in seen if floors.seen_at <= at]
    return [CommittedFloor(floor, _seen_at(floor, until)) for floor in _of(rollout, until[-1].floors)]


def changed_floors(configured: Sequence[Floor], committed: Sequence[CommittedFloor], rollout: Rollout) -> Iterator[str]:
    """
    A sentence for every floor of *rollout* that the config now has otherwise than when the rollout started.

    Args:
        configured: Every floor of the config.
        committed: What holds for *rollout*.
        rollout: Whose floors they are.
    """
    now = {floor_name(floor): floor.pass_rate for floor in _of(rollout, configured)}
    then = {floor_name(each.floor): each.floor.pass_rate for each in committed}
    for where in sorted({*now, *then}):
        before, after = then.get(where), now.get(where)
        if before != after:
            yield (
                f"The floor of {where} was changed from {_percent(before)} to {_percent(after)} while the rollout is "
                "under way; the change takes effect at the next one."
            )


def _of(rollout: Rollout, floors: Sequence[Floor]) -> Sequence[Floor]:
    return [floor for floor in floors if (floor.service, floor.environment) == (rollout.service, rollout.environment)]


def _seen_at(floor: Floor, until: Sequence[FloorSet]) -> float:
    """When *floor* got the value that it has in the last of *until*."""
    seen_at = until[-1].seen_at
    for earlier in reversed(until):
        if _value(floor, earlier.floors) != floor.pass_rate:
            break
        seen_at = earlier.seen_at
    return seen_at


def _value(floor: Floor, floors: Sequence[Floor]) -> float | None:
    same = (other for other in floors if _is_same(other, floor))
    return next((other.pass_rate for other in same), None)


def _is_same(one: Floor, other: Floor) -> bool:
    """Whether both are about the same requests of the same service, whatever their values."""
    return (one.service, one.environment, floor_name(one)) == (other.service, other.environment, floor_name(other))


def _percent(ratio: float | None) -> str:
    return "none" if ratio is None else f"{100 * ratio:.1f} %"
