"""
Native events (`cliffwatch.trace/v1`, `cliffwatch.outcome/v1`), read by msgspec.

Nearly every event follows the contract exactly and is read in one pass. Any other is parsed to a dictionary first; its
unknown fields are counted and removed, and msgspec reads the rest leniently (numbers in quotes, other forms of a time)
or names what is wrong with it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from itertools import accumulate
from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, MsgspecError, Raw, Struct, UnsetType, ValidationError
from msgspec.json import Decoder, encode, schema_components

from monitor.trace import bounds, model
from monitor.trace.outcome_policy import NAMED_SOURCES
from monitor.trace.values import CONTROL

# An unclosed string matches to the end. Otherwise the search would start again at each quote of a hostile record.
_JSON_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_NOT_A_BRACKET = bytes(set(range(256)) - set(b"{[]}"))
_STEP = {ord("{"): 1, ord("["): 1, ord("]"): -1, ord("}"): -1}


_LABEL_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$"

# The schema documents the pattern, `_are_labels` checks it: one cached lookup costs less than a match for each label.
_Label = Annotated[str, Meta(extra_json_schema={"pattern": _LABEL_PATTERN, "maxLength": bounds.MOST_LABEL_CHARACTERS})]
_Identifier = Annotated[
    str, Meta(extra_json_schema={"pattern": r"^[^\x00-\x1f\x7f]+$", "maxLength": bounds.MOST_IDENTIFIER_CHARACTERS})
]
_Instant = Annotated[datetime, Meta(tz=True)]
_Number = Annotated[float, Meta(ge=-bounds.LARGEST_NUMBER, le=bounds.LARGEST_NUMBER)]
_Short = Annotated[str, Meta(max_length=bounds.MOST_ATTRIBUTE_CHARACTERS)]


class _Tool(Struct, gc=False):
    name: Annotated[str, Meta(max_length=256)]
    description: str = ""
    parameters: dict[str, Any] = {}


_TOOLS_SCHEMA = {"type": "array", "items": schema_components([_Tool])[1]["_Tool"]}


class _Wire(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Unknown fields have to be counted, so an event that has any is read by `read_document`."""


class _Request(_Wire, frozen=True):
    text: str | None = None
    messages: model.Count | None = None
    tools: Annotated[Raw, Meta(extra_json_schema=_TOOLS_SCHEMA)] | UnsetType = UNSET
    attributes: Annotated[dict[_Short, _Number | _Short], Meta(max_length=bounds.MOST_ATTRIBUTES)] = {}


class _Budget(_Wire, frozen=True):
    tool_calls: model.Count | None = None
    steps: model.Count | None = None
    tokens: model.Count | None = None
    seconds: Annotated[float, Meta(ge=0, le=bounds.LARGEST_NUMBER)] | None = None


class _Outcome(_Wire, frozen=True):
    success: bool
    failure_class: _Label | None = None
    score: _Number | None = None
    source: _Label = "reported"
    labelled_at: _Instant | None = None
    sampling_probability: Annotated[float, Meta(ge=bounds.LEAST_CHANCE, le=1)] | None = None


class _TraceEvent(_Wire, frozen=True, tag_field="schema", tag="cliffwatch.trace/v1"):
    trace_id: _Identifier
    service: _Label
    model_version: _Label
    started_at: _Instant
    environment: _Label = "production"
    capability: _Label = "unclassified"
    request_id: _Identifier | None = None
    ended_at: _Instant | None = None
    request: _Request = _Request()
    usage: model.Usage = model.Usage()
    tool_calls: model.Count | None = None
    steps: model.Count | None = None
    budget: _Budget = _Budget()
    outcome: _Outcome | None = None
    conversation_id: _Identifier | None = None
    user_id: _Identifier | None = None


class _OutcomeEvent(_Wire, frozen=True, tag_field="schema", tag="cliffwatch.outcome/v1"):
    trace_id: _Identifier
    outcome: _Outcome


EVENTS: Mapping[Any, type[_TraceEvent | _OutcomeEvent]] = {
    event.__struct_config__.tag: event for event in (_TraceEvent, _OutcomeEvent)
}
"""Every native event, by the `schema` that it carries."""

_PARTS: Mapping[str, type[Struct]] = {"request": _Request, "usage": model.Usage, "budget": _Budget, "outcome": _Outcome}
_INSTANTS = ("started_at", "ended_at", "labelled_at")
_decode = Decoder(_TraceEvent | _OutcomeEvent).decode
_decode_leniently = Decoder(_TraceEvent | _OutcomeEvent, strict=False).decode
_decode_tools = Decoder(list[_Tool]).decode
_CANONICAL: Final = json.JSONEncoder(sort_keys=True, allow_nan=False)


