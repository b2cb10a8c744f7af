"""From the bytes of a record to what they say, or a reason why they say nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from monitor.trace.model import DropReason, InvalidRecord, OutcomeEvent, Trace
from monitor.trace.native import decode_native
from monitor.trace.settings import Limits

# An open string runs to the end: were it no match, the search would start anew at each quote of a hostile record.
_JSON_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_NOT_A_BRACKET = bytes(set(range(256)) - set(b"{[]}"))
_STEP = {ord("{"): 1, ord("["): 1, ord("]"): -1, ord("}"): -1}


@dataclass(frozen=True, slots=True)
class Decoded:
    """What one record said: any number of finished traces and of outcomes."""

    traces: Sequence[Trace] = ()
    outcomes: Sequence[OutcomeEvent] = ()


def decode(value: bytes | None, limits: Limits) -> Decoded:
    """
    What the payload *value* of one record says.

    Raises:
        InvalidRecord: the record can never be processed; sizes are checked before anything is parsed.
    """
    if not value:
        raise InvalidRecord(DropReason.EMPTY, "the record has no payload")
    if len(value) > limits.max_record_bytes:
        raise InvalidRecord(DropReason.TOO_LARGE, f"{len(value)} bytes, at most {limits.max_record_bytes} are read")
    if _is_deeper_than(limits.max_depth, value):
        raise InvalidRecord(DropReason.TOO_DEEP, f"nested deeper than {limits.max_depth}")
    event = decode_native(value)
    return Decoded(traces=(event,)) if isinstance(event, Trace) else Decoded(outcomes=(event,))


def _is_deeper_than(limit: int, value: bytes) -> bool:
    # Counting is a hundred times cheaper than walking, and nearly no record has that many brackets in the first place.
    if value.count(b"{") + value.count(b"[") <= limit:
        return False
    brackets = _JSON_STRING.sub(b"", value).translate(None, _NOT_A_BRACKET)
    return any(depth > limit for depth in accumulate(map(_STEP.__getitem__, brackets)))
