"""What every ledger keeps, whatever database it stands on."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count, pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from monitor.difficulty.calibrating import calibrate
from monitor.difficulty.calibration import Calibration
from monitor.difficulty.features import LabelledRequest, RequestFeatures
from monitor.difficulty.tiers import NO_TAG, Tag, Tier
from monitor.errors import OffsetFenced
from monitor.ingest.source import TopicPartition
from monitor.ledger.ledger import (
    Assembled,
    CounterKey,
    CounterName,
    Lease,
    ProbeResult,
    Pruned,
    PruneSubject,
    Recorded,
    TaggedTrace,
)
from monitor.ledger.sql import SqlLedger
from monitor.rollout.cases import Case, CaseKind, Runs
from monitor.rollout.cohort import Stratum
from monitor.rollout.commitment import CommittedFloor
from monitor.rollout.evidence import MOST_EVIDENCE, evidence_of
from monitor.rollout.judging import judge
from monitor.rollout.oncall import Signature
from monitor.rollout.policy import Floor, Policy
from monitor.rollout.tracker import Rollout
from monitor.trace.assembly import build_traces
from monitor.trace.model import Budget, Outcome, OutcomeEvent, TraceId, Usage
from monitor.trace.settings import AssemblySettings, OutcomeSettings
from monitor.trace.span import OperationKind, Span
from tests.builders import (
    NOON,
    PARTITION,
    a_batch,
    a_dead_letter,
    a_trace,
    an_outcome,
    failure,
    success,
    tagged,
)
from tests.ledger.naive_counts import naive_counts
from tests.trace.spans import a_call, a_span, a_tool_call

HARD = Tag(Tier.HARD, 1.5, 0.25, is_known=True, bin=9, calibration_id="c1")
EASY = Tag(Tier.EASY, -3.0, 0.5, is_known=False, bin=1, calibration_id="c1")
ROLLOUT = Rollout("r1", "shop", "production", "model-1", "model-2", started_at=NOON, calibration_id="c1")

_INHERITED = [HealthCheck.function_scoped_fixture, HealthCheck.differing_executors]
"""The suite is inherited on purpose, and the examples of one run share a ledger without meeting each other's rows."""


def counts(ledger: SqlLedger, name: CounterName) -> Mapping[str, int]:
    """Totals of one counter by its detail."""
    totals: dict[str, int] = {}
    for key, value in ledger.counters().items():
        if key.name is name:
            totals[key.detail] = totals.get(key.detail, 0) + value
    return totals


def net_outcomes(ledger: SqlLedger) -> tuple[int, int]:
    """Successes and failures as they stand now: first labels, moved by revisions."""
    first, moved = counts(ledger, CounterName.OUTCOMES), counts(ledger, CounterName.OUTCOME_REVISIONS)
    shift = moved.get("failure>success", 0) - moved.get("success>failure", 0)
    return first.get("success", 0) + shift, first.get("failure", 0) - shift


def a_calibration(frozen_at: float = NOON) -> Calibration:
    history = [
        LabelledRequest(RequestFeatures("search", item=f"i{item}"), f"old-{version}", item % 3 == 0, NOON)
        for version in range(3)
        for item in range(60)
    ]
    calibration = calibrate(history, frozen_at=frozen_at)
    assert calibration is not None
    return calibration


def assembled(trace_id: str, spans: Sequence[Span]) -> Assembled:
    """What a service makes of the spans that waited for a trace."""
    return Assembled(TraceId(trace_id), len(spans), [tagged(run) for run in build_traces(spans, OutcomeSettings())])


def close_trace(ledger: SqlLedger, trace_id: str, spans: Sequence[Span]) -> Recorded:
    """Close a trace as a service does that found *spans* waiting."""
    return ledger.record(dataclasses.replace(a_batch(), assembled=[assembled(trace_id, spans)]))


def close_due(ledger: SqlLedger, *, now: float = NOON + 60) -> int:
    """Close every trace that is due; how many there were."""
    due = ledger.due_spans(ASSEMBLY, now=now, max_spans=1_000)
    ledger.record(dataclasses.replace(a_batch(), assembled=[assembled(each.trace_id, each.spans) for each in due]))
    return len(due)


def problems(ledger: SqlLedger) -> list[str]:
    """Where what was counted is not what the rows say."""
    assert isinstance(ledger, SqlLedger)
    return [f"{check.name}: {problem}" for check in ledger.checks() for problem in check.problems]


def an_event(run: str) -> st.SearchStrategy[TaggedTrace | OutcomeEvent]:
    """A trace or a verdict, of few ids and many shapes, so that they meet; all of the service *run*."""
    ids = st.sampled_from([f"{run}-{number}" for number in range(6)])
    verdicts = st.builds(
        Outcome,
        success=st.booleans(),
        failure_class=st.sampled_from([None, "timeout", "wrong_tool"]),
        source=st.sampled_from(["human", "judge", "status", "reported", "somebody"]),
        labelled_at=st.sampled_from([None, NOON, NOON + 60]),
        evaluation=st.sampled_from([None, "tone"]),
    )
    traces = st.builds(
        lambda trace_id, tag, outcomes, **facts: structs.replace(
            tagged(a_trace(trace_id, service=run, **facts), tag), outcomes=tuple(outcomes)
        ),
        ids,
        st.sampled_from([HARD, EASY, NO_TAG]),
        st.lists(verdicts, max_size=2),
        environment=st.sampled_from(["production", "probes"]),
        model_version=st.sampled_from(["model-1", "model-2"]),
        capability=st.sampled_from(["search", "pay"]),
        started_at=st.sampled_from([NOON, NOON + 1.5, NOON + 7_200]),
        duration_seconds=st.sampled_from([None, 0.0, 2.5, 1e6]),
        usage=st.builds(
            Usage, st.sampled_from([None, 0, 812]), st.sampled_from([None, 90]), st.sampled_from([None, 0.0041])
        ),
        tool_calls=st.sampled_from([None, 0, 3]),
        steps=st.sampled_from([None, 1, 4, 2_000]),
        budget=st.sampled_from([Budget(), Budget(tool_calls=2)]),
    )
    return traces | st.builds(OutcomeEvent, ids.map(TraceId), verdicts)


