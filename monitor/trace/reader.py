"""From raw spans, events and evaluations to `Span` and `OutcomeEvent`, by the table of attribute names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from msgspec import Struct

from monitor.trace.capability import CapabilityRules
from monitor.trace.decoded import Decoded, Ignored
from monitor.trace.labels import clean_label
from monitor.trace.messages import Asked
from monitor.trace.model import OutcomeEvent, TraceId
from monitor.trace.outcome_policy import JUDGE, Evaluation, outcome_of
from monitor.trace.semconv import EVENTS, FLAG_KEY, FLAG_VARIANTS, Field
from monitor.trace.settings import Limits, TraceSettings
from monitor.trace.span import OperationKind, Span
from monitor.trace.span_attributes import MESSAGE_KEYS, Meaning, SpanAttributes, meaning_of
from monitor.trace.span_reading import (
    answered,
    asked_of,
    budget_of,
    calls_tools,
    cost_of,
    error_of,
    error_type_of,
    kind_of,
    models_of,
    request_attributes,
    speaks_to_us,
    tokens_of,
    tools_on_offer,
)
from monitor.trace.values import SPAN_ID_DIGITS, TRACE_ID_DIGITS, annotator, hexadecimal_id, identifier, number, seconds

Pairs = Iterable[tuple[str, Any]]
"""Attributes by name, each value as its encoding holds it: most are never read."""

ReadValue = Callable[[Any], Any]
"""What a value of `Pairs` is: text, a number, a truth value, lists and objects of them, or None."""


class RawEvent(Struct, frozen=True, gc=False):
    """An event of a span, or a log record; *time_ns* is Unix nanoseconds, 0 where not known."""

    name: str
    time_ns: int
    attributes: Pairs
    trace_id: str = ""


class RawSpan(Struct, frozen=True, gc=False):
    """A span: ids in hexadecimal, times in Unix nanoseconds, 0 where not known; *links* are trace ids."""

    trace_id: str
    span_id: str
    parent_span_id: str
    name: str
    start_ns: int
    end_ns: int
    status_code: int
    attributes: Pairs
    events: Sequence[RawEvent] = ()
    links: Sequence[str] = ()
    status_message: str = ""


_MODELLED = frozenset({OperationKind.AGENT, OperationKind.WORKFLOW, OperationKind.MODEL})
_ASKED = _MODELLED | {OperationKind.STEP}
"""Kinds of span whose input may be what was asked; a tool's input is the model's."""


class DecodeOptions:
    """
    How spans are read: the table of names, the capability rules and the outcome policy, ready for use.

    Args:
        settings: How spans become traces, and evaluations outcomes.
    """

    def __init__(self, settings: TraceSettings | None = None) -> None:
        self.settings = TraceSettings() if settings is None else settings
        self.capabilities = CapabilityRules.of(self.settings.capabilities)
        self.looked_at = self.capabilities.attributes | frozenset(self.settings.version_attributes)
        self._wanted = self.looked_at | {FLAG_KEY, *FLAG_VARIANTS, *MESSAGE_KEYS}
        self._remembered: dict[str, _Use | None] = {}

    def use_of(self, name: str) -> _Use | None:
        """What an attribute of that *name* is read for; None where for nothing, so that its value need not be."""
        try:
            return self._remembered[name]
        except KeyError:
            meaning = meaning_of(name)
            is_wanted = meaning is not None or name in self._wanted
            use = _Use(meaning, is_looked_at=name in self.looked_at) if is_wanted else None
            if len(name) <= _LONGEST_REMEMBERED and len(self._remembered) < _MOST_REMEMBERED:
                self._remembered[name] = use
            return use


class _Use(NamedTuple):
    meaning: Meaning | None
    is_looked_at: bool


_MOST_REMEMBERED, _LONGEST_REMEMBERED = 10_000, 128
"""Names of attributes, and characters of one; hostile ones are endless."""


@dataclass(frozen=True, slots=True)
class _Resource:
    """What a resource says of all the spans under it."""

    looked_at: dict[str, Any]
    service: str | None = None
    environment: str | None = None
    model_version: str | None = None
    agent_version: str | None = None


class Reader:
    """
    Reads the parts of one record; what it left aside is counted.

    Args:
        options: How spans are read.
        limits: Sizes above which a value is cut.
        read_value: Reads the value of an attribute.
    """

    def __init__(self, options: DecodeOptions, limits: Limits, read_value: ReadValue = lambda value: value) -> None:
        self._options = options
        self._limits = limits
        self._read_value = read_value
        self._ignored: Counter[Ignored] = Counter()
        self._spans: list[Span] = []
        self._outcomes: list[OutcomeEvent] = []
        self._resource = _Resource({})

    def decoded(self) -> Decoded:
        """All that was read so far."""
        return Decoded(spans=tuple(self._spans), outcomes=tuple(self._outcomes), ignored=dict(self._ignored))

    def enter_resource(self, attributes: Pairs) -> None:
        """Read what follows under the resource with these *attributes*."""
        facts = self._gathered(attributes)
        self._resource = _Resource(
            looked_at=facts.looked_at,
            service=self._service(facts),
            environment=facts.first(Field.ENVIRONMENT, self._label),
            model_version=facts.first(Field.MODEL_VERSION, self._label),
            agent_version=facts.first(Field.AGENT_VERSION, self._label),
        )

    def add_span(self, raw: RawSpan) -> None:
        """Keep what *raw* says, or count why it says nothing."""
        place = _place(raw)
        if place is None:
            self._ignored[Ignored.SPAN_INVALID] += 1
            return
        facts = self._gathered(raw.attributes)
        kind = kind_of(facts, raw.name)
        judged: str = place.trace_id
        if kind is OperationKind.EVALUATOR and len(raw.links) == 1:
            judged = hexadecimal_id(raw.links[0], TRACE_ID_DIGITS) or ""
        self._read_events(raw.events, facts, judged)
        for fields in facts.evaluations():
            self._add_inline_evaluation(fields, judged, place.ended_at)
        self._spans.append(self._span(raw, place, kind, facts))

    def add_log(self, raw: RawEvent) -> None:
        """Keep the evaluation that a log record carries, or count that it carries none."""
        if EVENTS.get(raw.name) is Field.EVALUATION:
            self._add_evaluation_event(raw, hexadecimal_id(raw.trace_id, TRACE_ID_DIGITS) or "")
        else:
            self._ignored[Ignored.LOG_IRRELEVANT] += 1

    def add_evaluation(self, evaluation: Evaluation) -> None:
        """Keep what *evaluation* says about success, or count why it says nothing."""
        if not evaluation.trace_id:
            self._ignored[Ignored.EVALUATION_UNLINKED] += 1
            return
        outcome = outcome_of(evaluation, self._options.settings.outcomes)
        if outcome is None:
            self._ignored[Ignored.EVALUATION_UNMAPPED] += 1
        else:
            self._outcomes.append(OutcomeEvent(evaluation.trace_id, outcome))

    def _gathered(self, attributes: Pairs) -> SpanAttributes:
        facts = SpanAttributes()
        self._gather(attributes, facts)
        return facts

    def _gather(self, attributes: Pairs, facts: SpanAttributes) -> None:
        use_of, most, longest = self._options.use_of, self._limits.max_attributes, self._limits.max_attribute_chars
        for position, (name, raw) in enumerate(attributes):
            if position >= most:
                self._ignored[Ignored.ATTRIBUTE_EXCESS] += 1
                continue
            use = use_of(name)
            if use is None:
                continue
            value = self._read_value(raw)
            if isinstance(value, str) and len(value) > longest:
                value = self._cut(value)
            if value is None:
                continue
            if use.meaning is not None:
                facts.add(use.meaning, value)
            if use.is_looked_at and isinstance(value, str | int | float):
                facts.looked_at[name] = value

    def _own(self, event: RawEvent) -> dict[str, Any]:
        """All attributes of *event* that are read, by name."""
        return {name: self._read_value(raw) for name, raw in event.attributes if self._options.use_of(name)}

    def _cut(self, value: str) -> str | None:
        self._ignored[Ignored.ATTRIBUTE_CUT] += 1
        # Half a JSON document is no JSON, and would pass for plain text.
        return None if value.lstrip()[:1] in {"{", "["} else value[: self._limits.max_attribute_chars]

    def _read_events(self, events: Sequence[RawEvent], facts: SpanAttributes, trace_id: str) -> None:
        for event in events:
            if event.name not in EVENTS:
                continue
            meaning = EVENTS[event.name]
            if meaning is Field.EVALUATION:
                self._add_evaluation_event(event, trace_id)
            elif meaning is not None:
                facts.add_message(meaning, event.name.split(".")[1], self._own(event))
            else:
                self._gather(event.attributes, facts)
                self._note_flag(self._own(event), facts)

    def _note_flag(self, attributes: Mapping[str, Any], facts: SpanAttributes) -> None:
        name = f"feature_flag:{attributes.get(FLAG_KEY)}"
        if name in self._options.looked_at:
            facts.looked_at[name] = next((attributes[key] for key in FLAG_VARIANTS if key in attributes), None)

    def _add_evaluation_event(self, event: RawEvent, trace_id: str) -> None:
        facts = self._gathered(event.attributes)
        self.add_evaluation(
            Evaluation(
                trace_id=TraceId(trace_id),
                name=facts.first(Field.EVALUATION_NAME, identifier),
                score=facts.first(Field.EVALUATION_SCORE, number),
                label=facts.first(Field.EVALUATION_LABEL, identifier),
                source=facts.first(Field.EVALUATION_SOURCE, annotator) or JUDGE,
                at=seconds(event.time_ns),
            )
        )

    def _add_inline_evaluation(self, fields: dict[str, Any], trace_id: str, at: float | None) -> None:
        self.add_evaluation(
            Evaluation(
                trace_id=TraceId(trace_id),
                name=identifier(fields.get("name")),
                score=number(fields.get("score")),
                label=identifier(fields.get("label")),
                source=annotator(fields.get("annotator_kind")) or JUDGE,
                at=at,
            )
        )

    def _span(self, raw: RawSpan, place: Span, kind: OperationKind, facts: SpanAttributes) -> Span:
        """The span; of one that is no root, does no agent's work and has no word for us, no more than its place."""
        resource = self._resource
        tool_name = facts.first(Field.TOOL_NAME, identifier)
        capability = self._options.capabilities.match(
            span_name=raw.name,
            tool_name=tool_name if kind is OperationKind.TOOL else None,
            attributes={**resource.looked_at, **facts.looked_at} if resource.looked_at else facts.looked_at,
        )
        is_classified = capability is not None and (bool(facts.looked_at) or not resource.looked_at)
        if kind is OperationKind.OTHER and place.parent_span_id and not is_classified and not speaks_to_us(facts):
            return place
        asked = asked_of(facts) if kind in _ASKED else Asked()
        input_tokens, output_tokens = tokens_of(facts)
        answer = answered(facts, output_tokens)
        error = error_of(raw.status_code, facts, answer=answer)
        request_model, response_model = models_of(facts, failed=bool(error)) if kind in _ASKED else (None, None)
        return Span(
            trace_id=place.trace_id,
            span_id=place.span_id,
            parent_span_id=place.parent_span_id,
            started_at=place.started_at,
            ended_at=place.ended_at,
            name=identifier(raw.name) or "",
            kind=kind,
            error=error,
            error_type=self._label(error_type_of(facts, raw.status_message if error else "")),
            service=resource.service,
            environment=facts.first(Field.ENVIRONMENT, self._label) or resource.environment,
            request_model=self._label(request_model),
            response_model=self._label(response_model),
            model_version=facts.first(Field.MODEL_VERSION, self._label) or resource.model_version or self._named(facts),
            agent_name=facts.first(Field.AGENT_NAME, self._label),
            agent_version=facts.first(Field.AGENT_VERSION, self._label) or resource.agent_version,
            conversation_id=facts.first(Field.CONVERSATION, identifier),
            user_id=facts.first(Field.USER, identifier),
            request_id=facts.first(Field.REQUEST_ID, identifier),
            capability=None if capability is None else capability[1],
            capability_rule=None if capability is None else capability[0],
            tool_name=tool_name,
            text=None if asked.text is None else asked.text[: self._limits.max_text_chars],
            is_wrapped=not asked.is_plain,
            messages=asked.messages,
            tools=tools_on_offer(facts) if kind in _ASKED else (),
            answered=answer,
            calls_tools=kind is OperationKind.MODEL and calls_tools(facts),
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            cost_usd=cost_of(facts),
            budget=budget_of(facts),
            attributes=request_attributes(facts.request_attributes()),
        )

    def _named(self, facts: SpanAttributes) -> str | None:
        """The version that the first attribute of the settings names."""
        held = (facts.looked_at, self._resource.looked_at)
        named = (at[key] for key in self._options.settings.version_attributes for at in held if key in at)
        return next((name for value in named if (name := self._label(value)) is not None), None)

    def _service(self, facts: SpanAttributes) -> str | None:
        name, namespace = (facts.first(field, self._label) for field in (Field.SERVICE, Field.NAMESPACE))
        if name is None or namespace is None or not self._options.settings.service_namespace:
            return name
        return self._label(f"{namespace}/{name}")

    def _label(self, value: Any) -> str | None:
        if not isinstance(value, str):
            return None
        label = clean_label(value)
        if label != value:
            self._ignored[Ignored.LABEL_MENDED] += 1
        return label


def _place(raw: RawSpan) -> Span | None:
    """A span with no more than the ids and times of *raw*, or None where it cannot be placed in a trace."""
    trace_id = hexadecimal_id(raw.trace_id, TRACE_ID_DIGITS)
    span_id = hexadecimal_id(raw.span_id, SPAN_ID_DIGITS)
    started_at, ended_at = seconds(raw.start_ns), seconds(raw.end_ns)
    if trace_id is None or span_id is None or started_at is None:
        return None
    return Span(
        trace_id=TraceId(trace_id),
        span_id=span_id,
        parent_span_id=hexadecimal_id(raw.parent_span_id, SPAN_ID_DIGITS),
        started_at=started_at,
        ended_at=None if ended_at is None else max(started_at, ended_at),  # clocks step back
    )
