from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("library", ["numpy", "scipy", "river"])
def test_a_start_waits_for_no_library_of_numbers(library: str) -> None:
    """What `run` imports shows verdicts and tags requests; what judges and calibrates comes when it is due."""
    assert library not in modules_of("import monitor.wiring, monitor.metrics.server")


def modules_of(program: str) -> frozenset[str]:
    told = subprocess.run(
        [sys.executable, "-c", f"{program}\nimport sys\nprint(*sys.modules, sep='\\n')"],
        capture_output=True,
        check=True,
        cwd=ROOT,
        text=True,
    )
    return frozenset(told.stdout.split())
