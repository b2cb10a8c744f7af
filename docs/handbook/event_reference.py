"""The reference of native events: the JSON Schema of the wire models, and an example of each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from docs.handbook.attribute_reference import attributes
from docs.handbook.tables import code, table
from monitor.trace.native import EVENTS

EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    "cliffwatch.trace/v1": {
        "schema": "cliffwatch.trace/v1",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "service": "support-agent",
        "environment": "production",
        "model_version": "gpt-4-0613",
        "capability": "refunds",
        "request_id": "probe-17",
        "conversation_id": "c-4711",
        "user_id": "u-42",
        "started_at": "2026-11-23T05:02:00.123Z",
        "ended_at": "2026-11-23T05:02:03.400Z",
        "request": {
            "text": "Refund the second of my two orders of last week.",
            "messages": 3,
            "tools": [{"name": "refund", "description": "Pays an order back.", "parameters": {"type": "object"}}],
            "attributes": {"orders": 2},
        },
        "usage": {"input_tokens": 812, "output_tokens": 90, "cost_usd": 0.0041},
        "tool_calls": 2,
        "steps": 3,
        "budget": {"tool_calls": 50, "seconds": 600},
        "outcome": {
            "success": False,
            "failure_class": "wrong_tool",
            "score": 0.2,
            "source": "judge",
            "labelled_at": "2026-11-23T05:04:00Z",
        },
    },
    "cliffwatch.outcome/v1": {
        "schema": "cliffwatch.outcome/v1",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "outcome": {"success": True, "source": "human", "labelled_at": "2026-11-23T07:00:00Z"},
    },
}
"""One event of each schema, with every field that people ask about."""

_HEAD = """# Events

One JSON object per Kafka record, or per line of a file.
Cliffwatch ignores unknown fields and counts them (`cliffwatch_unknown_fields_total`); an event that lacks a required field, or has a field of the wrong type, becomes a dead letter.
[Your traces](../traces.md) explains how Cliffwatch uses the fields.

"""

_ATTRIBUTES_HEAD = """## Attributes of spans and logs

Cliffwatch reads these from OpenTelemetry, OpenInference and Langfuse; [your traces](../traces.md#what-is-read-from-where) has the rules.

"""


def page() -> str:
    """The page, in Markdown."""
    events = [_event(name, schema) for name, schema in event_schemas().items()]
    return _HEAD + "".join(events) + _ATTRIBUTES_HEAD + attributes()


def event_schemas() -> dict[str, dict[str, Any]]:
    """The JSON Schema of each native event, by the `schema` that the event carries."""
    found: dict[str, dict[str, Any]] = {}
    for name, event in EVENTS.items():
        definitions = msgspec.json.schema(event)["$defs"]
        found[name] = definitions.pop(event.__name__) | {"$defs": definitions}
    return found


def schema_files() -> dict[str, str]:
    """The JSON Schema of each event, by the name of its file."""
    return {schema_file(name): json.dumps(schema, indent=2) + "\n" for name, schema in event_schemas().items()}


def schema_file(name: str) -> str:
    """The name of the file with the JSON Schema of the event *name*."""
    return f"{name.replace('/', '-')}.json"


def _event(name: str, schema: Mapping[str, Any]) -> str:
    example = json.dumps(EXAMPLES[name], indent=2)
    return (
        f"## {name}\n\n{table(('field', 'type', 'needed', 'limits'), _fields(schema, schema))}\n"
        f"```json\n{example}\n```\n\nAs JSON Schema: [{schema_file(name)}]({schema_file(name)}).\n\n"
    )


def _fields(part: Mapping[str, Any], schema: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, ...]]:
    for name, field in part["properties"].items():
        kind = _resolved(field, schema)
        inner = _resolved(kind.get("items", {}), schema) if kind.get("type") == "array" else kind
        path = f"{prefix}{name}{'[]' if inner is not kind else ''}"
        needed = "yes" if name in part.get("required", ()) else _default(field)
        yield code(path), _type(kind), needed, _limits(kind)
        if "properties" in inner:
            yield from _fields(inner, schema, f"{path}.")


def _default(field: Mapping[str, Any]) -> str:
    default = field.get("default")
    return f"no; {code(json.dumps(default))} without" if isinstance(default, str) and default else "no"


def _resolved(field: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """*field* itself: references followed, and the null of an optional field left out."""
    options = [option for option in field.get("anyOf", ()) if option.get("type") != "null"]
    if len(options) == 1:
        return _resolved(options[0], schema)
    if "$ref" in field:
        return _resolved(schema["$defs"][field["$ref"].rpartition("/")[2]], schema)
    return field


def _type(kind: Mapping[str, Any]) -> str:
    if "const" in kind:
        return code(json.dumps(kind["const"]))
    if kind.get("format") == "date-time":
        return "RFC 3339 time with its zone"
    if "anyOf" in kind:
        return " or ".join(_type(option) for option in kind["anyOf"])
    return str(kind.get("type", "any"))


_LIMITS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
    "maxLength": "at most {} characters",
    "maxProperties": "at most {} entries",
    "pattern": "matches `{}`",
}


def _limits(kind: Mapping[str, Any]) -> str:
    return ", ".join(words.format(kind[name]) for name, words in _LIMITS.items() if name in kind)
