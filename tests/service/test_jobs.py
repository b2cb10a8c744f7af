from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import structlog

from monitor.clock import EventClock, WallClock
from monitor.errors import LedgerInvalid, LedgerUnavailable
from monitor.service.jobs import InTurn, Job, OnThreads
from tests.stack.servers import wait_until


class Problems:
    """The latest problem of each job, as the overview keeps it."""

    def __init__(self) -> None:
        self.current: dict[str, str] = {}

    def note(self, job: str, problem: str, seconds: float) -> None:
        assert seconds >= 0.0
        self.current[job] = problem


@pytest.fixture
def threads() -> Iterator[list[OnThreads]]:
    """What is put here is stopped in the end."""
    started: list[OnThreads] = []
    yield started
    for jobs in started:
        jobs.stop()


def test_jobs_in_turn_are_done_when_their_interval_is_over() -> None:
    """Time is the loop's: nothing is done between two dates, however often the loop turns."""
    clock, done = EventClock(), list[str]()
    jobs = InTurn(
        [Job("review", lambda: done.append("review"), 10.0, 5.0), Job("show", lambda: done.append("show"), 1.0, 1.0)],
        clock,
    )

    for _ in range(25):
        jobs.turn()
        jobs.turn()
        clock.observe(clock.time() + 0.5)

    assert (["review", "show"], 2, 13) == (done[:2], done.count("review"), done.count("show"))


def test_a_slow_job_rests_for_a_multiple_of_what_it_took() -> None:
    """A review that took four seconds is not done again before twenty more have passed."""
    clock, began = EventClock(), list[float]()

    def review() -> None:
        began.append(clock.time())
        clock.observe(clock.time() + 4.0)

    jobs = InTurn([Job("review", review, 1.0, 5.0)], clock)
    while clock.time() < 100.0:
        jobs.turn()
        clock.observe(clock.time() + 1.0)

    assert [0.0, 24.0, 48.0, 72.0, 96.0] == began


@pytest.mark.slow
def test_the_loop_turns_while_a_job_on_a_thread_takes_its_time(threads: list[OnThreads]) -> None:
    """A job that does not come back holds up neither the loop nor the other jobs nor the end."""
    hanging, other = threading.Event(), threading.Event()
    jobs = OnThreads(
        [Job("review", lambda: hanging.wait(60) and None, 1.0, 5.0), Job("show", other.set, 0.001, 0.0)],
        WallClock(),
        note=Problems().note,
    )
    threads.append(jobs)

    jobs.start()
    for _ in range(100):
        jobs.turn()
    assert other.wait(30)
    jobs.stop()

    hanging.set()


def test_an_outage_in_a_job_is_reported_until_it_is_over(threads: list[OnThreads]) -> None:
    """A dependency out of reach is no reason for the loop to stop; the job is tried again, and logged twice at most."""
    outages = iter([LedgerUnavailable("The ledger is away."), LedgerUnavailable("The ledger is away.")])
    problems, said = Problems(), list[str]()

    def review() -> None:
        said.append(problems.current.get("review", ""))
        if outage := next(outages, None):
            raise outage

    jobs = OnThreads([Job("review", review, 0.001, 0.0)], WallClock(), note=problems.note)
    threads.append(jobs)
    with structlog.testing.capture_logs() as logged:
        jobs.start()
        wait_until(lambda: len(said) > 3, what="the job is done again")
        jobs.turn()

    assert ["job.postponed", "job.resumed"] == [line["event"] for line in logged]
    assert ["", "The ledger is away.", "The ledger is away.", ""] == said[:4]


def test_what_else_a_job_raises_ends_the_loop(threads: list[OnThreads]) -> None:
    """An error that no waiting mends comes out of the loop's next turn, with where it came from."""

    def review() -> None:
        raise LedgerInvalid("The ledger cannot be read.")

    jobs = OnThreads([Job("review", review, 0.001, 0.0)], WallClock(), note=Problems().note)
    threads.append(jobs)
    jobs.start()

    wait_until(lambda: jobs._failure, what="the job has failed")
    with pytest.raises(LedgerInvalid, match="cannot be read"):
        jobs.turn()
