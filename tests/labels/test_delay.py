from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.labels.delay import LabelDelay, TimedLabel, age_when_labelled, label_delays, slowest

HOUR = 3_600.0
seconds = st.floats(-1e9, 1e9)


@given(st.lists(seconds, min_size=30, max_size=200))
def test_labels_that_come_with_their_request_take_no_time(ages: list[float]) -> None:
    """Whatever the ages of the requests."""
    assert 0 == age_when_labelled([0.0] * len(ages), ages)


@pytest.mark.slow
@given(st.lists(st.tuples(seconds, seconds), min_size=30, max_size=200))
def test_the_age_is_one_that_a_request_has_reached(times: list[tuple[float, float]]) -> None:
    """Neither a label before its request nor one from the future makes it negative or longer than the watch."""
    delays, ages = zip(*times, strict=True)

    assert 0 <= age_when_labelled(delays, ages) <= max(0.0, *ages)


def test_exponential_delays_are_found_although_young_requests_still_wait() -> None:
    """
    The mean of forty runs is within three standard errors of the 95 % quantile, 72 h * ln 20 = 215.7 h.

    Of 2,000 requests over 30 days 90 % are labelled, so the quantile of one run has a standard deviation of
    sqrt(.95 * .05 / 1800) / (.05 / 72 h) = 7.4 h, and of at most twice that with truncation: 3 * 15 h / sqrt(40) = 7 h.
    The plain quantile of the labels seen is below 190 h.
    """
    rng, found, plain = np.random.default_rng(16), [], []
    for _ in range(40):
        ages, delays = rng.uniform(0, 720, 2_000), rng.exponential(72, 2_000)
        seen = delays <= ages
        found.append(age_when_labelled(delays[seen].tolist(), ages[seen].tolist()))
        plain.append(np.quantile(delays[seen], 0.95))

    assert 72 * math.log(20) == pytest.approx(np.mean(found), abs=7)
    assert np.mean(plain) < 200


def labels(source: str, *, success: bool, delay: float, number: int) -> list[TimedLabel]:
    return [(source, success, delay, 100 * HOUR + n) for n in range(number)]


def test_each_source_and_outcome_has_its_delay() -> None:
    """Of 29 labels nothing is learnt."""
    told = [
        *labels("judge", success=True, delay=60, number=300),
        *labels("judge", success=False, delay=26 * HOUR, number=30),
        *labels("human", success=False, delay=90 * HOUR, number=29),
    ]

    expected = [LabelDelay("judge", False, 26 * HOUR, 30), LabelDelay("judge", True, 60, 300)]
    assert expected == label_delays(told)


@pytest.mark.parametrize(
    ("delays", "waits_for"),
    [
        pytest.param([], None, id="no labels"),
        pytest.param([("judge", True, 60, 900), ("judge", False, 900, 100)], ("judge", 900), id="late failures"),
        pytest.param([("judge", True, 60, 900), ("human", True, 9_000, 90)], ("judge", 60), id="audits of a judge"),
        pytest.param([("status", True, 60, 900), ("human", True, 9_000, 90)], ("human", 9_000), id="people alone"),
        pytest.param([("judge", False, 60, 900), ("budget", False, 600, 30)], ("budget", 600), id="rare checks"),
    ],
)
def test_a_verdict_waits_for_who_speaks_often(
    delays: list[tuple[str, bool, float, int]], waits_for: tuple[str, float] | None
) -> None:
    """People who check a tenth of what a judge says only correct it."""
    found = slowest([LabelDelay(*each) for each in delays])

    assert waits_for == (found and (found.source, found.seconds))
