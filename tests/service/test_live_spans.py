"""Spans as they come to a running service: late, in pieces, several runs to a trace, without a version."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from monitor.ledger.ledger import CounterName
from monitor.ledger.schema import model_version, request
from monitor.trace.settings import AssemblySettings, TraceSettings
from tests.ledgers import net_outcomes
from tests.traced import Monitor, a_monitor

CAPTURES = Path(__file__).parent.parent / "trace" / "captures"
QUICK = TraceSettings(assembly=AssemblySettings(quiet_seconds=3))
CHAT = {"gen_ai.operation.name": "chat", "gen_ai.response.model": "m-1", "gen_ai.request.model": "m"}
AGENT = {"gen_ai.operation.name": "invoke_agent"}
START = 1_795_000_000


def a_record(
    span: int,
    parent: int | None,
    attributes: Mapping[str, str],
    *,
    starts: int = 0,
    ends: int = 1,
    failed: bool = False,
) -> bytes:
    """One span of one trace; ids are numbers, times seconds after the start."""
    made: dict[str, Any] = {
        "traceId": f"{77:032x}",
        "spanId": f"{span:016x}",
        "parentSpanId": "" if parent is None else f"{parent:016x}",
        "name": "work",
        "startTimeUnixNano": str((START + starts) * 10**9),
        "endTimeUnixNano": str((START + ends) * 10**9),
        "status": {"code": 2 if failed else 0},
        "attributes": _pairs(attributes),
    }
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    return json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [made]}]}]}).encode()


def _pairs(attributes: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"key": key, "value": {"stringValue": value}} for key, value in attributes.items()]


def a_verdict(span: int, evaluation: Mapping[str, str]) -> bytes:
    """A log record with an *evaluation* of one span."""
    log = {
        "eventName": "gen_ai.evaluation.result",
        "timeUnixNano": str((START + 9) * 10**9),
        "traceId": f"{77:032x}",
        "spanId": f"{span:016x}",
        "attributes": _pairs(evaluation),
    }
    return json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [log]}]}]}).encode()


def with_event(record: bytes, evaluation: Mapping[str, str]) -> bytes:
    """*record* with an event of an *evaluation* on its span."""
    document = json.loads(record)
    at = str((START + 9) * 10**9)
    event = {"name": "gen_ai.evaluation.result", "timeUnixNano": at, "attributes": _pairs(evaluation)}
    document["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["events"] = [event]
    return json.dumps(document).encode()


def tell(monitor: Monitor, *steps: bytes | float) -> None:
    """Feed each record and let each number of seconds pass, with a turn of the service after either."""
    for step in steps:
        if isinstance(step, bytes):
            monitor.feed(step)
        else:
            monitor.clock.advance(step)
        monitor.turn()


def rows(monitor: Monitor) -> list[tuple[str, str, bool | None]]:
    """Trace id, version and outcome of every request, in order of their ids."""
    with monitor.ledger._engine.connect() as connection:
        found = connection.execute(
            sa.select(request.c.trace_id, model_version.c.model_version, request.c.success)
            .join(model_version)
            .order_by(request.c.trace_id)
        )
        return [(trace_id[30:], version, success) for trace_id, version, success in found]


def test_error_that_comes_after_the_run_was_counted_revises_it_once() -> None:
    """The root answers at once and work goes on: the trace is counted, and the late error still fails it."""
    with a_monitor(QUICK) as monitor:
        tell(monitor, a_record(2, 1, CHAT), a_record(1, None, AGENT), 10.0)
        assert [("4d", "m-1", True)] == rows(monitor)

        failed = a_record(3, 1, AGENT, starts=2, ends=8, failed=True)
        tell(monitor, failed, 10.0, failed, 10.0)

        assert ([("4d", "m-1", False)], (0, 1)) == (rows(monitor), net_outcomes(monitor.ledger))
        assert {"success>failure": 1} == monitor.count(CounterName.OUTCOME_REVISIONS)
        assert {"received": 4, "joined": 2, "late": 1, "duplicate": 1} == monitor.count(CounterName.SPANS)


def test_trace_waits_for_a_parent_at_its_own_pace() -> None:
    """A call of 49 seconds whose agent has not come yet may go on as long again, and longer; then it is counted."""
    with a_monitor(QUICK) as monitor:
        tell(monitor, a_record(1, None, {}), 10.0, a_record(3, 2, CHAT, ends=49), 60.0)
        assert [] == rows(monitor)

        tell(monitor, a_record(2, 1, AGENT, ends=95, failed=True), 10.0)
        assert [("4d", "m-1", False)] == rows(monitor)
    with a_monitor(QUICK) as monitor:
        tell(monitor, a_record(1, None, {}), 10.0, a_record(3, 2, CHAT, ends=49), 100.0)
        assert [("4d", "m-1", True)] == rows(monitor)


def test_runs_of_one_trace_keep_their_ids_whatever_comes_late() -> None:
    """A sibling that began earlier and comes later is one more run, and the first is not counted again."""
    second = [a_record(2, 1, AGENT, starts=20, ends=22), a_record(3, 2, CHAT, starts=20, ends=21)]
    first = [a_record(5, 4, CHAT), a_record(4, 1, AGENT, failed=True)]
    with a_monitor(QUICK) as monitor:
        tell(monitor, a_record(1, None, {}, ends=30), *second, 10.0)
        tell(monitor, *first, 10.0)

        assert [("4d", "m-1", True), ("4d:0000000000000004", "m-1", False)] == rows(monitor)
        assert {"": 2} == monitor.count(CounterName.REQUESTS)


TWO_AGENTS = {2: (1, AGENT), 3: (2, CHAT), 4: (1, AGENT), 5: (4, CHAT)}
TONE = {"gen_ai.evaluation.name": "tone", "gen_ai.evaluation.score.label": "fail"}


@pytest.mark.parametrize("judged", [4, 5], ids=["the second agent", "its model call"])
@pytest.mark.parametrize("is_log", [True, False], ids=["in a log record", "on the span"])
def test_verdict_on_a_span_is_one_on_the_run_that_it_is_part_of(judged: int, is_log: bool) -> None:  # noqa: FBT001
    """Two agents side by side in one trace: what is said of the second does not fail the first."""
    records = {1: a_record(1, None, {})}
    records |= {span: a_record(span, *said, starts=span, ends=span + 1) for span, said in TWO_AGENTS.items()}
    records |= {9: a_verdict(judged, TONE)} if is_log else {judged: with_event(records[judged], TONE)}
    with a_monitor(QUICK) as monitor:
        tell(monitor, *records.values(), 30.0)

        assert [("4d", "m-1", True), (f"4d:{4:016x}", "m-1", False)] == rows(monitor)
        assert (1, 1) == net_outcomes(monitor.ledger)


def test_late_verdict_on_the_agent_of_a_run_is_that_run_s() -> None:
    """A judge takes its time; the spans are gone by then."""
    records = [a_record(span, *said, starts=span, ends=span + 1) for span, said in TWO_AGENTS.items()]
    with a_monitor(QUICK) as monitor:
        tell(monitor, a_record(1, None, {}), *records, 30.0, a_verdict(4, TONE))

        assert [("4d", "m-1", True), (f"4d:{4:016x}", "m-1", False)] == rows(monitor)


def test_failed_call_counts_for_the_version_that_answered_under_its_name() -> None:
    """Whether the answered call comes before or after it."""
    failed = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "gen_ai.provider.name": "x"}
    answered = json.loads(a_record(1, None, CHAT))
    answered["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["traceId"] = f"{78:032x}"
    orders: Sequence[tuple[bytes | float, ...]] = (
        (a_record(1, None, failed, failed=True), 4.0, json.dumps(answered).encode(), 9.0),
        (json.dumps(answered).encode(), 4.0, a_record(1, None, failed, failed=True), 9.0),
    )
    for steps in orders:
        with a_monitor(QUICK) as monitor:
            tell(monitor, *steps)
            assert [("4d", "m-1", False), ("4e", "m-1", True)] == rows(monitor)


def test_failed_call_counts_for_its_name_where_no_call_ever_tells_who_answered() -> None:
    """As with Bedrock's instrumentation: what answered under that name is the version, in one batch with it, too."""
    asked = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "gen_ai.provider.name": "x"}
    answered = a_record(1, None, asked).replace(f"{77:032x}".encode(), f"{78:032x}".encode())
    with a_monitor(QUICK) as monitor:
        tell(monitor, b"\n".join([a_record(1, None, asked, failed=True), answered]), 9.0)

        assert [("4d", "m", False), ("4e", "m", True)] == rows(monitor)


