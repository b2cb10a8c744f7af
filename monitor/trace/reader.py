"""From spans, log records and evaluations to `Span` and `OutcomeEvent`, by the table of attribute names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from msgspec import Struct
from msgspec.structs import replace
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan

from monitor.trace import span_reading, values
from monitor.trace.capability import CapabilityRules
from monitor.trace.labels import clean_label
from monitor.trace.messages import Asked
from monitor.trace.model import Ignored, OutcomeEvent, Trace, TraceId
from monitor.trace.outcome_policy import JUDGE, Evaluation, outcome_of
from monitor.trace.semconv import EVALUATION_EVENT, EVENT_NAME, EVENTS, FLAG_KEY, FLAG_VARIANTS, Field
from monitor.trace.settings import Limits, TraceSettings
from monitor.trace.span import OperationKind, Span
from monitor.trace.span_attributes import MESSAGE_KEYS, Meaning, SpanAttributes, meaning_of

ReadValue = Callable[[Any], Any]
"""What the value of an attribute is: text, a number, a truth value, lists and objects of them, or None."""

_ASKED = frozenset({OperationKind.AGENT, OperationKind.WORKFLOW, OperationKind.MODEL, OperationKind.STEP})
"""Kinds of span whose input may be what was asked; a tool's input is the model's."""
_PARTS = _ASKED | {OperationKind.TOOL, OperationKind.RETRIEVAL}


class DecodeOptions:
    """
    How spans are read: the table of names, the capability rules and the outcome policy, ready for use.

    Args:
        settings: How spans become traces, and evaluations outcomes.
    """

    def __init__(self, settings: TraceSettings | None = None) -> None:
        self.settings = TraceSettings() if settings is None else settings
        self.capabilities = CapabilityRules(self.settings.capabilities)
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


Attributes = Iterable[KeyValue]


class Decoded(Struct, frozen=True, gc=False):
    """
    What one record said: any number of finished traces, of outcomes, and of spans of traces still to be assembled.

    Of the spans that a record holds, each is either in *spans* or counted in *ignored* as invalid or irrelevant; of the
    evaluations, each is either in *outcomes* or counted as unlinked or unmapped. A record that holds nothing is counted
    as silent, so that each one says something.
    """

    traces: Sequence[Trace] = ()
    outcomes: Sequence[OutcomeEvent] = ()
    spans: Sequence[Span] = ()
    ignored: Mapping[Ignored, int] = {}


class Reader:
    """
    Reads the parts of one record; what it left aside is counted.

    Spans and log records are those of protobuf, or have the same names; most values of attributes are never read.

    Args:
        options: How spans are read.
        limits: Sizes above which a value is cut.
        read_value: Reads the value of an attribute.
    """

    def __init__(self, options: DecodeOptions, limits: Limits, read_value: ReadValue) -> None:
        self._options = options
        self._limits = limits
        self._read_value = read_value
        self._ignored: Counter[Ignored] = Counter()
        self._spans: list[Span] = []
        self._outcomes: list[OutcomeEvent] = []
        self._resource = _Resource({})

    def read(
        self, spans: Iterable[tuple[Attributes, Iterable[ProtoSpan]]] = (), logs: Iterable[LogRecord] = ()
    ) -> Decoded:
        """What *spans*, by the attributes of their resources, and *logs* say, and all that was added before."""
        for attributes, leaves in spans:
            self._enter_resource(attributes)
            for span in leaves:
                self._add_span(span)
        for log in logs:
            self._add_log(log)
        return Decoded(spans=tuple(self._spans), outcomes=tuple(self._outcomes), ignored=dict(self._ignored))

    def _enter_resource(self, attributes: Attributes) -> None:
        facts = self._gather(attributes)
        self._resource = _Resource(
            looked_at=facts.looked_at,
            service=self._service(facts),
            environment=facts.first(Field.ENVIRONMENT, self._label),
            model_version=facts.first(Field.MODEL_VERSION, self._label),
            agent_version=facts.first(Field.AGENT_VERSION, self._label),
        )

    def _add_span(self, raw: ProtoSpan) -> None:
        place = _place(raw)
        if place is None:
            self._ignored[Ignored.SPAN_INVALID] += 1
            return
        facts = self._gather(raw.attributes)
        kind = span_reading.kind_of(facts, raw.name)
        judged = place.trace_id
        # What stands on the root, or on no span of an agent's work, is said of the whole.
        part = place.span_id if kind in _PARTS and place.parent_span_id else None
        if kind is OperationKind.EVALUATOR and len(raw.links) == 1:
            judged = _trace_id(raw.links[0].trace_id)
        for event in raw.events:
            if event.name in EVENTS:
                self._read_event(event, facts, judged, part)
        for evaluation in facts.evaluations():
            self._add_evaluation(evaluation, judged, place.ended_at, part)
        self._spans.append(self._span(raw, place, kind, facts))

    def _add_log(self, log: LogRecord) -> None:
        named = (self._read_value(pair.value) for pair in log.attributes if pair.key == EVENT_NAME)
        if (log.event_name or next(named, "")) == EVALUATION_EVENT:
            at = values.seconds(log.time_unix_nano or log.observed_time_unix_nano)
            part = values.hexadecimal_id(log.span_id, values.SPAN_ID_BYTES)
            self._add_evaluation(self._gather(log.attributes), _trace_id(log.trace_id), at, part)
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

    def _gather(self, attributes: Attributes, facts: SpanAttributes | None = None) -> SpanAttributes:
        """What *attributes* say, beside what *facts* hold already."""
        facts = facts or SpanAttributes()
        use_of, most, longest = self._options.use_of, self._limits.max_attributes, self._limits.max_attribute_chars
        for position, pair in enumerate(attributes):
            if position >= most:
                self._ignored[Ignored.ATTRIBUTE_EXCESS] += 1
                continue
            name = pair.key
            use = use_of(name)
            if use is None:
                continue
            value = self._read_value(pair.value)
            if isinstance(value, str) and len(value) > longest:
                value = self._cut(value)
            if value is None:
                continue
            if use.meaning is not None:
                facts.add(use.meaning, value)
            if use.is_looked_at and isinstance(value, str | int | float):
                facts.looked_at[name] = value
        return facts

    def _cut(self, value: str) -> str | None:
        self._ignored[Ignored.ATTRIBUTE_CUT] += 1
        # Half a JSON document is no JSON, and would pass for plain text.
        return None if value.lstrip()[:1] in {"{", "["} else value[: self._limits.max_attribute_chars]

    def _read_event(self, event: ProtoSpan.Event, facts: SpanAttributes, trace_id: TraceId, part: str | None) -> None:
        meaning = EVENTS[event.name]
        if meaning is Field.EVALUATION:
            self._add_evaluation(self._gather(event.attributes), trace_id, values.seconds(event.time_unix_nano), part)
            return
        own = {pair.key: self._read_value(pair.value) for pair in event.attributes if self._options.use_of(pair.key)}
        if meaning is not None:
            facts.add_message(meaning, event.name.split(".")[1], own)
            return
        self._gather(event.attributes, facts)
        flag = f"feature_flag:{own.get(FLAG_KEY)}"
        if flag in self._options.looked_at:
            facts.looked_at[flag] = next((own[key] for key in FLAG_VARIANTS if key in own), None)

    def _add_evaluation(self, facts: SpanAttributes, trace_id: TraceId, at: float | None, part: str | None) -> None:
        self.add_evaluation(
            Evaluation(
                trace_id=trace_id,
                name=facts.first(Field.EVALUATION_NAME, values.identifier),
                score=facts.first(Field.EVALUATION_SCORE, values.number),
                label=facts.first(Field.EVALUATION_LABEL, values.identifier),
                verdict=facts.first(Field.EVALUATION_SCORE, lambda value: value if isinstance(value, bool) else None),
                source=facts.first(Field.EVALUATION_SOURCE, values.annotator) or JUDGE,
                at=at,
                sampling_probability=facts.first(Field.EVALUATION_CHANCE, values.chance),
                observation=part,
            )
        )

    def _span(self, raw: ProtoSpan, place: Span, kind: OperationKind, facts: SpanAttributes) -> Span:
        """The span; of one that is no root, does no agent's work and has no word for us, no more than its place."""
        resource = self._resource
        tool_name = facts.first(Field.TOOL_NAME, values.identifier)
        capability = self._options.capabilities.match(
            span_name=raw.name,
            tool_name=tool_name if kind is OperationKind.TOOL else None,
            attributes={**resource.looked_at, **facts.looked_at} if resource.looked_at else facts.looked_at,
        )
        is_classified = capability is not None and (bool(facts.looked_at) or not resource.looked_at)
        if (
            kind is OperationKind.OTHER
            and place.parent_span_id
            and not is_classified
            and span_reading.WORDS_OF_OURS.isdisjoint(facts.singles)
            and not facts.request_attributes()
        ):
            self._ignored[Ignored.SPAN_IRRELEVANT] += 1
            return place
        asked = span_reading.asked_of(facts) if kind in _ASKED else Asked()
        is_call = kind is OperationKind.MODEL
        input_tokens, output_tokens = span_reading.tokens_of(facts, is_call=is_call)
        answer = span_reading.answered(facts, output_tokens)
        error = span_reading.error_of(raw.status.code, facts, answer=answer)
        request_model, response_model = (
            span_reading.models_of(facts, failed=bool(error), is_call=is_call) if kind in _ASKED else (None, None)
        )
        return replace(
            place,
            name=values.identifier(raw.name) or "",
            kind=kind,
            error=error,
            error_type=self._label(span_reading.error_type_of(facts, raw.status.message if error else "")),
            service=resource.service,
            environment=facts.first(Field.ENVIRONMENT, self._label) or resource.environment,
            request_model=self._label(request_model),
            response_model=self._label(response_model),
            model_version=facts.first(Field.MODEL_VERSION, self._label) or resource.model_version or self._named(facts),
            agent_name=facts.first(Field.AGENT_NAME, self._label),
            agent_version=facts.first(Field.AGENT_VERSION, self._label) or resource.agent_version,
            conversation_id=facts.first(Field.CONVERSATION, values.identifier),
            user_id=facts.first(Field.USER, values.identifier),
            request_id=facts.first(Field.REQUEST_ID, values.identifier),
            capability=None if capability is None else capability[1],
            capability_rule=None if capability is None else capability[0],
            tool_name=tool_name,
            text=None if asked.text is None else asked.text[: self._limits.max_text_chars],
            is_wrapped=not asked.is_plain,
            messages=asked.messages,
            tools=span_reading.tools_on_offer(facts) if kind in _ASKED else (),
            answered=answer,
            calls_tools=is_call and span_reading.calls_tools(facts),
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            cost_usd=span_reading.cost_of(facts),
            budget=span_reading.budget_of(facts),
            attributes=span_reading.request_attributes(facts.request_attributes()),
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


def _place(raw: ProtoSpan) -> Span | None:
    """A span with no more than the ids and times of *raw*, or None where it cannot be placed in a trace."""
    trace_id, span_id = _trace_id(raw.trace_id), values.hexadecimal_id(raw.span_id, values.SPAN_ID_BYTES)
    started_at, ended_at = values.seconds(raw.start_time_unix_nano), values.seconds(raw.end_time_unix_nano)
    if not trace_id or span_id is None or started_at is None:
        return None
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_span_id=values.hexadecimal_id(raw.parent_span_id, values.SPAN_ID_BYTES),
        started_at=started_at,
        ended_at=None if ended_at is None else max(started_at, ended_at),  # clocks step back
    )


def _trace_id(raw: bytes) -> TraceId:
    return TraceId(values.hexadecimal_id(raw, values.TRACE_ID_BYTES) or "")
