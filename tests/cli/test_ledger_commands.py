from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from monitor.cli import run_command
from monitor.ledger.engine import open_engine
from monitor.ledger.labels import SERIES_OF_CAPABILITY, SERIES_OF_FAILURE_CLASS, SERIES_OF_VERSION
from monitor.ledger.ledger import CounterName
from monitor.ledger.sql import SqlLedger
from tests.builders import a_batch, a_dead_letter, a_trace, an_outcome, failure, success, tagged
from tests.ledgers import ROLLOUT, a_calibration, counts
from tests.trace.spans import a_call


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A ledger that holds something of everything, all of it long ago."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    ledger = SqlLedger(url)
    ledger.record(
        a_batch(
            tagged(a_trace("t1", outcome=failure())),
            tagged(a_trace("t2", outcome=success())),
            an_outcome("orphan"),
            a_call("a"),
            dead_letters=[a_dead_letter(4)],
            next_offset=5,
        )
    )
    ledger.keep(a_calibration(), history_labels=1)
    ledger.close()
    return url


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run_command(["ledger", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_ledger_whose_counts_hold_passes_the_check(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every comparison is named, with how many numbers it looked at."""
    code, out, _ = run(capsys, "check", "--ledger", url, "--output", "json")

    checks: list[dict[str, Any]] = json.loads(out)["checks"]
    assert (0, []) == (code, [check for check in checks if check["problems"]])
    assert {"requests counted = rows + pruned", "checksums of calibrations"} <= {check["name"] for check in checks}


def test_what_does_not_balance_is_printed(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A row that was changed behind the ledger's back fails the check, with exit code 1."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        connection.execute("DELETE FROM request WHERE trace_id = 't1'")
        connection.commit()

    code, out, _ = run(capsys, "check", "--ledger", url)

    assert 1 == code
    assert "requests counted = rows + pruned" in "\n".join(line for line in out.splitlines() if ": " in line)


def test_prune_says_what_goes_and_then_lets_it_go(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A dry run changes nothing; afterwards the rows are gone, the counters are not, and the check passes."""
    dry = run(capsys, "prune", "--ledger", url, "--older-than-days", "0.1", "--dry-run", "-o", "json")
    assert {"requests": 2, "evidence": 0, "names": 0, "outcomes": 1, "dead_letters": 1} == json.loads(dry[1])["rows"]

    wet = run(capsys, "prune", "--ledger", url, "--older-than-days", "0.1", "-o", "json")

    gone = {"requests": 2, "evidence": 0, "names": 0, "outcomes": 1, "dead_letters": 1}
    assert {"dry_run": False, "rows": gone} == json.loads(wet[1])
    ledger = SqlLedger(url)
    assert {"": 2} == counts(ledger, CounterName.REQUESTS)
    ledger.close()
    assert 0 == run(capsys, "check", "--ledger", url)[0]


def test_names_are_listed_with_what_they_reserve_and_freed(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A place that is freed is for others; what was counted stays, and a name that comes again takes a place again."""
    ledger = SqlLedger(url)
    odd, other = a_trace("t3", service="evil", capability="odd", outcome=failure()), a_trace("t4", service="evil")
    ledger.record(a_batch(tagged(odd), tagged(other), expected_offset=5, next_offset=7))
    before = ledger.counters()
    code, out, _ = run(capsys, "names", "--ledger", url, "-o", "json")
    shown = json.loads(out)

    series = 2 * SERIES_OF_VERSION + 3 * SERIES_OF_CAPABILITY + 2 * SERIES_OF_FAILURE_CLASS
    assert (0, {"services": 2, "series": series}, 500) == (code, shown["used"], shown["limits"]["services"])
    assert [
        ("model_version", "evil production model-1", SERIES_OF_VERSION, "2026-09-21T14:13:20.000Z"),
        ("capability", "evil production model-1 odd", 32, None),
        ("capability", "evil production model-1 search", 32, None),
        ("failure_class", "evil production model-1 wrong_tool", 5, None),
    ] == [tuple(each.values()) for each in shown["names"] if each["name"].startswith("evil")]
    assert "shop production model-1" in run(capsys, "names", "--ledger", url)[1]
    freed = run(capsys, "names", "--free", "evil* * *", "--free", "nobody", "--ledger", url)[1]
    assert "freed: evil production model-1" in freed
    assert "1 of 500 services" in freed
    assert before == ledger.counters()
    assert 0 == run(capsys, "check", "--ledger", url)[0]
    ledger.close()
    ledger = SqlLedger(url)
    ledger.record(a_batch(tagged(a_trace("t5", service="evil")), expected_offset=7, next_offset=8))
    ledger.close()
    again = json.loads(run(capsys, "names", "--ledger", url, "-o", "json")[1])["names"]
    assert "evil production model-1" in [each["name"] for each in again]
    assert 0 == run(capsys, "check", "--ledger", url)[0]


def test_names_of_a_rollout_and_of_references_are_not_freed(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever the pattern fits."""
    ledger = SqlLedger(url)
    ledger.record(a_batch(tagged(a_trace("t6", service="old", environment="reference"))))
    ledger.start_rollout(ROLLOUT)
    ledger.close()

    shown = json.loads(run(capsys, "names", "--free", "*", "--ledger", url, "-o", "json")[1])

    assert [] == shown["freed"]
    assert {"old reference model-1", "shop production model-1"} <= {each["name"] for each in shown["names"]}


def test_migrate_says_from_where_to_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A ledger that is missing is made; one that is up to date is left alone."""
    url = f"sqlite:///{tmp_path}/new.db"

    first = json.loads(run(capsys, "migrate", "--ledger", url, "-o", "json")[1])
    second = run(capsys, "migrate", "--ledger", url)[1]

    assert first["from"] is None
    assert f"has schema {first['to']}; there was nothing to do" in second


def test_another_schema_is_not_checked(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A check changes nothing, so a ledger of another version is told, not brought up to date."""
    engine = open_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0001'"))
    engine.dispose()

    code, _, err = run(capsys, "check", "--ledger", url)

    assert 1 == code
    assert "cliffwatch ledger migrate" in err


def test_a_missing_ledger_is_out_of_reach(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is made where there was nothing to look at."""
    assert 3 == run(capsys, "check", "--ledger", f"sqlite:///{tmp_path}/none.db")[0]
    assert [] == list(tmp_path.iterdir())