def test_failed_call_of_a_name_that_never_answered_is_no_version() -> None:
    """It is counted, and shown under the name."""
    failed = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "gen_ai.provider.name": "x"}
    with a_monitor(QUICK) as monitor:
        tell(monitor, a_record(1, None, failed, failed=True), 4.0, 4.0)
        samples = monitor.shown()

        assert [("4d", "unresolved", False)] == rows(monitor)
        labels = {"service": "shop", "requested_model": "m", "outcome": "failure"}
        assert 1.0 == samples.total("cliffwatch_versions_unresolved_total", **labels)


@pytest.mark.parametrize("capture", sorted(CAPTURES.glob("*.gz")), ids=lambda file: file.name.removesuffix(".jsonl.gz"))
def test_every_span_of_every_capture_is_accounted_for(capture: Path) -> None:
    """Received = joined + non_agent + duplicate + late, nothing pending; records = read, each once."""
    lines = gzip.decompress(capture.read_bytes()).splitlines()
    with a_monitor() as monitor:
        monitor.feed(*lines)
        monitor.read_all()
        monitor.close_traces()

        fates = monitor.count(CounterName.SPANS)
        assert fates.get("received", 0) == sum(spans for fate, spans in fates.items() if fate != "received")
        assert len(lines) == sum(monitor.count(CounterName.RECORDS).values())


def test_a_noisy_service_gives_way_before_a_quiet_one() -> None:
    """Over the budget its traces are counted with what has come, and that is said; the quiet one waits for its root."""
    few = QUICK.model_copy(update={"assembly": AssemblySettings(quiet_seconds=3, max_pending_spans=20)})
    with a_monitor(few) as monitor:
        quiet = a_record(2, 1, CHAT)
        tell(monitor, quiet)
        for number in range(1, 41):
            monitor.feed(quiet.replace(b"%032x" % 77, b"%032x" % number).replace(b"shop", b"loud"))
        monitor.turn()
        monitor.service.publish()
        tell(monitor, 10.0)

        assert ({"loud": 21}, 20) == (requests_of(monitor), monitor.ledger.pending_spans())
        counters = monitor.ledger.counters()
        dropped = {key.detail: value for key, value in counters.items() if key.name is CounterName.SERIES_DROPPED}
        assert {"pending_spans": 21} == dropped
        tell(monitor, a_record(1, None, AGENT), 10.0)
        assert 1 == requests_of(monitor)["shop"]
        assert [] == [check for check in monitor.ledger.checks() if check.problems]


def requests_of(monitor: Monitor) -> dict[str, int]:
    return {version.service: version.requests for version in monitor.ledger.activity()}
