"""From polled records to the batch that the ledger writes: decode, tag, and set aside what says nothing."""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from math import inf
from typing import Any, NamedTuple, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from monitor.difficulty.features import prompt_family, request_features, tool_set
from monitor.difficulty.tagger import Tagger, declared_tier
from monitor.ingest.source import DeadLetterRecord, Record, TopicPartition
from monitor.ledger.ledger import PendingSpans, TaggedTrace
from monitor.trace.assembly import build_traces
from monitor.trace.decode import decode
from monitor.trace.model import TEACHING_ENVIRONMENTS, DropReason, Ignored, InvalidRecord, OutcomeEvent, Trace, TraceId
from monitor.trace.outcome_policy import budget_of, implied_outcomes, is_over_budget
from monitor.trace.reader import Decoded, DecodeOptions
from monitor.trace.runs import missing_seconds
from monitor.trace.served import ServedModels, has_failed
from monitor.trace.settings import AssemblySettings, Limits, TopicRule, TraceSettings
from monitor.trace.span import Span
from monitor.trace.timing import held_run, held_verdict, is_far_ahead, refuse_ancient

Event = Trace | OutcomeEvent


class DecodedRecord(Struct, frozen=True, gc=False):
    """
    A record and what it says.

    Attributes:
        events: Its traces and outcomes.
        spans: Its spans, far more than there are events.
        ignored: What was left aside in it.
        dead_letter: Why it cannot be read, or None.
    """

    record: Record
    events: Sequence[Event] = ()
    spans: Sequence[Span] = ()
    ignored: Mapping[Ignored, int] = {}
    dead_letter: DeadLetterRecord | None = None

    @property
    def partition(self) -> TopicPartition:
        return self.record.position.topic_partition


class BuiltTrace(NamedTuple):
    """The agent runs of a trace, out of its pending spans; none where they are not an agent's work."""

    pending: PendingSpans
    runs: Sequence[Trace]


@dataclass(frozen=True, slots=True)
class DecodeRules:
    """
    How records are read.

    Attributes:
        limits: What is decoded.
        traces: How spans become traces and evaluations outcomes.
        read_as: Environment that every trace is read as, whatever it says; None to believe it.
        now: The machine's clock, which no event may be ahead of; None to believe any time.
        is_live: Whether records arrive as they are written, so that what is very old is refused.
    """

    limits: Limits
    traces: TraceSettings
    read_as: str | None = None
    now: Callable[[], float] | None = None
    is_live: bool = False
    options: DecodeOptions = field(init=False)
    topics: Mapping[str, TopicRule] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", DecodeOptions(self.traces))  # compiled once
        object.__setattr__(self, "topics", {rule.topic: rule for rule in self.traces.topics})


def decode_records(records: Iterable[Record], rules: DecodeRules) -> list[DecodedRecord]:
    """Decode each record once; one that cannot be read says why."""
    arrival = None if rules.now is None else rules.now()
    return [_decoded(record, rules, arrival) for record in records]


def latest_event_time(records: Collection[DecodedRecord]) -> float:
    """The latest time in *records*, Unix seconds; minus infinity if they have none."""
    times = [trace.started_at for trace in traces_in(records)]
    spans = (span for record in records for span in record.spans)
    times += [span.started_at if span.ended_at is None else span.ended_at for span in spans]
    return max(times, default=-inf)


def traces_in(records: Iterable[DecodedRecord]) -> list[Trace]:
    """Traces that came whole."""
    return [event for record in records for event in record.events if isinstance(event, Trace)]


def tag_events(events: Sequence[Event], tagger: Tagger, rules: DecodeRules) -> list[TaggedTrace | OutcomeEvent]:
    """Give every trace its features, its tag and its own verdicts; outcomes are passed on."""
    tagged = iter(tag_traces([event for event in events if isinstance(event, Trace)], tagger, rules))
    return [next(tagged) if isinstance(event, Trace) else event for event in events]


