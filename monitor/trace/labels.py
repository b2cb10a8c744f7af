"""Makes text from outside fit to be a metric label."""

from __future__ import annotations

import re
from functools import lru_cache

from monitor.trace.bounds import MOST_LABEL_CHARACTERS

_OUTSIDE_ALPHABET = re.compile(r"[^A-Za-z0-9._:/@+-]")
_NO_BEGINNING = re.compile(r"^[^A-Za-z0-9]+")


def clean_label(text: str) -> str | None:
    """
    *text* in the alphabet and length of a label, or None if nothing is left.

    >>> clean_label(" support agent (beta) ")
    'support_agent__beta_'
    """
    return _cleaned(text.strip()[:MOST_LABEL_CHARACTERS])


@lru_cache(maxsize=4_096)  # the same names come with every span
def _cleaned(cut: str) -> str | None:
    return _NO_BEGINNING.sub("", _OUTSIDE_ALPHABET.sub("_", cut)) or None
