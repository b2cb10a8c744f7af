"""From polled records to the batch that the ledger writes: decode, tag, and set aside what says nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from msgspec.structs import replace

from monitor.difficulty.features import prompt_family, request_features
from monitor.difficulty.tagger import Tagger
from monitor.ingest.source import Record, TopicPartition
from monitor.ledger.ledger import DeadLetter, PendingSpans, TaggedTrace
from monitor.trace.assembly import build_traces
from monitor.trace.decode import Decoded, Ignored, decode
from monitor.trace.model import DropReason, InvalidRecord, OutcomeEvent, Trace
from monitor.trace.outcome_policy import implied_outcomes, is_over_budget
from monitor.trace.reader import DecodeOptions
from monitor.trace.settings import Limits, TraceSettings
from monitor.trace.span import Span

_Event = TypeVar("_Event", Trace, Span)


@dataclass(frozen=True, slots=True)
class DecodedBatch:
    """
    What a poll said.

    Attributes:
        events: Traces, outcomes and spans in record order.
        dead_letters: Records that say nothing, each with the record that it stands for.
        records: Records per partition.
        ignored: What was left aside in records that were read.
    """

    events: Sequence[Trace | OutcomeEvent | Span]
    dead_letters: Sequence[tuple[Record, DeadLetter]]
    records: Mapping[TopicPartition, int]
    ignored: Mapping[Ignored, int]

    def event_times(self) -> Iterator[float]:
        """When things happened, Unix seconds."""
        for event in self.events:
            if isinstance(event, Trace):
                yield event.started_at
            elif isinstance(event, Span):
                yield event.started_at if event.ended_at is None else event.ended_at

    @property
    def traces(self) -> Iterable[Trace]:
        return (event for event in self.events if isinstance(event, Trace))


@dataclass(frozen=True, slots=True)
class Rules:
    """
    How records are read.

    Attributes:
        limits: What is decoded.
        traces: How spans become traces and evaluations outcomes.
        read_as: Environment that every trace is read as, whatever it says; None to believe it.
    """

    limits: Limits
    traces: TraceSettings
    read_as: str | None = None
    options: DecodeOptions = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", DecodeOptions(self.traces))  # compiled once


def decode_records(records: Sequence[Record], rules: Rules) -> DecodedBatch:
    """Decode *records*; those that cannot be are set aside with a reason and a hash."""
    events: list[Trace | OutcomeEvent | Span] = []
    ignored: Counter[Ignored] = Counter()
    dead_letters: list[tuple[Record, DeadLetter]] = []
    for record in records:
        try:
            decoded = _decode(record, rules)
        except InvalidRecord as invalid:
            dead_letters.append((record, _dead_letter(record, invalid)))
            continue
        if decoded.traces:
            events += decoded.traces if rules.read_as is None else _read_as(rules.read_as, decoded.traces)
        if decoded.outcomes:
            events += [_dated_event(outcome, record) for outcome in decoded.outcomes]
        if decoded.spans:
            # Not only when the trace is put together: another service on the same ledger may be first to do that.
            spans = decoded.spans if rules.read_as is None else _read_as(rules.read_as, decoded.spans)
            events += [_without_text(span) for span in spans]
        if decoded.ignored:
            ignored.update(decoded.ignored)
    counts = Counter([record.position[:2] for record in records])
    return DecodedBatch(
        events, dead_letters, {TopicPartition(*partition): count for partition, count in counts.items()}, ignored
    )


def tag_events(
    events: Sequence[Trace | OutcomeEvent | Span], tagger: Tagger, rules: Rules
) -> list[TaggedTrace | OutcomeEvent | Span]:
    """Give every trace its features, its tag and its own verdicts; everything else is passed on."""
    tagged = iter(tag_traces([event for event in events if isinstance(event, Trace)], tagger, rules))
    return [next(tagged) if isinstance(event, Trace) else event for event in events]


def tag_traces(traces: Sequence[Trace], tagger: Tagger, rules: Rules) -> list[TaggedTrace]:
    """*traces* as the ledger takes them."""
    outcomes = rules.traces.outcomes
    features = [request_features(trace.request) for trace in traces]
    return [
        TaggedTrace(trace, asked, tag, implied_outcomes(trace, outcomes), is_over_budget(trace, outcomes))
        for trace, asked, tag in zip(traces, features, tagger.tag_all(features), strict=True)
    ]


def assemble_due(due: Iterable[PendingSpans], rules: Rules) -> list[tuple[PendingSpans, list[Trace]]]:
    """The agent runs of each trace, in the order of their starts; none where its spans are not an agent's work."""
    built = [(pending, [_dated(run) for run in build_traces(pending.spans, rules.traces.outcomes)]) for pending in due]
    return sorted(built, key=lambda pair: pair[1][0].started_at if pair[1] else 0.0)


def _decode(record: Record, rules: Rules) -> Decoded:
    if record.corrupt_batch is not None:
        reason = DropReason.TOO_LARGE if record.corrupt_batch.is_too_large else DropReason.UNREADABLE
        raise InvalidRecord(reason, record.corrupt_batch.detail)
    if record.oversize is not None:  # too large to have been kept in memory at all
        detail = f"{record.oversize.size_bytes} bytes, at most {rules.limits.max_record_bytes} are read"
        raise InvalidRecord(DropReason.TOO_LARGE, detail)
    return decode(record.value, rules.limits, rules.options)


def _read_as(environment: str, events: Sequence[_Event]) -> list[_Event]:
    return [replace(event, environment=environment) for event in events]


def _without_text(span: Span) -> Span:
    """*span* as it may wait in the ledger, for a day perhaps: what was asked is needed only to tell what it is like."""
    if span.text is None:
        return span
    return replace(span, text=None, prompt_family=prompt_family(span.text) if span.text else None)


def _dated(trace: Trace) -> Trace:
    """Date the outcome of a run that never ended, so that a later verdict of the same source replaces it."""
    outcome = trace.outcome
    if outcome is None or outcome.labelled_at is not None:
        return trace
    labelled_at = trace.ended_at if trace.ended_at is not None else trace.started_at
    return replace(trace, outcome=replace(outcome, labelled_at=labelled_at))


def _dated_event(event: OutcomeEvent, record: Record) -> OutcomeEvent:
    if event.outcome.labelled_at is not None:
        return event
    return replace(event, outcome=replace(event.outcome, labelled_at=record.timestamp))


def _dead_letter(record: Record, invalid: InvalidRecord) -> DeadLetter:
    return DeadLetter(
        position=record.position,
        reason=invalid.reason,
        detail=invalid.detail,
        sha256=record.sha256,
        size_bytes=record.size_bytes,
    )
