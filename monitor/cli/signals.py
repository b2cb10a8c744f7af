"""SIGTERM and Ctrl-C as an event that can be waited for."""

from __future__ import annotations

import signal
import threading


def stop_on_signals() -> threading.Event:
    """An event that is set when somebody asks the process to end."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
