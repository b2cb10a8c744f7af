"""A span, reduced to the facts that a trace is built from."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct
from msgspec.json import Encoder

from monitor.trace.model import NO_BUDGET, Budget, Tool, TraceId

PRODUCTION = "production"
"""The environment of a run that names none."""

UNKNOWN_SERVICE = "unknown_service"
"""The name, followed by that of the program, that SDKs write for a service without a name."""


class OperationKind(StrEnum):
    """The role of a span in an agent run."""

    AGENT = "agent"
    WORKFLOW = "workflow"
    """An agent, or any function that somebody decorated as a workflow."""
    MODEL = "model"
    TOOL = "tool"
    STEP = "step"
    """Other work of an agent: a chain, a prompt template, a guardrail."""
    RETRIEVAL = "retrieval"
    """Work of a model without an answer to the user: an embedding, a search, a ranking."""
    EVALUATOR = "evaluator"
    """Judges a run and is no part of it."""
    OTHER = "other"
    """A span of the application around the agent."""


AGENTS = frozenset({OperationKind.AGENT, OperationKind.WORKFLOW})


class Span(Struct, frozen=True, gc=False, omit_defaults=True):
    """
    One operation within a trace.

    Attributes:
        trace_id: Trace that the span is part of.
        span_id: Id within the trace, 16 hexadecimal digits.
        parent_span_id: Id of the parent, or None for the root.
        name: Name of the operation.
        kind: Role of the span.
        started_at: Unix seconds.
        ended_at: Unix seconds, or None while it runs.
        error: True: ended in an error; False: reported as fine; None: not reported.
        error_type: Short name of the error, or None.
        service: `service.name`, or None.
        environment: Deployment environment, or None.
        request_model: Requested model.
        response_model: Model that answered.
        model_version: Version set by the sender; takes precedence over both models.
        agent_name: Name of the agent.
        agent_version: Version of the agent.
        conversation_id: Conversation or session.
        user_id: User who sent the request.
        request_id: Name of a request that is sent again and again.
        capability: Class of the request by the rule in *capability_rule* (its index from 0), or None.
        tool_name: Tool that was called.
        text: Request text, or None; a ledger never keeps it.
        is_wrapped: The text is not a message but how a wrapper prints its arguments.
        prompt_family: Hash of the text once the text was dropped, or None.
        tool_set: Hash of the whole tools, if only their names are kept; else None.
        messages: Messages in the conversation so far.
        tools: Tools on offer; a ledger keeps only their names.
        answered: Whether there is an answer, or None if unknown.
        calls_tools: The answer calls a tool.
        input_tokens: Input tokens, with cached ones.
        output_tokens: Output tokens, with reasoning.
        cost_usd: Cost in US dollars.
        budget: Limits of the run.
        attributes: Numbers or short strings known at request time.
    """

    trace_id: TraceId
    span_id: str
    started_at: float
    ended_at: float | None = None
    parent_span_id: str | None = None
    name: str = ""
    kind: OperationKind = OperationKind.OTHER
    error: bool | None = None
    error_type: str | None = None
    service: str | None = None
    environment: str | None = None
    request_model: str | None = None
    response_model: str | None = None
    model_version: str | None = None
    agent_name: str | None = None
    agent_version: str | None = None
    conversation_id: str | None = None
    user_id: str | None = None
    request_id: str | None = None
    capability: str | None = None
    capability_rule: int | None = None
    tool_name: str | None = None
    text: str | None = None
    is_wrapped: bool = False
    prompt_family: str | None = None
    tool_set: str | None = None
    messages: int | None = None
    tools: tuple[Tool, ...] = ()
    answered: bool | None = None
    calls_tools: bool = False
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    budget: Budget = NO_BUDGET
    attributes: Mapping[str, float | str] = {}

    @property
    def is_ended_root(self) -> bool:
        """Whether the span closes its trace: it has no parent, and has ended."""
        return self.parent_span_id is None and self.ended_at is not None

    def outranks(self, other: Span) -> bool:
        """
        Whether this record of a span is kept rather than the *other*: the one that ended later, or else says more.

        This is a total order, so it does not matter which arrived first. A span that still runs has not ended.
        """
        if self.ended_at == other.ended_at:
            own, others = self.to_json(), other.to_json()
            return (len(own), own) > (len(others), others)
        return other.ended_at is None or (self.ended_at is not None and self.ended_at > other.ended_at)

    def to_json(self) -> str:
        """The span as canonical JSON: equal spans give equal text, and unknown fields are left out."""
        return _encode(self).decode()


_encode = Encoder(order="sorted").encode
