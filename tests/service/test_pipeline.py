from __future__ import annotations

import json
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from monitor.ledger.ledger import CounterKey, CounterName
from monitor.ledger.schema import model_version, request
from tests.ledgers import net_outcomes
from tests.trace.otlp import SECOND, STARTED_AT, otlp_json
from tests.traced import Monitor, a_monitor

STORIES = int(os.environ.get("CLIFFWATCH_STORIES", "40"))
"""Examples of each property; more of them in the long run (`make fuzz`)."""

_STORIES = settings(
    max_examples=STORIES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # dice do not shrink, and trying takes minutes
)

# What a trace is, whoever told it first: how often it was told, and which verdict came first, are left out.
DEPENDS_ON_ORDER = {
    CounterName.VERSIONS_UNRESOLVED,
    CounterName.OUTCOMES,
    CounterName.OUTCOME_REVISIONS,
    CounterName.FAILURES_BY_CLASS,
    CounterName.DUPLICATES,
    CounterName.UNKNOWN_FIELDS,
    CounterName.SPANS,
    CounterName.IGNORED,
    CounterName.RECORDS,
}
AGENT = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "helper"}
TOOL = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "book"}


@dataclass(frozen=True)
class Told:
    """
    A span as a sender tells it: trace and span by number, parent 0 for none, times in seconds after the start.

    One that lasts no time still runs.
    """

    trace: int
    span: int
    parent: int
    starts: int
    lasts: int
    attributes: dict[str, Any] = field(default_factory=dict)
    failed: bool = False


@dataclass(frozen=True)
class Said:
    """A verdict on a trace, by number; *at* in seconds after the start."""

    trace: int
    success: bool
    source: str
    at: int
    name: str


def trace_id(number: int) -> bytes:
    return bytes([number + 1] * 16)


def spans_request(spans: Sequence[Told]) -> ExportTraceServiceRequest:
    request_ = ExportTraceServiceRequest()
    resource = request_.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "shop"
    scope = resource.scope_spans.add()
    for told in spans:
        start = (STARTED_AT + told.starts) * SECOND
        span = scope.spans.add(
            trace_id=trace_id(told.trace),
            span_id=bytes([told.span] * 8),
            parent_span_id=bytes([told.parent] * 8) if told.parent else b"",
            name="work",
            start_time_unix_nano=start,
            end_time_unix_nano=start + told.lasts * SECOND if told.lasts else 0,
        )
        span.status.code = 2 if told.failed else 0
        for key, value in told.attributes.items():
            held = span.attributes.add(key=key).value
            if isinstance(value, int):
                held.int_value = value
            else:
                held.string_value = value
    return request_


def spans_record(spans: Sequence[Told], *, as_json: bool) -> bytes:
    made = spans_request(spans)
    return json.dumps(otlp_json(made)).encode() if as_json else made.SerializeToString()


def verdict_record(said: Said) -> bytes:
    """The verdict as its source tells it: a person through Langfuse, a judge through a log, others by themselves."""
    label = "pass" if said.success else "fail"
    if said.source == "judge":
        made = ExportLogsServiceRequest()
        log = (
            made.resource_logs.add()
            .scope_logs.add()
            .log_records.add(
                time_unix_nano=(STARTED_AT + said.at) * SECOND,
                event_name="gen_ai.evaluation.result",
                trace_id=trace_id(said.trace),
            )
        )
        log.attributes.add(key="gen_ai.evaluation.name").value.string_value = said.name
        log.attributes.add(key="gen_ai.evaluation.score.label").value.string_value = label
        return made.SerializeToString()
    document: dict[str, Any] = {
        "name": said.name,
        "stringValue": label,
        "value": 1,
        "dataType": "CATEGORICAL",
        "source": "ANNOTATION",
        "timestamp": f"2026-11-23T05:02:{said.at:02}Z",
        "traceId": trace_id(said.trace).hex(),
    }
    if said.source == "reported":
        outcome = {"success": said.success, "labelled_at": document["timestamp"]}
        document = {"schema": "cliffwatch.outcome/v1", "trace_id": document["traceId"], "outcome": outcome}
    return json.dumps(document).encode()


