"""The batched tagger says what the frozen calibration says, and what river's own model says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from bench import outcomes
from monitor.demo.events import demo_events
from monitor.difficulty.calibrating import Learner, calibrate, measure_scales
from monitor.difficulty.calibration import Calibration
from monitor.difficulty.estimator import DifficultyClassifier, Weight, failure_probability, group_of
from monitor.difficulty.features import LabelledRequest, RequestFeatures, indicators, request_features
from monitor.difficulty.settings import DifficultySettings
from monitor.difficulty.tagger import Tagger
from monitor.difficulty.tiers import NO_TAG, Tag
from tests.difficulty.river_says import difficulty_of
from tests.trace.events import decode_native

SETTINGS = DifficultySettings()
NEVER_MET = "never met"
LABELS = 4_000


def demo_history() -> Sequence[LabelledRequest]:
    """Real outcomes of past versions, as they ship with the package."""
    traces = (decode_native(json.dumps(event).encode()) for event in demo_events())
    return [
        LabelledRequest(
            request_features(trace.request), trace.model_version, not trace.outcome.success, trace.started_at
        )
        for trace in islice(traces, LABELS)
    ]


def shared_history() -> Sequence[LabelledRequest]:
    """Real outcomes with texts, tools and numbers of the requests, where they lie beside the checkout."""
    if not outcomes.DATA.exists():
        pytest.skip("needs the shared outcomes beside the checkout")
    found = outcomes.load("bfcl")
    return [
        LabelledRequest(structs.replace(features, attributes={"length": float(index % 90)}), version, bool(failed), 0.0)
        for version, row in zip(found.versions[:3], found.failed, strict=False)
        for index, (features, failed) in enumerate(zip(found.features, row, strict=True))
    ]


@pytest.fixture(scope="module", params=[demo_history, shared_history], ids=["the demo", "the shared outcomes"])
def history(request: pytest.FixtureRequest) -> Sequence[LabelledRequest]:
    return request.param()


@pytest.fixture(scope="module")
def calibration(history: Sequence[LabelledRequest]) -> Calibration:
    return calibrate(history, frozen_at=0.0, settings=DifficultySettings())


def assert_close(expected: Tag, told: Tag) -> None:
    assert pytest.approx(expected.difficulty_logit, abs=1e-9) == told.difficulty_logit
    assert pytest.approx(expected.difficulty_variance, abs=1e-9) == told.difficulty_variance
    assert expected == structs.replace(
        told, difficulty_logit=expected.difficulty_logit, difficulty_variance=expected.difficulty_variance
    )


def test_batch_is_tagged_as_each_request_alone(history: Sequence[LabelledRequest], calibration: Calibration) -> None:
    """Real requests, each several times: together, alone and remembered they have the same tags."""
    asked = [label.features for label in history]
    nameless = [structs.replace(features, item=None) for features in asked]
    tagger = Tagger(calibration, remembered=100)

    told = tagger.tag_all([*asked, *nameless])

    for features, tag in zip([*asked, *nameless], told, strict=True):
        assert_close(calibration.tag(features), tag)


@pytest.mark.slow
def test_tags_are_what_river_predicts_on_real_requests(
    history: Sequence[LabelledRequest], calibration: Calibration
) -> None:
    """Frozen and told in batches, the difficulty is that of the model that river taught."""
    learner = Learner(SETTINGS, measure_scales(history))
    for label in history:
        learner.learn(label)
    frozen = replace(calibration, difficulty=learner.freeze())
    asked = [label.features for label in history]

    told = Tagger(frozen).tag_all(asked)

    for features, tag in zip(asked, told, strict=True):
        x = indicators(features, learner._item(features), learner.scales)
        river = difficulty_of(x, learner.estimator)
        assert pytest.approx(river.mean, abs=1e-9) == tag.difficulty_logit
        assert pytest.approx(river.variance, abs=1e-9) == tag.difficulty_variance


_names = st.sampled_from([NEVER_MET, "0", "1", "2"])
_features = st.builds(
    RequestFeatures,
    capability=_names,
    item=st.none() | _names,
    tool_set=st.none() | _names,
    prompt_family=st.none() | _names.map("prompt-{}".format),
    attributes=st.dictionaries(st.sampled_from(["size", "language"]), st.floats(-1e6, 1e6) | _names),
)


def learnt_at_random() -> Sequence[LabelledRequest]:
    return [
        LabelledRequest(
            RequestFeatures(
                capability=str(number % 3),
                item=str(number % 2),
                tool_set=str(number % 3),
                prompt_family=f"prompt-{number % 3}",
                attributes={"size": float(number), "language": str(number % 2)},
            ),
            f"version-{number % 4}",
            number % 7 < 3,
            0.0,
        )
        for number in range(200)
    ]


RANDOM_CALIBRATION = calibrate(learnt_at_random(), frozen_at=0.0, settings=DifficultySettings())


@given(st.lists(_features, max_size=20))
def test_tags_are_what_river_predicts_on_any_request(asked: list[RequestFeatures]) -> None:
    """Whatever a request has that was met or was never met, river's probability of failing is the tag's."""
    frozen = RANDOM_CALIBRATION.difficulty

    told = Tagger(RANDOM_CALIBRATION).tag_all(asked)

    for features, tag in zip(asked, told, strict=True):
        item = features.item or frozen.items.get(features.prompt_family or "", NEVER_MET)
        x = indicators(features, item if f"item={item}" in frozen.weights else _by_prompt(features), frozen.scales)
        river = DifficultyClassifier()
        river.bias = Weight(frozen.bias, 0.0, 1.0)
        for name in x:
            belief = frozen.weights.get(name) or frozen.prior[group_of(name)]
            river.weights[name] = Weight(belief.mean, belief.variance, 1.0)
        assert pytest.approx(river.predict_proba_one(x)[True], abs=1e-9) == failure_probability(
            tag.difficulty_logit, tag.difficulty_variance
        )
        assert pytest.approx(difficulty_of(x, river).mean, abs=1e-9) == tag.difficulty_logit


def _by_prompt(features: RequestFeatures) -> str:
    """What a request without a name of its own, or with one never met, is known as."""
    return RANDOM_CALIBRATION.difficulty.items.get(features.prompt_family or "", NEVER_MET)


def test_no_calibration_gives_no_tag() -> None:
    """Before there is a calibration every request is untiered."""
    assert [NO_TAG, NO_TAG] == Tagger(None).tag_all([RequestFeatures("a"), RequestFeatures("b")])


@pytest.mark.slow
def test_what_is_remembered_is_bounded(calibration: Calibration) -> None:
    """However many requests differ, no more than so many tags are kept."""
    tagger = Tagger(calibration, remembered=10)

    tagger.tag_all([RequestFeatures("search", item=str(number)) for number in range(95)])

    assert len(tagger._tags) <= 10
