"""The wire form of native events (`cliffwatch.trace/v1`, `cliffwatch.outcome/v1`), parsed by pydantic in one pass."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Literal, NotRequired

from pydantic import AwareDatetime, ConfigDict, Field, TypeAdapter, ValidationError, with_config
from pydantic_core import ErrorDetails, from_json, to_json
from typing_extensions import TypedDict  # pydantic asks for this one before Python 3.12

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

# The bounds of the contract, for both readers.
LABEL_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$"
MOST_LABEL_CHARACTERS = 128
MOST_IDENTIFIER_CHARACTERS = 256
MOST_COUNTED = 10**12
MOST_COST_USD = 1_000_000
MOST_ATTRIBUTES = 64
MOST_ATTRIBUTE_CHARACTERS = 128
EARLIEST, BEFORE = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)

Label = Annotated[str, Field(pattern=LABEL_PATTERN, max_length=MOST_LABEL_CHARACTERS)]
"""A value that may become a metric label: bounded in alphabet and length."""

_Identifier = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=MOST_IDENTIFIER_CHARACTERS)]
_Count = Annotated[int, Field(ge=0, le=MOST_COUNTED)]
_Instant = Annotated[AwareDatetime, Field(ge=EARLIEST, lt=BEFORE)]
_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Number = Annotated[float, Field(allow_inf_nan=False)]
_Short = Annotated[str, Field(max_length=MOST_ATTRIBUTE_CHARACTERS)]


_WIRE = with_config(ConfigDict(extra="allow", allow_inf_nan=False))
"""Plain dicts, because building models takes three times as long; fields that nobody knows stay, to be counted."""


@_WIRE
class _Tool(TypedDict):
    name: Annotated[str, Field(max_length=256)]
    description: NotRequired[str]
    parameters: NotRequired[dict[str, Any]]


@_WIRE
class _Request(TypedDict, total=False):
    text: str | None
    messages: _Count | None
    tools: list[_Tool]
    attributes: Annotated[
        dict[_Short, _Number | _Short],
        Field(max_length=MOST_ATTRIBUTES),
    ]


@_WIRE
class _Usage(TypedDict, total=False):
    input_tokens: _Count | None
    output_tokens: _Count | None
    cost_usd: Annotated[float, Field(ge=0, le=MOST_COST_USD, allow_inf_nan=False)] | None


@_WIRE
class _Budget(TypedDict, total=False):
    tool_calls: _Count | None
    steps: _Count | None
    tokens: _Count | None
    seconds: _Seconds | None


@_WIRE
class _Outcome(TypedDict):
    success: bool
    failure_class: NotRequired[Label | None]
    score: NotRequired[_Number | None]
    source: NotRequired[Annotated[Label, Field(default="reported")]]
    labelled_at: NotRequired[_Instant | None]


@_WIRE
class _TraceEvent(TypedDict):
    schema: Literal["cliffwatch.trace/v1"]
    trace_id: _Identifier
    service: Label
    model_version: Label
    started_at: _Instant
    environment: NotRequired[Annotated[Label, Field(default="production")]]
    capability: NotRequired[Annotated[Label, Field(default="unclassified")]]
    request_id: NotRequired[_Identifier | None]
    ended_at: NotRequired[_Instant | None]
    request: NotRequired[_Request]
    usage: NotRequired[_Usage]
    tool_calls: NotRequired[_Count | None]
    steps: NotRequired[_Count | None]
    budget: NotRequired[_Budget]
    outcome: NotRequired[_Outcome | None]


@_WIRE
class _OutcomeEvent(TypedDict):
    schema: Literal["cliffwatch.outcome/v1"]
    trace_id: _Identifier
    outcome: _Outcome


_EVENT = TypeAdapter(Annotated[_TraceEvent | _OutcomeEvent, Field(discriminator="schema")]).validator
_TOOLS = TypeAdapter(list[_Tool]).validator
_LABEL_FIELDS = frozenset({"service", "model_version", "environment", "capability", "failure_class", "source"})


def event_schemas() -> dict[str, dict[str, Any]]:
    """The JSON Schema of each native event, by the `schema` that the event carries."""
    schemas = [TypeAdapter(event).json_schema() for event in (_TraceEvent, _OutcomeEvent)]
    return {schema["properties"]["schema"]["const"]: schema for schema in schemas}


def decode_native(value: bytes) -> Trace | OutcomeEvent:
    """
    The event that *value*, one JSON object in UTF-8, holds.

    An outcome that came with its trace and says no time is as old as the end of the run, or its start.

    Raises:
        InvalidRecord: not JSON, or not an event of the contract; the detail names the field, never its content.
    """
    try:
        event: _TraceEvent | _OutcomeEvent = _EVENT.validate_json(value)
    except ValidationError as error:
        # The cause is left out: pydantic's own text repeats the input, and a traceback may end up in a log.
        raise _invalid(error) from None
    if names_non_finite(value):
        _refuse_non_finite(value)
    return _trace(event) if event["schema"] == "cliffwatch.trace/v1" else _outcome_event(event)


def names_non_finite(value: bytes) -> bool:
    """Whether the JSON text *value* holds a word for a number that is none, be it only in a text."""
    return b"NaN" in value or b"Infinity" in value


def _refuse_non_finite(value: bytes) -> None:
    # Typed fields refuse these words already; here they stand in a text, which is fine, or in a part that nobody typed.
    try:
        from_json(value, allow_inf_nan=False)
    except ValueError:
        raise InvalidRecord(DropReason.NOT_FINITE, "a number is not finite") from None


def _trace(event: _TraceEvent) -> Trace:
    started_at = _unix_seconds(event["started_at"])
    ended = event.get("ended_at")
    ended_at = None if ended is None else _unix_seconds(ended)
    if ended_at is not None and ended_at < started_at:
        raise InvalidRecord(DropReason.FIELD_INVALID, "ended_at: is before started_at")
    request, usage, budget, outcome = (
        event.get("request"),
        event.get("usage"),
        event.get("budget"),
        event.get("outcome"),
    )
    return Trace(
        trace_id=TraceId(event["trace_id"]),
        service=event["service"],
        environment=event["environment"],
        model_version=ModelVersion(event["model_version"]),
        request=_request(event["capability"], event.get("request_id"), request or _NO_REQUEST),
        started_at=started_at,
        ended_at=ended_at,
        usage=_usage(usage) if usage else _NO_USAGE,
        tool_calls=event.get("tool_calls"),
        steps=event.get("steps"),
        budget=_budget(budget) if budget else _NO_BUDGET,
        outcome=_outcome(outcome, started_at if ended_at is None else ended_at) if outcome else None,
        unknown_fields=_unknown(event, _TRACE_FIELDS)
        + (_unknown(request, _REQUEST_FIELDS) if request else 0)
        + (_unknown(usage, _USAGE_FIELDS) if usage else 0)
        + (_unknown(budget, _BUDGET_FIELDS) if budget else 0)
        + (_unknown(outcome, _OUTCOME_FIELDS) if outcome else 0),
    )


def _request(capability: str, request_id: str | None, wire: _Request) -> Request:
    tools = wire.get("tools")
    return Request(
        capability=capability,
        request_id=request_id,
        text=wire.get("text"),
        messages=wire.get("messages"),
        tools=tools_of(to_json(tools)) if tools else (),
        attributes=wire.get("attributes", {}),
    )


def _usage(wire: _Usage) -> Usage:
    return Usage(wire.get("input_tokens"), wire.get("output_tokens"), wire.get("cost_usd"))


def _budget(wire: _Budget) -> Budget:
    return Budget(wire.get("tool_calls"), wire.get("steps"), wire.get("tokens"), wire.get("seconds"))


_NO_REQUEST: _Request = {}
_NO_USAGE, _NO_BUDGET = Usage(), Budget()

_EPOCH: datetime = TypeAdapter(datetime).validate_json(b'"1970-01-01T00:00:00Z"')


def _unix_seconds(at: datetime) -> float:
    # As `at.timestamp()`, but where both have the very same zone, as all of UTC have, nobody is asked for its offset.
    return (at - _EPOCH).total_seconds()


_CANONICAL = json.JSONEncoder(sort_keys=True, allow_nan=False)
_MOST_REMEMBERED_BYTES = 32_768  # of one set of tools: 512 of them, hostile ones, are 30 MB


def tools_of(wire: bytes) -> tuple[Tool, ...]:
    """
    The tools of an event, from their JSON array.

    Raises:
        InvalidRecord: they are not what the contract says.
    """
    return _remembered_tools(wire) if len(wire) <= _MOST_REMEMBERED_BYTES else _read_tools(wire)


def _read_tools(wire: bytes) -> tuple[Tool, ...]:
    try:
        tools: list[_Tool] = _TOOLS.validate_json(wire)
    except ValidationError as error:
        raise _invalid(error) from None
    return tuple(
        Tool(tool["name"], tool.get("description", ""), _canonical_json(tool.get("parameters", {}))) for tool in tools
    )


# An agent offers the same tools with nearly every request, and sorting their schemas is most of their cost.
_remembered_tools = lru_cache(maxsize=512)(_read_tools)


def _canonical_json(parameters: Mapping[str, Any]) -> str:
    try:
        return _CANONICAL.encode(parameters)
    except ValueError:  # 1e999 is a number in JSON and infinite in Python
        raise InvalidRecord(DropReason.NOT_FINITE, "request.tools.parameters: a number is not finite") from None


def _outcome(wire: _Outcome, otherwise_labelled_at: float | None = None) -> Outcome:
    success, labelled_at = wire["success"], wire.get("labelled_at")
    return Outcome(
        success=success,
        failure_class=None if success else wire.get("failure_class"),
        score=wire.get("score"),
        source=wire["source"],
        labelled_at=otherwise_labelled_at if labelled_at is None else _unix_seconds(labelled_at),
    )


def _outcome_event(event: _OutcomeEvent) -> OutcomeEvent:
    outcome = event["outcome"]
    return OutcomeEvent(
        TraceId(event["trace_id"]),
        _outcome(outcome),
        unknown_fields=_unknown(event, _OUTCOME_EVENT_FIELDS) + _unknown(outcome, _OUTCOME_FIELDS),
    )


def _unknown(wire: Mapping[str, object], known: frozenset[str]) -> int:
    """Number of fields that the contract does not name."""
    return 0 if wire.keys() <= known else len(wire.keys() - known)


_TRACE_FIELDS, _OUTCOME_EVENT_FIELDS, _REQUEST_FIELDS, _USAGE_FIELDS, _BUDGET_FIELDS, _OUTCOME_FIELDS = (
    frozenset(wire.__annotations__) for wire in (_TraceEvent, _OutcomeEvent, _Request, _Usage, _Budget, _Outcome)
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
