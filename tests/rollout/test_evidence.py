from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.rollout.evidence import superfluous


@pytest.mark.slow
@given(st.lists(st.floats(0, 1e6), unique=True, max_size=60).map(sorted), st.integers(2, 20))
def test_the_first_and_the_last_look_are_remembered(times: list[float], most: int) -> None:
    """No more than allowed are left, and the ends of the story are among them."""
    left = sorted(set(times) - set(superfluous(times, most=most)))

    assert min(len(times), most) == len(left)
    assert times[:1] == left[:1]
    assert times[-1:] == left[-1:]


def test_weeks_of_looks_leave_an_even_trail() -> None:
    """A look every 15 seconds, thinned after each: no gap is far greater than another."""
    most, kept = 50, [0.0]

    for look in range(1, 5_000):
        kept.append(15.0 * look)
        forgotten = set(superfluous(kept, most=most))
        kept = [at for at in kept if at not in forgotten]

    gaps = [later - earlier for earlier, later in pairwise(kept)]
    assert most == len(kept)
    assert max(gaps) <= 4 * 15.0 * 5_000 / most
