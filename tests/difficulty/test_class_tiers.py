"""Tiers by class: enough labels, shrunk rates, and what they do to a pair of versions that are the same."""

from __future__ import annotations

import numpy as np
import pytest

from monitor.difficulty.class_tiers import class_tiers
from monitor.difficulty.settings import DifficultySettings
from monitor.difficulty.tiers import Tier

SETTINGS = DifficultySettings()


def test_classes_have_the_tier_of_their_failure_rate() -> None:
    """The example of the idea: 1, 10 and 60 % failing."""
    counts = {"faq": (6_000, 60), "booking": (3_000, 300), "refund": (1_000, 600), "rare": (99, 99)}

    assert {"faq": Tier.EASY, "booking": Tier.MEDIUM, "refund": Tier.HARD} == class_tiers(counts, SETTINGS)


def test_a_small_class_is_shrunk_towards_the_others() -> None:
    """Of forty classes of 100 requests that all fail 10 %, none is hard, though some failed 16 times and more."""
    rng = np.random.default_rng(0)
    counts = {f"class-{number}": (100, int(rng.binomial(100, 0.10))) for number in range(40)}

    assert max(failures for _, failures in counts.values()) >= 16
    assert {Tier.MEDIUM} == set(class_tiers(counts, SETTINGS).values())


@pytest.mark.parametrize(
    ("counts", "tiers"),
    [
        pytest.param({}, {}, id="no class"),
        pytest.param({"all": (500, 0)}, {"all": Tier.EASY}, id="no failure"),
        pytest.param({"all": (500, 500)}, {"all": Tier.HARD}, id="nothing but failures is hard, never frontier"),
        pytest.param({"all": (500, 100)}, {"all": Tier.HARD}, id="one class is its own mean"),
        pytest.param({"a": (100, 0), "b": (100, 100)}, {"a": Tier.EASY, "b": Tier.HARD}, id="as far apart as can be"),
    ],
)
def test_extreme_counts_have_tiers_too(counts: dict[str, tuple[int, int]], tiers: dict[str, Tier]) -> None:
    """Nothing divides by zero."""
    assert tiers == class_tiers(counts, SETTINGS)


@pytest.mark.parametrize("labels", [100, 300, 1_000])
def test_classes_of_so_many_labels_leave_null_pairs_without_bias(labels: int) -> None:
    """
    Two arms of one version, compared on requests after those that gave the classes their tier.

    The hard tier's share of failures changes by less than .01 on average over 400 pairs; the deviation of that average
    is below .003.
    """
    rng = np.random.default_rng(labels)
    changes = []
    for _ in range(400):
        rates = rng.beta(0.8, 5, size=12)
        before = rng.binomial(labels, rates)
        counts = {number: (labels, int(failures)) for number, failures in enumerate(before)}
        is_hard = np.array([tier is Tier.HARD for tier in class_tiers(counts, SETTINGS).values()])
        shares = [failures[is_hard].sum() / failures.sum() for failures in rng.binomial(500, rates, size=(2, 12))]
        changes.append(shares[1] - shares[0])

    assert np.std(changes) / len(changes) ** 0.5 < 0.003
    assert abs(float(np.mean(changes))) < 0.01
