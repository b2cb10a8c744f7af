"""Turns SIGTERM and Ctrl-C into an event, and ends a process that does not stop in time."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable

import structlog

_log = structlog.get_logger()

_EXIT_CODE = 3  # a dependency did not answer


def stop_on_signals() -> threading.Event:
    """An event that is set on the first SIGINT or SIGTERM; a second one ends the process at once."""
    stop = threading.Event()
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    # Python runs signal handlers on the main thread only, so they would never run while it hangs in a C call.
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)  # the wakeup fd is only written for signals with a Python handler
    threading.Thread(target=_listen, args=(reader, writer, stop), name="signals", daemon=True).start()
    return stop


def when_stopping(stop: threading.Event, do_first: Callable[[], None], *, grace_seconds: float) -> None:
    """
    Call *do_first* once *stop* is set, and end the process if it still runs after *grace_seconds*.

    Runs on a thread of its own, since the thread that should stop may hang.
    """

    def watch() -> None:
        stop.wait()
        do_first()
        if not threading.Event().wait(grace_seconds):
            _log.error("service.abandoned", grace_seconds=grace_seconds)
            os._exit(_EXIT_CODE)

    threading.Thread(target=watch, name="stopping", daemon=True).start()


def _listen(reader: socket.socket, _writer: socket.socket, stop: threading.Event) -> None:
    """Each byte is the number of a signal; *_writer* stays open as long as this thread listens."""
    while number := reader.recv(1):
        if stop.is_set():
            os._exit(128 + number[0])
        stop.set()
