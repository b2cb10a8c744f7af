"""
Native events as nearly all of them are, read in one pass by msgspec: a third of what `monitor.trace.native` costs.

Only what is certainly an event of the contract is read here. Whatever is odd (an unknown field, a wrong type, a number
in quotes) is left to `monitor.trace.native`, which says what is wrong, or reads it all the same and counts what it did
not know. So there is one contract, in pydantic's words, and a test that both read the same from the same bytes.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated

from msgspec import UNSET, Meta, MsgspecError, Raw, Struct, UnsetType
from msgspec.json import Decoder

from monitor.trace.depth import is_deeper_than
from monitor.trace.model import (
    Budget,
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
from monitor.trace.native import (
    BEFORE,
    EARLIEST,
    LABEL_PATTERN,
    MOST_ATTRIBUTE_CHARACTERS,
    MOST_ATTRIBUTES,
    MOST_COST_USD,
    MOST_COUNTED,
    MOST_IDENTIFIER_CHARACTERS,
    MOST_LABEL_CHARACTERS,
    names_non_finite,
    tools_of,
)

_Count = Annotated[int, Meta(ge=0, le=MOST_COUNTED)]
_Instant = Annotated[datetime, Meta(tz=True)]
_Short = Annotated[str, Meta(max_length=MOST_ATTRIBUTE_CHARACTERS)]


class _Wire(Struct, forbid_unknown_fields=True, gc=False):
    """Fields that nobody knows are not counted here, so their event is left alone."""


class _Request(_Wire):
    text: str | None = None
    messages: _Count | None = None
    tools: Raw | UnsetType = UNSET
    attributes: Annotated[dict[_Short, float | _Short], Meta(max_length=MOST_ATTRIBUTES)] | UnsetType = UNSET


class _Usage(_Wire):
    input_tokens: _Count | None = None
    output_tokens: _Count | None = None
    cost_usd: Annotated[float, Meta(ge=0, le=MOST_COST_USD)] | None = None


class _Budget(_Wire):
    tool_calls: _Count | None = None
    steps: _Count | None = None
    tokens: _Count | None = None
    seconds: Annotated[float, Meta(ge=0)] | None = None


class _Outcome(_Wire):
    success: bool
    failure_class: str | None = None
    score: float | None = None
    source: str = "reported"
    labelled_at: _Instant | None = None


class _TraceEvent(_Wire, tag_field="schema", tag="cliffwatch.trace/v1"):
    trace_id: str
    service: str
    model_version: str
    started_at: _Instant
    environment: str = "production"
    capability: str = "unclassified"
    request_id: str | None = None
    ended_at: _Instant | None = None
    request: _Request | UnsetType = UNSET
    usage: _Usage | UnsetType = UNSET
    tool_calls: _Count | None = None
    steps: _Count | None = None
    budget: _Budget | UnsetType = UNSET
    outcome: _Outcome | None = None


class _OutcomeEvent(_Wire, tag_field="schema", tag="cliffwatch.outcome/v1"):
    trace_id: str
    outcome: _Outcome


_decode = Decoder(_TraceEvent | _OutcomeEvent).decode


class _Odd(Exception):
    """Not for us to read."""


def read_plain(value: bytes, max_depth: int) -> Trace | OutcomeEvent | None:
    """
    The event that *value*, one JSON object in UTF-8, plainly holds; None where `decode_native` has to look at it.

    Args:
        value: The payload of a record.
        max_depth: Brackets that may stand within each other.
    """
    try:
        event = _decode(value)
        return _trace(event, max_depth) if type(event) is _TraceEvent else _outcome_event(event)
    except (_Odd, MsgspecError, ValueError, RecursionError):  # ValueError: not UTF-8
        return None


def _trace(event: _TraceEvent, max_depth: int) -> Trace:
    started_at, ended = _unix_seconds(event.started_at), event.ended_at
    ended_at = None if ended is None else _unix_seconds(ended)
    if ended_at is not None and ended_at < started_at:
        raise _Odd
    usage, budget, outcome = event.usage, event.budget, event.outcome
    if not _are_labels(event.service, event.model_version, event.environment, event.capability):
        raise _Odd
    return Trace(
        trace_id=TraceId(_identifier(event.trace_id)),
        service=event.service,
        environment=event.environment,
        model_version=ModelVersion(event.model_version),
        request=_request(event, max_depth),
        started_at=started_at,
        ended_at=ended_at,
        usage=_NO_USAGE if usage is UNSET else Usage(usage.input_tokens, usage.output_tokens, usage.cost_usd),
        tool_calls=event.tool_calls,
        steps=event.steps,
        budget=_NO_BUDGET
        if budget is UNSET
        else Budget(budget.tool_calls, budget.steps, budget.tokens, budget.seconds),
        outcome=None if outcome is None else _outcome(outcome, started_at if ended_at is None else ended_at),
    )


_NO_USAGE, _NO_BUDGET = Usage(), Budget()


def _request(event: _TraceEvent, max_depth: int) -> Request:
    request_id, request = event.request_id, event.request
    if request_id is not None:
        _identifier(request_id)
    if request is UNSET:
        return Request(event.capability, request_id)
    return Request(
        capability=event.capability,
        request_id=request_id,
        text=request.text,
        messages=request.messages,
        tools=() if request.tools is UNSET else _tools(bytes(request.tools), max_depth),
        attributes={} if request.attributes is UNSET else request.attributes,
    )


def _tools(wire: bytes, max_depth: int) -> tuple[Tool, ...]:
    if is_deeper_than(max_depth - _TOOLS_WITHIN, wire) or names_non_finite(wire):
        raise _Odd
    try:
        return tools_of(wire)
    except InvalidRecord:
        raise _Odd from None


_TOOLS_WITHIN = 2  # objects: the event and its request


def _outcome_event(event: _OutcomeEvent) -> OutcomeEvent:
    return OutcomeEvent(TraceId(_identifier(event.trace_id)), _outcome(event.outcome, None))


def _outcome(wire: _Outcome, otherwise_labelled_at: float | None) -> Outcome:
    success, failure_class, labelled_at = wire.success, wire.failure_class, wire.labelled_at
    if not _are_labels(wire.source) or (failure_class is not None and not _are_labels(failure_class)):
        raise _Odd
    return Outcome(
        success=success,
        failure_class=None if success else failure_class,
        score=wire.score,
        source=wire.source,
        labelled_at=otherwise_labelled_at if labelled_at is None else _unix_seconds(labelled_at),
    )


_LABEL = re.compile(LABEL_PATTERN)


@lru_cache(maxsize=4_096)  # the same few names come with every request
def _are_labels(*names: str) -> bool:
    return all(len(name) <= MOST_LABEL_CHARACTERS and _LABEL.fullmatch(name) for name in names)


def _identifier(text: str) -> str:
    if text.isprintable() and 0 < len(text) <= MOST_IDENTIFIER_CHARACTERS:
        return text
    raise _Odd


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST, _BEFORE = EARLIEST.timestamp(), BEFORE.timestamp()


def _unix_seconds(at: datetime) -> float:
    seconds = (at - _EPOCH).total_seconds()
    if _EARLIEST <= seconds < _BEFORE:
        return seconds
    raise _Odd
