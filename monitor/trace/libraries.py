"""
Libraries whose spans were tried, by the name of their instrumentation scope, and what each leaves out.

`python -m monitor.trace.libraries` prints the table of docs/traces.md.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

from monitor.trace.semconv import table


class Library(NamedTuple):
    """A library, what the names of its scopes begin with, and what makes it write what it leaves out."""

    name: str
    scope: str
    leaves_out: str = ""
    switch: str = ""


LIBRARIES = tuple(Library(**row) for row in table("libraries.csv"))
"""The rows of `libraries.csv`; the first whose scope a name begins with is the library."""


def library_of(scope: str) -> Library | None:
    """The library that writes spans under *scope*, or None where it was not tried."""
    return next((library for library in LIBRARIES if scope.startswith(library.scope)), None)


def as_markdown() -> str:
    """The table, a line for each library."""
    lines = ["| library | scope | what it leaves out | the switch |", "|---|---|---|---|"]
    lines += [f"| {each.name} | `{each.scope}` | {each.leaves_out} | {each.switch} |" for each in LIBRARIES]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(as_markdown())