def tag_traces(traces: Sequence[Trace], tagger: Tagger, rules: DecodeRules) -> list[TaggedTrace]:
    """*traces* as the ledger takes them."""
    outcomes = rules.traces.outcomes
    features = [request_features(trace.request) for trace in traces]
    allowed = [(budget := budget_of(trace, outcomes), is_over_budget(trace, budget)) for trace in traces]
    return [
        TaggedTrace(
            trace,
            asked,
            tag,
            implied_outcomes(trace, outcomes, is_over=over),
            over,
            budget,
            declared_tier=declared_tier(trace.request, rules.traces.tiers),
            cluster=_cluster_of(trace),
        )
        for trace, asked, tag, (budget, over) in zip(traces, features, tagger.tag_all(features), allowed, strict=True)
    ]


def _cluster_of(trace: Trace) -> int | None:
    """
    63 bits that stand for what makes requests alike: their conversation, else their user, else their item.

    A request with a text or tools and none of these is one of its own: below 0, for a part of such requests is read.
    """
    asked = trace.request
    for kind, name in (("c", trace.conversation_id), ("u", trace.user_id), ("i", asked.request_id)):
        if name is not None:
            return _hash_of(f"{kind}{name}")
    return -1 - _hash_of(trace.trace_id) if asked.text or asked.prompt_family or asked.tools or asked.tool_set else None


