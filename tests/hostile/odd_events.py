"""Events of the kinds that once did harm, in every field that takes such a value: a thousand relatives of the cases."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import count, product

NUMBERS = (
    *("1e999", "-1e999", "NaN", "-Infinity", "-1", "-0.0", "1e308", "5e-324", "1e5", "1.5", "0.1e-400"),
    *("9223372036854775807", "9223372036854775808", "-9223372036854775809", "1" + "0" * 400, "1" + "0" * 5_000),
    *("true", "null", "[]", "{}", '"12"', '"NaN"', '"\u0663"', '"1_000"', '" 5 "'),
)
"""As they stand in JSON, and beyond it."""

TIMES = (
    *("0", "-1", "1e9", "1e400", "true", "null", "[]", '""', '"now"', '"2026-W48-7"', '"20261129T000000Z"'),
    *("1795000000", "1795000000000", "1795000000000000", "1795000000000000000", '"1795000000000000000"'),
    *('"0000-01-01T00:00:00Z"', '"0001-01-01T00:00:00+14:00"', '"9999-12-31T23:59:59-14:00"', '"1969-12-31T23:59:59Z"'),
    *('"2026-11-29T24:00:00Z"', '"2026-11-29T23:59:60Z"', '"2026-11-29T00:00:00"', '"2026-11-29T00:00:00+99:99"'),
    *('"2026-11-29T00:00:00.123456789Z"', '"2026-11-29T00:00:00Z\\u0000"', '"\uff12026-11-29T00:00:00Z"'),
)
"""In seconds, milliseconds and less, as text, before and after everything, local, and of no calendar."""

NAMES = (
    *("\x1b[31m", "\x9b31m", "\u202e", "\u2066x", "\x00", "\x7f", "a\nb", "\r", "\u2028", "\ufeff", "\ud800", "\u200b"),
    *("::error::x", "##[error]", "a" * 129, "a" * 100_000, "", " ", "a\u0301" * 10, "../..", "<script>", "${jndi:x}"),
    *("%s%n", "'; DROP TABLE request;--", "other", "untiered", "None", "null", "0", "-", "a/b", "a:b", "all", "hard"),
)
"""That steer a terminal, a page, a query or a reader, that are too long, and that mean something to us."""

SHAPES = (
    *("null", "0", "true", '""', "[" * 100_000, '{"a":' * 50_000, '"\\ud800"', '{"resourceSpans": []}', "\ufeff{}"),
    '{"schema": "cliffwatch.trace/v1", "schema": "cliffwatch.outcome/v1", "trace_id": "a", "trace_id": "b"}',
    '{"schema": "cliffwatch.trace/v1", "request": ' + '{"a":' * 200 + "1" + "}" * 201,
    '{"schema": "cliffwatch.outcome/v1", "trace_id": "\\ud800", "outcome": {"success": true}}',
    *(
        f'{{"schema": "cliffwatch.outcome/v1", "trace_id": "odd-{number}", "outcome": {said}}}'
        for number, said in enumerate(
            ('{"success": "true"}', '{"success": 1}', "null", '{"success": false, "score": 1e999}')
        )
    ),
    '{"resourceSpans": {"a": 1}}',
    '{"resourceLogs": [{"scopeLogs": [{"logRecords": [{"timeUnixNano": -1}]}]}]}',
)
"""What is hardly an event."""

_NUMBER_IN = (
    '"usage": {"input_tokens": %s}',
    '"usage": {"cost_usd": %s}',
    '"tool_calls": %s',
    '"steps": %s',
    '"request": {"attributes": {"x": %s}}',
    '"request": {"messages": %s, "text": "x"}',
    '"budget": {"seconds": %s}',
    '"outcome": {"success": true, "score": %s}',
    '"outcome": {"success": false, "source": "judge", "sampling_probability": %s}',
)
_TIME_IN = ('"started_at": %s', '"ended_at": %s', '"outcome": {"success": true, "labelled_at": %s}')
_NAME_IN = (
    *(
        f'"{field}": %s'
        for field in ("service", "model_version", "environment", "capability", "trace_id", "request_id")
    ),
    *('"schema": %s', '"conversation_id": %s', '"user_id": %s', '"outcome": {"success": false, "failure_class": %s}'),
    *('"outcome": {"success": true, "source": %s}', '"request": {"text": %s}', '"request": {"tools": [{"name": %s}]}'),
    '"request": {"attributes": {"x": %s}}',
)
_VALUES = (
    *({"intValue": each} for each in ("9223372036854775807", "-5", "1e5", "9" * 5_000, 9e30, None)),
    *({"doubleValue": each} for each in ("Infinity", "NaN", -1.0)),
    *({"stringValue": each} for each in ("12", "x" * 100_000, "\x1b[31m", "\ud800")),
    *({"arrayValue": {"values": [{"intValue": "1"}] * 1_000}}, {"kvlistValue": {"values": []}}, {"boolValue": True}),
    *({"bytesValue": "%%"}, {}, None),
)
_KEYS = (
    *("gen_ai.usage.input_tokens", "gen_ai.usage.cost", "gen_ai.request.model", "gen_ai.response.model", "user.id"),
    *("gen_ai.conversation.id", "gen_ai.input.messages", "service.name", "error.type"),
)
_PERIODS = (
    *(
        ("0", "0"),
        ("-1", "5"),
        ("1795900000", "1795900001"),
        ("1795900000000", "1795900001000"),
        (None, None),
        ("x", True),
    ),
    *(("18446744073709551615",) * 2, ("1795900001000000000", "1795900000000000000"), ("4102444800000000000",) * 2),
)
_TRACE_IDS = ("", "0" * 32, "f" * 32, "z" * 32, "F" * 31, None, 5, ["a"], "a" * 1_000, "AAAAAAAAAAAAAAAAAAAAAA==")


def odd_events(started_at: str) -> Sequence[bytes]:
    """One per line; those that say no time of their own began at that time (ISO 8601)."""
    texts = (*_native(started_at), *_spans(), *SHAPES)
    return [text.encode("utf-8", "surrogatepass").replace(b"\n", b" ") for text in texts]


def _native(started_at: str) -> Iterator[str]:
    numbers = count()
    names = [json.dumps(name) for name in NAMES]
    for fields, values in ((_NUMBER_IN, NUMBERS), (_TIME_IN, TIMES), (_NAME_IN, names)):
        for field, value in product(fields, values):
            own = field % value
            event = {
                "schema": "cliffwatch.trace/v1",
                "trace_id": f"odd-{next(numbers)}",
                "service": "odd",
                "model_version": "m-1",
                "started_at": started_at,
            }
            others = [f'"{name}": "{said}"' for name, said in event.items() if not own.startswith(f'"{name}"')]
            yield "{" + ", ".join([*others, own]) + "}"


def _spans() -> Iterator[str]:
    number = count(1)
    for key, value in product(_KEYS, _VALUES):
        yield _span(next(number), {"attributes": [*_SERVED, {"key": key, "value": value}]})
    for start, end in _PERIODS:
        yield _span(next(number), {"startTimeUnixNano": start, "endTimeUnixNano": end})
    for trace_id in _TRACE_IDS:
        yield _span(next(number), {"traceId": trace_id})


_SERVED = [
    {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}},
    {"key": "gen_ai.response.model", "value": {"stringValue": "m-1"}},
]


def _span(number: int, said: dict[str, object]) -> str:
    span = {
        "traceId": f"{number:032x}",
        "spanId": f"{number:016x}",
        "name": "chat",
        "startTimeUnixNano": "1795900000000000000",
        "endTimeUnixNano": "1795900001000000000",
        "attributes": _SERVED,
    }
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "odd"}}]}
    return json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span | said]}]}]})