_models = st.sampled_from(["m-1", "m-2"])
_calls = st.builds(
    lambda model, tokens: (
        {"gen_ai.operation.name": "chat", "gen_ai.response.model": model} | {"gen_ai.usage.output_tokens": tokens}
    ),
    _models,
    st.integers(0, 9),
)


@st.composite
def a_told_trace(draw: st.DrawFn, number: int) -> list[Told]:
    """A root and what it called, some of it also told while it still ran; without a model it is no agent run."""
    root = Told(number, 1, 0, 0, draw(st.integers(0, 9)), draw(st.sampled_from([AGENT, {}])), draw(st.booleans()))
    below = [
        Told(
            number,
            span,
            draw(st.integers(1, span - 1)),
            draw(st.integers(0, 20)),
            draw(st.integers(0, 9)),
            draw(st.one_of(_calls, st.just(TOOL), st.just({}))),
            draw(st.booleans()),
        )
        for span in range(2, 2 + draw(st.integers(1, 4)))
    ]
    running = [replace(span, lasts=0, attributes={}) for span in (root, *below) if draw(st.booleans())]
    return [root, *below, *running]


@st.composite
def a_story(draw: st.DrawFn) -> tuple[list[Told], list[Said]]:
    """Spans of some traces, and verdicts on them and on one that is never told."""
    traces = range(draw(st.integers(1, 3)))
    verdicts = st.builds(
        Said,
        st.sampled_from([*traces, 9]),
        st.booleans(),
        st.sampled_from(["human", "judge", "reported"]),
        st.integers(0, 59),
        st.sampled_from(["correctness", "tone"]),
    )
    return [span for number in traces for span in draw(a_told_trace(number))], draw(
        st.lists(verdicts, min_size=2, max_size=9)
    )


def what_stands(monitor: Monitor) -> tuple[Any, ...]:
    """What all tellings of a story have in common: what was counted, what net outcomes came of it, and each row."""
    counted = {key: n for key, n in monitor.ledger.counters().items() if key.name not in DEPENDS_ON_ORDER}
    net: dict[CounterKey, int] = {}
    for key, n in monitor.ledger.counters().items():
        if key.name is CounterName.OUTCOMES:
            net[key] = net.get(key, 0) + n
        elif key.name is CounterName.OUTCOME_REVISIONS:
            for detail, moved in zip(key.detail.split(">"), (-n, n), strict=True):
                moved_key = CounterKey(CounterName.OUTCOMES, *_labels(key), detail)
                net[moved_key] = net.get(moved_key, 0) + moved
    columns = ("trace_id", "started_at", "capability", "success", "failure_class", "outcome_source", "labelled_at")
    with monitor.ledger._engine.connect() as connection:
        rows = connection.execute(
            sa.select(*(request.c[name] for name in columns), model_version.c.service, model_version.c.model_version)
            .select_from(request.outerjoin(model_version))
            .order_by(request.c.trace_id)
        ).all()
    return counted, {key: n for key, n in net.items() if n}, rows


def _labels(key: CounterKey) -> tuple[str, ...]:
    return key.service, key.environment, key.model_version, key.tier, key.capability


def retold(spans: Sequence[Told], verdicts: Sequence[Said], dice: random.Random) -> list[bytes]:
    """The same spans and verdicts in another order, some twice, spans in records of any size and either encoding."""
    told = [*spans, *(dice.choices(spans, k=4) if spans else [])]
    dice.shuffle(told)
    records = [verdict_record(said) for said in (*verdicts, *(dice.choices(verdicts, k=2) if verdicts else []))]
    while told:
        size = dice.randint(1, 4)
        records.append(spans_record(told[:size], as_json=dice.random() < 0.5))
        told = told[size:]
    dice.shuffle(records)
    return records


