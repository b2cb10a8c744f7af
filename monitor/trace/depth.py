"""How deeply JSON is nested, told before anything is parsed."""

from __future__ import annotations

import re
from itertools import accumulate

# An open string runs to the end: were it no match, the search would start anew at each quote of a hostile record.
_JSON_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_NOT_A_BRACKET = bytes(set(range(256)) - set(b"{[]}"))
_STEP = {ord("{"): 1, ord("["): 1, ord("]"): -1, ord("}"): -1}


def is_deeper_than(limit: int, value: bytes) -> bool:
    """Whether objects and arrays of the JSON text *value* stand more than *limit* deep within each other."""
    # Counting is a hundred times cheaper than walking, and nearly no record has that many brackets in the first place.
    if value.count(b"{") + value.count(b"[") <= limit:
        return False
    brackets = _JSON_STRING.sub(b"", value).translate(None, _NOT_A_BRACKET)
    return any(depth > limit for depth in accumulate(map(_STEP.__getitem__, brackets)))
