from __future__ import annotations

import dataclasses

import pytest

from monitor.errors import OffsetFenced
from monitor.ingest.source import TopicPartition
from monitor.ledger.ledger import (
    CounterName,
)
from monitor.ledger.sql import SqlLedger
from monitor.trace.model import TraceId
from tests.builders import (
    PARTITION,
    a_batch,
    a_dead_letter,
    a_trace,
    tagged,
)
from tests.ledgers import (
    assembled,
    counts,
)
from tests.trace.spans import a_call, a_span


def test_spans_of_a_fenced_batch_do_not_wait(ledger: SqlLedger) -> None:
    """An owner that lost its partition leaves no span behind, and takes none that waits."""
    ledger.record(a_batch(a_span(), a_call("a"), next_offset=2))
    fenced = a_batch(a_call("b"), expected_offset=1, next_offset=3)

    with pytest.raises(OffsetFenced):
        ledger.record(dataclasses.replace(fenced, assembled=[assembled("t", [a_span(), a_call("a")])]))

    assert {"received": 2} == counts(ledger, CounterName.SPANS)
    assert [a_call("a"), a_span()] == list(ledger.spans_of([TraceId("t")])[0].spans)


def test_offsets_move_with_the_batch(ledger: SqlLedger) -> None:
    """A partition never seen is missing; afterwards its next offset is what the batch said."""
    other = TopicPartition("agent-traces", 1)
    assert {} == ledger.offsets([PARTITION, other])

    ledger.record(a_batch(tagged(a_trace()), next_offset=5))
    ledger.record(a_batch(expected_offset=5, next_offset=9))

    assert {PARTITION: 9} == ledger.offsets([PARTITION, other])


@pytest.mark.parametrize(
    "expected_offset",
    [
        pytest.param(None, id="the owner believes that nobody has read the partition"),
        pytest.param(4, id="the owner believes in an older offset"),
    ],
)
def test_a_fenced_batch_changes_nothing(ledger: SqlLedger, expected_offset: int | None) -> None:
    """An owner that lost its partition writes neither counts nor offsets."""
    ledger.record(a_batch(tagged(a_trace("t1")), next_offset=5))

    with pytest.raises(OffsetFenced):
        ledger.record(
            a_batch(
                tagged(a_trace("t2")),
                expected_offset=expected_offset,
                next_offset=6,
                dead_letters=[a_dead_letter()],
            )
        )

    assert {PARTITION: 5} == ledger.offsets([PARTITION])
    assert {"": 1} == counts(ledger, CounterName.REQUESTS)
    assert {} == counts(ledger, CounterName.DEAD_LETTERS)


def test_what_a_fenced_batch_admitted_is_forgotten(ledger: SqlLedger) -> None:
    """A version first met in a batch that was rolled back is written when it comes again."""
    ledger.record(a_batch(next_offset=5))
    with pytest.raises(OffsetFenced):
        ledger.record(a_batch(tagged(a_trace()), expected_offset=1, next_offset=6))

    ledger.record(a_batch(tagged(a_trace()), expected_offset=5, next_offset=6))

    assert [version.model_version for version in ledger.activity()] == ["model-1"]
    assert 1 == ledger.activity()[0].requests


def test_every_record_is_accounted_for(ledger: SqlLedger) -> None:
    """Records read are counted per partition, dead letters by reason."""
    ledger.record(a_batch(tagged(a_trace()), dead_letters=[a_dead_letter(3)], next_offset=4))

    assert {"agent-traces/0": 2} == counts(ledger, CounterName.RECORDS)
    assert {"not_json": 1} == counts(ledger, CounterName.DEAD_LETTERS)


def test_label_values_are_bounded_in_number(ledger: SqlLedger) -> None:
    """Names over the cap count as `other`, and how often is counted."""
    batch = [tagged(a_trace(f"t{number}", capability=f"c{number}")) for number in range(60)]

    ledger.record(a_batch(*batch))

    capabilities = {key.capability for key in ledger.counters() if key.name is CounterName.REQUESTS}
    assert 51 == len(capabilities)
    assert "other" in capabilities
    assert {"capability": 10} == counts(ledger, CounterName.SERIES_DROPPED)
