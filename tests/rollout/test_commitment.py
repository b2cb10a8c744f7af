"""Floors that a rollout is held to, and those that were changed since."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from monitor.rollout.floors import CommittedFloor, FloorSet, changed_floors, floors_in_force
from monitor.rollout.policy import Floor
from monitor.rollout.tracker import Rollout

ROLLOUT = Rollout("r1", "shop", "production", "model-1", "model-2", started_at=100.0)
AGREED = Floor(service="shop", pass_rate=0.5)
LOWERED = AGREED.model_copy(update={"pass_rate": 0.25})
REFUNDS = Floor(service="shop", pass_rate=0.75, capability="refunds")


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        pytest.param([], (), id="nothing was ever seen"),
        pytest.param([FloorSet(0.0, [AGREED])], [CommittedFloor(AGREED, 0.0)], id="agreed long before"),
        pytest.param(
            [FloorSet(0.0, [AGREED]), FloorSet(150.0, [LOWERED])],
            [CommittedFloor(AGREED, 0.0)],
            id="lowered while the rollout is under way",
        ),
        pytest.param(
            [FloorSet(0.0, [AGREED]), FloorSet(100.0, [LOWERED])],
            [CommittedFloor(LOWERED, 100.0)],
            id="lowered in the last moment",
        ),
        pytest.param([FloorSet(0.0, []), FloorSet(150.0, [AGREED])], [], id="added while the rollout is under way"),
        pytest.param(
            [FloorSet(150.0, [AGREED]), FloorSet(200.0, [LOWERED])],
            [CommittedFloor(AGREED, 150.0)],
            id="nobody watched when the rollout started",
        ),
        pytest.param(
            [FloorSet(0.0, [AGREED]), FloorSet(50.0, [AGREED, REFUNDS])],
            [CommittedFloor(AGREED, 0.0), CommittedFloor(REFUNDS, 50.0)],
            id="each floor has its own time",
        ),
        pytest.param(
            [FloorSet(0.0, [AGREED]), FloorSet(20.0, [LOWERED]), FloorSet(50.0, [AGREED])],
            [CommittedFloor(AGREED, 50.0)],
            id="changed and changed back counts from the last change",
        ),
        pytest.param(
            [FloorSet(0.0, [AGREED.model_copy(update={"service": "other"}), AGREED])],
            [CommittedFloor(AGREED, 0.0)],
            id="another service's floor is its own",
        ),
        pytest.param(
            [FloorSet(0.0, [AGREED.model_copy(update={"environment": "staging"}), AGREED])],
            [CommittedFloor(AGREED, 0.0)],
            id="and so is another environment's",
        ),
    ],
)
def test_a_rollout_is_held_to_the_floors_of_its_start(seen: list[FloorSet], expected: Sequence[CommittedFloor]) -> None:
    """Whatever the config says later, and with the time since which each floor had its value."""
    assert expected == floors_in_force(seen, ROLLOUT)


def test_a_change_is_stated_in_words() -> None:
    """Changed, added and removed floors are named with both values; those that stay are not."""
    committed = [CommittedFloor(AGREED, 0.0), CommittedFloor(REFUNDS, 0.0)]
    returns = Floor(service="shop", pass_rate=0.9, capability="returns")
    later = "while the rollout is under way; the change takes effect at the next one."

    assert [
        f"The floor of the hard tier was changed from 50.0 % to 25.0 % {later}",
        f"The floor of the hard tier of refunds was changed from 75.0 % to none {later}",
        f"The floor of the hard tier of returns was changed from none to 90.0 % {later}",
    ] == list(changed_floors([LOWERED, returns], committed, ROLLOUT))
    assert [] == list(changed_floors([AGREED.model_copy(update={"agreed_by": "us"}), REFUNDS], committed, ROLLOUT))
