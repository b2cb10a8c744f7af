"""How the error rate is shared, and what a corrected rate counts for."""

from __future__ import annotations

import pytest

from monitor.rollout.bounds import Bounds
from monitor.rollout.policy import Policy


def test_error_rate_is_shared_by_cliffs_rates_and_floors() -> None:
    """Each side of a two-sided interval has a third of the policy's error rate, tightest where a jump is decided."""
    bounds = Bounds.of(Policy(error_rate=0.06, share_jump=0.3))

    assert bounds.error_rate == pytest.approx(0.04)
    assert bounds.best_standard_error == pytest.approx(0.1)


def test_corrected_rate_counts_as_many_requests_as_its_error_allows() -> None:
    """A rate with twice the standard error of counting has the bounds of a quarter of the requests, never of more."""
    bounds = Bounds.of(Policy())
    counting_error = (0.4 * 0.6 / 1000) ** 0.5

    assert bounds.rate(0.4, 0.0, 250).lower == pytest.approx(bounds.rate(0.4, 2 * counting_error, 1000).lower)
    assert bounds.rate(0.4, counting_error, 1000).lower == pytest.approx(bounds.rate(0.4, 1e-6, 1000).lower)
