"""Formats numbers and names for people, in the same way everywhere; never as NaN."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime

from monitor.labels.delay import LabelDelay
from monitor.rollout.verdict import Interval

_SPECIAL = str.maketrans({letter: f"\\{letter}" for letter in "\\`*_[]|#~"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"})
_SMALLEST_P_VALUE = 0.001
TAGS_CORRECTED = "Counts are by tag; rates and shares are corrected for doubtful tags, so they differ from the counts."
_MOST_DIGITS, _LONGEST_NAME = 4, 200
_TINY, _SMALL = 0.00001, 0.01


def percent(ratio: float) -> str:
    """
    *ratio*, 0 to 1, as a percentage; near 0 and 1 with enough digits to differ from them.

    >>> percent(0.125), percent(0.0013), percent(0.9998)
    ('12.5 %', '0.13 %', '99.980 %')
    """
    return f"{100 * ratio:.{_digits(min(ratio, 1.0 - ratio))}f} %"


def points(ratio: float, *, beside: float | None = None) -> str:
    """
    A difference of ratios in percentage points, with enough digits to differ from the one *beside* it.

    >>> points(0.1875), points(0.02998, beside=0.03)
    ('+18.8 points', '+2.998 points')
    """
    digits = 1
    while beside is not None and digits < _MOST_DIGITS and round(100 * ratio, digits) == round(100 * beside, digits):
        digits += 1
    return f"{signed(ratio, digits)} points"


def with_bounds(interval: Interval) -> str:
    """
    A difference of ratios with its bounds.

    >>> with_bounds(Interval(0.25, 0.125, 0.375))
    '+25.0 points (+12.5 to +37.5)'
    """
    digits = _digits(max(interval.upper, -interval.lower))
    return f"{signed(interval.estimate, digits)} points ({bounds(interval)})"


def bounds(interval: Interval) -> str:
    """
    The bounds of a change.

    >>> bounds(Interval(0.0014, 0.0002, 0.0027))
    '+0.02 to +0.27'
    """
    digits = _digits(max(interval.upper, -interval.lower))
    return f"{signed(interval.lower, digits)} to {signed(interval.upper, digits)}"


def _digits(ratio: float) -> int:
    """Decimals of a percentage that show *ratio*: one, more below 1 %, up to 0.001 %."""
    return -math.floor(math.log10(ratio)) - 1 if _TINY <= ratio < _SMALL else 1


def signed(ratio: float, digits: int = 1) -> str:
    """
    A difference of ratios in points, without the unit.

    >>> signed(-0.0001)
    '+0.0'
    """
    return f"{round(100 * ratio, digits) + 0.0:+.{digits}f}"  # adding zero leaves no minus before it


def count(cases: float) -> str:
    """
    A number of cases, with a decimal if repeats make it a fraction.

    >>> count(1200.0), count(3.25)
    ('1,200', '3.2')
    """
    return f"{cases:,.0f}" if float(cases).is_integer() else f"{cases:,.1f}"


def counted(number: int, noun: str) -> str:
    """
    A number with its noun.

    >>> counted(1, "case"), counted(1200, "case")
    ('1 case', '1,200 cases')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def points_of(ratio: float) -> str:
    """
    A size in percentage points, without a sign.

    >>> points_of(0.01), points_of(0.1254)
    ('1 point', '12.5 points')
    """
    size = round(100 * ratio, 1)
    return f"{size:g} point" if size == 1.0 else f"{size:g} points"


def some_of(things: Sequence[object], shown: int = 3) -> str:
    """
    The first few of *things*, and how many more there are.

    >>> some_of(["a", "b", "c", "d"])
    'a, b, c and 1 more'
    """
    more = len(things) - shown
    names = ", ".join(one_line(str(each), _LONGEST_NAME) for each in things[:shown])
    return names + (f" and {more:,} more" if more > 0 else "")


def capitalised(words: str) -> str:
    """*words* with a capital first letter; unlike `str.capitalize`, the rest stays as it is."""
    return words[:1].upper() + words[1:]


def probability(p_value: float) -> str:
    """
    A p-value.

    >>> probability(0.00004), probability(0.0312)
    ('< 0.001', '0.031')
    """
    return f"< {_SMALLEST_P_VALUE}" if p_value < _SMALLEST_P_VALUE else f"{p_value:.3f}"


def markdown(text: str) -> str:
    r"""
    *text* escaped for one line of Markdown, so that nothing in it is formatting, a link or a mention.

    >>> markdown("a|b\n<i>")
    'a\\|b &lt;i&gt;'
    """
    return one_line(text, None).translate(_SPECIAL).replace("@", "@\u200b")


def one_line(text: str, limit: int | None) -> str:
    r"""
    *text* without line ends and control characters, cut to at most *limit* characters (None: no limit).

    >>> one_line("a\nb \x1b[31mc", 6)
    'a b […'
    """
    words = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return words if limit is None or len(words) <= limit else f"{words[: limit - 1]}…"


def duration(seconds: float) -> str:
    """
    *seconds* in the largest unit that fits: days from two of them, hours and minutes from one.

    >>> duration(93_600), duration(259_200), duration(90)
    ('26 h', '3 d', '1.5 min')
    """
    for unit, length, least in (("d", 86_400, 2), ("h", 3_600, 1), ("min", 60, 1)):
        if abs(seconds) >= least * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"


def minute(unix_seconds: float) -> str:
    """
    A time to the minute.

    >>> minute(1_763_870_520.0)
    '2025-11-23 04:02 UTC'
    """
    return f"{datetime.fromtimestamp(unix_seconds, UTC):%Y-%m-%d %H:%M} UTC"


def delay_words(delay: LabelDelay) -> str:
    """
    When most labels of one source and outcome have arrived.

    >>> delay_words(LabelDelay("judge", False, 93_600.0, 400))
    '95 % of failures are labelled after 26 h (judge)'
    """
    outcome = "successes" if delay.success else "failures"
    return f"95 % of {outcome} are labelled after {duration(delay.seconds)} ({delay.source})"
