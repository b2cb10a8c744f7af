"""Numbers as people read them: percent, points, counts; never a NaN."""

from __future__ import annotations

from collections.abc import Sequence

from monitor.rollout.verdict import Interval
from monitor.rollout.wording import signed

_SMALLEST_SHOWN = 0.001


def bounds(interval: Interval) -> str:
    """The bounds of a change."""
    return f"{signed(interval.lower)} to {signed(interval.upper)}"


def count(cases: float) -> str:
    """
    Cases; a decimal where repeats leave a part.

    >>> count(1200.0), count(3.25)
    ('1,200', '3.2')
    """
    return f"{cases:,.0f}" if float(cases).is_integer() else f"{cases:,.1f}"


def counted(number: int, noun: str) -> str:
    """
    So many of something.

    >>> counted(1, "case"), counted(1200, "case")
    ('1 case', '1,200 cases')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def points_of(ratio: float) -> str:
    """
    A size in points, without a sign.

    >>> points_of(0.01), points_of(0.1254)
    ('1 point', '12.5 points')
    """
    size = round(100 * ratio, 1)
    return f"{size:g} point" if size == 1.0 else f"{size:g} points"


def some_of(names: Sequence[str], shown: int = 3) -> str:
    """
    The first of *names*.

    >>> some_of(["a", "b", "c", "d"])
    'a, b, c, …'
    """
    return ", ".join(names[:shown]) + (", …" if len(names) > shown else "")


def probability(p_value: float) -> str:
    """
    A p-value.

    >>> probability(0.00004), probability(0.0312)
    ('< 0.001', '0.031')
    """
    return f"< {_SMALLEST_SHOWN}" if p_value < _SMALLEST_SHOWN else f"{p_value:.3f}"
