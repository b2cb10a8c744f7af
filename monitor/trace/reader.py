"""Reads OTLP spans and log records as `Span` and `OutcomeEvent`, by the table of attribute names."""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

from msgspec import Struct
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan

from monitor.trace import span_reading, values
from monitor.trace.capability import CapabilityRules
from monitor.trace.labels import clean_label
from monitor.trace.messages import Asked
from monitor.trace.model import Ignored, OutcomeEvent, Trace, TraceId
from monitor.trace.outcome_policy import JUDGE, Evaluation, outcome_of
from monitor.trace.semconv import EVALUATION_EVENT, EVENT_NAME, EVENTS, FINISH_REASON, FLAG_KEY, FLAG_VARIANTS, Field
from monitor.trace.settings import Limits, TraceSettings
from monitor.trace.span import OperationKind, Span
from monitor.trace.span_attributes import MESSAGE_KEYS, Meaning, SpanAttributes, meaning_of, unquoted
from monitor.trace.values import SPAN_ID_BYTES, TRACE_ID_BYTES, hexadecimal_id, seconds

# Bound once: before Python 3.12 each access to an enum member costs as much as three attributes.
_AGENT, _MODEL = OperationKind.AGENT, OperationKind.MODEL
_ASKED = frozenset({_AGENT, OperationKind.WORKFLOW, _MODEL, OperationKind.STEP})
"""Kinds of span whose input may be the request; the input of a tool comes from the model."""
_PARTS = _ASKED | {OperationKind.TOOL, OperationKind.RETRIEVAL}
_Place = tuple[TraceId, str, float, float | None, str | None]
"""The first fields of a `Span`: ids of trace and span, start and end, and the id of the parent."""
_TELLING = frozenset(
    {Field.KIND, Field.PROVIDER, Field.REQUEST_MODEL, Field.RESPONSE_MODEL, Field.TOOL_NAME, Field.ENVIRONMENT}
) | {Field.MODEL_VERSION, Field.AGENT_NAME, Field.AGENT_VERSION}
"""Facts with few values. They, and which other facts a span has, determine its kind and owner."""


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
        self.uses = _Uses(self.looked_at)
        self._resources: dict[tuple[str | None, ...], int] = {}
        self.known: dict[tuple[Any, ...], _Known] = {}

    def number_of(self, resource: _Resource) -> int | None:
        """A number shared by equal resources; None if the resource is too large to remember."""
        if len(self._resources) >= _MOST_RESOURCES or len(self.known) >= _MOST_KNOWN:
            self._resources.clear()
            self.known.clear()
        looked_at = str(resource.looked_at)  # as text, because 1 equals True
        key = resource.service, resource.environment, resource.model_version, resource.agent_version, looked_at
        return self._resources.setdefault(key, len(self._resources)) if len(looked_at) <= _LONGEST_LOOKED_AT else None


class _Use(Struct, frozen=True, eq=False):
    """What an attribute is read for; `is_telling` if its value, one of few, determines the kind or owner of a span."""

    meaning: Meaning | None
    is_looked_at: bool
    is_telling: bool


class _Uses(dict[str, _Use | None]):
    """
    What each attribute is read for, by name; None if it is ignored, so its value is never read.

    Args:
        looked_at: Attributes that the rules of the settings read.
    """

    def __init__(self, looked_at: frozenset[str]) -> None:
        self._looked_at = looked_at
        self._wanted = looked_at | {FLAG_KEY, *FLAG_VARIANTS, *MESSAGE_KEYS}

    def __missing__(self, name: str) -> _Use | None:
        meaning, is_looked_at = meaning_of(name), name in self._looked_at
        is_telling = is_looked_at or (meaning is not None and meaning.fact in _TELLING)
        is_wanted = meaning is not None or name in self._wanted
        use = _Use(meaning, is_looked_at, is_telling) if is_wanted else None
        if len(name) <= _LONGEST_REMEMBERED and len(self) < _MOST_REMEMBERED:
            self[name] = use
        return use


_MOST_REMEMBERED, _LONGEST_REMEMBERED = 10_000, 128
"""Most names of attributes to remember, and the longest; a hostile sender invents names without end."""
_MOST_KNOWN, _MOST_TELLING, _MOST_RESOURCES, _LONGEST_LOOKED_AT = 2_048, 32, 1_024, 1_024
"""Most kinds of spans to remember, entries of `telling` in one, resources, and characters in one: at most 20 MB."""


@dataclass(frozen=True, slots=True)
class _Resource:
    """What a resource states for all of its spans."""

    looked_at: dict[str, Any]
    service: str | None = None
    environment: str | None = None
    model_version: str | None = None
    agent_version: str | None = None


