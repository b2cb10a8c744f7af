from __future__ import annotations

import signal
import subprocess
import sys

import pytest

_STUBBORN = """
import time
from monitor.cli.signals import stop_on_signals, when_stopping
stop = stop_on_signals()
when_stopping(stop, lambda: print("unready", flush=True), grace_seconds={grace})
print("started", flush=True)
time.sleep(60)  # hangs, whatever is asked
"""


def ended(*, grace: float, signals: int) -> tuple[int, str]:
    """Exit code and output of a process that hangs, asked *signals* times to end."""
    process = subprocess.Popen(
        [sys.executable, "-c", _STUBBORN.format(grace=grace)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout is not None
    told = process.stdout.readline()
    for _ in range(signals):
        process.send_signal(signal.SIGTERM)
        if signals > 1:
            told += process.stdout.readline() if b"unready" not in told else b""
    rest, _ = process.communicate(timeout=60)
    return process.returncode, (told + rest).decode()


@pytest.mark.slow
def test_what_hangs_is_ended_when_its_grace_is_over() -> None:
    """Unready first; then, where the end does not come by itself, one line in the log and a code that says so."""
    code, told = ended(grace=0.2, signals=1)

    assert 3 == code
    assert told.index("unready") < told.index("service.abandoned")


@pytest.mark.slow
def test_a_second_signal_ends_at_once() -> None:
    """Nobody has to wait for the grace period who does not want to."""
    code, told = ended(grace=3_600, signals=2)

    assert 128 + signal.SIGTERM == code
    assert "abandoned" not in told
