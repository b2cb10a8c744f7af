"""How the error rate of a rollout is shared."""

from __future__ import annotations

import pytest

from monitor.rollout import bounds as module
from monitor.rollout.bounds import Bounds, requests_worth
from monitor.rollout.cohort import TierGroup
from monitor.rollout.confidence_sequence import Counts


def test_the_parts_of_the_budget_add_up_to_the_error_rate() -> None:
    """Cliffs, groups, classes and floors together may raise a false alarm with the policy's chance, and no more."""
    groups = sum(module._GROUP_SHARES.values())

    assert pytest.approx(1.0) == module._CLIFF_SHARE + groups + module._CAPABILITIES_SHARE + module._FLOORS_SHARE


def test_a_rise_is_shown_the_sooner_the_larger_its_part_of_the_budget() -> None:
    """All requests and the hard tier have more of it than the easier tiers."""
    bounds = Bounds(0.05, 0.1)
    before, after = Counts(400, 40), Counts(400, 66)

    lower = {group: bounds.change(before, after, group).lower for group in TierGroup}

    assert lower[TierGroup.ALL] == lower[TierGroup.HARD] > lower[TierGroup.EASIER]


def test_more_floors_make_each_harder_to_break() -> None:
    """The floors' part is shared between them."""
    alone, among = (Bounds(0.05, 0.1, floors).rate(0.4, 250) for floors in (1, 8))

    assert among.lower < alone.lower < 0.4 < alone.upper < among.upper


@pytest.mark.parametrize("rate", [0.0, 0.00013, 0.0047, 0.9953, 1.0])
def test_a_corrected_rate_at_an_end_is_as_sure_as_its_error(rate: float) -> None:
    """37 failures of 3,567 easy requests, 0.013 % give or take half a point, once read "up to 62 %"."""
    shown = Bounds(0.05, 0.1).rate(rate, requests_worth(rate, 0.0047))

    assert shown.upper - shown.lower < 0.06


def test_a_corrected_rate_far_from_an_end_has_the_requests_of_its_error() -> None:
    """As many as would give a count that error."""
    assert 1_600 == pytest.approx(requests_worth(0.2, 0.01))
    assert 0.25 == pytest.approx(requests_worth(0.9, 1.0))