class _Known(NamedTuple):
    """
    What spans with equal resource, name and `SpanAttributes.telling` have in common.

    Attributes:
        kind: Their kind.
        shared: The fields of `Span` that are the same for all of them.
        mended: How many labels of each span had to be changed to be valid.
        is_irrelevant: They do no agent's work and carry no attribute for Cliffwatch.
        is_all: They have no facts beside `shared`, except an error.
        differs: Fields of `Span` that only few kinds of spans have, each with the function that reads it.
    """

    kind: OperationKind
    shared: Mapping[str, Any]
    mended: int
    is_irrelevant: bool
    is_all: bool
    differs: Sequence[tuple[str, Callable[[SpanAttributes], Any]]]


Attributes = Sequence[KeyValue]


class Decoded(Struct, frozen=True, gc=False):
    """
    The contents of one record: finished traces, outcomes, and spans of traces that are still to be assembled.

    Each span of the record is either in `spans` or counted in `ignored` as invalid or irrelevant; each evaluation is
    either in `outcomes` or counted as unlinked or unmapped. A record that holds nothing is counted as silent.
    """

    traces: Sequence[Trace] = ()
    outcomes: Sequence[OutcomeEvent] = ()
    spans: Sequence[Span] = ()
    ignored: Mapping[Ignored, int] = {}


