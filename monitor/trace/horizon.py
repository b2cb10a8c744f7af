"""The length of a run in classes that double, by which success is counted per horizon."""

from __future__ import annotations

from bisect import bisect_left
from enum import StrEnum

from monitor.trace.model import Trace


class Horizon(StrEnum):
    """Units of the length of a run; budgets have the same names."""

    STEPS = "steps"
    TOOL_CALLS = "tool_calls"
    SECONDS = "seconds"


LENGTHS = (0, *(2**power for power in range(13)))
"""Lower ends of the classes: the class of a run is the last that it exceeds, or the first if it exceeds none."""

UNKNOWN_LENGTH = "unknown"


def horizon_of(trace: Trace) -> str:
    """The length of *trace* in each unit of `Horizon`."""
    return " ".join(map(length_of, (trace.steps, trace.tool_calls, trace.duration_seconds)))


def length_of(amount: float | None) -> str:
    """
    The last of `LENGTHS` that *amount* exceeds; `UNKNOWN_LENGTH` for None.

    >>> length_of(0), length_of(33), length_of(64.0), length_of(None)
    ('0', '32', '32', 'unknown')
    """
    return UNKNOWN_LENGTH if amount is None else _NAMES[max(bisect_left(LENGTHS, amount) - 1, 0)]


_NAMES = tuple(map(str, LENGTHS))
