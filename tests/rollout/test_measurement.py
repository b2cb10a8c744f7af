"""From strata to rates: which requests count, and what bounds are made of."""

from __future__ import annotations

import numpy as np
import pytest

from bench.rollout_streams import ArmStream, KnownTiers
from monitor.difficulty.correction import DifficultyBin
from monitor.difficulty.tiers import NO_TAG, Tier
from monitor.rollout.cohort import Arm, Cohort, Stratum
from monitor.rollout.measurement import difficulty_bins, measure
from monitor.rollout.policy import Policy


def a_cell(
    tier: Tier = Tier.HARD, *, bin_: int = 4, is_known: bool = True, requests: int = 10, logit: float = 1.0
) -> Stratum:
    return Stratum(tier, "any", bin_, is_known, requests, requests - 2, 3, logit * requests, 0.5 * requests)


def test_cells_of_one_bin_are_put_together() -> None:
    """Tier and capability do not matter to the correction, known or not does; difficulty is the mean."""
    strata = [
        a_cell(logit=1.0),
        a_cell(Tier.MEDIUM, logit=2.0, requests=30),
        a_cell(is_known=False),
        a_cell(bin_=2),
    ]

    assert [
        DifficultyBin(1.0, 0.5, is_known=True, requests=10, labelled=8, failures=3),
        DifficultyBin(1.0, 0.5, is_known=False, requests=10, labelled=8, failures=3),
        DifficultyBin(1.75, 0.5, is_known=True, requests=40, labelled=36, failures=6),
    ] == difficulty_bins(strata)


def test_requests_without_a_clear_tier_belong_to_the_mix() -> None:
    """An untiered request has a wide difficulty; one that no calibration has seen has none."""
    unclear = a_cell(Tier.UNTIERED, is_known=False)
    unseen = Stratum(NO_TAG.tier, "any", NO_TAG.bin, NO_TAG.is_known, 10, 10, 5, 0.0, 0.0)

    assert [10] == [group.requests for group in difficulty_bins([unclear, unseen])]


def test_hard_tier_is_compared_at_one_mix() -> None:
    """When only the mix of hard and frontier changes, the hard tier's rate does not."""

    def arm(frontier: int) -> Arm:
        requests = np.array([[6000, 3000, 1000 - frontier, frontier]])
        failures = np.round(requests * np.array([0.02, 0.10, 0.60, 0.999])).astype(int)
        return Arm("version", ArmStream(requests, requests, failures).strata(0))

    measurement = measure(Cohort(arm(100), arm(400), "known-tiers"), KnownTiers(), Policy())

    assert measurement.hard_tier.change is not None
    assert measurement.hard_tier.change.estimate == pytest.approx(0.0, abs=0.005)
    assert measurement.standardised_change == pytest.approx(0.0, abs=0.002)
    assert measurement.decomposition is not None
    assert measurement.decomposition.traffic_mix == pytest.approx(0.040, abs=0.001)


def test_probes_narrow_the_rates_and_leave_traffic_alone() -> None:
    """A panel replayed on both versions is evidence for rates, not part of the mix or of what is counted."""

    def arm(requests: list[int], failures: list[int]) -> Arm:
        counts = np.array([requests])
        return Arm("version", ArmStream(counts, counts, np.array([failures])).strata(0))

    production = Cohort(
        arm([600, 300, 100, 0], [12, 30, 60, 0]), arm([600, 300, 100, 0], [6, 12, 56, 0]), "known-tiers"
    )
    probes = Cohort(arm([0, 100, 400, 0], [0, 10, 240, 0]), arm([0, 100, 400, 0], [0, 4, 224, 0]), "known-tiers")

    alone = measure(production, KnownTiers(), Policy())
    beside = measure(production, KnownTiers(), Policy(), probes=probes)

    assert alone.aggregate == beside.aggregate
    assert alone.known_failures == 74
    assert beside.known_failures == 302
    assert alone.hard_tier.change is not None
    assert beside.hard_tier.change is not None
    assert beside.hard_tier.change.lower > alone.hard_tier.change.lower
    assert alone.share is not None
    assert beside.share is not None
    assert beside.share.baseline.estimate == pytest.approx(alone.share.baseline.estimate, abs=0.02)
