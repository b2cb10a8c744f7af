"""A frozen calibration: what it tags, that it never changes, and that it is the same everywhere."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from monitor.difficulty.calibrating import calibrate
from monitor.difficulty.calibration import Calibration, seal, unseal
from monitor.difficulty.correction import DifficultyBin, compare_shares, measure_arm
from monitor.difficulty.features import LabelledRequest, RequestFeatures
from monitor.difficulty.settings import DifficultySettings
from monitor.difficulty.tiers import TIERS, Tier
from monitor.difficulty.trust_gate import assess_traffic
from monitor.errors import CalibrationInvalid
from tests.difficulty.made_up import answers, features_of, history

ROOT = Path(__file__).resolve().parents[2]
ITEMS = 150


@pytest.fixture(scope="module")
def calibration() -> Calibration | None:
    """Eight versions on 150 items."""
    return calibrate(history(items=ITEMS), frozen_at=1_000.0, settings=DifficultySettings())


def test_an_empty_history_gives_no_calibration() -> None:
    """Nothing learnt is not a calibration."""
    assert calibrate([], frozen_at=0.0, settings=DifficultySettings()) is None


def test_tiers_follow_difficulty(calibration: Calibration) -> None:
    """The easiest items are easy where no version failed them, and those that every version failed are frontier."""
    failed = {label.features.item for label in history(items=ITEMS) if label.failed}
    tags = [calibration.tag(features_of(item)) for item in range(ITEMS)]

    assert {Tier.EASY} == {tag.tier for item, tag in enumerate(tags[:15]) if f"item-{item}" not in failed}
    assert {Tier.HARD, Tier.FRONTIER} >= {tag.tier for tag in tags[-20:]}
    assert Tier.FRONTIER in {tag.tier for tag in tags[-20:]}
    assert all(tag.is_known for tag in tags)


def test_a_request_that_one_version_solved_is_not_frontier(calibration: Calibration) -> None:
    """Frontier means failed by every version; whoever was solved once is hard at most."""
    solved = {label.features.item for label in history(items=ITEMS) if not label.failed}
    tags = [calibration.tag(features_of(item)) for item in range(ITEMS) if f"item-{item}" in solved]

    assert Tier.FRONTIER not in {tag.tier for tag in tags}


def test_a_bin_holds_requests_of_one_side_of_every_cut(calibration: Calibration) -> None:
    """Requests of one bin lie between the same cuts."""
    cuts = (calibration.cuts.medium, calibration.cuts.hard, calibration.cuts.frontier)
    sides = {}
    for item in range(ITEMS):
        tag = calibration.tag(features_of(item))
        sides.setdefault(tag.bin, set()).add(sum(tag.difficulty_logit >= cut for cut in cuts))

    assert {1} == {len(side) for side in sides.values()}


def test_an_unseen_request_is_untiered(calibration: Calibration) -> None:
    """Where the likeliest tier is in doubt and the request was never met, there is no tier."""
    tag = calibration.tag(RequestFeatures(capability="booking", item="never met"))

    assert Tier.UNTIERED is tag.tier
    assert not tag.is_known
    assert calibration.calibration_id == tag.calibration_id


def test_an_unseen_capability_is_untiered_until_it_has_labels() -> None:
    """A capability needs 100 labels of two versions before its requests are tagged, however often each was met."""
    new = [
        LabelledRequest(RequestFeatures(capability="new", item=f"new-{item % 12}"), f"past-{item % 2}", True, 0.0)
        for item in range(99)
    ]
    known = RequestFeatures(capability="new", item="new-0")
    labels = list(history())
    before = calibrate([*labels, *new], frozen_at=0.0, settings=DifficultySettings())
    after = calibrate([*labels, *new, new[0]], frozen_at=0.0, settings=DifficultySettings())

    assert Tier.UNTIERED is before.tag(known).tier
    assert Tier.UNTIERED is not after.tag(known).tier


def test_trust_is_measured_by_the_fit_that_tags() -> None:
    """The latest version is predicted as a calibration of all the others predicts it on live traffic."""
    labels = list(history(items=ITEMS))
    latest = [label for label in labels if label.model_version == labels[-1].model_version]
    others = calibrate([label for label in labels if label not in latest], frozen_at=0.0, settings=DifficultySettings())

    measured = calibrate(labels, frozen_at=0.0, settings=DifficultySettings(evaluated_versions=1)).trust

    live = assess_traffic(others, latest, settings=DifficultySettings())
    assert live.auc == measured.auc
    assert live.reliability == measured.reliability


def test_an_untrusted_calibration_does_not_tag() -> None:
    """Below the gate every request is untiered, and the reasons say what is missing."""
    calibration = calibrate(history(versions=2), frozen_at=0.0, settings=DifficultySettings())

    assert not calibration.trust.is_trusted
    assert "1 more reference version needed." in calibration.trust.reasons
    assert {Tier.UNTIERED} == {calibration.tag(features_of(item)).tier for item in range(ITEMS)}


def test_a_prompt_without_a_name_is_known_by_the_only_item_with_that_prompt() -> None:
    """Traffic that carries no request id profits from probes with the same masked prompt."""

    def with_prompt(label: LabelledRequest) -> LabelledRequest:
        return replace(
            label, features=structs.replace(label.features, prompt_family=f"prompt of {label.features.item}")
        )

    calibration = calibrate(map(with_prompt, history()), frozen_at=0.0, settings=DifficultySettings())
    named = calibration.tag(structs.replace(features_of(7), prompt_family="prompt of item-7"))
    nameless = calibration.tag(structs.replace(features_of(7), item=None, prompt_family="prompt of item-7"))

    assert named == nameless
    assert nameless.is_known


def test_numbers_known_at_request_time_tell_unseen_requests_apart() -> None:
    """An attribute that goes with failures makes a request harder that was never met."""
    labels = [
        replace(label, features=structs.replace(label.features, attributes={"files": float(index % ITEMS)}))
        for index, label in enumerate(history())
    ]
    calibration = calibrate(labels, frozen_at=0.0, settings=DifficultySettings())
    few, many = (
        calibration.tag(RequestFeatures(capability="booking", item="never met", attributes={"files": files}))
        for files in (10.0, 140.0)
    )

    assert few.difficulty_logit < many.difficulty_logit - 0.5


def test_baseline_and_candidate_leave_the_calibration_untouched(calibration: Calibration) -> None:
    """Tagging, assessing and comparing the arms of a rollout changes no byte of the frozen calibration."""
    before = calibration.to_json()
    arms = []
    for number, name in enumerate(("baseline", "candidate")):
        labels = list(answers(name, ability=0.5 - number, items=ITEMS))
        assess_traffic(calibration, labels, settings=DifficultySettings())
        tags = [calibration.tag(label.features) for label in labels]
        bins = [
            DifficultyBin(tag.difficulty_logit, tag.difficulty_variance, tag.is_known, 1, 1, int(label.failed))
            for tag, label in zip(tags, labels, strict=True)
        ]
        arms.append(measure_arm(bins, calibration.cuts))

    assert compare_shares(*arms) is not None
    assert before == calibration.to_json()


def test_a_calibration_cannot_be_written_to(calibration: Calibration) -> None:
    """Neither its fields nor its weights may be set."""
    with pytest.raises(FrozenInstanceError):
        calibration.frozen_at = 0.0
    with pytest.raises(TypeError):
        calibration.difficulty.weights["item=item-0"] = None


def test_another_process_tags_identically(calibration: Calibration, tmp_path: Path) -> None:
    """What one process wrote tags every request in another to the last bit, under the same id."""
    stored = tmp_path / "calibration.json"
    stored.write_text(calibration.to_json(), encoding="utf-8")
    script = (
        "import sys\n"
        "from monitor.difficulty.calibration import Calibration\n"
        "from tests.difficulty.made_up import features_of\n"
        "calibration = Calibration.from_json(open(sys.argv[1], encoding='utf-8').read())\n"
        "for item in range(int(sys.argv[2])): print(repr(calibration.tag(features_of(item))))\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", script, str(stored), str(ITEMS + 5)],
        capture_output=True,
        check=True,
        cwd=ROOT,
        text=True,
    )

    assert [repr(calibration.tag(features_of(item))) for item in range(ITEMS + 5)] == told.stdout.splitlines()


def test_the_same_history_gives_the_same_id(calibration: Calibration) -> None:
    """The id names the content: equal histories share it, one label more does not."""
    labels = history(items=ITEMS)

    assert (
        calibration.calibration_id == calibrate(labels, frozen_at=1_000.0, settings=DifficultySettings()).calibration_id
    )
    assert (
        calibration.calibration_id
        != calibrate(labels[:-1], frozen_at=1_000.0, settings=DifficultySettings()).calibration_id
    )


def test_stored_and_read_again_it_is_equal(calibration: Calibration) -> None:
    """Reading what was written gives the same calibration."""
    assert calibration == Calibration.from_json(calibration.to_json())


@settings(max_examples=60)
@given(data=st.data())
def test_a_corrupted_calibration_is_refused(calibration: Calibration, data: st.DataObject) -> None:
    """Whatever character of the text changes, it is refused."""
    text = calibration.to_json()
    position = data.draw(st.integers(min_value=0, max_value=len(text) - 1))
    corrupted = text[:position] + data.draw(st.characters(codec="ascii")) + text[position + 1 :]

    if corrupted == text:
        assert calibration == Calibration.from_json(corrupted)
    else:
        with pytest.raises(CalibrationInvalid, match="The "):
            Calibration.from_json(corrupted)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param("", "not JSON", id="nothing at all"),
        pytest.param("[]", "not a calibration", id="another JSON"),
        pytest.param('{"schema": "cliffwatch.calibration/v9", "checksum": "", "content": {}}', "v9", id="a later form"),
        pytest.param("[" * 100_000, "not JSON", id="nested too deep"),
    ],
)
def test_what_is_no_calibration_is_refused(text: str, complaint: str) -> None:
    """The refusal says what is wrong with the text."""
    with pytest.raises(CalibrationInvalid, match=complaint):
        Calibration.from_json(text)


def test_content_that_lacks_a_part_is_refused(calibration: Calibration) -> None:
    """A checksum that fits does not make up for a missing part."""
    content = unseal(calibration.to_json())
    del content["cuts"]

    with pytest.raises(CalibrationInvalid, match="cuts"):
        Calibration.from_json(seal(content))


def test_an_oversized_calibration_is_neither_written_nor_read(
    calibration: Calibration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Size is checked before anything is decoded."""
    text = calibration.to_json()
    monkeypatch.setattr("monitor.difficulty.calibration.MOST_BYTES", len(text) - 1)

    with pytest.raises(CalibrationInvalid, match=f"{len(text)} bytes"):
        calibration.to_json()
    with pytest.raises(CalibrationInvalid, match=f"{len(text)} bytes"):
        Calibration.from_json(text)


