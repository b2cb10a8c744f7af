from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from monitor.ledger.sql import SqlLedger
from tests.builders import a_batch, a_dead_letter, a_trace, an_outcome, failure, success, tagged
from tests.ledgers import a_calibration, problems
from tests.trace.spans import a_call


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tampering", "said"),
    [
        ("DELETE FROM request WHERE trace_id = 't1'", "requests counted = rows + pruned"),
        ("UPDATE request SET success = NOT success WHERE trace_id = 't1'", "failure outcomes, revisions included"),
        ("UPDATE counter SET value = 9 WHERE name = 'failures_by_class'", "failures by class"),
        ("UPDATE counter SET value = 9 WHERE name = 'horizon' AND detail = 'steps 2 failure'", "requests by length"),
        ("UPDATE request SET horizon = '4 4 4' WHERE trace_id = 't1'", "steps 2 failure: 1 and 0"),
        ("UPDATE model_version SET labelled = 0", "labels of versions"),
        ("UPDATE traffic SET requests = requests + 1", "requests by hour"),
        ("UPDATE request SET model_version_id = 77 WHERE trace_id = 't1'", "requests without their version"),
        ("DELETE FROM pending_span", "spans waiting"),
        ("UPDATE span_pack SET traces = 2", "traces noted of packs"),
        ("UPDATE kafka_offset SET next_offset = 2", "its next offset"),
        ("UPDATE counter SET value = 0 WHERE name = 'dead_letters'", "dead letters kept"),
        ("UPDATE calibration SET body = replace(body, '0', '1')", "checksums of calibrations"),
    ],
)
def test_what_does_not_balance_is_found(tmp_path: Path, tampering: str, said: str) -> None:
    """A count, a row or a stored calibration that was changed behind the ledger's back fails the check."""
    path = tmp_path / "ledger.db"
    with closing(SqlLedger(f"sqlite:///{path}")) as ledger:
        ledger.record(
            a_batch(
                tagged(a_trace("t1", outcome=failure(), steps=3)),
                tagged(a_trace("t2", outcome=success())),
                an_outcome("orphan"),
                a_call("a"),
                dead_letters=[a_dead_letter(4)],
                next_offset=5,
            )
        )
        ledger.keep(a_calibration(), history_labels=1)
        assert [] == problems(ledger)

        with closing(sqlite3.connect(path)) as connection:
            connection.execute(tampering)
            connection.commit()

        assert said in "\n".join(problems(ledger))


def test_a_sum_that_was_rounded_on_its_way_to_0_balances(tmp_path: Path) -> None:
    """What was added and taken away again in another order leaves a trace of 2e-15, which is no wrong count."""
    path = tmp_path / "ledger.db"
    with closing(SqlLedger(f"sqlite:///{path}")) as ledger:
        ledger.record(a_batch(tagged(a_trace("t1", outcome=failure()))))

        for rest, wrong in (("1.77635684e-15", 0), ("0.001", 1)):
            with closing(sqlite3.connect(path)) as connection:
                connection.execute(f"UPDATE stratum SET variance_sum = variance_sum + {rest}")
                connection.commit()
            assert wrong == len(problems(ledger))
