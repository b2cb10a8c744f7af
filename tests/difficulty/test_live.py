"""What live labels say of a calibration, and from when on they are heard."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from monitor.difficulty.calibrating import calibrate
from monitor.difficulty.calibration import Calibration
from monitor.difficulty.features import LabelledRequest
from monitor.difficulty.settings import DifficultySettings
from monitor.difficulty.trust_gate import assess_live
from tests.difficulty.made_up import answers, history


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    made = calibrate(history(), frozen_at=0.0, settings=DifficultySettings())
    assert made is not None
    return made


def guesses(model_version: str) -> list[LabelledRequest]:
    """Outcomes that have nothing to do with difficulty."""
    chance = random.Random(model_version)
    return [replace(each, failed=chance.random() < 0.4) for each in answers(model_version, ability=0.0, items=150)]


def test_labels_that_follow_difficulty_give_no_reason(calibration: Calibration) -> None:
    """Three live versions that fail what is hard leave the calibration as trusted as it was."""
    live = assess_live(
        calibration,
        [each for n in range(3) for each in answers(f"live-{n}", ability=0.0, items=150)],
        settings=DifficultySettings(),
    )

    assert (3, ()) == (live.versions, live.reasons)
    assert live.trust is not None
    assert live.trust.is_trusted
    assert live.is_trusted
    assert calibration.calibration_id == live.calibration_id


@pytest.mark.parametrize("versions", [1, 2, 3])
def test_only_three_versions_together_are_heard(calibration: Calibration, versions: int) -> None:
    """One or two versions to which the difficulty says nothing are measured, but give no reason by their AUC."""
    live = assess_live(
        calibration, [each for n in range(versions) for each in guesses(f"live-{n}")], settings=DifficultySettings()
    )

    assert live.trust is not None
    assert not live.trust.is_trusted
    assert (versions == 3) == any("live versions: Difficulty separates failures" in reason for reason in live.reasons)


def test_versions_with_few_labels_have_no_say(calibration: Calibration) -> None:
    """A hundred labels are needed, as of a reference version, and outcomes of both kinds."""
    few = [each for n in range(5) for each in guesses(f"live-{n}")[:99]]
    failing = [replace(each, failed=True) for each in guesses("broken")]
    live = assess_live(calibration, [*few, *failing], settings=DifficultySettings())

    assert (0, None) == (live.versions, live.trust)


def test_without_labels_nothing_is_known(calibration: Calibration) -> None:
    """Neither trusted nor doubted."""
    live = assess_live(calibration, [], settings=DifficultySettings())

    assert (None, ()) == (live.is_trusted, live.reasons)


def test_drift_is_heard_from_one_version(calibration: Calibration) -> None:
    """Where calibration and labels come apart, that is a reason whoever answered."""
    labels = [
        replace(each, started_at=turn * 150.0 + place * 37 % 150)
        for turn in range(8)
        for place, each in enumerate(answers("live", ability=2.5 if turn > 3 else -1.5, items=150, seed=turn))
    ]
    live = assess_live(calibration, labels, settings=DifficultySettings())

    assert live.is_trusted is False
    assert live.drift.sentence == live.reasons[0]
