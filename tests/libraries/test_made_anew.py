"""Two captures are made anew from the newest release of their library, so that a change in what it writes is seen."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from tests.libraries.record import CannotInstall, record
from tests.trace.test_captures import rows, runs_of

NOT_COMPARED = ("trace", "cost")  # an id that is new each time, and prices that the library looks up


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pydantic-ai", "openai-agents"])
def test_newest_release_reads_as_the_capture_that_is_kept(name: str, tmp_path: Path) -> None:
    """`make captures` makes all of them; these two are small."""
    try:
        lines = record(name, seconds=120)
    except CannotInstall as error:
        pytest.skip(f"The package index cannot be reached, or lacks a package: {error}")
    made = tmp_path / f"{name}.jsonl.gz"
    made.write_bytes(gzip.compress("\n".join(lines).encode()))

    assert _compared(rows()[made.name]) == _compared(list(runs_of(made)))


def _compared(runs: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{name: value for name, value in run.items() if name not in NOT_COMPARED} for run in runs]
