"""Tables of names that stand beside the code as CSV files."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from importlib.resources import files


def table(name: str) -> Iterable[Mapping[str, str]]:
    """Rows of the file *name* in order, by the titles of its columns."""
    return csv.DictReader(files("monitor.trace").joinpath(name).read_text(encoding="utf-8").splitlines())
