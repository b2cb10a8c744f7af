"""Joins the traces and outcomes of a batch, and counts each trace once and each label once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from msgspec import Struct

from monitor.labels.source_verdicts import NO_VERDICTS, SourceVerdicts, source_verdicts
from monitor.ledger.cells import Cell
from monitor.ledger.counting import CounterDelta, CounterDeltas
from monitor.ledger.labels import OTHER, Admission
from monitor.ledger.ledger import Assembled, CounterName, TaggedTrace
from monitor.trace.horizon import horizon_of
from monitor.trace.model import UNRESOLVED, Outcome, OutcomeEvent, Trace
from monitor.trace.outcome_policy import BUDGET, STATUS, resolve, standing
from monitor.trace.settings import OutcomeSettings


class Slot(Struct, gc=False):
    """
    State of one trace ID while a batch is joined.

    Attributes:
        stored: Whether the ledger has a row for it already.
        delta: The counters that its trace adds to; None until its trace arrives.
        standing: The latest outcome from each source for each evaluation.
        said: The verdict of each kind of source.
        label: The outcome that counts; None if no source that the settings accept has given one.
        new_trace: The trace, if it came in this batch.
        cell: The cell in which the ledger counts it already; None before its trace arrives.
        horizon: Its length class; empty without a trace, or if an old release of Cliffwatch counted it.
        has_new_outcome: Whether this batch changed its outcomes.
    """

    stored: bool = False
    delta: CounterDelta | None = None
    standing: tuple[Outcome, ...] = ()
    said: SourceVerdicts = NO_VERDICTS
    label: Outcome | None = None
    new_trace: TaggedTrace | None = None
    cell: Cell | None = None
    horizon: str = ""
    has_new_outcome: bool = False

    @property
    def outcome(self) -> str:
        """`success`, `failure` or `unlabelled`, by its label."""
        return OUTCOMES[None if self.label is None else self.label.success]


@dataclass
class Joining:
    """
    Collects the counts that a batch adds, event by event.

    Attributes:
        slots: State of each trace ID of the batch, loaded from the ledger; a `defaultdict` with empty slots for others.
        deltas: Receives the counts.
        labels: Decides which label values are within the caps.
        outcomes: Which of several outcomes of a trace counts.
    """

    slots: dict[str, Slot]
    deltas: CounterDeltas
    labels: Admission
    outcomes: OutcomeSettings
    _places: dict[tuple[str, str, str, str, str], tuple[CounterDelta, Counter[str]]] = field(default_factory=dict)

    def is_counted(self, trace_id: str) -> bool:
        """Whether the trace has arrived and counts as a request."""
        slot = self.slots.get(trace_id)
        return slot is not None and slot.delta is not None

    def add(self, event: TaggedTrace | OutcomeEvent) -> None:
        """Count one event."""
        if isinstance(event, TaggedTrace):
            self.add_trace(event)
        else:
            self._add_outcome(event.run_id if self.is_counted(event.run_id) else event.trace_id, event.outcome)
            self.deltas.count(CounterName.UNKNOWN_FIELDS, by=event.unknown_fields)

    def add_trace(self, tagged: TaggedTrace) -> None:
        """Count a trace once; a duplicate may still bring a newer outcome."""
        trace = tagged.trace
        slot = self.slots[trace.trace_id]
        # A duplicate from another service is ignored: a sender must not judge the runs of other services.
        if slot.delta is None or slot.delta.version[0] in {trace.service, OTHER}:
            # Before the trace is counted, so that its own outcomes count as one label and not as revisions.
            for outcome in tagged.outcomes:
                self._add_outcome(trace.trace_id, outcome)
        if slot.delta is None:
            delta = self._place(trace, tagged.declared_tier or tagged.tag.tier)
            slot.delta, slot.new_trace, slot.horizon = delta, tagged, horizon_of(trace)
            delta.traces.append(tagged)
            if slot.label is not None:
                self._count_label(delta, slot.label, trace.trace_id)
            if trace.model_version == UNRESOLVED:
                self._count_unresolved(trace, slot)
        else:
            slot.delta.duplicates += 1
        if trace.unknown_fields:
            self.deltas.count(CounterName.UNKNOWN_FIELDS, by=trace.unknown_fields)

    def count_horizons(self) -> None:
        """Count each request by length and outcome; a request whose outcome changed moves to the other counter."""
        for slot in self.slots.values():
            if slot.delta is not None and slot.horizon:
                slot.delta.horizons[slot.horizon, slot.outcome] += 1
                if slot.cell is not None:  # an earlier batch counted it
                    slot.delta.horizons[slot.horizon, OUTCOMES[slot.cell.success]] -= 1

    def add_assembled(self, assembled: Assembled, *, counted_before: int) -> None:
        """
        Count the runs that were assembled from the spans of a trace, and their spans.

        Args:
            assembled: The runs.
            counted_before: Number of its spans that were counted before; later spans may revise the runs' outcomes.
        """
        has_new_run = False
        for tagged in assembled.tagged:
            if tagged.trace.span_ids and not self.is_counted(assembled.trace_id):
                self._move_outcomes(assembled.trace_id, tagged.trace)
        for tagged in assembled.tagged:
            if not self.is_counted(tagged.trace.trace_id):
                self.add_trace(tagged)
                has_new_run = True
            elif counted_before:
                self._revise(tagged)
        result = "joined" if has_new_run else "late" if assembled.tagged else "non_agent"
        self.deltas.count(CounterName.SPANS, detail=result, by=assembled.span_count - counted_before)

    def _move_outcomes(self, trace_id: str, run: Trace) -> None:
        """Move outcomes of single spans, which came under the ID of the whole trace, to the *run* of these spans."""
        whole = self.slots[trace_id]
        for outcome in (outcome for outcome in whole.standing if outcome.observation in run.span_ids):
            self._add_outcome(run.trace_id, outcome)
            whole.label = None
            self._set_standing(trace_id, tuple(other for other in whole.standing if other is not outcome))

    def _revise(self, tagged: TaggedTrace) -> None:
        """Replace the outcomes that a counted run implied (status, budget) by those of its present spans."""
        trace_id = tagged.trace.trace_id
        implied = {outcome.source for outcome in tagged.outcomes} & {STATUS, BUDGET}
        others = [outcome for outcome in self.slots[trace_id].standing if outcome.source not in implied]
        self._set_standing(trace_id, standing((*others, *tagged.outcomes)))

    def _count_unresolved(self, trace: Trace, slot: Slot) -> None:
        version = (trace.service, trace.environment, UNRESOLVED)
        # The requested model is limited by the cap on capabilities.
        requested = self.labels.capability(version, trace.requested_model or "none")
        key = (trace.service, trace.environment, requested)
        self.deltas.count(CounterName.VERSIONS_UNRESOLVED, key, detail=slot.outcome)

    def _add_outcome(self, trace_id: str, outcome: Outcome) -> None:
        """Add *outcome* to the outcomes of a trace; count its first label, or a revision of it."""
        slot = self.slots[trace_id]
        self._set_standing(trace_id, standing((*slot.standing, outcome)) if slot.standing else (outcome,))

    def _set_standing(self, trace_id: str, outcomes: tuple[Outcome, ...]) -> None:
        slot = self.slots[trace_id]
        if outcomes == slot.standing:
            return
        previous, label = slot.label, resolve(outcomes, self.outcomes)
        if label is None and previous is not None:
            return  # a label that was counted is never withdrawn
        slot.standing, slot.label, slot.has_new_outcome = outcomes, label, True
        slot.said = source_verdicts(outcomes, self.outcomes)
        if slot.delta is None or label is None:
            return  # counted when the trace arrives, or when an accepted source gives an outcome
        if previous is None:
            self._count_label(slot.delta, label, trace_id)
        elif previous.success != label.success:
            revision = f"{OUTCOMES[previous.success]}>{OUTCOMES[label.success]}"
            slot.delta.revisions[revision] = slot.delta.revisions.get(revision, 0) + 1
            if not label.success:
                self._count_failure_class(slot.delta, label)

    def _count_label(self, delta: CounterDelta, label: Outcome, trace_id: str) -> None:
        delta.successes += label.success
        if not label.success:
            delta.failures += 1
            delta.failed_trace = trace_id
            self._count_failure_class(delta, label)

    def _count_failure_class(self, delta: CounterDelta, label: Outcome) -> None:
        name = self.labels.failure_class(delta.version, label.failure_class or "unknown")
        delta.failure_classes[name] = delta.failure_classes.get(name, 0) + 1

    def _place(self, trace: Trace, tier: str) -> CounterDelta:
        """The counters that *trace* adds to; also counts its label values over a cap as dropped."""
        labels = self.labels
        key = (trace.service, trace.environment, trace.model_version, trace.request.capability, tier)
        if key in self._places:
            delta, dropped = self._places[key]
            labels.dropped.update(dropped)
        else:
            before = labels.dropped.copy()
            version = labels.version(trace.service, trace.environment, trace.model_version)
            capability = labels.capability(version, trace.request.capability)
            delta = self.deltas.of(version, str(tier), capability)
            self._places[key] = delta, labels.dropped - before
        return delta


OUTCOMES = {None: "unlabelled", True: "success", False: "failure"}
"""The value of the label `outcome`, by the success of a request's label."""
