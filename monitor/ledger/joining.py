"""What the events of one batch say together: traces joined with outcomes, each trace once, each label once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from msgspec import Struct

from monitor.labels.said import SILENCE, Said, what_was_said
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
    What is known of one trace id while a batch is joined.

    Attributes:
        stored: The ledger has a row for it already.
        delta: Where it counts, once its trace has come.
        standing: The latest word of each source on each evaluation.
        said: What each kind of source said.
        label: The verdict that counts, None where no source that the settings accept has given one.
        new_trace: The trace that this batch brought.
        cell: Where the ledger counts it as evidence, where it has the trace.
        horizon: How long it was; empty without a trace, and where an older version counted it.
        has_new_outcome: This batch changed the label.
    """

    stored: bool = False
    delta: CounterDelta | None = None
    standing: tuple[Outcome, ...] = ()
    said: Said = SILENCE
    label: Outcome | None = None
    new_trace: TaggedTrace | None = None
    cell: Cell | None = None
    horizon: str = ""
    has_new_outcome: bool = False

    @property
    def outcome(self) -> str:
        """What it counts as by its label."""
        return OUTCOMES[None if self.label is None else self.label.success]


@dataclass
class Joining:
    """
    The counts that one batch adds, event by event.

    Attributes:
        slots: What the ledger has of the trace ids of the batch; a `defaultdict`, which adds those it has not.
        deltas: Takes the counts.
        labels: Decides which label values may be used.
        outcomes: Which of several verdicts on a trace counts.
    """

    slots: dict[str, Slot]
    deltas: CounterDeltas
    labels: Admission
    outcomes: OutcomeSettings
    _places: dict[tuple[str, str, str, str, str], tuple[CounterDelta, Counter[str]]] = field(default_factory=dict)

    def is_counted(self, trace_id: str) -> bool:
        """Whether the trace is a request already."""
        slot = self.slots.get(trace_id)
        return slot is not None and slot.delta is not None

    def add(self, event: TaggedTrace | OutcomeEvent) -> None:
        """Count what one record said."""
        if isinstance(event, TaggedTrace):
            self.add_trace(event)
        else:
            self._add_outcome(event.run_id if self.is_counted(event.run_id) else event.trace_id, event.outcome)
            self.deltas.count(CounterName.UNKNOWN_FIELDS, by=event.unknown_fields)

    def add_trace(self, tagged: TaggedTrace) -> None:
        """Count a trace once; one that is there already may still bring a newer outcome."""
        trace = tagged.trace
        slot = self.slots[trace.trace_id]
        # A copy speaks for its own service only: who may send for one may not judge the runs of another.
        if slot.delta is None or slot.delta.version[0] in {trace.service, OTHER}:
            # First, so that of the verdicts that come with a new trace only the label is counted.
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
        """Count each request that is new, or has another outcome than it had, among those of its length."""
        for slot in self.slots.values():
            if slot.delta is not None and slot.horizon:
                slot.delta.horizons[slot.horizon, slot.outcome] += 1
                if slot.cell is not None:  # it counted there already
                    slot.delta.horizons[slot.horizon, OUTCOMES[slot.cell.success]] -= 1

    def add_assembled(self, assembled: Assembled, *, counted_before: int) -> None:
        """
        Count the runs of a trace out of its spans, and what became of them.

        Args:
            assembled: The runs.
            counted_before: Spans out of which runs of it were counted before; what came since may revise their outcome.
        """
        new = False
        for tagged in assembled.tagged:
            if tagged.trace.span_ids and not self.is_counted(assembled.trace_id):
                self._hand_over(assembled.trace_id, tagged.trace)
        for tagged in assembled.tagged:
            if not self.is_counted(tagged.trace.trace_id):
                self.add_trace(tagged)
                new = True
            elif counted_before:
                self._revise(tagged)
        became = "joined" if new else "late" if assembled.tagged else "non_agent"
        self.deltas.count(CounterName.SPANS, detail=became, by=assembled.span_count - counted_before)

    def _hand_over(self, trace_id: str, run: Trace) -> None:
        """Give *run* the verdicts on its spans, which came under the id of the whole trace."""
        whole = self.slots[trace_id]
        for outcome in (each for each in whole.standing if each.observation in run.span_ids):
            self._add_outcome(run.trace_id, outcome)
            whole.label = None
            self._set_standing(trace_id, tuple(each for each in whole.standing if each is not outcome))

    def _revise(self, tagged: TaggedTrace) -> None:
        """Let what the run says of itself by now replace what it said when it was counted."""
        trace_id = tagged.trace.trace_id
        own = {outcome.source for outcome in tagged.outcomes} & {STATUS, BUDGET}
        of_others = [each for each in self.slots[trace_id].standing if each.source not in own]
        self._set_standing(trace_id, standing((*of_others, *tagged.outcomes)))

    def _count_unresolved(self, trace: Trace, slot: Slot) -> None:
        version = (trace.service, trace.environment, UNRESOLVED)
        # Names of models are bounded as those of capabilities are.
        requested = self.labels.capability(version, trace.requested_model or "none")
        asked_for = (trace.service, trace.environment, requested)
        self.deltas.count(CounterName.VERSIONS_UNRESOLVED, asked_for, detail=slot.outcome)

    def _add_outcome(self, trace_id: str, outcome: Outcome) -> None:
        """Add *outcome* to the verdicts on a trace; count a first label, or a revision of it."""
        slot = self.slots[trace_id]
        self._set_standing(trace_id, standing((*slot.standing, outcome)) if slot.standing else (outcome,))

    def _set_standing(self, trace_id: str, now_standing: tuple[Outcome, ...]) -> None:
        slot = self.slots[trace_id]
        if now_standing == slot.standing:
            return
        previous, label = slot.label, resolve(now_standing, self.outcomes)
        if label is None and previous is not None:
            return  # what was counted stays
        slot.standing, slot.label, slot.has_new_outcome = now_standing, label, True
        slot.said = what_was_said(now_standing, self.outcomes)
        if slot.delta is None or label is None:
            return  # counted when the trace comes, or when somebody who is believed speaks
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
        """Where *trace* counts; each of its labels that is over a cap counts as dropped."""
        labels = self.labels
        key = (trace.service, trace.environment, trace.model_version, trace.request.capability, tier)
        place = self._places.get(key)
        if place is None:
            before = labels.dropped.copy()
            version = labels.version(trace.service, trace.environment, trace.model_version)
            capability = labels.capability(version, trace.request.capability)
            place = self._places[key] = self.deltas.of(version, str(tier), capability), labels.dropped - before
        elif place[1]:
            labels.dropped.update(place[1])
        return place[0]


OUTCOMES = {None: "unlabelled", True: "success", False: "failure"}
"""What a request counts as, by the success of its label."""
