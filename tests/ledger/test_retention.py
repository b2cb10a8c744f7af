from __future__ import annotations

import dataclasses
from collections import Counter

from monitor.ledger.ledger import (
    Pruned,
    PruneSubject,
)
from monitor.ledger.sql import SqlLedger
from tests.builders import (
    NOON,
    a_batch,
    a_dead_letter,
    a_trace,
    an_outcome,
    failure,
    success,
    tagged,
)
from tests.ledgers import (
    ROLLOUT,
    problems,
)


def test_old_requests_go_and_what_they_counted_stays(ledger: SqlLedger) -> None:
    """Rows are deleted; counters, activity and their balance stay; arms of a rollout and panels are kept."""
    day = 86_400.0
    ledger.start_rollout(dataclasses.replace(ROLLOUT, service="busy"))
    kept = [("busy", "production"), ("shop", "reference"), ("shop", "probes")]
    for service, environment in [("shop", "production"), *kept]:
        old = [
            tagged(a_trace(f"{service}-{environment}-{n}", service=service, environment=environment, outcome=each))
            for n, each in enumerate((success(), failure(), None))
        ]
        ledger.record(a_batch(*old))
    ledger.record(a_batch(tagged(a_trace("young", started_at=NOON + 91 * day)), received_at=NOON + 91 * day))
    before, activity = ledger.counters(), ledger.activity()

    gone = Counter(pruned.subject for pruned in ledger.prune(now=NOON + 91 * day) for _ in range(pruned.rows))

    assert {PruneSubject.REQUESTS: 3} == gone
    assert (before, activity) == (ledger.counters(), ledger.activity())
    assert [] == problems(ledger)
    assert [] == list(ledger.prune(now=NOON + 91 * day))
    again = ledger.record(a_batch(tagged(a_trace("shop-production-0", outcome=success()))))
    assert (1, 0) == (again.counted, again.duplicates)  # nobody knows any more that it came
    assert [] == problems(ledger)


def test_a_replay_of_the_past_is_not_old(ledger: SqlLedger) -> None:
    """A request goes when it is old and came long ago."""
    year = 365 * 86_400.0
    ledger.record(a_batch(tagged(a_trace(started_at=NOON - year))))

    assert [] == list(ledger.prune(now=NOON + 60))


def test_outcomes_without_a_trace_and_dead_letters_go(ledger: SqlLedger) -> None:
    """An outcome waits two weeks for its trace, an account of a dead letter is kept for a month."""
    ledger.record(a_batch(an_outcome("t1"), dead_letters=[a_dead_letter(1), a_dead_letter(2)]))

    first, second = (list(ledger.prune(now=NOON + days * 86_400.0)) for days in (15, 31))

    assert [Pruned(PruneSubject.OUTCOMES, 1)] == first
    assert [Pruned(PruneSubject.DEAD_LETTERS, 2)] == second
    assert [] == problems(ledger)