def read_plain(value: bytes, max_depth: int) -> model.Trace | model.OutcomeEvent | None:
    """
    The event in *value*, if it follows the contract exactly; None if `read_document` has to read it.

    Args:
        value: The payload of a record, one JSON object in UTF-8.
        max_depth: Most levels of nested brackets.

    Raises:
        InvalidRecord: a label, an identifier or a time is out of bounds.
    """
    try:
        return _event(_decode(value), max_depth)
    except (MsgspecError, ValueError, RecursionError):  # ValueError: not UTF-8
        return None


def is_native(document: Any) -> bool:
    """Whether *document* carries the `schema` of a native event."""
    return isinstance(document, dict) and (name := document.get("schema")).__hash__ is not None and name in EVENTS


def read_document(document: Mapping[str, Any]) -> model.Trace | model.OutcomeEvent:
    """
    The native event that *document* is, once parsed.

    Raises:
        InvalidRecord: it breaks the contract; the detail names the field, never its content.
    """
    known, unknown = _known(document, EVENTS[document["schema"]])
    try:
        _CANONICAL.encode(document)
        return _event(_decode_leniently(encode(known)), None, unknown)
    except ValidationError as error:
        # The cause is left out: it may repeat the input, and a traceback may end up in a log.
        raise _invalid(error) from None
    except (ValueError, MsgspecError):
        raise model.InvalidRecord(model.DropReason.NOT_FINITE, "a number is not finite") from None


def _known(part: Mapping[str, Any], wire: type[Struct]) -> tuple[dict[str, Any], int]:
    """*part* without its null and unknown fields, and how many of them were unknown."""
    fields = {"schema", *wire.__struct_fields__}
    known = {name: value for name, value in part.items() if name in fields and value is not None}
    unknown = len(part.keys() - fields)
    for name, inner in known.items():
        if name in _PARTS and isinstance(inner, dict):
            known[name], more = _known(inner, _PARTS[name])
            unknown += more
        elif name in _INSTANTS and isinstance(inner, str):
            with suppress(ValueError):
                known[name] = datetime.fromisoformat(inner).isoformat()
        elif name == "attributes" and isinstance(inner, dict):
            given = {key: value for key, value in inner.items() if value is not None}
            known[name] = {key: float(value) if isinstance(value, bool) else value for key, value in given.items()}
        elif name == "tools" and isinstance(inner, list):
            known[name] = [_known(tool, _Tool)[0] if isinstance(tool, dict) else tool for tool in inner]
    return known, unknown


def _event(
    event: _TraceEvent | _OutcomeEvent, max_depth: int | None, unknown_fields: int = 0
) -> model.Trace | model.OutcomeEvent:
    trace_id = model.joining_id(_identifier("trace_id", event.trace_id))
    if isinstance(event, _OutcomeEvent):
        return model.OutcomeEvent(trace_id, _outcome(event.outcome, None), unknown_fields)
    started_at = _unix_seconds("started_at", event.started_at)
    ended_at = None if event.ended_at is None else _unix_seconds("ended_at", event.ended_at)
    if ended_at is not None and ended_at < started_at:
        raise model.InvalidRecord(model.DropReason.FIELD_INVALID, "ended_at: is before started_at")
    if ended_at is not None and ended_at - started_at > bounds.LONGEST_RUN_SECONDS:
        raise model.InvalidRecord(model.DropReason.FIELD_INVALID, "ended_at: is more than 31 days after started_at")
    budget, outcome = event.budget, event.outcome
    if not _are_labels(event.service, event.model_version, event.environment, event.capability):
        raise _bad_label(event, "service", "model_version", "environment", "capability")
    return model.Trace(
        trace_id=trace_id,
        service=event.service,
        environment=event.environment,
        model_version=model.ModelVersion(event.model_version),
        request=_request(event, max_depth),
        started_at=started_at,
        ended_at=ended_at,
        usage=event.usage,
        tool_calls=event.tool_calls,
        steps=event.steps,
        budget=model.Budget(budget.tool_calls, budget.steps, budget.tokens, budget.seconds),
        outcome=None if outcome is None else _outcome(outcome, started_at if ended_at is None else ended_at),
        unknown_fields=unknown_fields,
        conversation_id=_identifier("conversation_id", event.conversation_id) if event.conversation_id else None,
        user_id=_identifier("user_id", event.user_id) if event.user_id else None,
    )


def _request(event: _TraceEvent, max_depth: int | None) -> model.Request:
    request = event.request
    return model.Request(
        capability=event.capability,
        request_id=None if event.request_id is None else _identifier("request_id", event.request_id),
        text=request.text,
        messages=request.messages,
        tools=() if request.tools is UNSET else _tools(bytes(request.tools), max_depth),
        attributes=request.attributes,
    )


