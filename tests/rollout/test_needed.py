"""Forecasts of how many more requests a rollout needs."""

from __future__ import annotations

import numpy as np
import pytest

from bench.bench_verdicts import CLASSIC
from bench.rollout_streams import ArmStream, KnownTiers, simulate
from monitor.rollout.cohort import Arm, Cohort
from monitor.rollout.judging import judge
from monitor.rollout.measurement import Measurement, measure
from monitor.rollout.needed import requests_to_cliff, requests_to_ok
from monitor.rollout.policy import Policy
from monitor.rollout.verdict import VerdictState

POLICY = Policy()


def measured(baseline: tuple[int, int], candidate: tuple[int, int]) -> Measurement:
    """Arms as (requests, hard-tier failures); a tenth of the requests are hard, no easier one fails."""

    def arm(requests: int, failures: int) -> Arm:
        counts = np.array([[requests - requests // 10, 0, requests // 10, 0]])
        return Arm("version", ArmStream(counts, counts, np.array([[0, 0, failures, 0]])).strata(0))

    return measure(Cohort(arm(*baseline), arm(*candidate), "known-tiers"), KnownTiers(), POLICY)


@pytest.mark.parametrize(
    ("baseline", "candidate", "needed"),
    [
        pytest.param((1000, 60), (100, 10), 200, id="20 more failures at one in ten requests"),
        pytest.param((1000, 15), (1000, 60), 1000, id="the baseline is the slower arm"),
        pytest.param((1000, 60), (100, 0), 500, id="no failure yet: the baseline's rate stands in"),
        pytest.param((0, 0), (0, 0), 200, id="nothing seen yet"),
    ],
)
def test_counts_that_are_missing_are_forecast(
    baseline: tuple[int, int], candidate: tuple[int, int], needed: int
) -> None:
    """The slowest of the minimum counts decides, at the rates seen so far."""
    assert needed == requests_to_ok(measured(baseline, candidate), POLICY)


def test_forecast_of_a_cliff_is_about_what_it_takes() -> None:
    """Half-way through the classic cliff, the forecast lies within a factor of three of the truth in most runs."""
    ratios = []
    for run in range(20):
        stream = simulate(CLASSIC, looks=80, per_look=100, rng=np.random.default_rng((9, run)))
        forecast, previous = None, None
        for cohort in stream.cohorts():
            previous = judge(cohort, KnownTiers(), POLICY, service="agent", environment="production", previous=previous)
            if cohort.candidate.labelled == 1500:
                forecast = 1500 + requests_to_cliff(measure(cohort, KnownTiers(), POLICY), POLICY)
            if previous.state is VerdictState.CLIFF and forecast is not None:
                ratios.append(forecast / cohort.candidate.labelled)
                break

    assert np.mean([1 / 3 <= ratio <= 3 for ratio in ratios]) >= 0.7


def test_nothing_that_leads_to_a_cliff_has_no_forecast() -> None:
    """Without a jump of the share there is no next state to count down to."""
    assert requests_to_cliff(measured((1000, 60), (1000, 60)), POLICY) == 0
