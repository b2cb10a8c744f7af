"""From polled records to the batch that the ledger writes: decode, tag, and set aside what says nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from monitor.difficulty.calibration import Calibration
from monitor.difficulty.features import request_features
from monitor.difficulty.tiers import NO_TAG
from monitor.ingest.source import Record, TopicPartition
from monitor.ledger.ledger import DeadLetter, TaggedTrace
from monitor.trace.decode import Decoded, decode
from monitor.trace.model import DropReason, InvalidRecord, OutcomeEvent, Trace
from monitor.trace.settings import Limits


@dataclass(frozen=True, slots=True)
class DecodedBatch:
    """
    What a poll said.

    Attributes:
        events: Traces and outcomes in record order.
        dead_letters: Records that say nothing, each with the record that it stands for.
        records: Records per partition.
    """

    events: Sequence[Trace | OutcomeEvent]
    dead_letters: Sequence[tuple[Record, DeadLetter]]
    records: Mapping[TopicPartition, int]

    @property
    def traces(self) -> Iterable[Trace]:
        return (event for event in self.events if isinstance(event, Trace))


def decode_records(records: Iterable[Record], limits: Limits, *, read_as: str | None = None) -> DecodedBatch:
    """
    Decode *records*; those that cannot be are set aside with a reason and a hash.

    Args:
        records: In order.
        limits: What is decoded.
        read_as: Environment that every trace is read as, whatever it says; None to believe it.
    """
    events: list[Trace | OutcomeEvent] = []
    dead_letters: list[tuple[Record, DeadLetter]] = []
    counts: Counter[TopicPartition] = Counter()
    for record in records:
        counts[record.position.topic_partition] += 1
        try:
            decoded = _decode(record, limits)
        except InvalidRecord as invalid:
            dead_letters.append((record, _dead_letter(record, invalid)))
            continue
        events.extend(_dated(_in_environment(trace, read_as)) for trace in decoded.traces)
        events.extend(_dated_event(outcome, record) for outcome in decoded.outcomes)
    return DecodedBatch(events, dead_letters, counts)


def tag_events(
    events: Iterable[Trace | OutcomeEvent], calibration: Calibration | None
) -> list[TaggedTrace | OutcomeEvent]:
    """Give every trace its features and its tag under *calibration*, and let its text go."""
    return [_tagged(event, calibration) if isinstance(event, Trace) else event for event in events]


def _decode(record: Record, limits: Limits) -> Decoded:
    if record.oversize is not None:  # too large to have been kept in memory at all
        detail = f"{record.oversize.size_bytes} bytes, at most {limits.max_record_bytes} are read"
        raise InvalidRecord(DropReason.TOO_LARGE, detail)
    return decode(record.value, limits)


def _tagged(trace: Trace, calibration: Calibration | None) -> TaggedTrace:
    features = request_features(trace.request)
    return TaggedTrace(trace, features, NO_TAG if calibration is None else calibration.tag(features))


def _in_environment(trace: Trace, read_as: str | None) -> Trace:
    return trace if read_as is None else replace(trace, environment=read_as)


def _dated(trace: Trace) -> Trace:
    """Date an outcome that came with its trace, so that a later verdict of the same source replaces it."""
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
