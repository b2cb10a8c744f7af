"""The ability-and-difficulty model as river sees it, and the laws that its learning keeps."""

from __future__ import annotations

import itertools
import math
import random
import sys
import tracemalloc
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from river import compose, metrics, preprocessing
from river.checks import yield_checks
from scipy.integrate import quad

from monitor.difficulty.estimator import (
    NUISANCE_GROUPS,
    PRIOR_VARIANCE,
    DifficultyClassifier,
    Weight,
    failure_probability,
    group_of,
)
from tests.difficulty.river_says import difficulty_of

Request = dict[str, float]
Labels = list[tuple[Request, bool]]

NAMES = st.sampled_from(["item=a", "item=b", "capability=sql", "tools=t", "prompt=p", "version=v1", "version=v2"])
REQUESTS = st.dictionaries(NAMES, st.just(1.0), max_size=5)
LABELS = st.lists(st.tuples(REQUESTS, st.booleans()), max_size=30)


def learnt(labels: Labels, **settings: Any) -> DifficultyClassifier:
    """A classifier that has learnt *labels*."""
    model = DifficultyClassifier(**settings)
    for x, failed in labels:
        model.learn_one(x, failed)
    return model


@pytest.fixture
def sklearn_stub(monkeypatch: pytest.MonkeyPatch) -> None:
    """River's checks import scikit-learn for regressors alone."""
    stub = ModuleType("sklearn")
    stub.datasets = ModuleType("sklearn.datasets")
    monkeypatch.setitem(sys.modules, "sklearn", stub)


@pytest.mark.usefixtures("sklearn_stub")
def test_classifier_passes_every_check_of_river() -> None:
    """The model behaves as river expects of a classifier."""
    checks = list(yield_checks(DifficultyClassifier()))

    for check in checks:
        check(DifficultyClassifier())

    assert len(checks) > 20


def test_classifier_sits_in_a_river_pipeline() -> None:
    """Behind a river transformer and before a river metric, the model learns what tells failures."""
    rng = random.Random(0)
    pipeline = compose.Pipeline(preprocessing.StandardScaler(), DifficultyClassifier())
    auc = metrics.ROCAUC()

    for _ in range(500):
        x = {"size": rng.gauss(100.0, 20.0)}
        failed = x["size"] > 100.0
        auc.update(failed, pipeline.predict_proba_one(x))
        pipeline.learn_one(x, failed)

    assert auc.get() > 0.9


@pytest.mark.slow
@given(labels=LABELS, x=REQUESTS, shuffle=st.randoms(use_true_random=False))
def test_order_of_features_changes_nothing(labels: Labels, x: Request, shuffle: random.Random) -> None:
    """A request is a set of features."""

    def shuffled(features: Request) -> Request:
        names = list(features)
        shuffle.shuffle(names)
        return {name: features[name] for name in names}

    expected = learnt(labels).predict_proba_one(x)[True]
    told = learnt([(shuffled(each), failed) for each, failed in labels]).predict_proba_one(shuffled(x))[True]

    assert math.isclose(expected, told, rel_tol=1e-9)


@given(labels=LABELS, x=REQUESTS)
def test_flipped_labels_mirror_every_belief(labels: Labels, x: Request) -> None:
    """Failures and successes are treated alike: flipping all labels turns every mean round and keeps every variance."""
    told = difficulty_of(x, learnt(labels))
    flipped = difficulty_of(x, learnt([(each, not failed) for each, failed in labels]))

    assert told.mean == pytest.approx(-flipped.mean, abs=1e-9)
    assert told.variance == pytest.approx(flipped.variance)


@given(labels=LABELS, x=REQUESTS)
def test_unseen_features_keep_their_prior(labels: Labels, x: Request) -> None:
    """A feature never met adds its prior variance and leaves the mean alone."""
    model = learnt(labels)
    asked = {name: value for name, value in x.items() if group_of(name) not in NUISANCE_GROUPS}
    mean, variance = difficulty_of(asked, model)

    told = model.predict_proba_one({**asked, "item=never met": 1.0})[True]

    unseen = variance + model.bias.variance + PRIOR_VARIANCE["item"]
    assert told == pytest.approx(failure_probability(mean, unseen))


