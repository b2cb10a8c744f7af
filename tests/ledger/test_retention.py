from __future__ import annotations

import dataclasses
from collections import Counter

import sqlalchemy as sa

from monitor.ingest.source import Position, Record
from monitor.ledger.ledger import (
    Pruned,
    PruneSubject,
    TaggedTrace,
)
from monitor.ledger.schema import dead_letter
from monitor.ledger.settings import LedgerSettings
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
    EASY,
    ROLLOUT,
    a_calibration,
    problems,
)

DAY = 86_400.0


def test_old_requests_go_and_what_they_counted_stays(ledger: SqlLedger) -> None:
    """Rows are deleted; counters, activity and their balance stay; panels are kept."""
    day = DAY
    for service, environment in [("shop", "production"), ("shop", "reference"), ("shop", "probes")]:
        old = [
            tagged(a_trace(f"{service}-{environment}-{n}", service=service, environment=environment, outcome=each))
            for n, each in enumerate((success(), failure(), None))
        ]
        ledger.record(a_batch(*old))
    ledger.record(a_batch(tagged(a_trace("young", started_at=NOON + 91 * day)), received_at=NOON + 91 * day))
    before, activity = ledger.counters(), ledger.activity()

    gone = Counter(pruned.subject for pruned in ledger.prune(now=NOON + 91 * day) for _ in range(pruned.rows))

    assert {PruneSubject.REQUESTS: 1, PruneSubject.EVIDENCE: 5} == gone  # two labelled requests, three cells
    assert (before, activity) == (ledger.counters(), ledger.activity())
    assert [] == problems(ledger)
    assert [] == list(ledger.prune(now=NOON + 91 * day))
    again = ledger.record(a_batch(tagged(a_trace("shop-production-0", outcome=success()))))
    assert (1, 0) == (again.counted, again.duplicates)  # nobody knows any more that it came
    assert [] == problems(ledger)


def test_evidence_outlives_the_rows_and_a_sample_teaches_on(ledger: SqlLedger) -> None:
    """After two weeks a rollout is read as before, though only a sample of labelled requests has rows."""
    ledger._settings = LedgerSettings(sample_per_version=2)
    hours = NOON // 3_600 * 3_600
    rollout = dataclasses.replace(ROLLOUT, started_at=hours)
    ledger.start_rollout(rollout)
    for version in ("model-1", "model-2"):
        ledger.record(a_batch(*_requests(version, hours)))
    before = ledger.cohort(rollout, matured_before=hours + DAY)

    due = ledger.due_to_prune(now=hours + 15 * DAY)
    gone = list(ledger.prune(now=hours + 15 * DAY))

    assert [Pruned(PruneSubject.REQUESTS, 4), Pruned(PruneSubject.REQUESTS, 4)] == gone
    assert {PruneSubject.REQUESTS: 8} == {each.subject: each.rows for each in due if each.rows}
    after = ledger.cohort(rollout, matured_before=hours + DAY)
    assert (before.baseline.strata, before.candidate.strata) == (after.baseline.strata, after.candidate.strata)
    assert 4 == len(list(ledger.history()))
    assert [] == problems(ledger)
    assert 0 == ledger.retag(rollout, a_calibration())  # what has no rows any more stays as it was tagged
    ledger.end_rollout(rollout.rollout_id, ended_at=hours + DAY, reason="over")
    assert after == ledger.cohort(rollout, matured_before=hours + DAY)
    rest = Counter(pruned.subject for pruned in ledger.prune(now=hours + 91 * DAY) for _ in range(pruned.rows))
    assert {PruneSubject.EVIDENCE: 16, PruneSubject.NAMES: 2} == rest  # two requests and six cells of each version
    assert 0 == ledger.cohort(rollout, matured_before=hours + DAY).baseline.requests
    assert ([], []) == (list(ledger.history()), problems(ledger))


def _requests(version: str, since: float) -> list[TaggedTrace]:
    """Four labelled requests and two without a label, half an hour apart."""
    outcomes = (success(), None, failure(), success(), None, failure())
    return [
        tagged(a_trace(f"{version}-{n}", model_version=version, started_at=since + 1_800 * n, outcome=outcome), EASY)
        for n, outcome in enumerate(outcomes)
    ]


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


