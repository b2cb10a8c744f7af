"""What the events of one batch say together: traces joined with outcomes, each trace once, each label once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from msgspec import Struct

from monitor.ledger.cells import Cell
from monitor.ledger.counting import CounterDelta, CounterDeltas
from monitor.ledger.labels import Admission
from monitor.ledger.ledger import Assembled, CounterName, TaggedTrace
from monitor.trace.model import Outcome, OutcomeEvent, Trace
from monitor.trace.outcome_policy import resolve, standing
from monitor.trace.settings import OutcomeSettings
from monitor.trace.span import Span


class Slot(Struct, gc=False):
    """
    What is known of one trace id while a batch is joined.

    Attributes:
        stored: The ledger has a row for it already.
        delta: Where it counts, once its trace has come.
        standing: The latest word of each source on each evaluation.
        label: The verdict that counts, None where no source that the settings accept has given one.
        new_trace: The trace that this batch brought.
        cell: Where the ledger counts it as evidence, where it has the trace.
        has_new_outcome: This batch changed the label.
    """

    stored: bool = False
    delta: CounterDelta | None = None
    standing: tuple[Outcome, ...] = ()
    label: Outcome | None = None
    new_trace: TaggedTrace | None = None
    cell: Cell | None = None
    has_new_outcome: bool = False


@dataclass(frozen=True, slots=True)
class _Place:
    """Where requests with the same labels count, and the caps that their names are over."""

    delta: CounterDelta
    dropped: Counter[str]


class Joining:
    """
    The counts that one batch adds, event by event.

    Args:
        slots: What the ledger has of the trace ids of the batch; those it has not are added.
        deltas: Takes the counts.
        labels: Decides which label values may be used.
        outcomes: Which of several verdicts on a trace counts.
    """

    def __init__(
        self, slots: dict[str, Slot], deltas: CounterDeltas, labels: Admission, outcomes: OutcomeSettings
    ) -> None:
        self._slots = slots
        self._deltas = deltas
        self._labels = labels
        self._outcomes = outcomes
        self._places: dict[tuple[str, str, str, str, str], _Place] = {}

    def is_counted(self, trace_id: str) -> bool:
        """Whether the trace is a request already."""
        slot = self._slots.get(trace_id)
        return slot is not None and slot.delta is not None

    def add(self, event: TaggedTrace | OutcomeEvent | Span) -> None:
        """Count what one record said; spans are counted as they begin to wait."""
        if isinstance(event, TaggedTrace):
            self.add_trace(event)
        elif isinstance(event, OutcomeEvent):
            self._add_outcome(event.trace_id, event.outcome)
            self._deltas.count(CounterName.UNKNOWN_FIELDS, by=event.unknown_fields)

    def add_trace(self, tagged: TaggedTrace) -> None:
        """Count a trace once; one that is there already may still bring a newer outcome."""
        trace = tagged.trace
        slot = self._slot(trace.trace_id)
        # First, so that of the verdicts that come with a new trace only the label is counted.
        for outcome in tagged.outcomes:
            self._add_outcome(trace.trace_id, outcome)
        if slot.delta is None:
            delta = self._place(trace, tagged.tag.tier)
            slot.delta, slot.new_trace = delta, tagged
            delta.traces.append(tagged)
            if slot.label is not None:
                self._count_label(delta, slot.label, trace.trace_id)
        else:
            slot.delta.duplicates += 1
        if trace.unknown_fields:
            self._deltas.count(CounterName.UNKNOWN_FIELDS, by=trace.unknown_fields)

    def add_assembled(self, assembled: Assembled) -> None:
        """Count the runs of a trace that waited for its spans, and what became of them."""
        new = [tagged for tagged in assembled.tagged if not self.is_counted(tagged.trace.trace_id)]
        for tagged in new:
            self.add_trace(tagged)
        # Late: they came while another replica was closing the trace.
        became = "joined" if new else "late" if assembled.tagged else "foreign"
        self._deltas.count(CounterName.SPANS, detail=became, by=assembled.span_count)

    def _slot(self, trace_id: str) -> Slot:
        slot = self._slots.get(trace_id)
        if slot is None:
            slot = self._slots[trace_id] = Slot()
        return slot

    def _add_outcome(self, trace_id: str, outcome: Outcome) -> None:
        """Add *outcome* to the verdicts on a trace; count a first label, or a revision of it."""
        slot = self._slot(trace_id)
        now_standing = standing((*slot.standing, outcome)) if slot.standing else (outcome,)
        if now_standing == slot.standing:
            return
        previous, label = slot.label, resolve(now_standing, self._outcomes)
        slot.standing, slot.label, slot.has_new_outcome = now_standing, label, True
        if slot.delta is None or label is None:
            return  # counted when the trace comes, or when somebody who is believed speaks
        if previous is None:
            self._count_label(slot.delta, label, trace_id)
        elif previous.success != label.success:
            revision = f"{_outcome_label(previous)}>{_outcome_label(label)}"
            slot.delta.revisions[revision] = slot.delta.revisions.get(revision, 0) + 1
            self._count_failure_class(slot.delta, label)

    def _count_label(self, delta: CounterDelta, label: Outcome, trace_id: str) -> None:
        if label.success:
            delta.successes += 1
        else:
            delta.failures += 1
            delta.failed_trace = trace_id
            self._count_failure_class(delta, label)

    def _count_failure_class(self, delta: CounterDelta, label: Outcome) -> None:
        if label.success:
            return
        name = self._labels.failure_class(delta.version, label.failure_class or "unknown")
        delta.failure_classes[name] = delta.failure_classes.get(name, 0) + 1

    def _place(self, trace: Trace, tier: str) -> CounterDelta:
        """Where *trace* counts; each of its labels that is over a cap counts as dropped."""
        key = (trace.service, trace.environment, trace.model_version, trace.request.capability, tier)
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = self._find_place(trace, tier)
        elif place.dropped:
            self._labels.dropped.update(place.dropped)
        return place.delta

    def _find_place(self, trace: Trace, tier: str) -> _Place:
        before = self._labels.dropped.copy()
        version = self._labels.version(trace.service, trace.environment, trace.model_version)
        capability = self._labels.capability(version, trace.request.capability)
        return _Place(self._deltas.of(version, str(tier), capability), self._labels.dropped - before)


def _outcome_label(outcome: Outcome) -> str:
    return "success" if outcome.success else "failure"