@given(labels=LABELS, x=REQUESTS)
def test_predicting_changes_nothing(labels: Labels, x: Request) -> None:
    """Asking leaves no trace."""
    model = learnt(labels)
    before = {name: (weight.mean, weight.variance) for name, weight in model.weights.items()}
    model.predict_proba_one(x)
    model.predict_proba_one({**x, "item=never met": 1.0})

    assert before == {name: (weight.mean, weight.variance) for name, weight in model.weights.items()}


@given(failures=st.integers(min_value=1, max_value=60))
def test_repeated_labels_sharpen_and_never_overshoot(failures: int) -> None:
    """Each further failure raises the difficulty and lowers its variance, and both stay finite."""
    model = DifficultyClassifier()
    beliefs = [difficulty_of({"item=a": 1.0}, model)]
    for _ in range(failures):
        model.learn_one({"item=a": 1.0}, True)
        beliefs.append(difficulty_of({"item=a": 1.0}, model))

    assert all(later.mean > earlier.mean for earlier, later in itertools.pairwise(beliefs))
    assert all(0 < later.variance < earlier.variance for earlier, later in itertools.pairwise(beliefs))


def test_who_answered_is_no_part_of_difficulty() -> None:
    """Version terms take their share of the blame, and the difficulty leaves them out."""
    model = learnt([({"capability=sql": 1.0, "version=weak": 1.0}, True)] * 30)
    asked = difficulty_of({"capability=sql": 1.0}, model)

    assert asked == difficulty_of({"capability=sql": 1.0, "version=weak": 1.0}, model)
    assert model.weights["version=weak"].mean > model.weights["capability=sql"].mean


@pytest.mark.parametrize(("mean", "variance"), [(0.0, 1.0), (1.0, 4.0), (-2.0, 12.0), (3.0, 0.5)])
def test_failure_probability_is_close_to_the_integral(mean: float, variance: float) -> None:
    """The closed form is within 0.02 of what scipy integrates numerically."""

    def density(logit: float) -> float:
        normal = math.exp(-((logit - mean) ** 2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)
        return normal / (1 + math.exp(-logit))

    spread = 10 * math.sqrt(variance)
    expected, _ = quad(density, mean - spread, mean + spread)

    assert expected == pytest.approx(failure_probability(mean, variance), abs=0.02)


def test_one_label_moves_a_wide_belief_to_its_true_posterior() -> None:
    """After one failure, mean and variance are within a tenth of the posterior that scipy integrates."""
    prior = PRIOR_VARIANCE["version"]

    def moment(power: int) -> float:
        def weighted(logit: float) -> float:
            return logit**power * math.exp(-(logit**2) / (2 * prior)) / (1 + math.exp(-logit))

        return quad(weighted, -30, 30)[0]

    mean = moment(1) / moment(0)
    variance = moment(2) / moment(0) - mean**2
    model = DifficultyClassifier()
    model.bias = Weight(0.0, 1e-9, 1e-9)
    model.learn_one({"version=a": 1.0}, True)
    weight = model.weights["version=a"]

    assert mean == pytest.approx(weight.mean, rel=0.1)
    assert variance == pytest.approx(weight.variance, rel=0.1)


def test_a_stream_of_new_items_keeps_memory_bounded() -> None:
    """However many items pass by once, weights stay within the limit, and so does memory; what recurs is kept."""
    most = 1_000
    model = DifficultyClassifier(max_features=most)

    def pass_by(first: int, last: int) -> None:
        for index in range(first, last):
            model.learn_one({f"item={index}": 1.0, "capability=sql": 1.0, "item=probe": 1.0}, index % 3 == 0)
            assert len(model.weights) <= most

    pass_by(0, 4_000)
    tracemalloc.start()
    pass_by(4_000, 10_000)
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert {"item=probe", "capability=sql"} <= set(model.weights)
    assert grown < 500_000