def test_names_that_were_not_used_give_way_and_come_back(ledger: SqlLedger) -> None:
    """After the time that evidence is kept, a version's place, classes and counters are free; its return is a start."""
    ledger._settings = ledger._recorder._settings = LedgerSettings(max_services=2, max_series=10_000)
    for number, (service, environment) in enumerate(
        [("old", "production"), ("kept", "reference"), ("late", "production"), ("later", "production")]
    ):
        run = a_trace(f"t{number}", service=service, environment=environment, capability="gone", outcome=failure())
        ledger.record(a_batch(tagged(run)))
    assert {"old", "kept"} == {version.service for version in ledger.activity()} - {"other"}

    now = NOON + 106 * DAY
    ledger.record(a_batch(tagged(a_trace("t9", service="kept", environment="reference")), received_at=now))
    gone = Counter(pruned.subject for pruned in ledger.prune(now=now))
    came_back = [a_trace(f"n{n}", service=service, started_at=now) for n, service in enumerate(["late", "late", "old"])]
    for trace in came_back:
        ledger.record(a_batch(tagged(trace), received_at=now + 3_600.0))

    assert 1 == gone[PruneSubject.NAMES]
    seen = {version.service: version.requests for version in ledger.activity()}
    assert 2 == seen["late"]
    assert "old" not in seen  # two services are the most, and the other one came first
    assert [] == problems(ledger)


def test_a_version_comes_back_as_if_it_were_new(ledger: SqlLedger) -> None:
    """Its counters begin at one, and so does its activity."""
    ledger.record(a_batch(tagged(a_trace("t1", capability="search", outcome=failure()))))
    list(ledger.prune(now=NOON + 106 * DAY))

    assert [] == [key for key in ledger.counters() if key.service == "shop"]
    assert [] == ledger.activity()
    assert [] == problems(ledger)
    ledger.record(a_batch(tagged(a_trace("t2", started_at=NOON + 107 * DAY)), received_at=NOON + 107 * DAY))
    (version,) = ledger.activity()
    assert (1, NOON + 107 * DAY) == (version.requests, version.last_started_at)
    assert {"search": 1} == {key.capability: n for key, n in ledger.counters().items() if key.name == "requests"}
    assert [] == problems(ledger)


def test_names_in_use_stay(ledger: SqlLedger) -> None:
    """Those of a rollout under way, of references, of back-fill whose rows are kept, and all where all is kept."""
    for version in (ROLLOUT.baseline, ROLLOUT.candidate):
        ledger.record(a_batch(tagged(a_trace(version, service=ROLLOUT.service, model_version=version))))
    ledger.start_rollout(ROLLOUT)
    now = NOON + 200 * DAY
    for environment in ("reference", "probes"):
        ledger.record(a_batch(tagged(a_trace(environment, environment=environment))))
    ledger.record(a_batch(tagged(a_trace("back-filled", service="past")), received_at=now - DAY))
    before = ledger.counters()
    list(ledger.prune(now=now))
    ledger._settings = LedgerSettings(evidence_days=0)
    list(ledger.prune(now=now + 400 * DAY))

    assert before.keys() == ledger.counters().keys()
    assert [] == problems(ledger)


def test_dead_letters_of_one_topic_leave_room_for_those_of_others(ledger: SqlLedger) -> None:
    """Beyond the budget the oldest of the topic that has most go; each of them stays counted."""
    ledger._settings = LedgerSettings(max_dead_letters=10)
    quiet = dataclasses.replace(a_dead_letter(), record=Record(Position("quiet", 0, 1), None, b"no json"))
    ledger.record(a_batch(dead_letters=[quiet]))
    for number in range(12):
        letters = [a_dead_letter(2 * number), a_dead_letter(2 * number + 1)]
        ledger.record(a_batch(dead_letters=letters, received_at=NOON + 1 + number))

    due, gone = ledger.due_to_prune(now=NOON + 60), list(ledger.prune(now=NOON + 60))

    assert 14 == sum(pruned.rows for pruned in gone) == sum(pruned.rows for pruned in due)
    with ledger._reading() as connection:
        kept = connection.execute(sa.select(dead_letter.c.topic, dead_letter.c.offset)).all()
    assert {("quiet", 1), *(("agent-traces", offset) for offset in range(14, 24))} == set(map(tuple, kept))
    assert [] == problems(ledger)
    assert [] == list(ledger.prune(now=NOON + 60))