_TOOLS_WITHIN = 2  # objects: the event and its request
_MOST_REMEMBERED_BYTES = 32_768  # of one list of tools; 512 hostile ones then take 30 MB


def _tools(wire: bytes, max_depth: int | None) -> tuple[model.Tool, ...]:
    # Only `read_document` comes after a check of the depth of the whole record.
    if max_depth is not None and is_deeper_than(max_depth - _TOOLS_WITHIN, wire):
        raise RecursionError
    try:
        return _remembered_tools(wire) if len(wire) <= _MOST_REMEMBERED_BYTES else _canonical_tools(wire)
    except ValidationError as error:
        if max_depth is not None:
            raise
        raise _invalid(error, within="request.tools") from None


def _canonical_tools(wire: bytes) -> tuple[model.Tool, ...]:
    return tuple(
        model.Tool(tool.name, tool.description, _CANONICAL.encode(tool.parameters)) for tool in _decode_tools(wire)
    )


# An agent offers the same tools with nearly every request, and sorting their schemas is most of the cost.
_remembered_tools = lru_cache(maxsize=512)(_canonical_tools)


def _outcome(wire: _Outcome, default_at: float | None) -> model.Outcome:
    if not _are_labels(wire.source, wire.failure_class):
        raise _bad_label(wire, "source", "failure_class")
    return model.Outcome(
        success=wire.success,
        failure_class=None if wire.success else wire.failure_class,
        score=wire.score,
        source=wire.source.lower() if wire.source.lower() in NAMED_SOURCES else wire.source,
        labelled_at=default_at if wire.labelled_at is None else _unix_seconds("outcome.labelled_at", wire.labelled_at),
        sampling_probability=wire.sampling_probability,
    )


_LABEL = re.compile(_LABEL_PATTERN)


@lru_cache(maxsize=4_096)  # the same few names come with every request
def _are_labels(*labels: str | None) -> bool:
    return all(
        label is None or (len(label) <= bounds.MOST_LABEL_CHARACTERS and _LABEL.fullmatch(label) is not None)
        for label in labels
    )


def _bad_label(wire: Struct, *names: str) -> model.InvalidRecord:
    name = next(name for name in names if not _are_labels(getattr(wire, name)))
    detail = f"{name}: needs 1 to {bounds.MOST_LABEL_CHARACTERS} characters as in {_LABEL_PATTERN}"
    return model.InvalidRecord(model.DropReason.LABEL_INVALID, detail)


def _identifier(name: str, text: str) -> str:
    if 0 < len(text) <= bounds.MOST_IDENTIFIER_CHARACTERS and (text.isprintable() or not CONTROL.search(text)):
        return text
    raise model.InvalidRecord(
        model.DropReason.FIELD_INVALID,
        f"{name}: needs 1 to {bounds.MOST_IDENTIFIER_CHARACTERS} characters, none of them a control character",
    )


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _unix_seconds(name: str, at: datetime) -> float:
    seconds = (at - _EPOCH).total_seconds()
    if bounds.EARLIEST <= seconds < bounds.BEFORE:
        return seconds
    raise model.InvalidRecord(model.DropReason.FIELD_INVALID, f"{name}: is not between the years 2000 and 2099")


_MISSING = re.compile(r"Object missing required field `(\w+)`")


def _invalid(error: ValidationError, within: str = "") -> model.InvalidRecord:
    """*error* as a reason to refuse the record. msgspec names types and positions and never repeats the input."""
    message, _, place = str(error).partition(" - at ")
    path = ".".join(part for part in (within, place.partition("$")[2].rstrip("`").removeprefix(".")) if part)
    if missing := _MISSING.fullmatch(message):
        field = ".".join(filter(None, (path, missing[1])))
        return model.InvalidRecord(model.DropReason.FIELD_MISSING, f"{field}: is required")
    detail = message.replace("`", "")
    return model.InvalidRecord(model.DropReason.FIELD_INVALID, f"{path}: {detail}" if path else detail)


def is_deeper_than(limit: int, value: bytes) -> bool:
    """Whether the JSON text *value* nests objects and arrays more than *limit* levels deep."""
    # Counting is a hundred times cheaper than walking, and hardly any record has that many brackets.
    if value.count(b"{") + value.count(b"[") <= limit:
        return False
    brackets = _JSON_STRING.sub(b"", value).translate(None, _NOT_A_BRACKET)
    return any(depth > limit for depth in accumulate(map(_STEP.__getitem__, brackets)))
