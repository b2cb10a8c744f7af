"""Numbers as people read them: percent, points, counts; never a NaN."""

from __future__ import annotations

from monitor.evals.paired import Bounded

_SMALLEST_SHOWN = 0.001


def percent(ratio: float) -> str:
    """
    A ratio.

    >>> percent(0.898)
    '89.8 %'
    """
    return f"{100 * ratio:.1f} %"


def signed(ratio: float) -> str:
    """
    A change in points, without the unit.

    >>> signed(0.029), signed(-0.0001)
    ('+2.9', '+0.0')
    """
    return f"{round(100 * ratio, 1) + 0.0:+.1f}"  # adding zero leaves no minus before it


def points(ratio: float) -> str:
    """
    A change.

    >>> points(0.05)
    '+5.0 points'
    """
    return f"{signed(ratio)} points"


def bounds(interval: Bounded) -> str:
    """The bounds of a change."""
    return f"{signed(interval.lower)} to {signed(interval.upper)}"


def change_words(interval: Bounded) -> str:
    """A change with its bounds."""
    return f"{points(interval.estimate)} ({bounds(interval)})"


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


def probability(p_value: float) -> str:
    """
    A p-value.

    >>> probability(0.00004), probability(0.0312)
    ('< 0.001', '0.031')
    """
    return f"< {_SMALLEST_SHOWN}" if p_value < _SMALLEST_SHOWN else f"{p_value:.3f}"
