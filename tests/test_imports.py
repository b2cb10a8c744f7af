from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from monitor.cli.app import COMMANDS
from monitor.ledger.sql import SqlLedger

ROOT = Path(__file__).resolve().parent.parent


def test_every_module_has_a_room() -> None:
    """A new module goes into a room of `monitor/`, not to its top."""
    assert {"__init__", "clock", "errors", "log"} == {path.stem for path in (ROOT / "monitor").glob("*.py")}


@pytest.mark.slow
@pytest.mark.parametrize("library", ["numpy", "scipy", "river"])
def test_a_start_waits_for_no_library_of_numbers(library: str) -> None:
    """What `run` imports shows verdicts and tags requests; what judges and calibrates comes when it is due."""
    assert library not in modules_of("import monitor.cli.wiring, monitor.web.server")


@pytest.mark.slow
def test_a_ledger_that_is_up_to_date_is_opened_without_alembic(tmp_path: Path) -> None:
    """Only what the schema has to learn is worth the import."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    SqlLedger(url).close()

    assert "alembic" not in modules_of(f"from monitor.ledger.sql import SqlLedger\nSqlLedger({url!r}).close()")


@pytest.mark.slow
def test_a_command_brings_its_own_module_and_no_other() -> None:
    """Neither the eval report nor the demo is loaded to run the service."""
    loaded = modules_of("from monitor.cli import run_command\nrun_command(['run', '--help'])")

    assert "monitor.cli.run" in loaded
    assert loaded.isdisjoint(f"monitor.cli.{module}" for name, module in COMMANDS.items() if name != "run")


@cache
def modules_of(program: str) -> frozenset[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\nimport sys\nprint(*sys.modules, sep='\\n')"],
        capture_output=True,
        check=True,
        cwd=ROOT,
        text=True,
    )
    return frozenset(done.stdout.split())
