"""The fit of all labels at once: its mode, the moments of items, and the spread of items that it learns."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import expit

from monitor.difficulty.calibrating import calibrate
from monitor.difficulty.estimator import PRIOR_VARIANCE, design_of, group_of, posterior_mode
from monitor.difficulty.features import LabelledRequest, RequestFeatures
from monitor.difficulty.settings import DifficultySettings
from monitor.difficulty.tiers import Tier
from tests.difficulty.made_up import features_of, history

CLASSES = {"easy": (360, 0.02), "medium": (180, 0.10), "hard": (60, 0.60)}


def alike_in_a_class(seed: int) -> Sequence[LabelledRequest]:
    """Twelve versions on 600 items of three classes; within a class all items are equally hard."""
    chance = random.Random(seed)
    labels = []
    for version in range(12):
        ability = chance.uniform(-0.8, 1.2)
        for name, (items, rate) in CLASSES.items():
            failing = 1 / (1 + math.exp(-math.log(rate / (1 - rate)) - ability))
            for item in range(items):
                features = RequestFeatures(name, item=f"{name}-{item}")
                labels.append(LabelledRequest(features, f"past-{version}", chance.random() < failing, 0.0))
    return labels


def test_moments_of_an_item_are_those_of_its_posterior() -> None:
    """Three failures and one success of one item, the constant held at 0: mean and variance as by quadrature."""
    design = design_of([{"item=a": 1.0}] * 4, {"item=a": 0})
    prior = 4.0

    def density(weight: float, power: int) -> float:
        rate = 1 / (1 + math.exp(-weight))
        return weight**power * rate**3 * (1 - rate) * math.exp(-(weight**2) / (2 * prior))

    mass, first, second = (quad(density, -30, 30, args=(power,))[0] for power in range(3))
    mean, variance = posterior_mode(
        design, [True, True, True, False], np.array([prior, 1e-9]), is_item=np.array([True, False])
    )

    assert pytest.approx(first / mass, abs=1e-3) == mean[0]
    assert pytest.approx(second / mass - (first / mass) ** 2, abs=1e-3) == variance[0]


@pytest.mark.parametrize("seed", range(3))
def test_the_fit_ends_at_the_mode(seed: int) -> None:
    """200 items by 12 versions, five classes, one number with wild outliers: as by solving every step in full."""
    chance = np.random.default_rng(seed)
    difficulty, ability, number = chance.normal(-2, 3, 200), chance.normal(0, 1, 12), chance.standard_t(1.2, 200)
    asked = [(version, item) for version in range(12) for item in range(200)]
    failed = [bool(chance.random() < expit(difficulty[item] + ability[version])) for version, item in asked]
    rows = [
        {f"item={item}": 1.0, f"capability={item % 5}": 1.0, f"version={version}": 1.0, "number=size": number[item]}
        for version, item in asked
    ]
    names = list(dict.fromkeys(name for row in rows for name in row))
    design = design_of(rows, {name: column for column, name in enumerate(names)})
    prior = np.array([*(PRIOR_VARIANCE[group_of(name)] for name in names), 4.0])

    mean, _ = posterior_mode(design, failed, prior, is_item=np.zeros(len(prior), dtype=bool))

    full, exact = design.toarray(), np.zeros(len(prior))
    for _ in range(30):
        rate = expit(full @ exact)
        information = (full.T * (rate * (1 - rate))) @ full + np.diag(1 / prior)
        exact += np.linalg.solve(information, full.T @ (failed - rate) - exact / prior)
    assert np.abs(mean - exact).max() < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_items_that_are_alike_are_recognised_by_their_class(seed: int) -> None:
    """Where items of a class are equally hard, at most three of 60 hard ones are missed and three of 540 are added."""
    calibration = calibrate(alike_in_a_class(seed), frozen_at=0.0, settings=DifficultySettings())

    hard = {
        name: sum(
            calibration.tag(RequestFeatures(name, item=f"{name}-{item}")).tier in {Tier.HARD, Tier.FRONTIER}
            for item in range(items)
        )
        for name, (items, _) in CLASSES.items()
    }
    assert hard["hard"] >= 57
    assert hard["easy"] + hard["medium"] <= 3


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_every_tier_keeps_its_promise_on_labels_not_learnt(seed: int) -> None:
    """The reference version fails as often in each tier as the cuts say, tagged without its own labels."""
    for labels in (alike_in_a_class(seed), history(seed=seed)):
        calibration = calibrate(labels, frozen_at=0.0, settings=DifficultySettings())

        assert {True, None} >= {promise.is_kept for promise in calibration.promises}
        assert sum(label.model_version == calibration.reference_version for label in labels) >= sum(
            promise.requests for promise in calibration.promises
        )


def test_items_that_differ_keep_their_own_difficulty() -> None:
    """Where items of a class lie nine logits apart, the hardest is told to be far harder than the easiest."""
    calibration = calibrate(history(), frozen_at=0.0, settings=DifficultySettings())
    easiest, hardest = (calibration.difficulty.estimate(features_of(item)).logit for item in (0, 147))

    assert hardest - easiest > 5
