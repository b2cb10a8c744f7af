"""The order of events: a dozen other models try every task, then the baseline serves, then the candidate."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from opentelemetry._logs import Logger
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Tracer

from examples.support_agent.agent import handle, judge
from examples.support_agent.export import EvaluationsTo, Sink, SpansTo
from examples.support_agent.model import Model
from examples.support_agent.tasks import Task, catalogue

SERVICE = "support-agent"
TRACES_TOPIC, OUTCOMES_TOPIC = "agent-traces", "agent-outcomes"

_DAY_SECONDS = 86_400.0
_TASKS = 250
_REQUESTS = 2_000
_SERVED_SECONDS = 3 * _DAY_SECONDS
_HARD_FROM = 0.0  # in logits of difficulty: between the kinds


class Candidate(StrEnum):
    """What the upgrade does."""

    CLIFF = "cliff"
    """Everything but the hard tasks gets much better: the average rises and the hard tier is left behind."""
    UNIFORM = "uniform"
    """Every task gets better by the same gain in ability."""


BASELINE = Model("support-model-2026-06-01", ability=0.0)
CANDIDATES = {
    Candidate.CLIFF: Model("support-model-2026-10-01", ability=0.0, gain=3.0, gain_below=_HARD_FROM),
    Candidate.UNIFORM: Model("support-model-2026-10-01", ability=0.0, gain=1.0),
}
REFERENCES = tuple(
    Model(f"reference-model-{number:02}", ability=-1.2 + 0.2 * number + (0.15 if number % 2 else -0.15))
    for number in range(12)
)
"""A dozen other models, weaker and abler ones: tiers are learnt from how they did."""


@dataclass(frozen=True, slots=True)
class Phase:
    """
    One model at work.

    Attributes:
        environment: `reference` for history; the baseline and the candidate serve `production`.
        requests: What is asked, in order; a task may come again.
        begins_at: Unix seconds.
        seconds: How long it lasts.
    """

    environment: str
    model: Model
    requests: Sequence[Task]
    begins_at: float
    seconds: float


def history(*, ends_at: float) -> Sequence[Phase]:
    """The reference models, a day each, each trying every task once; over before anything is served."""
    tasks = catalogue(_TASKS)
    begins_at = ends_at - 2 * _SERVED_SECONDS
    return [
        Phase("reference", model, tasks, begins_at - (len(REFERENCES) - number) * _DAY_SECONDS, _DAY_SECONDS)
        for number, model in enumerate(REFERENCES)
    ]


def production(candidate: Candidate, *, ends_at: float) -> Sequence[Phase]:
    """Three days of the baseline, then all traffic moves and the candidate serves three days."""
    tasks = catalogue(_TASKS)
    begins_at = ends_at - 2 * _SERVED_SECONDS
    return [
        Phase("production", model, _traffic(tasks, model), begins_at + number * _SERVED_SECONDS, _SERVED_SECONDS)
        for number, model in enumerate((BASELINE, CANDIDATES[candidate]))
    ]


def play(phase: Phase, sink: Sink, *, progress: Callable[[int], None]) -> None:
    """
    Let the agent answer every request of *phase*, and the judge look at every answer.

    Args:
        phase: Who answers what, and when.
        sink: Where spans and evaluations go.
        progress: Told how many requests were answered since it was last called.
    """
    with _instrumented(phase.environment, sink) as (tracer, logger):
        step = phase.seconds / len(phase.requests)
        for number, task in enumerate(phase.requests):
            at = phase.begins_at + number * step
            run = handle(task, phase.model, tracer, run=number, at=at)
            judge(task, phase.model, run, logger, number=number, at=at)
            progress(1)


def _traffic(tasks: Sequence[Task], model: Model) -> Sequence[Task]:
    """Requests as they come: tasks of the catalogue in any order, some of them several times."""
    dice = random.Random(model.name)  # noqa: S311  (a simulation, no secret)
    return [task for _ in range(-(-_REQUESTS // len(tasks))) for task in dice.sample(tasks, len(tasks))][:_REQUESTS]


@contextmanager
def _instrumented(environment: str, sink: Sink) -> Iterator[tuple[Tracer, Logger]]:
    """The two providers that an instrumented application sets up when it starts."""
    resource = Resource.create({"service.name": SERVICE, "deployment.environment.name": environment})
    tracers, loggers = TracerProvider(resource=resource), LoggerProvider(resource=resource)
    # In step with the work, so that nothing is dropped however fast the simulated weeks pass.
    tracers.add_span_processor(SimpleSpanProcessor(SpansTo(sink, TRACES_TOPIC)))
    loggers.add_log_record_processor(SimpleLogRecordProcessor(EvaluationsTo(sink, OUTCOMES_TOPIC)))
    try:
        yield tracers.get_tracer(SERVICE), loggers.get_logger(SERVICE)
    finally:
        tracers.shutdown()
        loggers.shutdown()
