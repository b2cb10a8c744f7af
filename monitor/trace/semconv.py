"""
The one table of attribute names: what OpenTelemetry, OpenInference and Langfuse call the things that we read.

Where several names stand for the same fact, the first of the table that a span carries wins. Names with `N` or `*` are
families: flattened lists (`llm.input_messages.0.message.role`), or whatever follows the prefix.

`python -m monitor.trace.semconv` prints the table of docs/traces.md.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from monitor.trace.span import OperationKind


class Field(StrEnum):
    """What an attribute tells us."""

    KIND = "kind of span"
    PROVIDER = "provider (a span that has one is a model call)"
    SERVICE = "service"
    ENVIRONMENT = "environment"
    MODEL_VERSION = "model version, as the sender wants it counted"
    RESPONSE_MODEL = "model that answered"
    REQUEST_MODEL = "model that was asked for"
    AGENT_NAME = "agent"
    AGENT_VERSION = "agent version"
    CONVERSATION = "conversation"
    REQUEST_ID = "request that comes again"
    INPUT = "request text, messages"
    OUTPUT = "answer (only whether there is one)"
    TOOLS = "tools on offer"
    TOOL_NAME = "tool that was called"
    INPUT_TOKENS = "input tokens"
    OUTPUT_TOKENS = "output tokens"
    TOKENS = "input and output tokens"
    COST = "cost"
    COST_PART = "cost, added up"
    ERROR_TYPE = "failure class of an error"
    LEVEL = "status"
    BUDGET_TOOL_CALLS = "budget: tool calls"
    BUDGET_STEPS = "budget: steps"
    BUDGET_TOKENS = "budget: tokens"
    BUDGET_SECONDS = "budget: seconds"
    REQUEST_ATTRIBUTE = "request attribute"
    EVALUATION = "outcome"
    EVALUATION_NAME = "outcome: evaluation"
    EVALUATION_SCORE = "outcome: score"
    EVALUATION_LABEL = "outcome: label"
    EVALUATION_SOURCE = "outcome: source"


class Convention(StrEnum):
    """Who named an attribute."""

    OPENTELEMETRY = "OpenTelemetry"
    GENAI = "OpenTelemetry GenAI"
    OPENINFERENCE = "OpenInference"
    LANGFUSE = "Langfuse"
    OPENLLMETRY = "OpenLLMetry"
    CLIFFWATCH = "Cliffwatch"


@dataclass(frozen=True, slots=True)
class Attribute:
    """One row: *name* of an attribute, the *fact* that it tells, whose name it is, and whether its owner gave it up."""

    name: str
    fact: Field
    convention: Convention
    deprecated: bool = False

    @property
    def prefix(self) -> str | None:
        """What the names of a family have in common, or None for a single name."""
        head, family, _ = self.name.partition(".N.")
        if family:
            return f"{head}."
        return self.name.removesuffix("*") if self.name.endswith(".*") else None


def _rows(fact: Field, *names: tuple[Convention, str] | tuple[Convention, str, bool]) -> Iterator[Attribute]:
    for convention, name, *deprecated in names:
        yield Attribute(name, fact, convention, *deprecated)


_OTEL, _GENAI, _OPENINFERENCE = Convention.OPENTELEMETRY, Convention.GENAI, Convention.OPENINFERENCE
_LANGFUSE, _OPENLLMETRY, _OURS = Convention.LANGFUSE, Convention.OPENLLMETRY, Convention.CLIFFWATCH
_DEPRECATED = True

ATTRIBUTES: tuple[Attribute, ...] = (
    *_rows(
        Field.KIND,
        (_GENAI, "gen_ai.operation.name"),
        (_OPENINFERENCE, "openinference.span.kind"),
        (_LANGFUSE, "langfuse.observation.type"),
        (_OPENLLMETRY, "traceloop.span.kind"),
    ),
    *_rows(
        Field.PROVIDER,
        (_GENAI, "gen_ai.provider.name"),
        (_OPENINFERENCE, "llm.provider"),
        (_OPENINFERENCE, "llm.system"),
        (_GENAI, "gen_ai.system", _DEPRECATED),
    ),
    *_rows(Field.SERVICE, (_OTEL, "service.name")),
    *_rows(
        Field.ENVIRONMENT,
        (_LANGFUSE, "langfuse.environment"),
        (_OTEL, "deployment.environment.name"),
        (_OTEL, "deployment.environment", _DEPRECATED),
    ),
    *_rows(Field.MODEL_VERSION, (_OURS, "cliffwatch.model_version")),
    *_rows(
        Field.RESPONSE_MODEL,
        (_GENAI, "gen_ai.response.model"),
        (_OPENINFERENCE, "llm.response.model_name"),
        (_OPENINFERENCE, "llm.model_name"),
        (_LANGFUSE, "langfuse.observation.model.name"),
    ),
    *_rows(
        Field.REQUEST_MODEL,
        (_GENAI, "gen_ai.request.model"),
        (_OPENINFERENCE, "llm.request.model_name"),
    ),
    *_rows(Field.AGENT_NAME, (_GENAI, "gen_ai.agent.name"), (_OPENINFERENCE, "agent.name")),
    *_rows(
        Field.AGENT_VERSION,
        (_GENAI, "gen_ai.agent.version"),
        (_LANGFUSE, "langfuse.version"),
        (_LANGFUSE, "langfuse.release"),
        (_OTEL, "service.version"),
    ),
    *_rows(Field.CONVERSATION, (_GENAI, "gen_ai.conversation.id"), (_OTEL, "session.id")),
    *_rows(Field.REQUEST_ID, (_OURS, "cliffwatch.request_id"), (_LANGFUSE, "langfuse.experiment.item.id")),
    *_rows(
        Field.INPUT,
        (_GENAI, "gen_ai.input.messages"),
        (_OPENINFERENCE, "llm.input_messages.N.message.*"),
        (_OPENINFERENCE, "llm.prompts.N.prompt.text"),
        (_LANGFUSE, "langfuse.observation.input"),
        (_OPENINFERENCE, "input.value"),
        (_LANGFUSE, "langfuse.trace.input", _DEPRECATED),
        (_OPENLLMETRY, "gen_ai.prompt.N.*", _DEPRECATED),
        (_GENAI, "gen_ai.prompt", _DEPRECATED),
    ),
    *_rows(
        Field.OUTPUT,
        (_GENAI, "gen_ai.output.messages"),
        (_OPENINFERENCE, "llm.output_messages.N.message.*"),
        (_LANGFUSE, "langfuse.observation.output"),
        (_OPENINFERENCE, "output.value"),
        (_LANGFUSE, "langfuse.trace.output", _DEPRECATED),
        (_OPENLLMETRY, "gen_ai.completion.N.*", _DEPRECATED),
        (_GENAI, "gen_ai.completion", _DEPRECATED),
    ),
    *_rows(
        Field.TOOLS,
        (_GENAI, "gen_ai.tool.definitions"),
        (_OPENINFERENCE, "llm.tools.N.tool.json_schema"),
        (_OPENINFERENCE, "llm.invocation_parameters"),
    ),
    *_rows(Field.TOOL_NAME, (_GENAI, "gen_ai.tool.name"), (_OPENINFERENCE, "tool.name")),
    *_rows(
        Field.INPUT_TOKENS,
        (_GENAI, "gen_ai.usage.input_tokens"),
        (_OPENINFERENCE, "llm.token_count.prompt"),
        (_GENAI, "gen_ai.usage.prompt_tokens", _DEPRECATED),
    ),
    *_rows(
        Field.OUTPUT_TOKENS,
        (_GENAI, "gen_ai.usage.output_tokens"),
        (_OPENINFERENCE, "llm.token_count.completion"),
        (_GENAI, "gen_ai.usage.completion_tokens", _DEPRECATED),
    ),
    *_rows(Field.TOKENS, (_LANGFUSE, "langfuse.observation.usage_details")),
    *_rows(
        Field.COST,
        (_OPENINFERENCE, "llm.cost.total"),
        (_LANGFUSE, "langfuse.observation.cost_details"),
        (_LANGFUSE, "gen_ai.usage.cost"),
    ),
    *_rows(Field.COST_PART, (_OPENINFERENCE, "llm.cost.prompt"), (_OPENINFERENCE, "llm.cost.completion")),
    *_rows(Field.ERROR_TYPE, (_OTEL, "error.type"), (_OTEL, "exception.type")),
    *_rows(Field.LEVEL, (_LANGFUSE, "langfuse.observation.level")),
    *_rows(Field.BUDGET_TOOL_CALLS, (_OURS, "cliffwatch.budget.tool_calls")),
    *_rows(Field.BUDGET_STEPS, (_OURS, "cliffwatch.budget.steps")),
    *_rows(Field.BUDGET_TOKENS, (_OURS, "cliffwatch.budget.tokens")),
    *_rows(Field.BUDGET_SECONDS, (_OURS, "cliffwatch.budget.seconds")),
    *_rows(Field.REQUEST_ATTRIBUTE, (_OURS, "cliffwatch.request.*")),
    *_rows(
        Field.EVALUATION,
        (_OPENINFERENCE, "evaluations.N.evaluation.*"),
        (_OPENINFERENCE, "annotations.N.annotation.*"),
        (_OPENINFERENCE, "trace.evaluations.N.evaluation.*"),
        (_OPENINFERENCE, "trace.annotations.N.annotation.*"),
    ),
    *_rows(Field.EVALUATION_NAME, (_GENAI, "gen_ai.evaluation.name")),
    *_rows(Field.EVALUATION_SCORE, (_GENAI, "gen_ai.evaluation.score.value")),
    *_rows(Field.EVALUATION_LABEL, (_GENAI, "gen_ai.evaluation.score.label")),
    *_rows(
        Field.EVALUATION_SOURCE,
        (_OPENINFERENCE, "evaluation.annotator_kind"),
        (_OPENINFERENCE, "annotation.annotator_kind"),
    ),
)

EVALUATION_EVENT = "gen_ai.evaluation.result"
"""Event, on a span or in a log, that carries one evaluation."""

EVENT_NAME = "event.name"
"""Attribute that named the event of a log record before log records had a field for it."""

EVENTS: dict[str, Field | None] = {
    EVALUATION_EVENT: Field.EVALUATION,
    "gen_ai.client.inference.operation.details": None,
    "gen_ai.content.prompt": None,
    "gen_ai.content.completion": None,
    "exception": None,
}
"""Span events whose attributes are read: as an evaluation, or (None) as if they stood on the span itself."""

SPAN_KINDS: dict[str, OperationKind] = {
    "chat": OperationKind.MODEL,
    "generate_content": OperationKind.MODEL,
    "text_completion": OperationKind.MODEL,
    "completion": OperationKind.MODEL,
    "llm": OperationKind.MODEL,
    "generation": OperationKind.MODEL,
    "invoke_agent": OperationKind.AGENT,
    "invoke_workflow": OperationKind.AGENT,
    "agent": OperationKind.AGENT,
    "workflow": OperationKind.AGENT,
    "execute_tool": OperationKind.TOOL,
    "tool": OperationKind.TOOL,
    "evaluator": OperationKind.EVALUATOR,
}
"""Kinds of span under all their names, in lower case; any other name is a step."""

ERROR_LEVEL = "ERROR"
"""Value of Langfuse's level that says an observation failed."""


def main() -> None:
    """Print the table of docs/traces.md."""
    sys.stdout.write(as_markdown())


def as_markdown() -> str:
    """The table as docs/traces.md shows it: one line for each fact and convention, names in order of precedence."""
    lines = ["| what | read from, the first that is there | named by |", "|---|---|---|"]
    for fact in Field:
        rows = [row for row in ATTRIBUTES if row.fact is fact]
        for row in rows:
            name = f"`{row.name}`" + (" (deprecated)" if row.deprecated else "")
            lines.append(f"| {fact} | {name} | {row.convention} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