class Reader:
    """
    Reads the parts of one record and counts what it leaves out.

    Spans and log records are those of protobuf or have the same field names. Most attribute values are never read.

    Args:
        options: How spans are read.
        limits: Sizes above which a value is cut.
        read_value: Reads the value of an attribute: text, a number, a bool, lists and objects of them, or None.
    """

    def __init__(self, options: DecodeOptions, limits: Limits, read_value: Callable[[Any], Any]) -> None:
        self._options = options
        self._limits = limits
        self._read_value = read_value
        self._ignored: Counter[Ignored] = Counter()
        self._spans: list[Span] = []
        self._outcomes: list[OutcomeEvent] = []
        self._resource = _Resource({})
        self._number: int | None = None
        self._label = partial(_label, self._ignored)

    def read(
        self, spans: Iterable[tuple[Attributes, Iterable[ProtoSpan]]] = (), logs: Iterable[LogRecord] = ()
    ) -> Decoded:
        """Read *spans*, by the attributes of their resources, and *logs*; what was added before is returned as well."""
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
        self._number = self._options.number_of(self._resource)

    def _add_span(self, raw: ProtoSpan) -> None:
        if (place := _place(raw)) is None:
            self._ignored[Ignored.SPAN_INVALID] += 1
            return
        facts = self._gather(raw.attributes)
        known = self._known(raw.name, facts)
        if facts.families or raw.events:
            known = self._read_beside(raw, place, known, facts)
        self._spans.append(self._span(raw, place, known, facts))

    def _read_beside(self, raw: ProtoSpan, place: _Place, known: _Known, facts: SpanAttributes) -> _Known:
        """Read the events and evaluations of a span into *facts*; returns what is *known* of it then."""
        trace_id, span_id, _, ended_at, parent_span_id = place
        # An evaluation on the root, or on a span outside the agent's work, judges the whole trace.
        part = span_id if parent_span_id and known.kind in _PARTS else None
        is_judge_of = known.kind is OperationKind.EVALUATOR and len(raw.links) == 1
        judged = _trace_id(raw.links[0].trace_id) if is_judge_of else trace_id
        if events := [event for event in raw.events if event.name in EVENTS]:
            for event in events:
                self._read_event(event, facts, judged, part)
            known = _known(self._options, self._resource, raw.name, facts, known.kind)
        for evaluation in facts.evaluations():
            self._add_evaluation(evaluation, judged, ended_at, part)
        return known

    def _known(self, name: str, facts: SpanAttributes) -> _Known:
        """What the span shares with others of its kind; remembered if such spans have bounded variety."""
        remembered, number, telling = self._options.known, self._number, facts.telling
        if number is None or telling is None or len(telling) > _MOST_TELLING or len(name) > _LONGEST_REMEMBERED:
            return _known(self._options, self._resource, name, facts)
        key = (number, name, *telling)
        if (known := remembered.get(key)) is None:
            known = _known(self._options, self._resource, name, facts)
            if len(remembered) < _MOST_KNOWN:
                remembered[key] = known
        return known

    def _add_log(self, log: LogRecord) -> None:
        named = (self._read_value(pair.value) for pair in log.attributes if pair.key == EVENT_NAME)
        if (log.event_name or next(named, "")) == EVALUATION_EVENT:
            at = seconds(log.time_unix_nano or log.observed_time_unix_nano)
            part = hexadecimal_id(log.span_id, SPAN_ID_BYTES)
            self._add_evaluation(self._gather(log.attributes), _trace_id(log.trace_id), at, part)
        else:
            self._ignored[Ignored.LOG_IRRELEVANT] += 1

    def add_evaluation(self, evaluation: Evaluation) -> None:
        """Keep the outcome of *evaluation*, or count why it has none."""
        if not evaluation.trace_id:
            self._ignored[Ignored.EVALUATION_UNLINKED] += 1
            return
        outcome = outcome_of(evaluation, self._options.settings.outcomes)
        if outcome is None:
            self._ignored[Ignored.EVALUATION_UNMAPPED] += 1
        else:
            self._outcomes.append(OutcomeEvent(evaluation.trace_id, outcome))

    def _gather(self, attributes: Attributes, facts: SpanAttributes | None = None) -> SpanAttributes:
        """The facts in *attributes*, added to *facts* if given."""
        facts = SpanAttributes() if facts is None else facts
        uses, read_value, longest = self._options.uses, self._read_value, self._limits.max_attribute_chars
        singles, telling, is_endless = facts.singles, list[Any](), False
        if (excess := len(attributes) - self._limits.max_attributes) > 0:
            self._ignored[Ignored.ATTRIBUTE_EXCESS] += excess
            attributes = attributes[:-excess]
        for pair in attributes:
            use = uses[pair.key]
            value = None if use is None else read_value(pair.value)
            if isinstance(value, str) and len(value) > longest:
                value = self._cut(value)
            if use is None or value is None:
                continue
            telling.append(use)
            meaning = use.meaning
            if meaning is not None and meaning.prefix:
                facts.families.setdefault(meaning.prefix, {})[meaning.rest] = value
            elif meaning is not None:
                kept = meaning.rank, unquoted(value) if meaning.is_quoted else value
                if meaning.fact in singles:
                    insort(singles[meaning.fact], kept, key=itemgetter(0))
                else:
                    singles[meaning.fact] = [kept]
            if use.is_telling:
                telling.append(value)
                is_endless |= not isinstance(value, str) or len(value) > _LONGEST_REMEMBERED
                if use.is_looked_at and isinstance(value, str | int | float):
                    facts.looked_at[pair.key] = value
        facts.telling = None if is_endless or facts.families else telling
        return facts

    def _cut(self, value: str) -> str | None:
        self._ignored[Ignored.ATTRIBUTE_CUT] += 1
        # A cut JSON document cannot be parsed and would count as plain text.
        return None if value.lstrip()[:1] in {"{", "["} else value[: self._limits.max_attribute_chars]

    def _read_event(self, event: ProtoSpan.Event, facts: SpanAttributes, trace_id: TraceId, part: str | None) -> None:
        meaning = EVENTS[event.name]
        if meaning is Field.EVALUATION:
            self._add_evaluation(self._gather(event.attributes), trace_id, seconds(event.time_unix_nano), part)
            return
        own = {pair.key: self._read_value(pair.value) for pair in event.attributes if self._options.uses[pair.key]}
        attributes: Attributes = event.attributes
        if meaning is not None:
            facts.add_message(meaning, event.name.split(".")[1], own)
            attributes = [pair for pair in attributes if pair.key == FINISH_REASON]
        self._gather(attributes, facts)
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

    def _span(self, raw: ProtoSpan, place: _Place, known: _Known, facts: SpanAttributes) -> Span:
        """The span; if it is irrelevant and no root, only its place and whether it failed."""
        code = raw.status.code
        has_failed = code == span_reading.ERROR_STATUS
        if known.is_irrelevant and place[-1]:
            self._ignored[Ignored.SPAN_IRRELEVANT] += 1
            # It may turn out to be the topmost span, whose error is that of the run.
            why = span_reading.error_type_of(facts, raw.status.message) if has_failed else None
            return Span(*place, error=has_failed or None, error_type=self._label(why))
        if known.mended:
            self._ignored[Ignored.LABEL_MENDED] += known.mended
        kind = known.kind
        if known.is_all and not has_failed:
            return Span(*place, **known.shared, error=span_reading.error_of(code, facts, answer=None))
        is_call, is_asked = kind is _MODEL, kind in _ASKED
        asked = span_reading.asked_of(facts) if is_asked else Asked()
        input_tokens, output_tokens = span_reading.tokens_of(facts, is_call=is_call)
        answer = span_reading.answered(facts, output_tokens)
        error = span_reading.error_of(code, facts, answer=answer)
        models = span_reading.models_of(facts, failed=bool(error), is_call=is_call) if is_asked else (None, None)
        request_model, response_model = map(self._label, models)
        return Span(
            *place,
            **{**known.shared, **{field: read(facts) for field, read in known.differs}},
            error=error,
            error_type=self._label(span_reading.error_type_of(facts, raw.status.message if error else "")),
            request_model=request_model,
            response_model=response_model,
            text=None if asked.text is None else asked.text[: self._limits.max_text_chars],
            is_wrapped=not asked.is_plain,
            messages=asked.messages,
            tools=span_reading.tools_on_offer(facts) if is_asked else (),
            answered=answer,
            calls_tools=(is_call or kind is _AGENT) and span_reading.calls_tools(facts),
            input_tokens=input_tokens,
            output_tokens=output_tokens,
        )

    def _service(self, facts: SpanAttributes) -> str | None:
        name, namespace = (facts.first(field, self._label) for field in (Field.SERVICE, Field.NAMESPACE))
        if name is None or namespace is None or not self._options.settings.service_namespace:
            return name
        return self._label(f"{namespace}/{name}")


