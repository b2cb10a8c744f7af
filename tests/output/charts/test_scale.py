from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from monitor.output.charts.scale import Scale, ticks, time_ticks

DAY = 86_400.0


def test_values_beyond_the_scale_stay_at_its_edge() -> None:
    """What is cut off is still on the picture."""
    at = Scale(0.0, 1.0, 10.0, 20.0)

    assert (10.0, 20.0) == (at(-5.0), at(7.0))


@given(st.floats(-1, 0.99), st.floats(0.005, 2))
def test_ticks_are_few_and_reach_around_what_is_shown(low: float, height: float) -> None:
    """Enough to read by, and the first and last are the ends of the scale."""
    marks = ticks(low, low + height)

    assert 2 <= len(marks) <= 7
    assert marks[0] <= low + 1e-6
    assert marks[-1] >= low + height - 1e-6


@given(st.floats(1.7e9, 1.8e9), st.floats(120, 400 * DAY))
def test_moments_are_few_and_within(start: float, seconds: float) -> None:
    """At most a handful of dates, none outside."""
    moments = time_ticks(start, start + seconds)

    assert len(moments) <= 5
    assert all(start <= moment <= start + seconds for moment, _ in moments)


def test_days_are_named_by_their_date() -> None:
    """Hours within a day, dates over weeks."""
    assert ["22 Sep", "24 Sep", "26 Sep"] == [label for _, label in time_ticks(1_790_000_000, 1_790_000_000 + 6 * DAY)][
        :3
    ]