def _hash_of(name: str) -> int:
    return int.from_bytes(blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big") >> 1


def assemble(
    due: Collection[PendingSpans], served: ServedModels, rules: DecodeRules, *, now: float, is_last_chance: bool = False
) -> tuple[Sequence[BuiltTrace], Mapping[TraceId, float]]:
    """
    The agent runs of traces that are *due*.

    Args:
        due: Their spans.
        served: Knows the versions of runs that do not name any.
        rules: How records are read.
        now: Unix seconds; infinite where no more spans are to be waited for.
        is_last_chance: Whether no answered call is to be waited for either.

    Returns:
        Each trace with its runs, in the order of their starts, and those that still wait for a span or for an answered
        call, with the time until which they wait, Unix seconds.
    """
    postponed: dict[TraceId, float] = {}
    whole = []
    for pending in due:
        if now < (whole_at := _whole_at(pending, rules.traces.assembly)):
            postponed[pending.trace_id] = whole_at
        else:
            waits_until = whole_at + rules.traces.assembly.quiet_seconds
            runs = build_traces(pending.spans, rules.traces.outcomes, pending.counted)
            whole.append((pending, waits_until, is_last_chance or waits_until <= now < inf, runs))
    served = served.and_taught_by(run for *_, runs in whole for run in runs)
    # A batch may hold all that was written by a library that never tells which model answered.
    asked = served.and_asked_for_by(run for _, _, is_last, runs in whole if is_last for run in runs)
    built: list[BuiltTrace] = []
    for pending, waits_until, is_last, runs in whole:
        told_by = [asked if is_last and has_failed(run) else served for run in runs]
        resolved = [told.resolve(run, is_last_chance=is_last) for told, run in zip(told_by, runs, strict=True)]
        if None in resolved:
            postponed[pending.trace_id] = waits_until
        else:
            held = [_held(run, rules) for run in resolved if run is not None]
            # Also of one that never ended, so that a later verdict of the same source replaces it.
            dated = [_dated(run, run.started_at if run.ended_at is None else run.ended_at) for run in held]
            built.append(BuiltTrace(pending, dated))
    return sorted(built, key=lambda each: each.runs[0].started_at if each.runs else 0.0), postponed


def _whole_at(pending: PendingSpans, settings: AssemblySettings) -> float:
    """When to take the spans of a trace for all that will come, Unix seconds."""
    if len(pending.spans) >= settings.max_spans_per_trace:
        return 0.0
    patience = min(max(settings.quiet_seconds, missing_seconds(pending.spans)), settings.idle_seconds)
    return min(pending.last_received_at + patience, pending.first_received_at + settings.max_age_seconds)


def _decoded(record: Record, rules: DecodeRules, arrival: float | None) -> DecodedRecord:
    try:
        decoded = _decode(record, rules)
        if (topic := rules.topics.get(record.position.topic)) is not None:
            decoded = _allowed(decoded, topic)
        if arrival is not None:
            decoded = _held_to_arrival(decoded, arrival, rules)
    except InvalidRecord as invalid:
        return DecodedRecord(record, dead_letter=DeadLetterRecord(record, invalid.reason, invalid.detail))
    traces, spans = decoded.traces, decoded.spans
    if rules.read_as is not None:
        traces = [replace(trace, environment=rules.read_as) for trace in traces]
        spans = [replace(span, environment=rules.read_as) for span in spans]
    events: list[Event] = [*traces]
    if decoded.outcomes:
        events += [_dated(outcome, record.timestamp) for outcome in decoded.outcomes]
    # Not only when the trace is put together: another service on the same ledger may be first to do that.
    spans = [_without_content(span) for span in spans] if spans else ()
    return DecodedRecord(record, events, spans, decoded.ignored)


def _held(run: Trace, rules: DecodeRules) -> Trace:
    # Never a day ahead, so never refused: such spans were left out as they came.
    slack = rules.limits.max_future_seconds
    return run if rules.now is None else held_run(run, arrival=rules.now(), slack_seconds=slack)


def _decode(record: Record, rules: DecodeRules) -> Decoded:
    if record.corrupt_batch is not None:
        reason = DropReason.TOO_LARGE if record.corrupt_batch.is_too_large else DropReason.UNREADABLE
        raise InvalidRecord(reason, record.corrupt_batch.detail)
    if record.oversize is not None:  # too large to have been kept in memory at all
        detail = f"{record.oversize.size_bytes} bytes, at most {rules.limits.max_record_bytes} are read"
        raise InvalidRecord(DropReason.TOO_LARGE, detail)
    return decode(record.value, rules.limits, rules.options)


def _allowed(decoded: Decoded, rule: TopicRule) -> Decoded:
    traces = [trace for trace in decoded.traces if _may_say(rule, trace)]
    spans = [span for span in decoded.spans if _may_say(rule, span)]
    outcomes = decoded.outcomes if rule.judges else ()
    parts = ((decoded.traces, traces), (decoded.spans, spans), (decoded.outcomes, outcomes))
    refused = sum(len(said) - len(allowed) for said, allowed in parts)
    return _left_aside(decoded, Ignored.NOT_ALLOWED, refused, traces=traces, spans=spans, outcomes=outcomes)


def _left_aside(decoded: Decoded, why: Ignored, times: int, **parts: Any) -> Decoded:
    return replace(decoded, **parts, ignored={**decoded.ignored, why: times}) if times else decoded


def _may_say(rule: TopicRule, event: Trace | Span) -> bool:
    is_its_own = rule.services is None or event.service is None or event.service in rule.services
    return is_its_own and (rule.teaches or event.environment not in TEACHING_ENVIRONMENTS)


def _held_to_arrival(decoded: Decoded, arrival: float, rules: DecodeRules) -> Decoded:
    limits = rules.limits
    if rules.is_live:
        for trace in decoded.traces:
            refuse_ancient(trace, arrival=arrival, most_days=limits.max_past_days)
    slack = limits.max_future_seconds
    traces = [held_run(each, arrival=arrival, slack_seconds=slack) for each in decoded.traces]
    outcomes = [held_verdict(each, arrival=arrival, slack_seconds=slack) for each in decoded.outcomes]
    spans = [span for span in decoded.spans if not is_far_ahead(span, arrival=arrival)]
    skewed = len(decoded.spans) - len(spans)
    skewed += sum(map(operator.is_not, (*traces, *outcomes), (*decoded.traces, *decoded.outcomes)))
    return _left_aside(decoded, Ignored.CLOCK_SKEWED, skewed, traces=traces, outcomes=outcomes, spans=spans)


def _without_content(span: Span) -> Span:
    """*span* as it may be pending in the ledger, for a day perhaps: difficulty needs hashes of what it says."""
    if span.text is None and not span.tools:
        return span
    family, tools = prompt_family(span.text) if span.text else None, tool_set(span.tools) if span.tools else None
    names = tuple([replace(tool, description="", parameters="") for tool in span.tools])
    return replace(span, text=None, prompt_family=family, tools=names, tool_set=tools)


_Event = TypeVar("_Event", bound=Event)


def _dated(event: _Event, at: float | None) -> _Event:
    """Let an outcome that has no time of its own be of *at*, Unix seconds."""
    outcome = event.outcome
    if outcome is None or outcome.labelled_at is not None:
        return event
    return replace(event, outcome=replace(outcome, labelled_at=at))
