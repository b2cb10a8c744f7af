"""Where tiers begin, and how probable each is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from monitor.difficulty.calibrating import bin_edges
from monitor.difficulty.correction import soft_tiers
from monitor.difficulty.tiers import TierCuts

CUTS = TierCuts(medium=-2.0, hard=0.0, frontier=2.0)
LOGITS = st.floats(min_value=-20, max_value=20)
VARIANCES = st.floats(min_value=0, max_value=50)


@given(logit=LOGITS, variance=VARIANCES)
def test_soft_tiers_are_a_distribution(logit: float, variance: float) -> None:
    """No tier is less probable than 0, and together they are certain."""
    tiers = soft_tiers(logit, variance, CUTS)

    assert (tiers >= 0).all()
    assert tiers.sum() == pytest.approx(1.0)


def test_soft_tiers_are_normal_probabilities() -> None:
    """Each tier has the probability that scipy's normal distribution puts between its cuts."""
    belief = norm(0.5, 1.5)
    expected = [belief.cdf(-2), belief.cdf(0) - belief.cdf(-2), belief.cdf(2) - belief.cdf(0), belief.sf(2)]

    assert expected == pytest.approx(soft_tiers(0.5, 2.25, CUTS).tolist())


@given(logit=LOGITS, variance=VARIANCES)
def test_mirrored_difficulty_mirrors_the_tiers(logit: float, variance: float) -> None:
    """With cuts that are symmetrical, an easy request is as easy as a hard one is hard."""
    np.testing.assert_allclose(soft_tiers(logit, variance, CUTS), soft_tiers(-logit, variance, CUTS)[::-1], atol=1e-9)


def test_every_cut_is_a_bin_edge() -> None:
    """No bin holds two tiers, and there are 18 bins."""
    edges = bin_edges(CUTS)

    assert {CUTS.medium, CUTS.hard, CUTS.frontier} <= set(edges)
    assert sorted(edges) == list(edges)
    assert len(edges) == 17
