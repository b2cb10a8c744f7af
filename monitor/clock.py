"""Clocks: the only module that reads the time."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Source of the time for code that does I/O; pure functions get the time as an argument."""

    def time(self) -> float:
        """Seconds since the Unix epoch, for what is stored or shown."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start that never go back, for ages and deadlines."""

    def observe(self, event_time: float) -> None:
        """Note an event of *event_time* (Unix seconds); only an event clock uses it."""


class WallClock:
    """The machine's clock, for the running service."""

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def observe(self, event_time: float) -> None:
        """Do nothing: the wall clock does not depend on events."""


class EventClock:
    """The latest event time so far, for replays: time passes as fast as records are read."""

    def __init__(self) -> None:
        self._now = 0.0

    def time(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now

    def observe(self, event_time: float) -> None:
        self._now = max(self._now, event_time)
