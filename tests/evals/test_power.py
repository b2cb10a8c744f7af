from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from monitor.evals.audit import cases_to_see, power_to_see, smallest_visible_drop


def test_six_cases_that_all_fall_are_the_fewest_that_are_significant() -> None:
    """Of five cases that all fall, chance gives 2/32; of six, 2/64."""
    assert 0.0 == power_to_see(1.0, cases=5, churn=0.0, level=0.05)
    assert 1.0 == pytest.approx(power_to_see(1.0, cases=6, churn=0.0, level=0.05))


@pytest.mark.slow
def test_power_is_that_of_simulated_suites() -> None:
    """
    The exact power is the share of simulated suites whose test is significant.

    Of 3,000 suites, 4 standard errors are 0.037 at most.
    """
    random = np.random.default_rng(4)
    moved = random.multinomial(120, [0.13, 0.03, 0.84], size=3_000)
    significant = np.mean([binomtest(a, a + b).pvalue <= 0.05 if a + b else False for a, b, _ in moved.tolist()])

    assert significant == pytest.approx(power_to_see(0.10, cases=120, churn=0.06, level=0.05), abs=0.037)


def test_smallest_visible_drop_is_seen_and_a_smaller_one_is_not() -> None:
    """The drop lies where the power passes 80 %."""
    drop = smallest_visible_drop(cases=200, churn=0.04, level=0.0125, power=0.8)
    assert drop is not None

    assert power_to_see(drop, cases=200, churn=0.04, level=0.0125) >= 0.8
    assert power_to_see(drop - 0.002, cases=200, churn=0.04, level=0.0125) < 0.8


def test_too_few_cases_show_nothing() -> None:
    """Where not even a drop to nothing would be significant, there is no visible drop."""
    assert smallest_visible_drop(cases=5, churn=0.0, level=0.05, power=0.8) is None


def test_cases_to_see_a_drop_are_enough() -> None:
    """So many cases show the drop, and nine tenths of them do not."""
    cases = cases_to_see(0.05, churn=0.02, level=0.05, power=0.8)
    assert cases is not None

    assert power_to_see(0.05, cases=cases, churn=0.02, level=0.05) >= 0.8
    assert power_to_see(0.05, cases=int(0.9 * cases), churn=0.02, level=0.05) < 0.8