def _known(
    options: DecodeOptions, resource: _Resource, name: str, facts: SpanAttributes, kind: OperationKind | None = None
) -> _Known:
    """What such spans share, by *facts* and *name*; *kind* if it was determined before the events were read."""
    kind = span_reading.kind_of(facts, name) if kind is None else kind
    tool_name = facts.first(Field.TOOL_NAME, values.identifier)
    capability = options.capabilities.match(
        span_name=name,
        tool_name=tool_name if kind is OperationKind.TOOL else None,
        attributes={**resource.looked_at, **facts.looked_at} if resource.looked_at else facts.looked_at,
    )
    ignored = Counter[Ignored]()
    label = partial(_label, ignored)
    # The first attribute listed in the settings that has a value names the version.
    at_hand = (facts.looked_at, resource.looked_at)
    named = (at[key] for key in options.settings.version_attributes for at in at_hand if key in at)
    shared = {
        "name": values.identifier(name) or "",
        "kind": kind,
        "service": resource.service,
        "environment": facts.first(Field.ENVIRONMENT, label) or resource.environment,
        "model_version": facts.first(Field.MODEL_VERSION, label)
        or resource.model_version
        or next((version for value in named if (version := label(value)) is not None), None),
        "agent_name": facts.first(Field.AGENT_NAME, label),
        "agent_version": facts.first(Field.AGENT_VERSION, label) or resource.agent_version,
        "capability": None if capability is None else capability[1],
        "capability_rule": None if capability is None else capability[0],
        "tool_name": tool_name,
        # Such attributes are unbounded, so spans with them are never remembered.
        "attributes": span_reading.request_attributes(facts.request_attributes()) or None,
    }
    is_classified = capability is not None and (bool(facts.looked_at) or not resource.looked_at)
    is_relevant = is_classified or facts.request_attributes() or not span_reading.OWN_FACTS.isdisjoint(facts.singles)
    is_alone = facts.singles.keys() <= _TELLING and not facts.families and not facts.messages
    return _Known(
        kind,
        {name: value for name, value in shared.items() if value is not None},
        ignored[Ignored.LABEL_MENDED],
        is_irrelevant=kind is OperationKind.OTHER and not is_relevant,
        is_all=is_alone and kind not in _ASKED,
        differs=[(field, read) for of, field, read in span_reading.DIFFERING if not {*of}.isdisjoint(facts.singles)],
    )


def _label(ignored: Counter[Ignored], value: Any) -> str | None:
    text = value if isinstance(value, str) else str(value) if type(value) is int else None  # a version may be a number
    label = None if text is None else clean_label(text)
    if label != text:
        ignored[Ignored.LABEL_MENDED] += 1
    return label


def _place(raw: ProtoSpan) -> _Place | None:
    """Ids and times of the span *raw*; None if it lacks a valid id or start."""
    trace_id, span_id = _trace_id(raw.trace_id), hexadecimal_id(raw.span_id, SPAN_ID_BYTES)
    started_at, ended_at = seconds(raw.start_time_unix_nano), seconds(raw.end_time_unix_nano)
    if not trace_id or span_id is None or started_at is None:
        return None
    if ended_at is not None and ended_at < started_at:  # clocks step back
        ended_at = started_at
    return trace_id, span_id, started_at, ended_at, hexadecimal_id(raw.parent_span_id, SPAN_ID_BYTES)


def _trace_id(raw: bytes) -> TraceId:
    return TraceId(hexadecimal_id(raw, TRACE_ID_BYTES) or "")
