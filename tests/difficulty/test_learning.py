"""What the learner remembers while it learns."""

from __future__ import annotations

import tracemalloc

import pytest

from monitor.difficulty.features import LabelledRequest, RequestFeatures
from monitor.difficulty.learning import Learner
from monitor.difficulty.settings import DifficultySettings

MILLION = 1_000_000
MOST = 5_000


def pass_by(learner: Learner, first: int, last: int) -> None:
    """Each item comes once, under a prompt of its own; beside every hundredth of them the same probe comes again."""
    for index in range(first, last):
        features = RequestFeatures("sql", item=f"item-{index}", prompt_family=f"prompt-{index}")
        version = f"version-{index // 100_000}"
        learner.learn(LabelledRequest(features, version, index % 3 == 0, float(index)))
        if index % 100 == 0:
            learner.learn(
                LabelledRequest(RequestFeatures("sql", item="probe"), version, index % 200 == 0, float(index))
            )


@pytest.mark.slow
def test_a_million_items_leave_no_more_than_the_limit() -> None:
    """
    What is kept of weights, meetings and prompts stays within its limit all along, and so does memory.

    In the last 20,000 items memory may hold at most one whole state anew (about 4 MB); kept for good they would take
    more than three times that. What recurs is known to the end.
    """
    learner = Learner(DifficultySettings(max_features=MOST), {})
    traced = 20_000
    for first in range(0, MILLION - traced, 20_000):
        pass_by(learner, first, first + 20_000)

        assert len(learner.estimator.weights) <= MOST
        assert max(len(learner._meetings), len(learner._items)) <= 1.25 * MOST + 4

    tracemalloc.start()
    pass_by(learner, MILLION - traced, MILLION)
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    frozen = learner.freeze(slope=1.0)

    assert MILLION + MILLION // 100 == sum(learner.labels_by_version.values())
    assert grown < 6_000_000
    assert len(frozen.weights) <= MOST
    assert frozen.weights["item=probe"].versions == 10
