"""The wire form of native events (`cliffwatch.trace/v1`, `cliffwatch.outcome/v1`), parsed by pydantic in one pass."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, from_json

from monitor.trace.model import (
    Budget,
    DropReason,
    InvalidRecord,
    ModelVersion,
    Outcome,
    OutcomeEvent,
    Request,
    Tool,
    Trace,
    TraceId,
    Usage,
)

Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$", max_length=128)]
"""A value that may become a metric label: bounded in alphabet and length."""

_Identifier = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=256)]
_Count = Annotated[int, Field(ge=0, le=10**12)]
_Instant = Annotated[AwareDatetime, Field(ge=datetime(2000, 1, 1, tzinfo=UTC), lt=datetime(2100, 1, 1, tzinfo=UTC))]
_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Number = Annotated[float, Field(allow_inf_nan=False)]


class _Wire(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    def unknown_fields(self) -> int:
        return len(self.model_extra or ())


class _Tool(_Wire):
    name: Annotated[str, Field(max_length=256)]
    description: str = ""
    parameters: Mapping[str, JsonValue] = Field(default_factory=dict)


class _Request(_Wire):
    text: str | None = None
    messages: _Count | None = None
    tools: tuple[_Tool, ...] = ()
    attributes: Annotated[
        Mapping[Annotated[str, Field(max_length=128)], _Number | Annotated[str, Field(max_length=128)]],
        Field(max_length=64),
    ] = Field(default_factory=dict)


class _Usage(_Wire):
    input_tokens: _Count | None = None
    output_tokens: _Count | None = None
    cost_usd: Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)] | None = None


class _Budget(_Wire):
    tool_calls: _Count | None = None
    steps: _Count | None = None
    tokens: _Count | None = None
    seconds: _Seconds | None = None


class _Outcome(_Wire):
    success: bool
    failure_class: Label | None = None
    score: _Number | None = None
    source: Label = "reported"
    labelled_at: _Instant | None = None


class _TraceEvent(_Wire):
    schema_: Literal["cliffwatch.trace/v1"] = Field(alias="schema")
    trace_id: _Identifier
    service: Label
    model_version: Label
    started_at: _Instant
    environment: Label = "production"
    capability: Label = "unclassified"
    request_id: _Identifier | None = None
    ended_at: _Instant | None = None
    request: _Request = Field(default_factory=_Request)
    usage: _Usage = Field(default_factory=_Usage)
    tool_calls: _Count | None = None
    steps: _Count | None = None
    budget: _Budget = Field(default_factory=_Budget)
    outcome: _Outcome | None = None


class _OutcomeEvent(_Wire):
    schema_: Literal["cliffwatch.outcome/v1"] = Field(alias="schema")
    trace_id: _Identifier
    outcome: _Outcome


_EVENT: TypeAdapter[_TraceEvent | _OutcomeEvent] = TypeAdapter(
    Annotated[_TraceEvent | _OutcomeEvent, Field(discriminator="schema_")]
)

_LABEL_FIELDS = frozenset({"service", "model_version", "environment", "capability", "failure_class", "source"})


def event_schemas() -> dict[str, dict[str, Any]]:
    """The JSON Schema of each native event, by the `schema` that the event carries."""
    models: tuple[type[_Wire], ...] = (_TraceEvent, _OutcomeEvent)
    schemas = [model.model_json_schema(by_alias=True) for model in models]
    return {schema["properties"]["schema"]["const"]: schema for schema in schemas}


def decode_native(value: bytes) -> Trace | OutcomeEvent:
    """
    The event that *value*, one JSON object in UTF-8, holds.

    Raises:
        InvalidRecord: not JSON, or not an event of the contract; the detail names the field, never its content.
    """
    try:
        event = _EVENT.validate_json(value)
    except ValidationError as error:
        # The cause is left out: pydantic's own text repeats the input, and a traceback may end up in a log.
        raise _invalid(error) from None
    if b"NaN" in value or b"Infinity" in value:
        _refuse_non_finite(value)
    return _trace(event) if isinstance(event, _TraceEvent) else _outcome_event(event)


def _refuse_non_finite(value: bytes) -> None:
    # Typed fields refuse these words already; here they stand in a text, which is fine, or in a part that nobody typed.
    try:
        from_json(value, allow_inf_nan=False)
    except ValueError:
        raise InvalidRecord(DropReason.NOT_FINITE, "a number is not finite") from None


def _trace(event: _TraceEvent) -> Trace:
    started_at = event.started_at.timestamp()
    ended_at = event.ended_at.timestamp() if event.ended_at else None
    if ended_at is not None and ended_at < started_at:
        raise InvalidRecord(DropReason.FIELD_INVALID, "ended_at: is before started_at")
    return Trace(
        trace_id=TraceId(event.trace_id),
        service=event.service,
        environment=event.environment,
        model_version=ModelVersion(event.model_version),
        request=_request(event),
        started_at=started_at,
        ended_at=ended_at,
        usage=Usage(event.usage.input_tokens, event.usage.output_tokens, event.usage.cost_usd),
        tool_calls=event.tool_calls,
        steps=event.steps,
        budget=Budget(event.budget.tool_calls, event.budget.steps, event.budget.tokens, event.budget.seconds),
        outcome=_outcome(event.outcome) if event.outcome else None,
        unknown_fields=sum(
            part.unknown_fields() for part in (event, event.request, event.usage, event.budget, event.outcome) if part
        ),
    )


def _request(event: _TraceEvent) -> Request:
    wire = event.request
    return Request(
        capability=event.capability,
        request_id=event.request_id,
        text=wire.text,
        messages=wire.messages,
        tools=tuple(Tool(tool.name, tool.description, _canonical_json(tool.parameters)) for tool in wire.tools),
        attributes=wire.attributes,
    )


_CANONICAL = json.JSONEncoder(sort_keys=True, allow_nan=False)


def _canonical_json(parameters: Mapping[str, JsonValue]) -> str:
    try:
        return _CANONICAL.encode(parameters)
    except ValueError:  # 1e999 is a number in JSON and infinite in Python
        raise InvalidRecord(DropReason.NOT_FINITE, "request.tools.parameters: a number is not finite") from None


def _outcome(wire: _Outcome) -> Outcome:
    return Outcome(
        success=wire.success,
        failure_class=None if wire.success else wire.failure_class,
        score=wire.score,
        source=wire.source,
        labelled_at=wire.labelled_at.timestamp() if wire.labelled_at else None,
    )


def _outcome_event(event: _OutcomeEvent) -> OutcomeEvent:
    return OutcomeEvent(
        TraceId(event.trace_id),
        _outcome(event.outcome),
        unknown_fields=event.unknown_fields() + event.outcome.unknown_fields(),
    )


def _invalid(error: ValidationError) -> InvalidRecord:
    """The most telling of pydantic's complaints; its messages name types and positions and never repeat the input."""
    details = error.errors(include_url=False, include_input=False, include_context=False)
    reasons = [(_reason(detail), detail) for detail in details]
    reason, detail = min(reasons, key=lambda pair: _PRECEDENCE.index(pair[0]))
    return InvalidRecord(reason, _describe(detail))


