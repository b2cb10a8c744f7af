"""Drift of a frozen calibration: planted, absent, and not to be told."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from scipy.stats import binom

from monitor.difficulty.calibrating import calibrate
from monitor.difficulty.calibration import Calibration
from monitor.difficulty.features import LabelledRequest, RequestFeatures
from monitor.difficulty.settings import DifficultySettings
from monitor.difficulty.trust import Drift
from monitor.difficulty.trust_gate import MAX_ANCHORS_MOVED, MIN_LABELS, find_drift
from tests.difficulty.made_up import answers, history

ITEMS = 150
ROUNDS = 8


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    made = calibrate(history(items=ITEMS), frozen_at=0.0, settings=DifficultySettings())
    assert made is not None
    return made


def live(
    seed: int, *, ability_then: Callable[[int], float] = lambda _: 0.0, model_version: str = "live"
) -> list[LabelledRequest]:
    """Every item asked eight times over, in an order of its own each time; *ability_then* is told by round."""
    labels = []
    for turn in range(ROUNDS):
        asked = list(answers(model_version, ability=ability_then(turn), items=ITEMS, seed=1_000 * seed + turn))
        random.Random(f"{seed} {turn}").shuffle(asked)
        labels += [replace(each, started_at=float(turn * ITEMS + place)) for place, each in enumerate(asked)]
    return labels


def swapped(labels: Sequence[LabelledRequest], *, every: int) -> list[LabelledRequest]:
    """The same labels, with what was easy hard and what was hard easy for one item in *every*."""
    return [
        replace(each, failed=not each.failed)
        if int(str(each.features.item).removeprefix("item-")) % every == 0
        else each
        for each in labels
    ]


@pytest.mark.slow
def test_nothing_is_found_where_nothing_changed(calibration: Calibration) -> None:
    """
    Of 60 runs without drift at most one says otherwise.

    ADWIN is asked with a confidence of 0.002 and the anchors with 0.002, so a run has a chance of 0.004 at most; two
    or more of 60 have one of 0.025.
    """
    told = [find_drift(calibration, live(seed)) for seed in range(60)]

    assert binom.sf(1, 60, 0.004) < 0.03
    assert sum(bool(drift.is_drifting) for drift in told) <= 1
    assert all(drift.is_drifting is not None for drift in told)
    assert all(drift.anchors == ITEMS for drift in told)


def test_one_version_after_the_other_is_no_drift(calibration: Calibration) -> None:
    """That the next version is abler is its merit: each is read at its own ability."""
    earlier = live(0, ability_then=lambda _: 1.0, model_version="earlier")
    later = [
        replace(each, started_at=each.started_at + ROUNDS * ITEMS)
        for each in live(0, ability_then=lambda _: -2.0, model_version="later")
    ]

    assert find_drift(calibration, [*earlier, *later]).is_drifting is False


@pytest.mark.parametrize("seed", range(5))
def test_a_change_under_one_name_is_found_by_the_residual(calibration: Calibration, seed: int) -> None:
    """A version that fails far more often from half-way on: the residual since then is above 0, and it is said."""
    drift = find_drift(calibration, live(seed, ability_then=lambda turn: 2.5 if turn >= ROUNDS // 2 else -1.5))

    assert drift.is_drifting
    assert drift.residual_mean is not None
    assert drift.residual_mean > 0.1
    assert "predicted failure rates went off by +0." in drift.sentence


@pytest.mark.parametrize("seed", range(5))
def test_items_that_became_others_are_found_by_the_anchors(calibration: Calibration, seed: int) -> None:
    """Every fifth item is hard where it was easy and easy where it was hard, from the start: no change over time."""
    drift = find_drift(calibration, swapped(live(seed), every=5))

    assert drift.is_drifting
    assert drift.anchors_moved_ratio is not None
    assert MAX_ANCHORS_MOVED < drift.anchors_moved_ratio <= 0.2  # those of middling difficulty hardly move
    assert f"of {ITEMS} well-known requests fail more or less often than it says" in drift.sentence


def test_few_labels_tell_nothing(calibration: Calibration) -> None:
    """Below the fewest labels, drift is neither there nor absent."""
    drift = find_drift(calibration, live(0)[: MIN_LABELS // 4])

    assert (
        Drift(None, f"Drift is not known: {MIN_LABELS // 4} live labels, {MIN_LABELS} needed.", None, 0, None) == drift
    )


def test_versions_that_only_fail_tell_nothing(calibration: Calibration) -> None:
    """Where a version's ability cannot be told, neither can drift."""
    drift = find_drift(calibration, [replace(each, failed=True) for each in live(0)])

    assert drift.is_drifting is None


def test_requests_never_met_are_no_anchors(calibration: Calibration) -> None:
    """Of requests that the history does not hold the residual is watched, and nothing else."""
    unmet = [
        replace(each, features=RequestFeatures(each.features.capability, item=f"new-{each.features.item}"))
        for each in live(0)
    ]
    drift = find_drift(calibration, unmet)

    assert (0, None) == (drift.anchors, drift.anchors_moved_ratio)
    assert drift.residual_mean is not None


def test_order_in_which_labels_are_read_changes_nothing(calibration: Calibration) -> None:
    """Labels are taken in the order of their requests."""
    labels = live(3)
    shuffled = list(labels)
    random.Random(0).shuffle(shuffled)

    assert find_drift(calibration, labels) == find_drift(calibration, shuffled)
