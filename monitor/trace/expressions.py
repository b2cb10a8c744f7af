"""Expressions that operators write, on an engine whose time grows with the text alone."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import re2

_OPTIONS = re2.Options()
_OPTIONS.dot_nl = True
_OPTIONS.log_errors = False
_REFERENCE = re.compile(r"\\(?:([0-9]+)|g<(\w+)>)")


@lru_cache(maxsize=256)
def compiled(pattern: str) -> Any:
    """
    *pattern* as RE2 has it (https://github.com/google/re2/wiki/Syntax); a dot matches line ends, too.

    Raises:
        ValueError: RE2 does not know it; it has no look-around and no back references.
    """
    try:
        return re2.compile(pattern, _OPTIONS)
    except re2.error as error:
        detail = error.args[0].decode("utf-8", "replace") if isinstance(error.args[0], bytes) else str(error)
        raise ValueError(
            f"not an expression of RE2, which has no look-around and no back references: {detail}"
        ) from error


def check_template(pattern: str, template: str) -> None:
    """
    Make sure that *template* names only groups of *pattern*.

    Raises:
        ValueError: it names another, or the pattern is no expression.
    """
    known = compiled(pattern)
    for number, name in _REFERENCE.findall(template):
        group = number or name
        if int(group) > known.groups if group.isdigit() else group not in known.groupindex:
            raise ValueError(f"the pattern has no group {group}")


def full_match(expression: Any, text: str) -> Any:
    """The match of the whole *text*, or None; half characters, which no UTF-8 holds, are question marks."""
    return expression.fullmatch(text.encode("utf-8", "replace").decode())