def test_a_calibration_holds_no_text_of_requests(calibration: Calibration) -> None:
    """Names, hashes and numbers are all that is stored."""
    groups = {name.partition("=")[0] for name in json.loads(calibration.to_json())["content"]["difficulty"]["names"]}

    assert {"capability", "item"} == groups


def test_evicted_items_are_forgotten_everywhere() -> None:
    """Above the limit of weights, what a calibration stores stays bounded, and the items met most are kept."""
    limits = DifficultySettings(max_features=1_000)
    once = [
        LabelledRequest(
            RequestFeatures("search", item=f"once-{number}", prompt_family=f"p-{number}"), "new", False, 0.0
        )
        for number in range(3_000)
    ]
    calibration = calibrate([*history(), *once], frozen_at=0.0, settings=limits)

    assert len(calibration.difficulty.weights) <= 1_000
    assert len(calibration.difficulty.items) <= 1_000
    assert all(calibration.tag(features_of(item)).is_known for item in range(ITEMS))


def test_the_reference_version_is_the_ablest_with_labels_enough() -> None:
    """A version with a handful of lucky labels does not set the scale."""
    lucky = [LabelledRequest(features_of(item), "lucky", False, 0.0) for item in range(140, 150)]
    calibration = calibrate([*history(), *lucky], frozen_at=0.0, settings=DifficultySettings())

    assert calibration.reference_version in {"past-0", "past-7"}


def test_every_tier_but_untiered_has_a_rank() -> None:
    """Tiers are listed easiest first."""
    assert [Tier.EASY, Tier.MEDIUM, Tier.HARD, Tier.FRONTIER] == list(TIERS)
