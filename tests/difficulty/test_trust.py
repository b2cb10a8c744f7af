"""The trust gate: what it measures, and what it says is missing."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence

import pytest

from monitor.difficulty.calibrating import calibrate
from monitor.difficulty.features import LabelledRequest, RequestFeatures
from monitor.difficulty.settings import DifficultySettings
from monitor.difficulty.trust_gate import Prediction, assess, assess_traffic
from tests.difficulty.made_up import answers, history

SETTINGS = DifficultySettings()


def predictions(pairs: Iterable[tuple[float, bool]], *, version: str = "a", is_known: bool = True) -> list[Prediction]:
    """Predictions from (logit, failed) pairs."""
    return [Prediction(version, logit, 0.0, is_known, failed) for logit, failed in pairs]


def drawn(
    *, slope: float, labels: int = 4_000, version: str = "a", is_known: bool = True, seed: int = 0
) -> list[Prediction]:
    """Labels that follow difficulty with a given slope."""
    chance = random.Random(f"{seed} {version}")
    logits = [chance.uniform(-4, 4) for _ in range(labels)]
    return predictions(
        [(logit, chance.random() < 1 / (1 + 2.718281828 ** (-slope * logit))) for logit in logits],
        version=version,
        is_known=is_known,
    )


def test_auc_is_the_share_of_pairs_in_the_right_order() -> None:
    """Of the six pairs of a failure and a success below, five are in the right order and one is tied."""
    told = predictions([(3.0, True), (2.0, True), (1.0, False), (2.0, False), (0.0, False)])

    assert 5.5 / 6 == pytest.approx(assess(told, versions=12, settings=SETTINGS).auc)


def test_auc_is_taken_within_versions() -> None:
    """That a weak version fails more is no merit of the difficulty: one AUC per version, then the mean."""
    strong = predictions([(1.0, True), (0.0, True), (1.0, False), (0.0, False)] + [(0.0, False)] * 40, version="strong")
    weak = predictions([(1.0, False), (0.0, False), (1.0, True), (0.0, True)] + [(1.0, True)] * 40, version="weak")
    each = [assess(part, versions=12, settings=SETTINGS).auc for part in (strong, weak)]

    assert sum(each) / 2 == pytest.approx(assess([*strong, *weak], versions=12, settings=SETTINGS).auc)


def test_calibration_error_vanishes_where_labels_follow_the_logits() -> None:
    """Labels drawn from the predicted rates leave an error near 0, at any ability."""
    assert assess(drawn(slope=1.0), versions=12, settings=SETTINGS).calibration_error < 0.025
    assert assess(drawn(slope=0.3), versions=12, settings=SETTINGS).calibration_error > 0.10


@pytest.mark.parametrize(
    ("told", "versions", "reason"),
    [
        pytest.param(drawn(slope=1.0), 1, "2 more reference versions needed.", id="too few versions"),
        pytest.param(drawn(slope=0.1), 12, r"AUC of 0\.\d\d \(0\.72 needed\)", id="no better than a guess"),
        pytest.param(drawn(slope=1.0, labels=60, seed=3), 12, r"\d+ more labels", id="too few labels for the bound"),
        pytest.param(drawn(slope=8.0), 12, "off by 0", id="answers far steeper than told"),
        pytest.param([], 12, "add labels", id="no labels"),
    ],
)
def test_each_gate_says_what_is_missing(told: Sequence[Prediction], versions: int, reason: str) -> None:
    """One sentence per gate that is not passed."""
    settings = DifficultySettings(min_auc_lower=0.86) if len(told) == 60 else SETTINGS
    trust = assess(told, versions=versions, settings=settings)

    assert not trust.is_trusted
    assert re.search(reason, " ".join(trust.reasons))


def test_all_gates_passed_means_trusted() -> None:
    """Enough versions, known requests and labels that follow difficulty: trusted, without a reason."""
    trust = assess(drawn(slope=1.0), versions=12, settings=SETTINGS)

    assert trust.is_trusted_for_hard_rate
    assert () == trust.reasons == trust.hard_rate_reasons


def test_the_hard_rate_needs_known_requests_and_more_versions() -> None:
    """With three versions and no known request, shares may be trusted, but not the hard tier's failure rate."""
    trust = assess(drawn(slope=1.0, is_known=False), versions=3, settings=SETTINGS)

    assert trust.is_trusted
    assert not trust.is_trusted_for_hard_rate
    assert "3 more reference versions needed for the hard tier's failure rate." == trust.hard_rate_reasons[0]
    assert "2000 more probes needed: 0 % of the requests are known." == trust.hard_rate_reasons[1]


def test_with_few_versions_their_differences_widen_the_bound() -> None:
    """Difficulty that rests on three versions may suit the next one less; with six, only labels count."""
    told = [*drawn(slope=1.0, version="a"), *drawn(slope=0.25, version="b")]

    few, many = (assess(told, versions=versions, settings=SETTINGS) for versions in (3, 6))

    assert few.auc == many.auc
    assert few.auc_lower < many.auc_lower - 0.03


def test_trust_on_traffic_sees_requests_that_the_history_does_not_know() -> None:
    """A calibration that is trusted on its probes is not on traffic that has nothing to do with them."""
    calibration = calibrate(history(), frozen_at=0.0, settings=DifficultySettings())
    traffic = [
        LabelledRequest(RequestFeatures("search", item=f"new-{index}"), "baseline", index % 4 == 0, 0.0)
        for index in range(400)
    ]
    on_probes = assess_traffic(calibration, answers("baseline", ability=0.0, items=150), settings=DifficultySettings())
    on_traffic = assess_traffic(calibration, traffic, settings=DifficultySettings())

    assert calibration.trust.is_trusted
    assert on_probes.is_trusted
    assert not on_traffic.is_trusted
    assert on_traffic.known_share == 0.0
