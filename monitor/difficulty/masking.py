"""Text with its variable parts masked, in time that grows with its length and no faster, whatever it holds."""

from __future__ import annotations

import re
from collections.abc import Iterator

_MASK = "#"
# A quoted string, a number or a web address. Each begins with a character of the first set, so that the search skips
# over all others at once; tried one after the other they would cost five times as much.
_VARIABLE_PART = re.compile(
    r"""["'h\d](?:(?<=")[^"]*"|(?<=')[^']{1,80}'|(?<=\d)\d*(?:[.,:/-]\d+)*|(?<=h)ttps?://\S+)"""
)
_UNBROKEN = re.compile(r"\S+")


def masked(text: str) -> str:
    r"""
    *text* with quoted strings, numbers, web and mail addresses masked.

    Masked is what ``"[^"]*"|'[^']{1,80}'|\d+(?:[.,:/-]\d+)*|https?://\S+|\S+@\S+`` finds. Its last part is looked for
    apart: tried at each character, it would run to the end of the word in search of an ``@``, and a text of a million
    characters without a space would take a day.

    >>> masked("Mail bob@example.com 12.5 times")
    'Mail # # times'
    """
    return _masked_with_addresses(text) if "@" in text else _VARIABLE_PART.sub(_MASK, text)


def _masked_with_addresses(text: str) -> str:
    kept, at = [], 0
    part = _VARIABLE_PART.search(text)
    for begin, last_at, end in _mail_addresses(text):
        # Up to its last @ any part of the word would do for an address, but what begins there as another part is first.
        while (begin := max(begin, at)) < last_at:
            while part is not None and part.start() < at:
                part = _VARIABLE_PART.search(text, at)
            start, stop = (begin, end) if part is None or part.start() > begin else part.span()
            kept.append(text[at:start])
            at = stop
    kept.append(_VARIABLE_PART.sub(_MASK, text[at:]))
    return _MASK.join(kept)


def _mail_addresses(text: str) -> Iterator[tuple[int, int, int]]:
    """Of each unbroken part of *text* that holds an @ with something after it: its begin, the last such @, its end."""
    for word in _UNBROKEN.finditer(text):
        begin, end = word.span()
        last_at = text.rfind("@", begin, end - 1)
        if last_at > begin:
            yield begin, last_at, end