def read_in_pieces(monitor: Monitor, records: Sequence[bytes], dice: random.Random) -> None:
    """Put records into any partition, read a batch now and then, and crash now and then."""
    for record in records:
        monitor.feed(record, partition=dice.randrange(3))
        if dice.random() < 0.3:
            monitor.turn()
        if dice.random() < 0.1:
            monitor.restart()
    monitor.read_all()


@pytest.mark.slow
@_STORIES
@given(story=a_story(), seed=st.integers(0, 2**32), records_per_poll=st.integers(1, 4))
def test_however_a_story_is_told_the_same_is_counted(
    story: tuple[list[Told], list[Said]], seed: int, records_per_poll: int
) -> None:
    """Any order, repetition, split over records, batches and partitions, and any crash: the same counts and rows."""
    (spans, verdicts), dice = story, random.Random(seed)
    with a_monitor() as plain:
        plain.feed(spans_record(spans, as_json=False), *map(verdict_record, verdicts))
        plain.read_all()
        plain.close_traces()
        expected = what_stands(plain)
    late = [said for said in verdicts if dice.random() < 0.3]
    in_time = [said for said in verdicts if said not in late]

    with a_monitor(partitions=3, records_per_poll=records_per_poll) as monitor:
        read_in_pieces(monitor, retold(spans, in_time, dice), dice)
        monitor.close_traces()
        read_in_pieces(monitor, retold([], late, dice), dice)

        assert expected == what_stands(monitor)


@pytest.mark.slow
@_STORIES
@given(story=a_story(), seed=st.integers(0, 2**32))
def test_every_span_is_in_one_place_after_every_batch(story: tuple[list[Told], list[Said]], seed: int) -> None:
    """However long it takes until the next record: received = joined + non_agent + duplicate + late + waiting."""
    (spans, verdicts), dice = story, random.Random(seed)
    records = retold(spans, verdicts, dice)
    with a_monitor(partitions=3, records_per_poll=2) as monitor:
        for record in records:
            monitor.feed(record, partition=dice.randrange(3))
            monitor.turn()  # which looks after the spans
            monitor.clock.advance(dice.choice([0.0, 0.0, 10.0, 31.0, 1_900.0]))
            monitor.turn()
        monitor.read_all()
        monitor.close_traces()

        fates = monitor.count(CounterName.SPANS)
        assert len(records) == sum(monitor.count(CounterName.RECORDS).values())
        assert {} == monitor.count(CounterName.DEAD_LETTERS)
        assert fates.get("received", 0) == sum(n for fate, n in fates.items() if fate != "received")
        assert sum(monitor.count(CounterName.REQUESTS).values()) <= len({(span.trace, span.span) for span in spans})


def test_a_story_is_counted_as_it_was_told() -> None:
    """The two properties above are of something: a run of two calls and a tool, failed in the end by a person."""
    call = {"gen_ai.operation.name": "chat", "gen_ai.response.model": "m-1", "gen_ai.usage.output_tokens": 5}
    spans = [
        Told(0, 1, 0, 0, 9, AGENT),
        Told(0, 2, 1, 1, 2, call),
        Told(0, 3, 1, 3, 1, TOOL),
        Told(0, 4, 1, 5, 2, call),
        Told(1, 1, 0, 0, 1),
    ]
    with a_monitor() as monitor:
        monitor.feed(spans_record(spans, as_json=True), verdict_record(Said(0, False, "human", 9, "tone")))
        monitor.read_all()
        monitor.close_traces()

        assert {"received": 5, "joined": 4, "non_agent": 1} == monitor.count(CounterName.SPANS)
        assert {"output": 10} == monitor.count(CounterName.TOKENS)
        assert {"": 1} == monitor.count(CounterName.TOOL_CALLS)
        assert (0, 1) == net_outcomes(monitor.ledger)
