from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from monitor.ledger.ledger import (
    Lease,
)
from monitor.ledger.sql import SqlLedger


def test_one_replica_reviews_at_a_time(ledger: SqlLedger) -> None:
    """Whoever asks first may review, and may again after giving it back."""
    with ledger.hold_lease(Lease.REVIEW) as is_ours:
        assert is_ours
    with ledger.hold_lease(Lease.REVIEW) as is_ours:
        assert is_ours


def test_a_thread_waits_for_a_job_until_another_is_done(ledger: SqlLedger) -> None:
    """Who waits gets the right when it is given back, who does not wait is told no; another job is free."""
    answers: list[bool] = []

    def ask(job: Lease, wait_seconds: float) -> None:
        with ledger.hold_lease(job, wait_seconds=wait_seconds) as is_ours:
            answers.append(is_ours)

    with ledger.hold_lease(Lease.CALIBRATION), ThreadPoolExecutor(2) as others:
        others.submit(ask, Lease.CALIBRATION, 0.0).result()
        others.submit(ask, Lease.REVIEW, 0.0).result()
        others.submit(ask, Lease.CALIBRATION, 0.01).result()
        waiting = ThreadPoolExecutor(1)
        last = waiting.submit(ask, Lease.CALIBRATION, 60.0)
    last.result()
    waiting.shutdown()

    assert [False, True, False, True] == answers
