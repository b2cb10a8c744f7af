"""Time as an argument: the only module that reads a clock."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Where the shell takes the time from; the core gets it as an argument."""

    def time(self) -> float:
        """Seconds since the Unix epoch, for what is stored or shown."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start that never go back, for ages and deadlines."""

    def observe(self, event_time: float) -> None:
        """Learn that an event of *event_time* (Unix seconds) was read; only an event clock listens."""


class WallClock:
    """The machine's clock, for the running service."""

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def observe(self, event_time: float) -> None:
        """Ignored: the wall clock goes by itself."""


class EventClock:
    """The newest event time seen so far, for replays: time passes as fast as records are read."""

    def __init__(self) -> None:
        self._now = 0.0

    def time(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now

    def observe(self, event_time: float) -> None:
        self._now = max(self._now, event_time)
