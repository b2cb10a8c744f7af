from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from monitor.clock import EventClock
from monitor.service.watchdog import Watchdog, stacks


@pytest.fixture
def clock() -> EventClock:
    return EventClock()


def test_a_loop_that_turns_is_no_problem(clock: EventClock) -> None:
    """However long it runs, what counts is the time since the last turn."""
    ended = list[int]()
    watchdog = Watchdog(clock, unhealthy_seconds=300.0, exit_seconds=600.0, end=ended.append)

    for _ in range(100):
        clock.observe(clock.time() + 200.0)
        watchdog.look()
        watchdog.turned()

    assert ("", []) == (watchdog.problem(), ended)


def test_a_loop_that_hangs_is_said_and_then_ended_with_its_stacks(
    clock: EventClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """First health fails with a sentence, later the process ends, and the log tells where each thread was."""
    ended = list[int]()
    watchdog = Watchdog(clock, unhealthy_seconds=300.0, exit_seconds=600.0, end=ended.append)

    clock.observe(clock.time() + 301.0)
    watchdog.look()
    problem, before = watchdog.problem(), list(ended)
    clock.observe(clock.time() + 300.0)
    watchdog.look()

    assert "has made no progress for 301 s, so a broker or the database hangs" in problem
    assert ([], [3]) == (before, ended)
    assert "test_a_loop_that_hangs" in capsys.readouterr().out


def test_stacks_name_every_thread() -> None:
    """What another thread waits for can be read."""
    done = threading.Event()

    def wait_for_a_database() -> None:
        done.wait(60)

    thread = threading.Thread(target=wait_for_a_database, name="reader")
    thread.start()
    told = stacks()
    done.set()
    thread.join()

    assert "thread reader:" in told
    assert "wait_for_a_database" in told


_BUSY = """
import re
from monitor.clock import WallClock
from monitor.service.watchdog import Watchdog
Watchdog(WallClock(), unhealthy_seconds=0.5, exit_seconds=1.0).start()
re.fullmatch(r"(a|aa)+b", "a" * 200)
"""


@pytest.mark.slow
def test_a_library_that_holds_the_interpreter_is_ended() -> None:
    """No thread of ours runs meanwhile, and the process ends all the same and says where it was."""
    ended = subprocess.run([sys.executable, "-c", _BUSY], capture_output=True, text=True, timeout=120, check=False)

    assert 1 == ended.returncode
    assert "fullmatch" in ended.stderr
