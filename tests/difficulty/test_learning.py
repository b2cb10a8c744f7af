"""What the learner remembers while it learns."""

from __future__ import annotations

import tracemalloc

import pytest

from monitor.difficulty.calibrating import Learner
from monitor.difficulty.features import LabelledRequest, RequestFeatures
from monitor.difficulty.settings import DifficultySettings

ITEMS = 200_000
MOST = 1_000


def pass_by(learner: Learner, first: int, last: int) -> None:
    """Each item comes once, under a prompt of its own; beside every hundredth of them the same probe comes again."""
    for index in range(first, last):
        features = RequestFeatures("sql", item=f"item-{index}", prompt_family=f"prompt-{index}")
        version = f"version-{index // (ITEMS // 10)}"
        learner.learn(LabelledRequest(features, version, index % 3 == 0, float(index)))
        if index % 100 == 0:
            learner.learn(
                LabelledRequest(RequestFeatures("sql", item="probe"), version, index % 200 == 0, float(index))
            )


@pytest.mark.slow
def test_items_without_end_leave_no_more_than_the_limit() -> None:
    """
    What is kept of weights, meetings and prompts stays within its limit all along, and so does memory.

    Two hundred times as many items come as are kept. In the last 20,000 of them memory may hold at most one whole state
    anew (about 1.5 MB); kept for good they would take 23 MB. What recurs is known to the end.
    """
    learner = Learner(DifficultySettings(max_features=MOST), {})
    traced = 20_000
    for first in range(0, ITEMS - traced, 20_000):
        pass_by(learner, first, first + 20_000)

        assert len(learner.estimator.weights) <= MOST
        assert max(len(learner._history), len(learner._items)) <= 1.25 * MOST + 4

    tracemalloc.start()
    pass_by(learner, ITEMS - traced, ITEMS)
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    frozen = learner.freeze()

    assert ITEMS + ITEMS // 100 == sum(learner.labels_by_version.values())
    assert grown < 1_500_000
    assert len(frozen.weights) <= MOST
    assert frozen.weights["item=probe"].versions == 10
