"""
The tables of what is read of spans and logs, and of the libraries that were tried.

`python -m docs.handbook.attribute_reference` prints both as docs/traces.md shows them.
"""

from __future__ import annotations

import sys

from docs.handbook.tables import code, table
from monitor.trace.semconv import ATTRIBUTES, LIBRARIES, Field


def attributes() -> str:
    """One line for each fact and convention, names in order of precedence."""
    rows = [
        (row.fact, f"{code(row.name)}{' (deprecated)' if row.deprecated else ''}", row.convention)
        for fact in Field
        for row in ATTRIBUTES
        if row.fact is fact
    ]
    return table(("value", "attribute, the first one present", "convention"), rows)


def libraries() -> str:
    """One line for each library."""
    rows = [(each.name, code(each.scope), each.leaves_out, each.switch) for each in LIBRARIES]
    return table(("library", "scope", "it does not write", "how to change that"), rows)


if __name__ == "__main__":
    sys.stdout.write(f"{attributes()}\n{libraries()}")
