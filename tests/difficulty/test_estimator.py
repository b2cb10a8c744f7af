"""The ability-and-difficulty model: the laws that its learning keeps."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from monitor.difficulty.calibration import Belief
from monitor.difficulty.estimator import PRIOR_VARIANCE, failure_probability, learn_all

Request = dict[str, float]
Labels = list[tuple[Request, bool]]

NAMES = ["item=a", "item=b", "capability=sql", "tools=t", "prompt=p", "version=v1", "version=v2"]
LABELS = st.lists(
    st.tuples(st.dictionaries(st.sampled_from(NAMES), st.just(1.0), max_size=5), st.booleans()), max_size=30
)


def learnt(labels: Labels, *more: str) -> dict[str, Belief]:
    """What *labels* teach of every name, and of those that are in none of them; the constant term as `bias`."""
    names = [*NAMES, *more]
    beliefs = learn_all([x for x, _ in labels], [failed for _, failed in labels], names)
    return dict(zip([*names, "bias"], beliefs, strict=True))


@given(labels=LABELS, shuffle=st.randoms(use_true_random=False))
def test_order_of_labels_and_features_changes_nothing(labels: Labels, shuffle: random.Random) -> None:
    """A request is a set of features, and a history a set of requests."""

    def shuffled(features: Request) -> Request:
        names = list(features)
        shuffle.shuffle(names)
        return {name: features[name] for name in names}

    told = [(shuffled(features), failed) for features, failed in labels]
    shuffle.shuffle(told)

    for expected, found in zip(learnt(labels).values(), learnt(told).values(), strict=True):
        assert expected == pytest.approx(found, abs=1e-6)


@given(labels=LABELS)
def test_flipped_labels_mirror_every_belief(labels: Labels) -> None:
    """Failures and successes are treated alike: flipping all labels turns every mean round and keeps every variance."""
    told = learnt(labels)
    flipped = learnt([(each, not failed) for each, failed in labels])

    for name in told:
        assert told[name].mean == pytest.approx(-flipped[name].mean, abs=1e-6)
        assert told[name].variance == pytest.approx(flipped[name].variance, abs=1e-6)


@given(labels=LABELS)
def test_unseen_features_keep_their_prior(labels: Labels) -> None:
    """A feature never met keeps its prior, whatever else is learnt."""
    unseen = learnt(labels, "item=never met", "tools=never met")

    assert pytest.approx((0.0, PRIOR_VARIANCE["item"]), abs=1e-6) == unseen["item=never met"]
    assert pytest.approx((0.0, PRIOR_VARIANCE["tools"]), abs=1e-6) == unseen["tools=never met"]


def test_repeated_labels_sharpen_and_never_overshoot() -> None:
    """Each further failure raises the difficulty of an item and lowers its variance, and both stay finite."""
    beliefs = [learnt([({"item=a": 1.0}, True)] * failures)["item=a"] for failures in range(60)]

    assert all(later.mean > earlier.mean for earlier, later in itertools.pairwise(beliefs))
    assert all(0 < later.variance < earlier.variance for earlier, later in itertools.pairwise(beliefs))


def test_who_answered_takes_its_share_of_the_blame() -> None:
    """Where one version fails all that it is asked, its own weight rises more than that of what was asked."""
    beliefs = learnt([({"capability=sql": 1.0, "version=v1": 1.0}, True)] * 30)

    assert beliefs["version=v1"].mean > beliefs["capability=sql"].mean > 0


@pytest.mark.parametrize(("mean", "variance"), [(0.0, 1.0), (1.0, 4.0), (-2.0, 12.0), (3.0, 0.5)])
def test_failure_probability_is_close_to_the_integral(mean: float, variance: float) -> None:
    """The closed form is within 0.02 of what scipy integrates numerically."""

    def density(logit: float) -> float:
        normal = math.exp(-((logit - mean) ** 2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)
        return normal / (1 + math.exp(-logit))

    spread = 10 * math.sqrt(variance)
    expected, _ = quad(density, mean - spread, mean + spread)

    assert expected == pytest.approx(failure_probability(mean, variance), abs=0.02)
