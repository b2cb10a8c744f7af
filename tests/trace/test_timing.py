"""Whatever an event says about when it happened, nothing that is counted lies ahead of its arrival."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.ingest.source import Position, Record
from monitor.ledger.ledger import PendingSpans
from monitor.service.pipeline import DecodeRules, assemble, decode_records, traces_in
from monitor.trace.model import DropReason, Ignored, OutcomeEvent, Trace
from monitor.trace.served import ServedModels
from monitor.trace.settings import Limits, TraceSettings
from tests.trace.events import a_trace_event

ARRIVAL = 1_795_410_120.0
DAY = 86_400.0
SLACK = Limits().max_future_seconds
LIVE = DecodeRules(Limits(), TraceSettings(), now=lambda: ARRIVAL, is_live=True)
REPLAYED = DecodeRules(Limits(), TraceSettings(), now=lambda: ARRIVAL)


def iso(unix_seconds: float) -> str:
    return datetime.fromtimestamp(unix_seconds, UTC).isoformat()


def a_record(**fields: object) -> Record:
    return Record(Position("agent-traces", 0, 0), key=None, value=json.dumps({**a_trace_event(), **fields}).encode())


_offsets = st.floats(-2_000 * DAY, 2_000 * DAY) | st.sampled_from(
    [0.0, SLACK - 1, SLACK + 1, DAY - 1, DAY + 1, 7_200.0]
)


@given(_offsets, st.floats(0, 31 * DAY - 1), _offsets)
def test_nothing_is_counted_ahead_of_its_arrival(started: float, seconds: float, labelled: float) -> None:
    """A run is believed, dated back with its length kept, or refused; a verdict never outlives the next one."""
    record = a_record(
        started_at=iso(ARRIVAL + started),
        ended_at=iso(ARRIVAL + started + seconds),
        outcome={"success": True, "labelled_at": iso(ARRIVAL + labelled)},
    )

    (batch,) = decode_records([record], REPLAYED)

    assert (not batch.events) == (started >= DAY)
    for run in traces_in([batch]):
        times = [run.started_at, run.ended_at or 0.0, run.outcome.labelled_at if run.outcome else 0.0]
        is_moved = started > SLACK
        assert max(times[0], times[2] or 0.0) <= ARRIVAL + SLACK + 0.001
        assert times[1] <= ARRIVAL + max(SLACK, seconds if is_moved else 0.0) + 0.001
        assert bool(batch.ignored) == (is_moved or started + seconds > SLACK or labelled > SLACK)


@pytest.mark.parametrize(
    ("days", "environment", "read"),
    [(399, "production", True), (401, "production", False), (4_000, "reference", True), (401, "probes", False)],
)
def test_what_is_very_old_is_refused_as_it_arrives(days: float, environment: str, *, read: bool) -> None:
    """A back-fill of a year is read, history of any age too, and a clock that stands at its first day is not."""
    (batch,) = decode_records([a_record(started_at=iso(ARRIVAL - days * DAY), environment=environment)], LIVE)

    assert read == bool(batch.events)
    assert (None if read else DropReason.CLOCK_SKEWED) == (batch.dead_letter and batch.dead_letter.reason)


def test_an_old_file_is_replayed() -> None:
    """What a file holds is as old as it may be."""
    assert traces_in(decode_records([a_record(started_at="2003-05-01T00:00:00Z")], REPLAYED))


def test_a_verdict_from_the_future_is_dated_back() -> None:
    """Else it would stand for ever: the latest word of a source counts."""
    event = {
        "schema": "cliffwatch.outcome/v1",
        "trace_id": "t",
        "outcome": {"success": True, "labelled_at": "2099-01-01T00:00:00Z"},
    }
    record = Record(Position("agent-outcomes", 0, 0), key=None, value=json.dumps(event).encode())

    ((verdict,),) = (read.events for read in decode_records([record], LIVE))

    assert isinstance(verdict, OutcomeEvent)
    assert ARRIVAL == verdict.outcome.labelled_at


@pytest.mark.parametrize(("ahead", "kept"), [(0.0, 1), (DAY - 1, 1), (DAY, 0), (70 * 365 * DAY, 0)])
def test_spans_that_are_days_ahead_are_left_out(ahead: float, kept: int) -> None:
    """They would keep their trace, and a replay's clock, in the future."""
    span = {
        "traceId": "0af7651916cd43dd8448eb211c80319c",
        "spanId": "b7ad6b7169203331",
        "name": "chat",
        "startTimeUnixNano": str(round((ARRIVAL + ahead) * 1e9)),
        "attributes": [
            {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}},
            {"key": "gen_ai.response.model", "value": {"stringValue": "m-1"}},
        ],
    }
    value = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()

    (batch,) = decode_records([Record(Position("t", 0, 0), key=None, value=value)], LIVE)

    assert kept == len(batch.spans)
    assert 1 - kept == batch.ignored.get(Ignored.CLOCK_SKEWED, 0)
    pending = [PendingSpans(batch.spans[0].trace_id, batch.spans)] if batch.spans else []
    built, _ = assemble(pending, ServedModels((), 0.0), LIVE, now=inf, is_last_chance=True)
    runs = [run for each in built for run in each.runs]
    assert all(run.started_at <= ARRIVAL + SLACK for run in runs)


def test_time_is_believed_where_no_clock_is_given() -> None:
    """Tests and simulations have a time of their own."""
    rules = DecodeRules(Limits(), TraceSettings())
    (run,) = traces_in(decode_records([a_record(started_at="2099-01-01T00:00:00Z")], rules))

    assert isinstance(run, Trace)
    assert 2_000 * DAY < run.started_at - ARRIVAL
