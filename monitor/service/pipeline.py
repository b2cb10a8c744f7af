"""Turns polled records into the batch that the ledger writes: decodes, assembles and tags them."""

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
    A record and its decoded contents.

    Attributes:
        events: Its complete traces and its outcomes.
        spans: Its spans, which wait for the rest of their trace.
        ignored: How many parts of it were ignored, by reason.
        dead_letter: Why it cannot be decoded, or None.
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
    """The agent runs built from the pending spans of a trace; none if the trace is not the work of an agent."""

    pending: PendingSpans
    runs: Sequence[Trace]


@dataclass(frozen=True, slots=True)
class DecodeRules:
    """
    How records are decoded.

    Attributes:
        limits: Limits on size and time.
        traces: How spans become traces and evaluations become outcomes.
        read_as: Environment to assign to every trace; None to keep its own.
        now: The machine's clock, which no event may be ahead of; None to accept any time.
        is_live: Whether records arrive as they are produced, so that very old traces are refused.
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
    """Decode each record; one that cannot be decoded gets a dead letter with the reason."""
    arrival = None if rules.now is None else rules.now()
    return [_decoded(record, rules, arrival) for record in records]


def latest_event_time(records: Collection[DecodedRecord]) -> float:
    """The latest event time in *records*, Unix seconds; minus infinity if there is none."""
    times = [trace.started_at for trace in traces_in(records)]
    spans = (span for record in records for span in record.spans)
    times += [span.started_at if span.ended_at is None else span.ended_at for span in spans]
    return max(times, default=-inf)


def traces_in(records: Iterable[DecodedRecord]) -> list[Trace]:
    """Traces that came whole in one record, not as spans."""
    return [event for record in records for event in record.events if isinstance(event, Trace)]


def tag_events(events: Sequence[Event], tagger: Tagger, rules: DecodeRules) -> list[TaggedTrace | OutcomeEvent]:
    """Tag every trace (see `tag_traces`) and pass outcomes on, in the order of *events*."""
    tagged = iter(tag_traces([event for event in events if isinstance(event, Trace)], tagger, rules))
    return [next(tagged) if isinstance(event, Trace) else event for event in events]


def tag_traces(traces: Sequence[Trace], tagger: Tagger, rules: DecodeRules) -> list[TaggedTrace]:
    """Give each trace its features, its difficulty tag, the outcomes that it implies, its budget and its cluster."""
    outcomes = rules.traces.outcomes
    features = [request_features(trace.request) for trace in traces]
    tags = tagger.tag_all(features)
    budgets = [(budget := budget_of(trace, outcomes), is_over_budget(trace, budget)) for trace in traces]
    return [
        TaggedTrace(
            trace,
            request,
            tag,
            implied_outcomes(trace, outcomes, is_over=is_over),
            is_over,
            budget,
            declared_tier=declared_tier(trace.request, rules.traces.tiers),
            cluster=_cluster_of(trace),
        )
        for trace, request, tag, (budget, is_over) in zip(traces, features, tags, budgets, strict=True)
    ]


def _cluster_of(trace: Trace) -> int | None:
    """
    63-bit hash of what makes requests correlated: the conversation, else the user, else the item.

    A request with none of these but with a text or tools is a cluster of its own, with a negative number: the
    ledger reads only a sample of those.
    """
    request = trace.request
    for kind, name in (("c", trace.conversation_id), ("u", trace.user_id), ("i", request.request_id)):
        if name is not None:
            return _hash_of(f"{kind}{name}")
    has_content = request.text or request.prompt_family or request.tools or request.tool_set
    return -1 - _hash_of(trace.trace_id) if has_content else None


def _hash_of(name: str) -> int:
    return int.from_bytes(blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big") >> 1


def assemble(
    due: Collection[PendingSpans], served: ServedModels, rules: DecodeRules, *, now: float, is_last_chance: bool = False
) -> tuple[Sequence[BuiltTrace], Mapping[TraceId, float]]:
    """
    Build the agent runs of the traces that are *due*.

    Args:
        due: Pending spans of those traces.
        served: Resolves the model version of runs that do not name one.
        rules: How records are decoded.
        now: Unix seconds; infinite to treat every trace as complete.
        is_last_chance: Whether to build a run even if its model version is still unknown.

    Returns:
        Each trace with its runs, by start time; and the postponed traces, which still wait for a span or for an
        answered call that reveals their model version, with the time until which they wait, Unix seconds.
    """
    postponed: dict[TraceId, float] = {}
    complete = []
    for pending in due:
        if now < (complete_at := _complete_at(pending, rules.traces.assembly)):
            postponed[pending.trace_id] = complete_at
        else:
            waits_until = complete_at + rules.traces.assembly.quiet_seconds
            runs = build_traces(pending.spans, rules.traces.outcomes, pending.counted)
            complete.append((pending, waits_until, is_last_chance or waits_until <= now < inf, runs))
    served = served.and_taught_by(run for *_, runs in complete for run in runs)
    # Some libraries never record which model answered: as a last resort, use the model that was asked for.
    requested = served.and_asked_for_by(run for _, _, is_last, runs in complete if is_last for run in runs)
    built: list[BuiltTrace] = []
    for pending, waits_until, is_last, runs in complete:
        resolvers = [requested if is_last and has_failed(run) else served for run in runs]
        resolved = [models.resolve(run, is_last_chance=is_last) for models, run in zip(resolvers, runs, strict=True)]
        if None in resolved:
            postponed[pending.trace_id] = waits_until
        else:
            clamped = [_clamped_run(run, rules) for run in resolved if run is not None]
            # A run that never ended gets a time too, so that a later outcome from the same source can replace its own.
            dated = [_dated(run, run.started_at if run.ended_at is None else run.ended_at) for run in clamped]
            built.append(BuiltTrace(pending, dated))
    return sorted(built, key=lambda trace: trace.runs[0].started_at if trace.runs else 0.0), postponed


def _complete_at(pending: PendingSpans, settings: AssemblySettings) -> float:
    """When to assume that all spans of a trace have arrived, Unix seconds."""
    if len(pending.spans) >= settings.max_spans_per_trace:
        return 0.0
    patience = min(max(settings.quiet_seconds, missing_seconds(pending.spans)), settings.idle_seconds)
    return min(pending.last_received_at + patience, pending.first_received_at + settings.max_age_seconds)


def _decoded(record: Record, rules: DecodeRules, arrival: float | None) -> DecodedRecord:
    try:
        decoded = _decode(record, rules)
        if (topic := rules.topics.get(record.position.topic)) is not None:
            decoded = _without_forbidden(decoded, topic)
        if arrival is not None:
            decoded = _clamped_to_arrival(decoded, arrival, rules)
    except InvalidRecord as invalid:
        return DecodedRecord(record, dead_letter=DeadLetterRecord(record, invalid.reason, invalid.detail))
    traces, spans = decoded.traces, decoded.spans
    if rules.read_as is not None:
        traces = [replace(trace, environment=rules.read_as) for trace in traces]
        spans = [replace(span, environment=rules.read_as) for span in spans]
    events: list[Event] = [*traces]
    if decoded.outcomes:
        events += [_dated(outcome, record.timestamp) for outcome in decoded.outcomes]
    # Now and not at assembly, because the spans are stored in the ledger until then.
    spans = [_without_content(span) for span in spans] if spans else ()
    return DecodedRecord(record, events, spans, decoded.ignored)


def _clamped_run(run: Trace, rules: DecodeRules) -> Trace:
    # `held_run` refuses a run that is a day ahead, but spans that far ahead were dropped when they were decoded.
    slack = rules.limits.max_future_seconds
    return run if rules.now is None else held_run(run, arrival=rules.now(), slack_seconds=slack)


def _decode(record: Record, rules: DecodeRules) -> Decoded:
    if record.corrupt_batch is not None:
        reason = DropReason.TOO_LARGE if record.corrupt_batch.is_too_large else DropReason.UNREADABLE
        raise InvalidRecord(reason, record.corrupt_batch.detail)
    if record.oversize is not None:  # the source did not load it into memory
        detail = f"{record.oversize.size_bytes} bytes, at most {rules.limits.max_record_bytes} are read"
        raise InvalidRecord(DropReason.TOO_LARGE, detail)
    return decode(record.value, rules.limits, rules.options)


def _without_forbidden(decoded: Decoded, rule: TopicRule) -> Decoded:
    """*decoded* without the parts that the rule of its topic does not allow; counts them as ignored."""
    traces = [trace for trace in decoded.traces if _is_allowed(rule, trace)]
    spans = [span for span in decoded.spans if _is_allowed(rule, span)]
    outcomes = decoded.outcomes if rule.judges else ()
    parts = ((decoded.traces, traces), (decoded.spans, spans), (decoded.outcomes, outcomes))
    refused = sum(len(before) - len(after) for before, after in parts)
    return _with_ignored(decoded, Ignored.NOT_ALLOWED, refused, traces=traces, spans=spans, outcomes=outcomes)


def _with_ignored(decoded: Decoded, reason: Ignored, count: int, **parts: Any) -> Decoded:
    return replace(decoded, **parts, ignored={**decoded.ignored, reason: count}) if count else decoded


def _is_allowed(rule: TopicRule, event: Trace | Span) -> bool:
    is_own_service = rule.services is None or event.service is None or event.service in rule.services
    return is_own_service and (rule.teaches or event.environment not in TEACHING_ENVIRONMENTS)


def _clamped_to_arrival(decoded: Decoded, arrival: float, rules: DecodeRules) -> Decoded:
    """Move times ahead of *arrival* (Unix seconds) back to it and drop spans far ahead; count both as ignored."""
    limits = rules.limits
    if rules.is_live:
        for trace in decoded.traces:
            refuse_ancient(trace, arrival=arrival, most_days=limits.max_past_days)
    slack = limits.max_future_seconds
    traces = [held_run(trace, arrival=arrival, slack_seconds=slack) for trace in decoded.traces]
    outcomes = [held_verdict(outcome, arrival=arrival, slack_seconds=slack) for outcome in decoded.outcomes]
    spans = [span for span in decoded.spans if not is_far_ahead(span, arrival=arrival)]
    skewed = len(decoded.spans) - len(spans)
    skewed += sum(map(operator.is_not, (*traces, *outcomes), (*decoded.traces, *decoded.outcomes)))
    return _with_ignored(decoded, Ignored.CLOCK_SKEWED, skewed, traces=traces, outcomes=outcomes, spans=spans)


def _without_content(span: Span) -> Span:
    """*span* with its text replaced by hashes: it may be stored for a day, and difficulty needs only the hashes."""
    if span.text is None and not span.tools:
        return span
    family, tools = prompt_family(span.text) if span.text else None, tool_set(span.tools) if span.tools else None
    names = tuple([replace(tool, description="", parameters="") for tool in span.tools])
    return replace(span, text=None, prompt_family=family, tools=names, tool_set=tools)


_Event = TypeVar("_Event", bound=Event)


def _dated(event: _Event, at: float | None) -> _Event:
    """*event* with the time of its outcome set to *at* (Unix seconds) if it has none."""
    outcome = event.outcome
    if outcome is None or outcome.labelled_at is not None:
        return event
    return replace(event, outcome=replace(outcome, labelled_at=at))
