"""Watches that the loop turns: what hangs in a broker or a database is said, and in the end is left to a restart."""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import traceback
from collections.abc import Callable

import structlog

from monitor.clock import Clock

_log = structlog.get_logger()

_LOOKS_PER_LIMIT = 20
_EXIT_CODE = 3  # a dependency is out of reach


class Watchdog:
    """
    Knows how long ago the loop last turned.

    A loop that hangs is ended by a thread, a library that holds the whole interpreter by a timer that needs none of it.
    The restart that it forces loses and doubles nothing: what was not committed with its offset is read again.

    Args:
        clock: Monotonic, read from any thread.
        unhealthy_seconds: Age of the last turn from which on `problem` says something.
        exit_seconds: Age of the last turn at which the process ends, after its stacks were logged.
        end: Ends the process at once, whatever its threads do.
    """

    def __init__(
        self, clock: Clock, *, unhealthy_seconds: float, exit_seconds: float, end: Callable[[int], None] = os._exit
    ) -> None:
        self._clock = clock
        self._unhealthy_seconds = unhealthy_seconds
        self._exit_seconds = exit_seconds
        self._end = end
        self._turned_at = clock.monotonic()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def turned(self) -> None:
        """The loop is alive."""
        self._turned_at = self._clock.monotonic()

    def problem(self) -> str:
        """One sentence where the loop has not turned for too long, else empty."""
        age = self._clock.monotonic() - self._turned_at
        if age < self._unhealthy_seconds:
            return ""
        return (
            f"The main loop has made no progress for {age:.0f} s, so a broker or the database hangs; "
            f"this process exits after {self._exit_seconds:.0f} s."
        )

    def look(self) -> None:
        """End the process where the loop has not turned for longer than is ever needed."""
        age = self._clock.monotonic() - self._turned_at
        if age >= self._exit_seconds:
            _log.error("loop.stalled", seconds=round(age), stacks=stacks())
            sys.stderr.flush()
            self._end(_EXIT_CODE)

    def start(self) -> None:
        """Look from a thread of its own until `stop`."""
        self.turned()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more; safe to call twice."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        try:
            self._arm()
            while not self._stopping.wait(self._exit_seconds / _LOOKS_PER_LIMIT):
                self.look()
                self._arm()
        finally:
            faulthandler.cancel_dump_traceback_later()

    def _arm(self) -> None:
        # This thread does not run either while a library holds the interpreter; the timer of C does, and ends us.
        faulthandler.dump_traceback_later(self._exit_seconds, exit=True, file=sys.__stderr__ or 2)


def stacks() -> str:
    """What every thread is doing, for a person to read."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return "\n".join(
        f"thread {names.get(ident, ident)}:\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in sys._current_frames().items()  # noqa: SLF001  (the only way to see other threads)
    )
