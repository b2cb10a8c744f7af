"""Watches the progress of the loop: reports a hang, and ends the process if it lasts, so that it is restarted."""

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
    Measures how long ago the loop last turned, and ends a process that hangs.

    A watchdog thread ends the process if the loop hangs. If a library holds the GIL, so that no thread runs, a C timer
    does. The restart neither loses nor doubles anything: records whose offset is not committed are read again.

    Args:
        clock: Monotonic clock, read from any thread.
        unhealthy_seconds: Age of the last turn at which `problem` starts to report.
        exit_seconds: Age of the last turn at which the process logs its stacks and exits.
        end: Ends the process at once, without waiting for threads.
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
        """Record that the loop has turned."""
        self._turned_at = self._clock.monotonic()

    def problem(self) -> str:
        """One sentence if the loop has not turned for too long, else empty."""
        age = self._clock.monotonic() - self._turned_at
        if age < self._unhealthy_seconds:
            return ""
        return (
            f"The main loop has made no progress for {age:.0f} s, so a broker or the database hangs; "
            f"this process exits after {self._exit_seconds:.0f} s."
        )

    def look(self) -> None:
        """End the process if the loop has not turned for `exit_seconds`."""
        age = self._clock.monotonic() - self._turned_at
        if age >= self._exit_seconds:
            _log.error("loop.stalled", seconds=round(age), stacks=stacks())
            sys.stderr.flush()
            self._end(_EXIT_CODE)

    def start(self) -> None:
        """Start the watchdog thread, which looks until `stop`."""
        self.turned()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the watchdog thread; safe to call twice."""
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
        # While a library holds the GIL, this thread cannot run either; faulthandler's C timer can, and exits.
        faulthandler.dump_traceback_later(self._exit_seconds, exit=True, file=sys.__stderr__ or 2)


def stacks() -> str:
    """Stack traces of all threads."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return "\n".join(
        f"thread {names.get(ident, ident)}:\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in sys._current_frames().items()  # noqa: SLF001  (the only way to see other threads)
    )
