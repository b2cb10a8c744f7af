from __future__ import annotations

from monitor.labels.delay import LabelDelay
from monitor.ledger.sql import SqlLedger
from tests.builders import NOON, a_batch, a_trace, an_outcome, failure, success, tagged

HOUR = 3_600.0
DAY = 24 * HOUR


def serve(ledger: SqlLedger, version: str, *, started_at: float, number: int, delay: float) -> None:
    """Requests a minute apart, every other of which fails and is labelled after *delay*."""
    traces = [
        tagged(a_trace(f"{version}-{n}", model_version=version, started_at=started_at + 60 * n)) for n in range(number)
    ]
    outcomes = [
        an_outcome(f"{version}-{n}", (failure if n % 2 else success)(labelled_at=started_at + 60 * n + (n % 2) * delay))
        for n in range(number)
    ]
    ledger.record(a_batch(*traces, *outcomes))


def test_delays_are_learnt_from_the_versions_that_served_last(ledger: SqlLedger) -> None:
    """Not from an older one, nor from requests without a label or from another service."""
    serve(ledger, "old", started_at=NOON, number=100, delay=20 * DAY)
    for number, version in enumerate(("baseline", "candidate")):
        serve(ledger, version, started_at=NOON + (5 + number) * DAY, number=100, delay=(26 + number) * HOUR)
    ledger.record(
        a_batch(
            *(tagged(a_trace(f"u{n}", model_version="candidate", started_at=NOON + 6 * DAY)) for n in range(50)),
            *(tagged(a_trace(f"o{n}", service="other", outcome=failure(labelled_at=NOON))) for n in range(50)),
        )
    )

    delays = ledger.label_delays("shop", "production", now=NOON + 20 * DAY)

    assert [LabelDelay("judge", False, 27 * HOUR, 100), LabelDelay("judge", True, 0.0, 100)] == delays


def test_no_more_than_a_part_of_a_version_is_read_from_every_part_of_its_time(ledger: SqlLedger) -> None:
    """24 pieces of 200 requests: labels of the first hours and of the last ones alike."""
    serve(ledger, "model-1", started_at=NOON, number=6_000, delay=60.0)

    delays = ledger.label_delays("shop", "production", now=NOON + 10 * DAY)

    assert [(False, 60.0, 2_400), (True, 0.0, 2_400)] == [(each.success, each.seconds, each.labels) for each in delays]


def test_what_served_long_ago_teaches_no_delay(ledger: SqlLedger) -> None:
    """A service without labels of the last weeks has no delay."""
    serve(ledger, "model-1", started_at=NOON, number=100, delay=60.0)

    assert [] == ledger.label_delays("shop", "production", now=NOON + 40 * DAY)
