"""Jobs that come round again: done between two batches of the loop, or on threads of their own beside it."""

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
    Something to be done again and again.

    Attributes:
        name: One word, for the log and the health facts.
        run: Does it.
        interval_seconds: Time from one beginning to the next, at least.
        backoff_ratio: Seconds of rest per second of work, so that a slow job leaves time for the rest.
    """

    name: str
    run: Callable[[], None]
    interval_seconds: float
    backoff_ratio: float

    def due_at(self, *, began: float, ended: float) -> float:
        """
        When it is due again after it was done from *began* to *ended* (all three monotonic seconds).

        >>> Job("review", print, interval_seconds=15.0, backoff_ratio=5.0).due_at(began=100.0, ended=104.0)
        124.0
        """
        return max(began + self.interval_seconds, ended + self.backoff_ratio * (ended - began))


class InTurn:
    """
    Each job is done by the loop itself, when it is due: a replay gives the same every time.

    Args:
        jobs: In the order in which they are done.
        clock: The loop's; of a replay it is event time.
    """

    def __init__(self, jobs: Sequence[Job], clock: Clock) -> None:
        self._clock = clock
        self._due_at = dict.fromkeys(jobs, -math.inf)

    def start(self) -> None:
        """Nothing to start."""

    def turn(self) -> None:
        """Do what is due; called after each batch."""
        for job, due_at in self._due_at.items():
            began = self._clock.monotonic()
            if began >= due_at:
                job.run()
                self._due_at[job] = job.due_at(began=began, ended=self._clock.monotonic())

    def stop(self) -> None:
        """Nothing to stop."""


class OnThreads:
    """
    Each job has a thread of its own, so that the loop never waits for it.

    A dependency out of reach goes to *note*, and the job is tried again when it is next due. Anything else that a job
    raises ends that job, and the loop's next turn.

    Args:
        jobs: Done side by side.
        clock: For how long they take.
        note: Called after each run with the job's name, its problem (empty where it had none) and the seconds it took.
    """

    def __init__(self, jobs: Sequence[Job], clock: Clock, *, note: Callable[[str, str, float], None]) -> None:
        self._jobs = jobs
        self._clock = clock
        self._note = note
        self._stopping = Event()
        self._threads: list[Thread] = []
        self._failure: BaseException | None = None

    def start(self) -> None:
        """Before the first turn."""
        for job in self._jobs:
            # A job that hangs must not keep the process from ending: what it had not committed never was.
            thread = Thread(target=self._run, args=(job,), name=job.name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def turn(self) -> None:
        """Called after each batch; raises what ended a job."""
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """After the last turn; safe to call twice."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(_STOP_SECONDS)
            if thread.is_alive():
                _log.info("job.abandoned", job=thread.name)
        self._threads = []

    def _run(self, job: Job) -> None:
        problem = ""
        while not self._stopping.is_set():
            began, last, problem = self._clock.monotonic(), problem, ""
            try:
                job.run()
            except DependencyUnreachable as outage:
                problem = str(outage)
            except BaseException as failure:  # noqa: BLE001  (the loop raises it)
                self._failure = failure
                return
            if problem != last:  # an outage of a night is two lines, not one per try
                _log.warning("job.postponed" if problem else "job.resumed", job=job.name, problem=problem or last)
            ended = self._clock.monotonic()
            self._note(job.name, problem, ended - began)
            self._stopping.wait(job.due_at(began=began, ended=ended) - ended)
