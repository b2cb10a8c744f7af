"""The Mantel-Haenszel odds ratio: values, algebra, a uniform gain."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import expit, logit

from monitor.rollout.matching import mantel_haenszel


def test_one_table_is_the_plain_odds_ratio() -> None:
    """With one row, the estimate is the cross product and the variance Woolf's."""
    ratio = mantel_haenszel(np.array([[200.0], [100.0]]), np.array([[50.0], [40.0]]))

    assert ratio is not None
    assert math.log(40 * 150 / (60 * 50)) == pytest.approx(ratio[0])
    assert 1 / 50 + 1 / 150 + 1 / 40 + 1 / 60 == pytest.approx(ratio[1])


def test_rows_agree_with_an_independent_implementation() -> None:
    """Three rows, computed with statsmodels 0.14: StratifiedTable.logodds_pooled and its standard error."""
    requests = np.array([[100.0, 60.0, 40.0], [80.0, 90.0, 50.0]])
    failures = np.array([[10.0, 20.0, 25.0], [12.0, 40.0, 35.0]])

    ratio = mantel_haenszel(requests, failures)

    assert ratio is not None
    assert (0.4317330349, 0.2351332539) == pytest.approx((ratio[0], ratio[1] ** 0.5))


def test_a_uniform_gain_gives_every_row_its_odds_ratio() -> None:
    """Log-odds lowered by 1.2 are found again, however hard the rows."""
    rate = np.array([0.02, 0.3, 0.9])
    requests = np.full((2, 3), 10_000.0)

    ratio = mantel_haenszel(requests, requests * np.stack([rate, expit(logit(rate) - 1.2)]))

    assert ratio is not None
    assert -1.2 == pytest.approx(ratio[0])


def test_no_failure_in_an_arm_has_no_odds_ratio() -> None:
    """Nothing to divide by."""
    assert mantel_haenszel(np.full((2, 1), 10.0), np.array([[5.0], [0.0]])) is None
    assert mantel_haenszel(np.zeros((2, 0)), np.zeros((2, 0))) is None
