"""Periodic jobs, which run either between two batches of the loop or on threads of their own."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event, Thread

import structlog

from monitor.clock import Clock
from monitor.errors import DependencyUnreachable

_log = structlog.get_logger()

_STOP_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Job:
    """
    A periodic job.

    Attributes:
        name: One word, for the log and the health checks.
        run: Runs it once.
        interval_seconds: Shortest time from one start to the next.
        backoff_ratio: Seconds of rest per second of work, so that a slow job does not use up the database.
    """

    name: str
    run: Callable[[], None]
    interval_seconds: float
    backoff_ratio: float

    def due_at(self, *, began: float, ended: float) -> float:
        """
        When the job is due again after a run from *began* to *ended*, all in monotonic seconds.

        >>> Job("review", print, interval_seconds=15.0, backoff_ratio=5.0).due_at(began=100.0, ended=104.0)
        124.0
        """
        return max(began + self.interval_seconds, ended + self.backoff_ratio * (ended - began))


class InTurn:
    """
    Runs due jobs on the loop's own thread, so that a replay gives the same result every time.

    Args:
        jobs: In the order in which they run.
        clock: The clock of the loop; event time in a replay.
    """

    def __init__(self, jobs: Sequence[Job], clock: Clock) -> None:
        self._clock = clock
        self._due_at = dict.fromkeys(jobs, -math.inf)

    def start(self) -> None:
        """Do nothing: there are no threads."""

    def turn(self) -> None:
        """Run what is due; called after each batch."""
        for job, due_at in self._due_at.items():
            began = self._clock.monotonic()
            if began >= due_at:
                job.run()
                self._due_at[job] = job.due_at(began=began, ended=self._clock.monotonic())

    def stop(self) -> None:
        """Do nothing: there are no threads."""


class OnThreads:
    """
    Runs each job on a thread of its own, so that the loop never waits for it.

    An unreachable dependency is reported to *note*, and the job runs again when it is next due. Any other exception
    ends the job, and the loop raises it in its next turn.

    Args:
        jobs: Run concurrently.
        clock: Measures how long they take.
        note: Called after each run with the job's name, its problem (empty on success) and the seconds it took.
    """

    def __init__(self, jobs: Sequence[Job], clock: Clock, *, note: Callable[[str, str, float], None]) -> None:
        self._jobs = jobs
        self._clock = clock
        self._note = note
        self._stopping = Event()
        self._threads: list[Thread] = []
        self._failure: BaseException | None = None

    def start(self) -> None:
        """Start the threads; called before the first turn."""
        for job in self._jobs:
            # A daemon, so that a job that hangs cannot keep the process alive; its open transaction is rolled back.
            thread = Thread(target=self._run, args=(job,), name=job.name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def turn(self) -> None:
        """Raise the exception that ended a job, if any; called after each batch."""
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Stop the threads; called after the last turn, safe to call twice."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(_STOP_SECONDS)
            if thread.is_alive():
                _log.info("job.abandoned", job=thread.name)
        self._threads = []

    def _run(self, job: Job) -> None:
        problem = ""
        while not self._stopping.is_set():
            began, previous, problem = self._clock.monotonic(), problem, ""
            try:
                job.run()
            except DependencyUnreachable as outage:
                problem = str(outage)
            except BaseException as failure:  # noqa: BLE001  (`turn` raises it on the loop's thread)
                self._failure = failure
                return
            if problem != previous:  # log an outage when it starts and ends, not at every try
                _log.warning("job.postponed" if problem else "job.resumed", job=job.name, problem=problem or previous)
            ended = self._clock.monotonic()
            self._note(job.name, problem, ended - began)
            self._stopping.wait(job.due_at(began=began, ended=ended) - ended)
