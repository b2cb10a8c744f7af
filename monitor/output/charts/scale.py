"""Maps values to positions in a drawing, and chooses ticks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_HOUR, _DAY = 3_600.0, 86_400.0
_TIME_STEPS = (
    *(60.0 * minutes for minutes in (1, 2, 5, 10, 15, 30)),
    *(_HOUR * hours for hours in (1, 2, 3, 6, 12)),
    *(_DAY * days for days in (1, 2, 3, 7, 14, 28, 56, 112, 364)),
)


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear map from values *start* to *end* to positions *low* to *high*; values outside are clamped."""

    start: float
    end: float
    low: float
    high: float

    def __call__(self, value: float) -> float:
        """
        The position of *value*.

        >>> Scale(0.0, 1.0, 100.0, 300.0)(0.25)
        150.0
        """
        inside = min(max(value, self.start), self.end)
        return self.low + (inside - self.start) / (self.end - self.start) * (self.high - self.low)


def ticks(low: float, high: float, *, most: int = 5) -> Sequence[float]:
    """
    Round values that cover *low* to *high*, about *most* of them.

    >>> [round(tick, 2) for tick in ticks(0.0, 0.72)]
    [0.0, 0.2, 0.4, 0.6, 0.8]
    """
    least = (high - low) / (most - 1)
    magnitude = 10.0 ** math.floor(math.log10(least))
    step = next(step * magnitude for step in _STEPS if step * magnitude >= least * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, max(last, first + 1) + 1)]


def time_ticks(start: float, end: float, *, most: int = 4) -> Sequence[tuple[float, str]]:
    """
    Round times between *start* and *end* (Unix seconds), with labels in UTC.

    >>> time_ticks(1_790_000_000.0, 1_790_010_000.0)
    [(1790002800.0, '15:00'), (1790006400.0, '16:00'), (1790010000.0, '17:00')]
    """
    step = next((step for step in _TIME_STEPS if (end - start) / step <= most), _TIME_STEPS[-1])
    moments = [index * step for index in range(math.ceil(start / step), math.floor(end / step) + 1)]
    form = "{0.day} {0:%b}" if step >= _DAY else "{0:%H:%M}"
    return [(moment, form.format(datetime.fromtimestamp(moment, UTC))) for moment in moments]
