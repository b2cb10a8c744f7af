"""
The agent, instrumented as OpenTelemetry's conventions for generative AI say, and the judge of its answers.

Nothing in here knows Cliffwatch, but for `cliffwatch.request_id` and `cliffwatch.capability`: the first tells which
requests are the same one asked again, the second names the class of a request.
"""

from __future__ import annotations

import json

from opentelemetry import trace
from opentelemetry._logs import Logger, LogRecord
from opentelemetry.trace import Span, Tracer

from examples.support_agent.model import Model
from examples.support_agent.tasks import KINDS, Task

_NANOSECONDS = 1_000_000_000
_JUDGED_AFTER_SECONDS = 90.0
_TOOLS = json.dumps(
    [
        {"type": "function", "name": kind.tool, "description": f"Solves {kind.capability.replace('_', ' ')}."}
        for kind in KINDS
    ]
)


def handle(task: Task, model: Model, tracer: Tracer, *, run: int, at: float) -> Span:
    """
    Answer one request: a model call that chooses a tool, the tool, and a model call that words the answer.

    Args:
        task: What is asked.
        model: Who answers.
        tracer: Where spans go.
        run: Which of several times that the task is asked.
        at: When, Unix seconds. A real agent lets the SDK read the clock; this one lives through weeks in a moment.

    Returns:
        The span of the whole run, which the judge refers to.
    """
    solved = model.solves(task, run)
    tool = task.kind.tool if solved else "escalate"
    thinking, working = model.seconds(task, run), 0.2
    agent = tracer.start_span(
        "invoke_agent support",
        start_time=_nanoseconds(at),
        attributes={
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": "support",
            "gen_ai.input.messages": _messages(task),
            "gen_ai.tool.definitions": _TOOLS,
            "cliffwatch.request_id": task.request_id,
            "cliffwatch.capability": task.kind.capability,
        },
    )
    context = trace.set_span_in_context(agent)
    moment = at
    for operation, seconds in (("chat", thinking), ("execute_tool", working), ("chat", thinking)):
        attributes = _call(model, task) if operation == "chat" else _tool(tool)
        span = tracer.start_span(operation, context, start_time=_nanoseconds(moment), attributes=attributes)
        moment += seconds
        span.end(_nanoseconds(moment))
    agent.end(_nanoseconds(moment))
    return agent


def judge(task: Task, model: Model, run: Span, logger: Logger, *, number: int, at: float) -> None:
    """Say later whether the answer was right, as a `gen_ai.evaluation.result` event that names the run's trace."""
    solved = model.solves(task, number)
    logger.emit(
        LogRecord(
            timestamp=_nanoseconds(at + _JUDGED_AFTER_SECONDS),
            context=trace.set_span_in_context(run),
            event_name="gen_ai.evaluation.result",
            attributes={
                "gen_ai.evaluation.name": "resolution",
                "gen_ai.evaluation.score.label": "pass" if solved else "fail",
            },
        )
    )


def _call(model: Model, task: Task) -> dict[str, str | int]:
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "simulated",
        "gen_ai.request.model": model.name,
        "gen_ai.response.model": model.name,
        "gen_ai.usage.input_tokens": 200 + len(task.text),
        "gen_ai.usage.output_tokens": 40,
    }


def _tool(name: str) -> dict[str, str | int]:
    return {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": name}


def _messages(task: Task) -> str:
    return json.dumps([{"role": "user", "parts": [{"type": "text", "content": task.text}]}])


def _nanoseconds(unix_seconds: float) -> int:
    return round(unix_seconds * _NANOSECONDS)
