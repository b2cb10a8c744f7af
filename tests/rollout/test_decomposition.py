"""Why the hard tier's share of failures changed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.rollout.decomposition import decompose, hard_share
from monitor.rollout.verdict import Decomposition

MIX = np.array([0.6, 0.3, 0.1, 0.0])
RATE = np.array([0.02, 0.10, 0.60, 1.0])

mixes = st.lists(st.floats(0.01, 1), min_size=4, max_size=4).map(lambda parts: np.array(parts) / sum(parts))
rates = st.lists(st.floats(0.001, 1), min_size=4, max_size=4).map(np.array)


def parts_of(
    *,
    baseline_mix: np.ndarray = MIX,
    baseline_rate: np.ndarray = RATE,
    candidate_mix: np.ndarray = MIX,
    candidate_rate: np.ndarray = RATE,
) -> Decomposition:
    parts = decompose([baseline_mix, candidate_mix], [baseline_rate, candidate_rate])
    assert parts is not None
    return parts


@given(mixes, rates, mixes, rates)
def test_parts_add_up_to_the_raw_change(m: np.ndarray, r: np.ndarray, n: np.ndarray, s: np.ndarray) -> None:
    """Nothing is left over, whatever changed."""
    parts = parts_of(baseline_mix=m, baseline_rate=r, candidate_mix=n, candidate_rate=s)
    before, after = hard_share(m, r), hard_share(n, s)
    assert before is not None
    assert after is not None

    assert after - before == pytest.approx(parts.traffic_mix + parts.easier_tiers + parts.hard_tiers, abs=1e-12)


@given(mixes, rates, mixes, rates)
def test_arms_swapped_give_the_mirror(m: np.ndarray, r: np.ndarray, n: np.ndarray, s: np.ndarray) -> None:
    """A rollback undoes every part."""
    there = parts_of(baseline_mix=m, baseline_rate=r, candidate_mix=n, candidate_rate=s)
    back = parts_of(baseline_mix=n, baseline_rate=s, candidate_mix=m, candidate_rate=r)

    assert (there.traffic_mix, there.easier_tiers, there.hard_tiers) == pytest.approx(
        (-back.traffic_mix, -back.easier_tiers, -back.hard_tiers), abs=1e-12
    )


@pytest.mark.parametrize(
    ("part", "changed"),
    [
        pytest.param("traffic_mix", {"candidate_mix": np.array([0.45, 0.3, 0.25, 0.0])}, id="harder requests"),
        pytest.param("easier_tiers", {"candidate_rate": np.array([0.01, 0.04, 0.6, 1.0])}, id="easier tiers improved"),
        pytest.param("hard_tiers", {"candidate_rate": np.array([0.02, 0.10, 0.7, 1.0])}, id="hard tier got worse"),
    ],
)
def test_single_cause_gets_all_of_the_change(part: str, changed: dict[str, np.ndarray]) -> None:
    """Where one thing changed, the others get nothing."""
    parts = parts_of(**changed)
    others = {"traffic_mix", "easier_tiers", "hard_tiers"} - {part}

    assert getattr(parts, part) > 0.03
    assert [0.0, 0.0] == pytest.approx([getattr(parts, other) for other in others], abs=1e-12)


def test_two_factors_agree_with_a_standard_decomposition() -> None:
    """With the hard tier's rate held, the parts are means over both orders (Kitagawa 1955), worked out by hand."""
    mix, rate = np.array([0.5, 0.0, 0.5, 0.0]), np.array([0.2, 0.0, 0.2, 0.0])
    other_mix, other_rate = np.array([0.25, 0.0, 0.75, 0.0]), np.array([0.1, 0.0, 0.2, 0.0])
    # Shares: 1/2 at first, 3/4 with the mix alone, 2/3 with the easier tier alone, 6/7 with both.
    parts = parts_of(baseline_mix=mix, baseline_rate=rate, candidate_mix=other_mix, candidate_rate=other_rate)

    assert ((3 / 4 - 1 / 2) + (6 / 7 - 2 / 3)) / 2 == pytest.approx(parts.traffic_mix)
    assert ((2 / 3 - 1 / 2) + (6 / 7 - 3 / 4)) / 2 == pytest.approx(parts.easier_tiers)
    assert parts.hard_tiers == pytest.approx(0.0)


def test_no_failure_has_no_share() -> None:
    """An arm that never fails has nothing to share out, and no change to explain."""
    assert hard_share(MIX, np.zeros(4)) is None
    assert decompose([MIX, MIX], [RATE, np.zeros(4)]) is None