def spans_left_over(ledger: SqlLedger) -> int:
    """Spans received that are nowhere: 0, always."""
    spans = Counter(counts(ledger, CounterName.SPANS))
    return spans["received"] - ledger.pending_spans() - sum(spans[name] for name in SPAN_FATES)


_STORIES = count()

ASSEMBLY = AssemblySettings(quiet_seconds=30, idle_seconds=300, max_age_seconds=3_600)
SPAN_FATES = ("joined", "foreign", "duplicate", "late")


class LedgerContract:
    """Inherited by the tests of each database; they give the fixture `ledger`, empty."""

    def test_a_trace_that_comes_twice_counts_once(self, ledger: SqlLedger) -> None:
        """A redelivered trace moves the counter of duplicates and nothing else."""
        ledger.record(a_batch(tagged(a_trace())))

        recorded = ledger.record(a_batch(tagged(a_trace()), tagged(a_trace())))

        assert (0, 2) == (recorded.counted, recorded.duplicates)
        assert {"": 1} == counts(ledger, CounterName.REQUESTS)
        assert {"": 2} == counts(ledger, CounterName.DUPLICATES)

    def test_counters_carry_the_labels_of_the_request(self, ledger: SqlLedger) -> None:
        """A request counts under its service, environment, version, tier and capability."""
        ledger.record(a_batch(tagged(a_trace(outcome=failure("timeout")), HARD)))

        key = CounterKey(CounterName.REQUESTS, "shop", "production", "model-1", "hard", "search")
        assert 1 == ledger.counters()[key]
        assert 1 == ledger.counters()[dataclasses.replace(key, name=CounterName.OUTCOMES, detail="failure")]
        by_class = dataclasses.replace(key, name=CounterName.FAILURES_BY_CLASS, capability="", detail="timeout")
        assert 1 == ledger.counters()[by_class]

    def test_work_is_summed_in_whole_units(self, ledger: SqlLedger) -> None:
        """Durations, tokens, cost and tool calls add up in seconds and microseconds, tokens, nanodollars and calls."""
        usage = Usage(input_tokens=100, output_tokens=20, cost_usd=0.0041)
        for trace_id in ("a", "b"):
            trace = a_trace(trace_id, duration_seconds=2.5, usage=usage, tool_calls=3, budget=Budget(tool_calls=2))
            ledger.record(a_batch(tagged(trace)))

        assert {"whole": 4, "": 1_000_000} == counts(ledger, CounterName.DURATION_MICROSECONDS)
        assert {"2.5": 2} == counts(ledger, CounterName.DURATION_BUCKET)
        assert {"input": 200, "output": 40} == counts(ledger, CounterName.TOKENS)
        assert {"": 8_200_000} == counts(ledger, CounterName.COST_NANODOLLARS)
        assert {"": 6} == counts(ledger, CounterName.TOOL_CALLS)
        assert {"": 2} == counts(ledger, CounterName.BUDGET_EXCEEDED)

    def test_steps_are_counted_in_buckets(self, ledger: SqlLedger) -> None:
        """How many model calls requests took is a histogram by tier; a request that does not say is not in it."""
        traces = [a_trace(f"t{steps}", steps=steps) for steps in (1, 4, 5, 2_000)]
        ledger.record(a_batch(*(tagged(trace, HARD) for trace in traces), tagged(a_trace("t"), HARD)))

        assert {"1.0": 1, "5.0": 2, "+Inf": 1} == counts(ledger, CounterName.STEPS_BUCKET)
        assert {"": 2_010} == counts(ledger, CounterName.STEPS)
        assert {"hard"} == {key.tier for key in ledger.counters() if key.name is CounterName.STEPS}

    def test_an_outcome_may_come_before_its_trace(self, ledger: SqlLedger) -> None:
        """An outcome waits for its trace and is counted when it comes."""
        ledger.record(a_batch(an_outcome("t1", failure())))
        assert {} == counts(ledger, CounterName.OUTCOMES)

        ledger.record(a_batch(tagged(a_trace("t1"))))

        assert {"failure": 1} == counts(ledger, CounterName.OUTCOMES)

    def test_a_failure_is_named_beside_the_counter_that_it_moved(self, ledger: SqlLedger) -> None:
        """With its trace or after it: a reader of the counter wants one of the traces behind it."""
        came = ledger.record(a_batch(tagged(a_trace("t1", outcome=failure())), tagged(a_trace("t2"))))
        later = ledger.record(a_batch(an_outcome("t2", failure()), tagged(a_trace("t3", outcome=success()))))

        (counter,) = [key for key in ledger.counters() if key.name is CounterName.OUTCOMES and key.detail == "failure"]
        assert [{counter: "t1"}, {counter: "t2"}] == [came.failed_traces, later.failed_traces]

    def test_verdicts_that_come_with_a_trace_are_one_label(self, ledger: SqlLedger) -> None:
        """A run that ended well but over its budget failed, and never counted as a success."""
        trace = a_trace(outcome=success(source="status"), tool_calls=3, budget=Budget(tool_calls=2))

        ledger.record(a_batch(tagged(trace)))

        assert {"failure": 1} == counts(ledger, CounterName.OUTCOMES)
        assert {"budget_exceeded": 1} == counts(ledger, CounterName.FAILURES_BY_CLASS)
        assert {} == counts(ledger, CounterName.OUTCOME_REVISIONS)

    def test_a_later_label_revises_an_earlier_one(self, ledger: SqlLedger) -> None:
        """A revision keeps the first label counted and says from what to what it moved."""
        ledger.record(a_batch(tagged(a_trace(outcome=success()))))

        ledger.record(a_batch(an_outcome("t1", failure(labelled_at=NOON + 60))))

        assert {"success": 1} == counts(ledger, CounterName.OUTCOMES)
        assert {"success>failure": 1} == counts(ledger, CounterName.OUTCOME_REVISIONS)
        assert (0, 1) == net_outcomes(ledger)

    def test_a_better_source_is_not_overruled(self, ledger: SqlLedger) -> None:
        """What a human said stands, whatever a judge says later."""
        ledger.record(a_batch(tagged(a_trace(outcome=success(source="human")))))

        ledger.record(a_batch(an_outcome("t1", failure(labelled_at=NOON + 60, source="judge"))))

        assert (1, 0) == net_outcomes(ledger)

    @settings(max_examples=25, deadline=None, suppress_health_check=_INHERITED)
    @given(data=st.data())
    def test_order_and_redelivery_change_nothing(self, ledger: SqlLedger, data: st.DataObject) -> None:
        """Any order, duplication and batching of the same events gives the same requests and the same net outcomes."""
        run = data.draw(st.uuids()).hex  # the ledger is shared by the examples of one run
        ids = [f"{run}-{number}" for number in range(4)]
        traces: list[TaggedTrace | OutcomeEvent] = [
            tagged(a_trace(trace_id, service=run, outcome=outcome))
            for trace_id, outcome in zip(ids, (None, success(), failure(), None), strict=True)
        ]
        verdicts: list[TaggedTrace | OutcomeEvent] = [
            an_outcome(ids[0], failure(labelled_at=NOON + 5)),
            an_outcome(ids[1], failure(labelled_at=NOON + 5)),
            an_outcome(ids[2], success(labelled_at=NOON - 5)),
            an_outcome(ids[1], success(source="human", labelled_at=NOON - 50)),
        ]
        events = data.draw(st.permutations(traces + verdicts + traces[:2] + verdicts[:2]))
        cut = data.draw(st.integers(0, len(events)))

        for part in (events[:cut], events[cut:]):
            ledger.record(a_batch(*part))

        mine = {key: value for key, value in ledger.counters().items() if key.service == run}
        requests = sum(value for key, value in mine.items() if key.name is CounterName.REQUESTS)
        outcomes = {"success": 0, "failure": 0}
        for key, value in mine.items():
            if key.name is CounterName.OUTCOMES:
                outcomes[key.detail] += value
            if key.name is CounterName.OUTCOME_REVISIONS:
                before, after = key.detail.split(">")
                outcomes[before] -= value
                outcomes[after] += value
        assert 4 == requests
        assert {"success": 1, "failure": 2} == outcomes

    def test_spans_wait_until_their_trace_is_complete(self, ledger: SqlLedger) -> None:
        """Spans of several batches make one request when the root has ended and the quiet period has passed."""
        ledger.record(a_batch(a_call("a"), a_tool_call("b")))
        ledger.record(a_batch(a_span(), received_at=NOON + 10))

        assert (0, 3) == (close_due(ledger, now=NOON + 39), ledger.pending_spans())
        assert 1 == close_due(ledger, now=NOON + 40)

        assert {"": 1} == counts(ledger, CounterName.REQUESTS)
        assert {"received": 3, "joined": 3} == counts(ledger, CounterName.SPANS)
        assert 0 == ledger.pending_spans() == len(ledger.spans_of([TraceId("t")]))

    @pytest.mark.parametrize(
        ("span", "waits_seconds"),
        [
            pytest.param(a_call("a"), 300, id="without its root, a trace waits until it is idle"),
            pytest.param(a_span(ended_at=None), 300, id="a root that still runs closes nothing"),
            pytest.param(a_span(), 30, id="after its root has ended, a trace waits for the quiet period"),
        ],
    )
    def test_how_long_a_trace_waits(self, ledger: SqlLedger, span: Span, waits_seconds: float) -> None:
        """A trace is due when it has waited, and not a moment before."""
        ledger.record(a_batch(span))

        assert [] == ledger.due_spans(ASSEMBLY, now=NOON + waits_seconds - 0.5, max_spans=9)
        assert [[span]] == [
            due.spans for due in ledger.due_spans(ASSEMBLY, now=NOON + waits_seconds + 0.5, max_spans=9)
        ]

    def test_no_trace_waits_longer_than_its_age_allows(self, ledger: SqlLedger) -> None:
        """Spans that keep coming keep a trace open, up to the age limit or a number of spans."""
        for number in range(36):
            ledger.record(a_batch(a_call(f"s{number}"), received_at=NOON + number * 100))

        assert [] == ledger.due_spans(ASSEMBLY, now=NOON + 3_590, max_spans=9)
        assert 1 == len(ledger.due_spans(ASSEMBLY, now=NOON + 3_610, max_spans=9))
        few = ASSEMBLY.model_copy(update={"max_spans_per_trace": 36})
        assert 36 == len(ledger.due_spans(few, now=NOON + 3_510, max_spans=9)[0].spans)

    def test_due_traces_come_in_portions_and_whole(self, ledger: SqlLedger) -> None:
        """What is read together is bounded in spans, and a trace that has more comes alone."""
        for number in range(3):
            spans = [a_call(f"s{n}", trace_id=TraceId(f"t{number}")) for n in range(4)]
            ledger.record(a_batch(*spans, received_at=NOON + number))

        def portion(max_spans: int) -> list[str]:
            return [due.trace_id for due in ledger.due_spans(ASSEMBLY, now=NOON + 400, max_spans=max_spans)]

        assert [["t0"], ["t0"], ["t0", "t1"], ["t0", "t1", "t2"]] == [portion(n) for n in (1, 7, 8, 99)]
        assert ["t1", "t2"] == [each.trace_id for each in ledger.spans_of([TraceId("t2"), TraceId("t1"), TraceId("x")])]

    def test_a_span_that_comes_again_counts_once(self, ledger: SqlLedger) -> None:
        """In the same batch, in another one, or with another account of itself; the better account is kept."""
        running, ended, better = a_span(ended_at=None), a_span(), a_span(service="z")
        ledger.record(a_batch(ended, running, ended))
        ledger.record(a_batch(better, a_call("a"), running))
        ledger.record(a_batch(ended))

        (waiting,) = ledger.spans_of([TraceId("t")])

        assert [a_call("a"), better] == list(waiting.spans)
        assert {"received": 7, "duplicate": 5} == counts(ledger, CounterName.SPANS)
        assert 2 == ledger.pending_spans()

    def test_a_trace_that_has_grown_goes_on_waiting(self, ledger: SqlLedger) -> None:
        """A span that comes while a trace is put together is not lost: the trace is closed with it later."""
        ledger.record(a_batch(a_span(), a_call("a")))
        (looked_at,) = ledger.due_spans(ASSEMBLY, now=NOON + 60, max_spans=9)
        ledger.record(a_batch(a_call("b"), received_at=NOON + 60))

        assert 0 == close_trace(ledger, "t", looked_at.spans).closed
        assert ({}, 3) == (counts(ledger, CounterName.REQUESTS), ledger.pending_spans())

        assert 1 == close_due(ledger, now=NOON + 90)
        assert {"received": 3, "joined": 3} == counts(ledger, CounterName.SPANS)

    def test_a_trace_that_another_replica_has_closed_is_left_to_it(self, ledger: SqlLedger) -> None:
        """Two replicas that put the same trace together count it once."""
        ledger.record(a_batch(a_span(), a_call("a")))
        (looked_at,) = ledger.due_spans(ASSEMBLY, now=NOON + 60, max_spans=9)

        closed = [close_trace(ledger, "t", looked_at.spans).closed for _ in range(2)]

        assert [1, 0] == closed
        assert {"": 1} == counts(ledger, CounterName.REQUESTS)
        assert {"received": 2, "joined": 2} == counts(ledger, CounterName.SPANS)
        assert {} == counts(ledger, CounterName.DUPLICATES)

    def test_late_spans_change_nothing_but_their_count(self, ledger: SqlLedger) -> None:
        """What comes after its trace was closed is counted as late, at once, and never waits."""
        ledger.record(a_batch(a_span(), a_call("a")))
        close_due(ledger)
        before = {key: value for key, value in ledger.counters().items() if key.name is not CounterName.SPANS}

        ledger.record(a_batch(a_call("b"), a_call("a")))

        after = {key: value for key, value in ledger.counters().items() if key.name is not CounterName.SPANS}
        records = CounterKey(CounterName.RECORDS, detail="agent-traces/0")
        assert before == after | {records: before[records]}
        assert {"received": 4, "joined": 2, "late": 2} == counts(ledger, CounterName.SPANS)
        assert 0 == ledger.pending_spans()

    def test_a_trace_told_as_a_whole_and_by_its_spans_counts_once(self, ledger: SqlLedger) -> None:
        """Whichever comes first is the request; the other is a duplicate, or late."""
        whole, spans = tagged(a_trace("t")), [a_span(), a_call("a")]
        native_first = [tagged(a_trace("u")), *(structs.replace(span, trace_id=TraceId("u")) for span in spans)]
        ledger.record(a_batch(*spans, *native_first))
        close_due(ledger)
        ledger.record(a_batch(whole, native_first[-1]))

        assert {"": 2} == counts(ledger, CounterName.REQUESTS)
        assert {"": 1} == counts(ledger, CounterName.DUPLICATES)
        assert {"received": 5, "joined": 2, "late": 3} == counts(ledger, CounterName.SPANS)
        assert 0 == spans_left_over(ledger)

    def test_verdicts_wait_for_a_trace_made_of_spans(self, ledger: SqlLedger) -> None:
        """A verdict before, between and after the spans of its trace is joined, and the best source stands."""
        ledger.record(a_batch(an_outcome("t", failure(source="judge"))))
        ledger.record(a_batch(a_span(), an_outcome("t", success(source="reported")), a_call("a")))
        close_due(ledger)
        assert (0, 1) == net_outcomes(ledger)

        ledger.record(a_batch(an_outcome("t", success(source="human", labelled_at=NOON - 9))))

        assert (1, 0) == net_outcomes(ledger)
        assert {"": 1} == counts(ledger, CounterName.REQUESTS)

    def test_spans_of_no_agent_are_let_go(self, ledger: SqlLedger) -> None:
        """A trace in which no model is named is closed without a request, and its spans are counted."""
        ledger.record(a_batch(a_span(kind=OperationKind.OTHER), an_outcome("t", failure())))

        assert 1 == close_due(ledger)

        assert {"received": 1, "foreign": 1} == counts(ledger, CounterName.SPANS)
        assert ({}, 0) == (counts(ledger, CounterName.REQUESTS), ledger.pending_spans())

    def test_spans_of_a_fenced_batch_do_not_wait(self, ledger: SqlLedger) -> None:
        """An owner that lost its partition leaves no span behind, and takes none that waits."""
        ledger.record(a_batch(a_span(), a_call("a"), next_offset=2))
        fenced = a_batch(a_call("b"), expected_offset=1, next_offset=3)

        with pytest.raises(OffsetFenced):
            ledger.record(dataclasses.replace(fenced, assembled=[assembled("t", [a_span(), a_call("a")])]))

        assert {"received": 2} == counts(ledger, CounterName.SPANS)
        assert [a_call("a"), a_span()] == list(ledger.spans_of([TraceId("t")])[0].spans)

    def test_offsets_move_with_the_batch(self, ledger: SqlLedger) -> None:
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
    def test_a_fenced_batch_changes_nothing(self, ledger: SqlLedger, expected_offset: int | None) -> None:
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

    def test_what_a_fenced_batch_admitted_is_forgotten(self, ledger: SqlLedger) -> None:
        """A version first met in a batch that was rolled back is written when it comes again."""
        ledger.record(a_batch(next_offset=5))
        with pytest.raises(OffsetFenced):
            ledger.record(a_batch(tagged(a_trace()), expected_offset=1, next_offset=6))

        ledger.record(a_batch(tagged(a_trace()), expected_offset=5, next_offset=6))

        assert [version.model_version for version in ledger.activity()] == ["model-1"]
        assert 1 == ledger.activity()[0].requests

    def test_every_record_is_accounted_for(self, ledger: SqlLedger) -> None:
        """Records read are counted per partition, dead letters by reason."""
        ledger.record(a_batch(tagged(a_trace()), dead_letters=[a_dead_letter(3)], next_offset=4))

        assert {"agent-traces/0": 2} == counts(ledger, CounterName.RECORDS)
        assert {"not_json": 1} == counts(ledger, CounterName.DEAD_LETTERS)

    def test_label_values_are_bounded_in_number(self, ledger: SqlLedger) -> None:
        """Names over the cap count as `other`, and how often is counted."""
        batch = [tagged(a_trace(f"t{number}", capability=f"c{number}")) for number in range(60)]

        ledger.record(a_batch(*batch))

        capabilities = {key.capability for key in ledger.counters() if key.name is CounterName.REQUESTS}
        assert 51 == len(capabilities)
        assert "other" in capabilities
        assert {"capability": 10} == counts(ledger, CounterName.SERIES_DROPPED)

    def test_activity_tells_how_traffic_moved(self, ledger: SqlLedger) -> None:
        """Each version knows when how many of its requests started."""
        old = [tagged(a_trace(f"o{number}", started_at=NOON + number)) for number in range(10)]
        new = [tagged(a_trace(f"n{n}", model_version="model-2", started_at=NOON + 7 + n)) for n in range(4)]

        ledger.record(a_batch(*old, *new))

        first, second = ledger.activity()
        assert (
            first.model_version,
            first.first_started_at,
            first.last_started_at,
            first.requests,
        ) == ("model-1", NOON, NOON + 9, 10)
        assert [(NOON, NOON + 9, 10)] == list(first.traffic)
        assert (second.model_version, second.requests) == ("model-2", 4)

    @settings(max_examples=20, deadline=None, suppress_health_check=_INHERITED)
    @given(parts=st.lists(st.lists(st.integers(0, 5 * 3_600), max_size=6), max_size=4))
    def test_traffic_is_that_of_the_requests_in_each_hour(
        self, ledger: SqlLedger, parts: Sequence[Sequence[int]]
    ) -> None:
        """However late a request comes, each hour has its first start, its last and its number."""
        run = f"hours-{next(_STORIES)}"
        starts: list[float] = []
        for number, part in enumerate(parts):
            started = [NOON + seconds for seconds in part]
            names = [f"{run}-{number}-{place}" for place in range(len(part))]
            traces = zip(names, started, strict=True)
            ledger.record(a_batch(*(tagged(a_trace(name, service=run, started_at=at)) for name, at in traces)))
            starts += started
            by_hour: dict[int, list[float]] = defaultdict(list)
            for start in starts:
                by_hour[int(start // 3_600)].append(start)

            mine = [spell for seen in ledger.activity() if seen.service == run for spell in seen.traffic]

            assert [(min(each), max(each), len(each)) for _, each in sorted(by_hour.items())] == mine

    @settings(max_examples=30, deadline=None, suppress_health_check=_INHERITED)
    @given(data=st.data())
    def test_counts_are_those_of_a_naive_ledger(self, ledger: SqlLedger, data: st.DataObject) -> None:
        """However a story is cut into batches, every counter is what counting it event by event gives."""
        run = f"story-{next(_STORIES)}"  # the ledger is shared by the examples of one run
        events = data.draw(st.lists(an_event(run), max_size=25))
        cuts = sorted(data.draw(st.lists(st.integers(0, len(events)), max_size=3)))

        for start, end in pairwise([0, *cuts, len(events)]):
            ledger.record(a_batch(*events[start:end]))

        mine = {key: value for key, value in ledger.counters().items() if key.service == run}
        assert naive_counts(events) == mine
        assert [] == problems(ledger)

    def test_old_requests_go_and_what_they_counted_stays(self, ledger: SqlLedger) -> None:
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

    def test_a_replay_of_the_past_is_not_old(self, ledger: SqlLedger) -> None:
        """A request goes when it is old and came long ago."""
        year = 365 * 86_400.0
        ledger.record(a_batch(tagged(a_trace(started_at=NOON - year))))

        assert [] == list(ledger.prune(now=NOON + 60))

    def test_outcomes_without_a_trace_and_dead_letters_go(self, ledger: SqlLedger) -> None:
        """An outcome waits two weeks for its trace, an account of a dead letter is kept for a month."""
        ledger.record(a_batch(an_outcome("t1"), dead_letters=[a_dead_letter(1), a_dead_letter(2)]))

        first, second = (list(ledger.prune(now=NOON + days * 86_400.0)) for days in (15, 31))

        assert [Pruned(PruneSubject.OUTCOMES, 1)] == first
        assert [Pruned(PruneSubject.DEAD_LETTERS, 2)] == second
        assert [] == problems(ledger)

    def test_a_cohort_holds_matured_requests_by_cell(self, ledger: SqlLedger) -> None:
        """Requests younger than the maturity window are not in it; unlabelled ones are, as requests."""
        ledger.record(
            a_batch(
                tagged(a_trace("t1", outcome=failure()), HARD),
                tagged(a_trace("t2", outcome=success()), HARD),
                tagged(a_trace("t3"), HARD),
                tagged(a_trace("t4", outcome=failure(), started_at=NOON + 100), HARD),
                tagged(a_trace("t5", outcome=success(), model_version="model-2"), EASY),
            )
        )

        cohort = ledger.cohort(ROLLOUT, matured_before=NOON + 50)

        assert [Stratum(Tier.HARD, "search", 9, True, 3, 2, 1, 4.5, 0.75)] == list(cohort.baseline.strata)
        assert [Stratum(Tier.EASY, "search", 1, False, 1, 1, 0, -3.0, 0.5)] == list(cohort.candidate.strata)

    def test_history_leaves_out_versions_under_comparison(self, ledger: SqlLedger) -> None:
        """Only labelled requests of other versions teach, oldest version first, and as many as asked for."""
        for number, version in enumerate(("model-1", "model-2", "model-3")):
            events = [
                tagged(
                    a_trace(
                        f"{version}-{n}",
                        model_version=version,
                        request_id=f"item-{n}",
                        started_at=NOON + 100 * number + n,
                        outcome=failure() if n else success(),
                    )
                )
                for n in range(3)
            ]
            ledger.record(a_batch(*events, tagged(a_trace(f"{version}-unlabelled", model_version=version))))

        history = list(ledger.history(exclude={"model-2"}, limit=2))

        assert [(request.model_version, request.features.item) for request in history] == [
            ("model-1", "item-1"),
            ("model-1", "item-2"),
            ("model-3", "item-1"),
            ("model-3", "item-2"),
        ]
        assert all(request.failed for request in history)
        assert 6 == ledger.history_labels(exclude={"model-2"})

    def test_labels_of_a_version_are_its_latest_matured_ones(self, ledger: SqlLedger) -> None:
        """Of all environments together, in the order of the requests, as many as asked for, and of no other version."""
        events = [
            tagged(
                a_trace(
                    f"{environment}-{version}-{n}",
                    environment=environment,
                    model_version=version,
                    request_id=f"{environment}-{n}",
                    started_at=NOON + 10 * n + (environment == "probes"),
                    outcome=failure() if n % 2 else success(),
                )
            )
            for environment in ("production", "probes")
            for version in ("model-1", "model-2")
            for n in range(4)
        ]
        ledger.record(a_batch(*events, tagged(a_trace("unlabelled", model_version="model-1", started_at=NOON + 5))))

        labels = ledger.labels_of("model-1", matured_before=NOON + 30, limit=3)

        assert [(label.features.item, label.failed) for label in labels] == [
            ("probes-1", True),
            ("production-2", False),
            ("probes-2", False),
        ]
        assert {"model-1"} == {label.model_version for label in labels}
        assert [] == list(ledger.labels_of("model-3", matured_before=NOON + 30, limit=3))

    def test_a_rollout_keeps_its_verdict_and_its_changes(self, ledger: SqlLedger) -> None:
        """The latest verdict replaces the one before; only changes of state are remembered with their time."""
        ledger.start_rollout(ROLLOUT)
        ledger.start_rollout(dataclasses.replace(ROLLOUT, baseline="somebody else"))
        verdict = judge(
            ledger.cohort(ROLLOUT, matured_before=NOON),
            None,
            Policy(),
            service="shop",
            environment="production",
            previous=None,
        )

        ledger.save_verdict("r1", verdict, at=NOON + 1)
        ledger.save_verdict("r1", verdict, at=NOON + 2)
        ledger.end_rollout("r1", ended_at=NOON + 9, reason="ramp_over")

        (record,) = ledger.rollouts()
        assert dataclasses.replace(ROLLOUT, ended_at=NOON + 9, end_reason="ramp_over") == record.rollout
        assert dataclasses.replace(verdict, reasons=list(verdict.reasons)) == record.verdict
        assert [(NOON + 1, verdict.state)] == list(record.changes)

    def test_evidence_is_kept_and_stays_bounded(self, ledger: SqlLedger) -> None:
        """Of a thousand looks at uneven times a few hundred are remembered, evenly spread, the first and last too."""
        ledger.start_rollout(ROLLOUT)
        verdict = judge(
            ledger.cohort(ROLLOUT, matured_before=NOON),
            None,
            Policy(),
            service="shop",
            environment="production",
            previous=None,
        )
        times = [NOON + second for second in (*range(MOST_EVIDENCE // 2), *range(1_000, 1_000 + MOST_EVIDENCE, 2))]

        for at in [*times, times[-1]]:
            ledger.save_verdict("r1", verdict, at=at)

        kept = ledger.evidence("r1")
        assert evidence_of(verdict, at=NOON) == kept[0]
        assert times[-1] == kept[-1].at
        assert MOST_EVIDENCE == len(kept)
        ledger.save_verdict("r1", verdict, at=NOON + 2_000)
        kept = ledger.evidence("r1")
        assert (NOON, NOON + 2_000, MOST_EVIDENCE) == (kept[0].at, kept[-1].at, len(kept))
        assert [] == list(ledger.evidence("another"))

    def test_floors_are_kept_with_the_time_when_they_were_first_seen(self, ledger: SqlLedger) -> None:
        """A rollout is held to the floors of its start, however often they were changed and seen since."""
        agreed, lowered = Floor(service="shop", pass_rate=0.5), Floor(service="shop", pass_rate=0.25)
        ledger.see_floors([agreed], at=NOON - 100)
        ledger.see_floors([agreed], at=NOON - 50)
        ledger.start_rollout(ROLLOUT)

        ledger.see_floors([lowered], at=NOON + 50)
        ledger.start_rollout(dataclasses.replace(ROLLOUT, rollout_id="r2", started_at=NOON + 60))

        first, second = ledger.rollouts()
        assert [CommittedFloor(agreed, NOON - 100)] == list(first.floors)
        assert [CommittedFloor(lowered, NOON + 50)] == list(second.floors)

    def test_announced_names_are_bounded_as_those_of_requests(self, ledger: SqlLedger) -> None:
        """A rollout whose names would be over a cap is refused whole; those that are admitted stay."""
        versions = [tagged(a_trace(f"t{number}", model_version=f"v{number}")) for number in range(199)]
        ledger.record(a_batch(*versions))

        assert not ledger.announce_rollout(dataclasses.replace(ROLLOUT, baseline="new-1", candidate="new-2"))
        assert ledger.announce_rollout(dataclasses.replace(ROLLOUT, baseline="v1", candidate="new-3"))

        (record,) = ledger.rollouts()
        assert ("v1", "new-3") == (record.rollout.baseline, record.rollout.candidate)

    def test_failures_are_told_by_whole_signature(self, ledger: SqlLedger) -> None:
        """Of matured requests of both arms, by tier, capability and failure class."""
        ledger.record(
            a_batch(
                tagged(a_trace("t1", outcome=failure("timeout")), HARD),
                tagged(a_trace("t2", outcome=failure("timeout")), HARD),
                tagged(a_trace("t3", outcome=failure(None), capability="pay"), EASY),
                tagged(a_trace("t4", outcome=success()), HARD),
                tagged(a_trace("t5", outcome=failure(), started_at=NOON + 100), HARD),
                tagged(a_trace("t6", outcome=failure(), model_version="model-2"), HARD),
            )
        )

        baseline, candidate = ledger.failure_classes(ROLLOUT, matured_before=NOON + 50)

        assert {Signature(Tier.HARD, "search", "timeout"): 2, Signature(Tier.EASY, "pay", ""): 1} == baseline
        assert {Signature(Tier.HARD, "search", "wrong_tool"): 1} == candidate

    def test_cases_are_what_the_baseline_passed_and_the_candidate_fails(self, ledger: SqlLedger) -> None:
        """One case per request that comes again, with the latest run on either side; easy ones are left out."""

        def run(trace_id: str, item: str, *, passes: bool, tag: Tag = HARD, **trace: Any) -> TaggedTrace:
            return tagged(a_trace(trace_id, request_id=item, outcome=success() if passes else failure(), **trace), tag)

        def new(trace_id: str, item: str, *, passes: bool = False, **trace: Any) -> TaggedTrace:
            return run(trace_id, item, passes=passes, model_version="model-2", **trace)

        ledger.record(
            a_batch(
                run("b1", "broken", passes=True),
                run("b2", "broken", passes=True, started_at=NOON + 5),
                run("b3", "always failed", passes=False),
                run("b4", "easy", passes=True),
                run("b5", "mostly passes", passes=True),
                run("r1", "known from history", passes=True, environment="reference", service="x", model_version="old"),
                run("r2", "always failed", passes=True, environment="reference", service="x", model_version="old"),
                run("o1", "of another service", passes=True, service="other"),
                new("c1", "broken"),
                new("c2", "broken", started_at=NOON + 9),
                new("c3", "always failed"),
                new("c4", "easy", tag=EASY),
                new("c5", "mostly passes"),
                new("c6", "mostly passes", passes=True),
                new("c7", "known from history"),
                new("c8", "of another service"),
                new("c9", "never met"),
            )
        )

        cases = ledger.cases(ROLLOUT, limit=10)

        signature = Signature(Tier.HARD, "search", "wrong_tool")
        broken = Case(
            name="broken",
            kind=CaseKind.REQUEST,
            signature=signature,
            trace_id="c2",
            started_at=NOON + 9,
            candidate=Runs(2, 2),
            established=Runs(2, 0),
            passed_trace_id="b2",
            passed_by="model-1",
        )
        assert [broken, "known from history"] == [cases.cases[0], cases.cases[1].name]
        assert ("r1", "old", Runs(1, 0)) == (
            cases.cases[1].passed_trace_id,
            cases.cases[1].passed_by,
            cases.cases[1].established,
        )
        assert (2, 2) == (cases.total, len(cases.cases))
        limited = ledger.cases(ROLLOUT, limit=1)
        assert (2, [broken]) == (limited.total, list(limited.cases))

    def test_requests_without_a_name_are_cases_by_their_family(self, ledger: SqlLedger) -> None:
        """Requests that are alike but for names and numbers stand for one case; those without text for none."""

        def run(trace_id: str, family: str | None, model_version: str, *, passes: bool) -> TaggedTrace:
            trace = a_trace(trace_id, model_version=model_version, outcome=success() if passes else failure())
            return structs.replace(tagged(trace, HARD), features=RequestFeatures("search", prompt_family=family))

        ledger.record(
            a_batch(
                *(run(f"b{number}", "f00", "model-1", passes=number > 0) for number in range(3)),
                *(run(f"c{number}", "f00", "model-2", passes=number == 0) for number in range(3)),
                run("b9", None, "model-1", passes=True),
                run("c9", None, "model-2", passes=False),
            )
        )

        cases = ledger.cases(ROLLOUT, limit=10)

        assert [("f00", CaseKind.FAMILY, Runs(3, 2), Runs(3, 1))] == [
            (case.name, case.kind, case.candidate, case.established) for case in cases.cases
        ]

    def test_a_calibration_is_read_back_whole(self, ledger: SqlLedger) -> None:
        """The one that was promoted last is in force, and tags as it did before it was stored."""
        first, second = a_calibration(NOON), a_calibration(NOON + 1)
        ledger.promote(first, at=NOON, history_labels=180)
        ledger.promote(second, at=NOON + 1, history_labels=200)

        ledger.promote(first, at=NOON + 2, history_labels=180)

        assert [second.calibration_id, first.calibration_id] == [
            record.calibration_id for record in ledger.calibrations()
        ]
        read = ledger.calibration(first.calibration_id)
        features = RequestFeatures("search", item="i3")
        assert read is not None
        assert first.tag(features) == read.tag(features)
        assert ledger.calibration("never frozen") is None

    def test_a_calibration_may_be_kept_without_being_in_force(self, ledger: SqlLedger) -> None:
        """One that is only kept comes before those that were ever promoted, and can be promoted later."""
        in_force, kept = a_calibration(NOON), a_calibration(NOON + 1)
        ledger.promote(in_force, at=NOON, history_labels=180)

        ledger.keep(kept, history_labels=200)

        assert [(kept.calibration_id, None), (in_force.calibration_id, NOON)] == [
            (record.calibration_id, record.promoted_at) for record in ledger.calibrations()
        ]
        assert kept == ledger.calibration(kept.calibration_id)
        ledger.promote(kept, at=NOON + 2, history_labels=210)
        ledger.keep(kept, history_labels=1)
        assert (kept.calibration_id, NOON + 2, 210) == (
            ledger.calibrations()[-1].calibration_id,
            ledger.calibrations()[-1].promoted_at,
            ledger.calibrations()[-1].history_labels,
        )

    def test_what_is_promoted_last_is_in_force_though_clocks_differ(self, ledger: SqlLedger) -> None:
        """A promotion by a clock that is behind comes into force right after the last one."""
        early, late = a_calibration(NOON), a_calibration(NOON + 1)
        ledger.promote(early, at=NOON, history_labels=180)

        ledger.promote(late, at=NOON - 1000, history_labels=200)

        first, second = ledger.calibrations()
        assert late.calibration_id == second.calibration_id
        assert NOON == first.promoted_at
        assert second.promoted_at == pytest.approx(NOON)

    def test_requests_that_name_themselves_are_listed(self, ledger: SqlLedger) -> None:
        """Each once, with how often it was asked, whoever answered; requests without a name are left out."""
        ledger.record(
            a_batch(
                tagged(a_trace("t1", request_id="i2")),
                tagged(a_trace("t2", request_id="i1", environment="probes")),
                tagged(a_trace("t3", request_id="i1", model_version="model-2")),
                tagged(a_trace("t4")),
            )
        )

        listed = [(asked.features.capability, asked.features.item, asked.requests) for asked in ledger.asked()]

        assert [("search", "i1", 2), ("search", "i2", 1)] == listed

    def test_probe_results_tell_how_versions_did(self, ledger: SqlLedger) -> None:
        """Runs of the environments `reference` and `probes`, by probe and version, earliest version first."""
        ledger.record(
            a_batch(
                tagged(a_trace("t1", request_id="i1", environment="probes", outcome=failure())),
                tagged(a_trace("t2", request_id="i1", environment="probes", outcome=success())),
                tagged(a_trace("t3", request_id="i1", environment="probes")),
                tagged(
                    a_trace(
                        "t4",
                        request_id="i1",
                        environment="reference",
                        model_version="older",
                        started_at=NOON - 9,
                        outcome=success(),
                    )
                ),
                tagged(a_trace("t5", request_id="i1", environment="production", outcome=failure())),
                tagged(a_trace("t6", environment="probes", outcome=failure())),
            )
        )

        assert [
            ProbeResult("i1", "search", "older", NOON - 9, runs=1, labelled=1, failures=0),
            ProbeResult("i1", "search", "model-1", NOON, runs=3, labelled=2, failures=1),
        ] == list(ledger.probe_results())

    def test_both_arms_are_tagged_anew_under_one_calibration(self, ledger: SqlLedger) -> None:
        """Requests that another calibration tagged get the tag of this one; counters keep the tier they counted."""
        calibration = a_calibration()
        ledger.record(
            a_batch(
                tagged(a_trace("t1", request_id="i3")),
                tagged(a_trace("t2", model_version="model-2", request_id="i4")),
                tagged(a_trace("t3", model_version="bystander", request_id="i4")),
            )
        )
        before = ledger.counters()
        rollout = dataclasses.replace(ROLLOUT, calibration_id=calibration.calibration_id)

        assert 2 == ledger.retag(rollout, calibration)
        assert 0 == ledger.retag(rollout, calibration)

        cohort = ledger.cohort(rollout, matured_before=NOON + 1)
        (stratum,) = cohort.baseline.strata
        tag = calibration.tag(RequestFeatures("search", item="i3"))
        assert (tag.tier, tag.bin, tag.is_known) == (stratum.tier, stratum.bin, stratum.is_known)
        assert tag.difficulty_logit == pytest.approx(stratum.logit_sum)
        assert 1 == cohort.candidate.requests
        assert before == ledger.counters()

    def test_one_replica_reviews_at_a_time(self, ledger: SqlLedger) -> None:
        """Whoever asks first may review, and may again after giving it back."""
        with ledger.hold_lease(Lease.REVIEW) as is_ours:
            assert is_ours
        with ledger.hold_lease(Lease.REVIEW) as is_ours:
            assert is_ours

    def test_a_thread_waits_for_a_job_until_another_is_done(self, ledger: SqlLedger) -> None:
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