_PRECEDENCE = (
    DropReason.NOT_JSON,
    DropReason.NOT_UTF8,
    DropReason.TOO_DEEP,
    DropReason.SCHEMA_UNKNOWN,
    DropReason.NOT_FINITE,
    DropReason.LABEL_INVALID,
    DropReason.FIELD_MISSING,
    DropReason.FIELD_INVALID,
)

_REASONS_BY_TYPE = {
    "finite_number": DropReason.NOT_FINITE,
    "missing": DropReason.FIELD_MISSING,
}


def _reason(detail: ErrorDetails) -> DropReason:
    kind, message = detail["type"], detail["msg"]
    if kind == "json_invalid":
        if "recursion limit" in message:
            return DropReason.TOO_DEEP
        return DropReason.NOT_UTF8 if "unicode" in message else DropReason.NOT_JSON
    if not detail["loc"]:  # not an object, or an object without a schema that we know
        return DropReason.SCHEMA_UNKNOWN
    if kind in {"string_pattern_mismatch", "string_too_long"} and detail["loc"][-1] in _LABEL_FIELDS:
        return DropReason.LABEL_INVALID
    return _REASONS_BY_TYPE.get(kind, DropReason.FIELD_INVALID)


def _describe(detail: ErrorDetails) -> str:
    # The first part of the location is the schema's tag, which the sender knows; attribute names are the sender's text.
    path: tuple[Any, ...] = detail["loc"][1:]
    if "attributes" in path:
        path = path[: path.index("attributes") + 1]
    where = ".".join(str(part) for part in path)
    message = "unknown schema" if _reason(detail) is DropReason.SCHEMA_UNKNOWN else detail["msg"]
    return f"{where}: {message}" if where else message
