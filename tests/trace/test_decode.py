from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.trace.decode import decode
from monitor.trace.model import DropReason, InvalidRecord, OutcomeEvent, Trace
from monitor.trace.settings import Limits
from tests.trace.events import a_full_trace_event, a_trace_event, an_outcome_event, as_bytes

LIMITS = Limits()
TIGHT = Limits(max_record_bytes=1024, max_depth=8)


def reason_of(value: bytes | None, limits: Limits = LIMITS) -> DropReason | None:
    try:
        decode(value, limits)
    except InvalidRecord as refused:
        return refused.reason
    return None


def nested(levels: int) -> bytes:
    return as_bytes(a_trace_event(extra=0))[:-2] + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"


def test_trace_event_yields_a_trace() -> None:
    """A finished run comes out among the traces, and nothing else with it."""
    decoded = decode(as_bytes(a_trace_event()), LIMITS)

    assert ([Trace], ()) == ([type(trace) for trace in decoded.traces], decoded.outcomes)


def test_outcome_event_yields_an_outcome() -> None:
    """A verdict comes out among the outcomes, and nothing else with it."""
    decoded = decode(as_bytes(an_outcome_event()), LIMITS)

    assert ((), [OutcomeEvent]) == (decoded.traces, [type(event) for event in decoded.outcomes])


SPAN = {
    "traceId": "4bf92f3577b34da6a3ce929d0e0e4736",
    "spanId": "00f067aa0ba902b7",
    "startTimeUnixNano": "1795410120000000000",
}
SPANS = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [SPAN]}]}]}).encode()
SCORE = b'{"traceId": "t", "name": "good", "value": 0, "dataType": "BOOLEAN"}'


@pytest.mark.parametrize("together", [b"\n".join, b"\r\n\r\n".join, lambda parts: b"[" + b",".join(parts) + b"]"])
@pytest.mark.parametrize("packed", [bytes, gzip.compress])
def test_a_record_may_hold_several_documents(
    together: Callable[[list[bytes]], bytes], packed: Callable[[bytes], bytes]
) -> None:
    """One on each line, or all in one array, of any mix of formats."""
    value = packed(together([as_bytes(a_trace_event()), SPANS, as_bytes(an_outcome_event()), SCORE]))

    decoded = decode(value, LIMITS)

    assert (1, 1, 2) == (len(decoded.traces), len(decoded.spans), len(decoded.outcomes))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (SPANS + b"\n{broken", DropReason.NOT_JSON),
        (b"{}\n" * 200_000, DropReason.NOT_JSON),
        (SPANS + b'\n{"what": "else"}', DropReason.SCHEMA_UNKNOWN),
        (b"\n".join([SPANS] * 3), DropReason.TOO_MANY_SPANS),
        (b"\n".join([as_bytes(a_trace_event())] * 3), DropReason.TOO_MANY_SPANS),
    ],
)
def test_of_several_documents_all_are_read_or_none(value: bytes, reason: DropReason) -> None:
    """A dead letter is a whole record, so that it can be sent again as it was."""
    assert reason_of(value, Limits(max_spans=2)) is reason


@pytest.mark.parametrize("value", [as_bytes(a_trace_event()), SPANS, SCORE])
@pytest.mark.parametrize("packed", [bytes, gzip.compress])
def test_document_may_be_a_json_text(value: bytes, packed: Callable[[bytes], bytes]) -> None:
    """As a JSON serializer writes a text that is JSON already; its limits hold within it."""
    quoted = packed(json.dumps(value.decode()).encode())
    twice = json.dumps(json.dumps(value.decode())).encode()

    assert decode(value, LIMITS) == decode(quoted, LIMITS)
    assert reason_of(twice) is DropReason.SCHEMA_UNKNOWN
    assert reason_of(b'"how"') is DropReason.SCHEMA_UNKNOWN
    assert reason_of(json.dumps(nested(9).decode()).encode(), TIGHT) is DropReason.TOO_DEEP


@pytest.mark.parametrize("value", [as_bytes(a_trace_event()), SPANS])
def test_head_of_a_schema_registry_is_passed_over(value: bytes) -> None:
    """A zero and the id of the schema."""
    assert decode(value, LIMITS) == decode(b"\0\0\0\1\2" + value, LIMITS)


@pytest.mark.parametrize("value", [None, b""])
def test_record_without_payload_is_refused(value: bytes | None) -> None:
    """A tombstone and an empty payload are both empty."""
    assert reason_of(value) is DropReason.EMPTY


def test_record_is_refused_one_byte_above_the_limit() -> None:
    """The limit itself is still read; the size is checked before anything else."""
    event = as_bytes(a_trace_event())
    padded = event + b" " * (1024 - len(event))

    assert reason_of(padded, TIGHT) is None
    assert reason_of(padded + b" ", TIGHT) is DropReason.TOO_LARGE
    assert reason_of(b"x" * 1025, TIGHT) is DropReason.TOO_LARGE


def test_record_is_refused_one_level_above_the_limit() -> None:
    """The limit itself is still read."""
    assert reason_of(nested(8), TIGHT) is None
    assert reason_of(nested(9), TIGHT) is DropReason.TOO_DEEP


def test_brackets_in_a_text_are_no_depth() -> None:
    """A prompt may hold as much code as it likes."""
    text = '{[("\\' * 300

    decoded = decode(as_bytes(a_trace_event(request={"text": text})), Limits(max_depth=8))

    assert text == decoded.traces[0].request.text


def test_many_shallow_brackets_are_no_depth() -> None:
    """Width is not depth."""
    tools = [{"name": str(i), "parameters": {"a": []}} for i in range(200)]

    assert reason_of(as_bytes(a_trace_event(request={"tools": tools})), Limits(max_depth=8)) is None


@pytest.mark.timeout(60)
@pytest.mark.parametrize("ending", [b"", b"\\", b'"'], ids=["text never ends", "escape never ends", "text ends"])
def test_hostile_quotes_cost_no_more_than_their_length(ending: bytes) -> None:
    """Depth is measured in one pass, however often a text seems to begin."""
    hostile = b"[" * 65 + b'"' + b'\\"' * 1_500_000 + ending

    assert reason_of(hostile) is DropReason.TOO_DEEP


@given(st.binary(max_size=300))
def test_arbitrary_bytes_never_raise_anything_else(value: bytes) -> None:
    """Noise is refused with a reason."""
    assert isinstance(reason_of(value), DropReason)


_VALID = [as_bytes(event) for event in (a_trace_event(), a_full_trace_event(), an_outcome_event())]
_TOKENS = [b"{", b"}", b"[", b"]", b'"', b"\\", b"NaN", b"-1e999", b"null", b"\xff", b"\\ud800", b"9" * 400, b",", b":"]


def mutated(value: bytes, seed: int) -> bytes:
    """*value* after a few cuts, copies, swaps and insertions that *seed* chooses."""
    dice = random.Random(seed)
    for _ in range(dice.randint(1, 6)):
        start, end = sorted(dice.randrange(len(value) + 1) for _ in range(2))
        piece = dice.choice([b"", value[start:end], dice.choice(_TOKENS), dice.randbytes(3)])
        at = dice.randrange(len(value) + 1)
        value = value[:at] + piece + value[at + dice.choice([0, 0, len(piece), end - start]) :]
    return value


@given(st.sampled_from(_VALID), st.integers(0, 2**32))
def test_mutated_events_never_raise_anything_else(value: bytes, seed: int) -> None:
    """What was nearly an event is read, or refused with a reason."""
    reason = reason_of(mutated(value, seed))

    assert reason is None or isinstance(reason, DropReason)
