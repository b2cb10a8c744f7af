"""Tables in a pipe or a narrow terminal."""

from __future__ import annotations

from io import StringIO

import pytest

from monitor.cli.terminal.console import Console
from monitor.cli.terminal.rollouts import columns


@pytest.mark.parametrize("width", [60, 80])
def test_a_long_name_gives_way_and_no_number_is_cut(width: int) -> None:
    """Eighty columns is what a pipe has."""
    table = columns("failures per 1,000 requests", "baseline", "candidate", "change, with bounds")
    table.add_row(
        "medium / parallel_calls / parallel_function_checker_no_order:wrong", "8.9", "1,225.2", "+31.9 (+25.2)"
    )
    printed = StringIO()

    Console(file=printed, width=width).print(table)

    lines = printed.getvalue().splitlines()
    assert all(number in printed.getvalue() for number in ("8.9", "1,225.2", "+31.9 (+25.2)"))
    assert "…" not in printed.getvalue()
    assert width >= max(map(len, lines))
