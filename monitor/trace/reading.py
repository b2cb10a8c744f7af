"""From the raw parts of a span to a `Span`, by the table of attribute names; and from its evaluations to outcomes."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from monitor.trace.capability import CapabilityRules
from monitor.trace.content import has_content, parsed, request_of, tools_of
from monitor.trace.decoded import Decoded, Ignored
from monitor.trace.labels import clean_label
from monitor.trace.model import Budget, OutcomeEvent, Tool, TraceId
from monitor.trace.outcome_policy import HUMAN, JUDGE, Evaluation, outcome_of
from monitor.trace.semconv import ATTRIBUTES, ERROR_LEVEL, EVENTS, SPAN_KINDS, Fact
from monitor.trace.settings import Limits, TraceSettings
from monitor.trace.span import Span, SpanKind

Pairs = Iterable[tuple[str, Any]]
"""Attributes by name; a value is text, a number, a truth value, or lists and objects of them."""

_EARLIEST_NS = 946_684_800 * 10**9  # 2000-01-01
_LATEST_NS = 4_102_444_800 * 10**9  # 2100-01-01
_LARGEST_COUNT = 10**12
_LARGEST_COST = 1_000_000.0
_MAX_ATTRIBUTE_TEXT = 128
_MAX_REQUEST_ATTRIBUTES = 64
_IDENTIFIER_CHARS = 256
_TRACE_ID_DIGITS, _SPAN_ID_DIGITS = 32, 16
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HEX = re.compile(r"[0-9A-Fa-f]+")
_ERROR_STATUS, _OK_STATUS = 2, 1


@dataclass(frozen=True, slots=True)
class RawEvent:
    """An event of a span, or a log record; *time_ns* is Unix nanoseconds, 0 where not known."""

    name: str
    time_ns: int
    attributes: Pairs
    trace_id: str = ""


@dataclass(frozen=True, slots=True)
class RawSpan:
    """A span as either encoding wrote it: ids in hexadecimal, times in Unix nanoseconds, 0 where not known."""

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


@dataclass(frozen=True, slots=True)
class _Place:
    trace_id: TraceId
    span_id: str
    parent_span_id: str | None
    started_at: float
    ended_at: float | None


@dataclass(frozen=True, slots=True)
class _Name:
    fact: Fact
    rank: int


@dataclass(slots=True)
class _Facts:
    """What the attributes of one span say: values by fact with their rank, families still flattened."""

    singles: dict[Fact, list[tuple[int, Any]]] = field(default_factory=dict)
    families: dict[str, dict[str, Any]] = field(default_factory=dict)
    looked_at: dict[str, Any] = field(default_factory=dict)

    def add(self, fact: Fact, rank: int, value: Any) -> None:
        self.singles.setdefault(fact, []).append((rank, value))

    def values(self, fact: Fact) -> Iterator[Any]:
        """Values of *fact*, best name first."""
        found = self.singles.get(fact)
        if found is None:
            return
        if len(found) > 1:
            found.sort(key=lambda pair: pair[0])
        for _, value in found:
            yield value


class Reading:
    """
    How spans are read: the table of names, the capability rules and the outcome policy, ready for use.

    Args:
        settings: How spans become traces, and evaluations outcomes.
    """

    def __init__(self, settings: TraceSettings | None = None) -> None:
        self.settings = TraceSettings() if settings is None else settings
        self.capabilities = CapabilityRules.of(self.settings.capabilities)

    def wants(self, name: str) -> bool:
        """Whether an attribute of that *name* is read at all, so that the value of any other need not be."""
        return name in _NAMES or name in self.capabilities.attributes or name.startswith(_PREFIXES)


class Reader:
    """
    Reads the parts of one record; what it left aside is counted in *ignored*.

    Args:
        reading: How spans are read.
        limits: Sizes above which a value is cut.
    """

    def __init__(self, reading: Reading, limits: Limits) -> None:
        self._reading = reading
        self._limits = limits
        self._ignored: Counter[Ignored] = Counter()
        self._spans: list[Span] = []
        self._outcomes: list[OutcomeEvent] = []
        self._resource = _Facts()

    def decoded(self) -> Decoded:
        """All that was read so far."""
        return Decoded(spans=tuple(self._spans), outcomes=tuple(self._outcomes), ignored=dict(self._ignored))

    def enter_resource(self, attributes: Pairs) -> None:
        """Read what follows under the resource with these *attributes*."""
        self._resource = _Facts()
        self._gather(attributes, self._resource)

    def add_span(self, raw: RawSpan) -> None:
        """Keep what *raw* says, or count why it says nothing."""
        place = _place(raw)
        if place is None:
            self._ignored[Ignored.SPAN_INVALID] += 1
            return
        facts = _Facts()
        self._gather(raw.attributes, facts)
        kind = _kind(facts)
        judged: str = place.trace_id
        if kind is SpanKind.EVALUATOR and len(raw.links) == 1:
            judged = _hex_id(raw.links[0], _TRACE_ID_DIGITS) or ""
        self._read_events(raw.events, facts, judged)
        self._read_inline_evaluations(facts, judged, place.ended_at)
        span = self._span(raw, place, kind, facts)
        if span is None:
            self._ignored[Ignored.SPAN_IRRELEVANT] += 1
        else:
            self._spans.append(span)

    def add_log(self, raw: RawEvent) -> None:
        """Keep the evaluation that a log record carries, or count that it carries none."""
        if EVENTS.get(raw.name) is Fact.EVALUATION:
            facts = _Facts()
            self._gather(raw.attributes, facts)
            self._add_evaluation_event(facts, _hex_id(raw.trace_id, _TRACE_ID_DIGITS) or "", _seconds(raw.time_ns))
        else:
            self._ignored[Ignored.LOG_IRRELEVANT] += 1

    def add_evaluation(self, evaluation: Evaluation) -> None:
        """Keep what *evaluation* says about success, or count why it says nothing."""
        if not evaluation.trace_id:
            self._ignored[Ignored.EVALUATION_UNLINKED] += 1
            return
        outcome = outcome_of(evaluation, self._reading.settings.outcomes)
        if outcome is None:
            self._ignored[Ignored.EVALUATION_UNMAPPED] += 1
            return
        self._outcomes.append(OutcomeEvent(evaluation.trace_id, outcome))

    def _gather(self, attributes: Pairs, facts: _Facts) -> None:
        looked_at = self._reading.capabilities.attributes
        for count, (name, value) in enumerate(attributes):
            if count >= self._limits.max_attributes:
                self._ignored[Ignored.ATTRIBUTE_EXCESS] += 1
                continue
            within = self._within_limit(value)
            if within is None:
                continue
            known = _NAMES.get(name)
            if known is not None:
                facts.add(known.fact, known.rank, within)
            elif name.startswith(_PREFIXES):
                prefix = next(prefix for prefix in _PREFIXES if name.startswith(prefix))
                facts.families.setdefault(prefix, {})[name[len(prefix) :]] = within
            if name in looked_at and isinstance(within, str | int | float):
                facts.looked_at[name] = within

    def _within_limit(self, value: Any) -> Any:
        if not isinstance(value, str) or len(value) <= self._limits.max_attribute_chars:
            return value
        self._ignored[Ignored.ATTRIBUTE_CUT] += 1
        # Half a JSON document is no JSON, and would pass for plain text.
        return None if value.lstrip()[:1] in {"{", "["} else value[: self._limits.max_attribute_chars]

    def _read_events(self, events: Sequence[RawEvent], facts: _Facts, trace_id: str) -> None:
        for event in events:
            if event.name not in EVENTS:
                continue
            if EVENTS[event.name] is Fact.EVALUATION:
                of_event = _Facts()
                self._gather(event.attributes, of_event)
                self._add_evaluation_event(of_event, trace_id, _seconds(event.time_ns))
            else:
                self._gather(event.attributes, facts)

    def _add_evaluation_event(self, facts: _Facts, trace_id: str, at: float | None) -> None:
        self.add_evaluation(
            Evaluation(
                trace_id=TraceId(trace_id),
                name=_first(facts, Fact.EVALUATION_NAME, _identifier),
                score=_first(facts, Fact.EVALUATION_SCORE, _number),
                label=_first(facts, Fact.EVALUATION_LABEL, _identifier),
                source=_first(facts, Fact.EVALUATION_SOURCE, _annotator) or JUDGE,
                at=at,
            )
        )

    def _read_inline_evaluations(self, facts: _Facts, trace_id: str, at: float | None) -> None:
        for prefix in _EVALUATION_PREFIXES:
            for item in _indexed(facts.families.get(prefix, {})):
                named = {name.rpartition(".")[2]: value for name, value in item.items()}
                self.add_evaluation(
                    Evaluation(
                        trace_id=TraceId(trace_id),
                        name=_identifier(named.get("name")),
                        score=_number(named.get("score")),
                        label=_identifier(named.get("label")),
                        source=_annotator(named.get("annotator_kind")) or JUDGE,
                        at=at,
                    )
                )

    def _span(self, raw: RawSpan, place: _Place, kind: SpanKind, facts: _Facts) -> Span | None:
        tool_name = _first(facts, Fact.TOOL_NAME, _identifier)
        capability = self._reading.capabilities.match(
            span_name=raw.name,
            tool_name=tool_name if kind is SpanKind.TOOL else None,
            attributes={**self._resource.looked_at, **facts.looked_at},
        )
        if (
            kind is SpanKind.OTHER
            and place.parent_span_id is not None
            and _SIGNS_OF_OURS.isdisjoint(facts.singles)
            and (capability is None or (self._resource.looked_at and not facts.looked_at))
        ):
            return None
        text, messages = _input(facts) if kind in _ASKED else (None, None)
        input_tokens, output_tokens = _tokens(facts)
        return Span(
            trace_id=place.trace_id,
            span_id=place.span_id,
            parent_span_id=place.parent_span_id,
            name=_identifier(raw.name) or "",
            kind=kind,
            started_at=place.started_at,
            ended_at=place.ended_at,
            error=_error(raw.status_code, facts),
            error_type=_first(facts, Fact.ERROR_TYPE, self._label),
            service=_first(self._resource, Fact.SERVICE, self._label),
            environment=self._either(facts, Fact.ENVIRONMENT),
            request_model=_first(facts, Fact.REQUEST_MODEL, self._label),
            response_model=_first(facts, Fact.RESPONSE_MODEL, self._label),
            model_version=self._either(facts, Fact.MODEL_VERSION),
            agent_name=_first(facts, Fact.AGENT_NAME, self._label),
            agent_version=self._either(facts, Fact.AGENT_VERSION),
            conversation_id=_first(facts, Fact.CONVERSATION, _identifier),
            request_id=_first(facts, Fact.REQUEST_ID, _identifier),
            capability=None if capability is None else capability[1],
            capability_rule=None if capability is None else capability[0],
            tool_name=tool_name,
            text=None if text is None else text[: self._limits.max_text_chars],
            messages=messages,
            tools=_tools(facts) if kind in _ASKED else (),
            answered=_answered(facts, output_tokens),
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            cost_usd=_cost(facts),
            budget=_budget(facts),
            attributes=_request_attributes(facts.families.get(_REQUEST_PREFIX, {})),
        )

    def _either(self, facts: _Facts, fact: Fact) -> str | None:
        """*fact* as the span says it, or else as its resource does."""
        own = _first(facts, fact, self._label)
        return _first(self._resource, fact, self._label) if own is None else own

    def _label(self, value: Any) -> str | None:
        if not isinstance(value, str):
            return None
        label = clean_label(value)
        if label != value:
            self._ignored[Ignored.LABEL_MENDED] += 1
        return label


def _names() -> dict[str, _Name]:
    return {row.name: _Name(row.fact, rank) for rank, row in enumerate(ATTRIBUTES) if row.prefix is None}


_NAMES = _names()
_FAMILIES = {row.prefix: _Name(row.fact, rank) for rank, row in enumerate(ATTRIBUTES) if row.prefix is not None}
_PREFIXES = tuple(_FAMILIES)
_EVALUATION_PREFIXES = {prefix for prefix, name in _FAMILIES.items() if name.fact is Fact.EVALUATION}
_REQUEST_PREFIX = next(prefix for prefix, name in _FAMILIES.items() if name.fact is Fact.REQUEST_ATTRIBUTE)
_ASKED = {SpanKind.AGENT, SpanKind.MODEL, SpanKind.STEP}
"""Kinds of span whose input may be what was asked; a tool's input is the model's."""

_SIGNS_OF_A_STEP = {
    Fact.PROVIDER,
    Fact.REQUEST_MODEL,
    Fact.AGENT_NAME,
    Fact.INPUT,
    Fact.OUTPUT,
    Fact.TOOLS,
    Fact.INPUT_TOKENS,
    Fact.OUTPUT_TOKENS,
    Fact.TOKENS,
    Fact.COST,
    Fact.COST_PART,
}
_SIGNS_OF_OURS = {
    Fact.MODEL_VERSION,
    Fact.REQUEST_ID,
    Fact.BUDGET_TOOL_CALLS,
    Fact.BUDGET_STEPS,
    Fact.BUDGET_TOKENS,
    Fact.BUDGET_SECONDS,
}


def _place(raw: RawSpan) -> _Place | None:
    """Ids and times of *raw*, or None where it cannot be placed in a trace."""
    trace_id = _hex_id(raw.trace_id, _TRACE_ID_DIGITS)
    span_id = _hex_id(raw.span_id, _SPAN_ID_DIGITS)
    started_at, ended_at = _seconds(raw.start_ns), _seconds(raw.end_ns)
    if trace_id is None or span_id is None or started_at is None:
        return None
    return _Place(
        trace_id=TraceId(trace_id),
        span_id=span_id,
        parent_span_id=_hex_id(raw.parent_span_id, _SPAN_ID_DIGITS),
        started_at=started_at,
        ended_at=None if ended_at is None else max(started_at, ended_at),  # clocks step back
    )


def _kind(facts: _Facts) -> SpanKind:
    for value in facts.values(Fact.KIND):
        if isinstance(value, str):
            return SPAN_KINDS.get(value.lower(), SpanKind.STEP)
    singles = facts.singles
    if Fact.TOOL_NAME in singles:
        return SpanKind.TOOL
    if Fact.RESPONSE_MODEL in singles or (Fact.REQUEST_MODEL in singles and Fact.PROVIDER in singles):
        return SpanKind.MODEL
    if _SIGNS_OF_A_STEP.isdisjoint(singles) and facts.families.keys() <= _EVALUATION_PREFIXES:
        return SpanKind.OTHER
    return SpanKind.STEP


_T = TypeVar("_T")


def _first(facts: _Facts, fact: Fact, read: Callable[[Any], _T | None]) -> _T | None:
    """The first value of *fact* that *read* can make something of."""
    if fact not in facts.singles:
        return None
    for value in facts.values(fact):
        found = read(value)
        if found is not None:
            return found
    return None


def _input(facts: _Facts) -> tuple[str | None, int | None]:
    text: str | None = None
    messages: int | None = None
    for value in _ranked(facts, Fact.INPUT):
        said, count = request_of(value)
        text = said if text is None else text
        messages = count if messages is None else messages
        if text is not None and messages is not None:
            break
    return text, messages


def _tools(facts: _Facts) -> tuple[Tool, ...]:
    for value in _ranked(facts, Fact.TOOLS):
        found = tools_of(value)
        if found:
            return found
    # Langfuse writes the arguments of the call as its input, tools and all.
    for value in facts.values(Fact.INPUT):
        document = parsed(value) if not isinstance(value, str) or '"tools"' in value else None
        if isinstance(document, Mapping) and isinstance(document.get("tools"), list):
            return tools_of(document)
    return ()


def _answered(facts: _Facts, output_tokens: int | None) -> bool | None:
    said = [has_content(value) for value in _ranked(facts, Fact.OUTPUT)]
    if said:
        return any(said)
    return None if output_tokens is None else output_tokens > 0


def _tokens(facts: _Facts) -> tuple[int | None, int | None]:
    """Tokens in and out, by their own names or as Langfuse's object of both."""
    own = _first(facts, Fact.INPUT_TOKENS, _count), _first(facts, Fact.OUTPUT_TOKENS, _count)
    both = _first(facts, Fact.TOKENS, _usage) or (None, None)
    return both[0] if own[0] is None else own[0], both[1] if own[1] is None else own[1]


def _ranked(facts: _Facts, fact: Fact) -> Iterator[Any]:
    """Values of *fact*, single names and families, best name first, JSON in them parsed."""
    ranked = [(rank, value) for rank, value in facts.singles.get(fact, ())]
    for prefix, flattened in facts.families.items():
        name = _FAMILIES[prefix]
        if name.fact is fact:
            items = [_unflattened(item) for item in _indexed(flattened)]
            if items:
                ranked.append((name.rank, items))
    for _, value in sorted(ranked, key=lambda pair: pair[0]):
        yield parsed(value)


def _indexed(flattened: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Items of a flattened list in order of their index: names are what follows the index."""
    items: dict[int, dict[str, Any]] = {}
    for name, value in flattened.items():
        index, _, rest = name.partition(".")
        if index.isascii() and index.isdigit() and len(index) <= len("9999"):
            items.setdefault(int(index), {})[rest] = value
    return [items[index] for index in sorted(items)]


def _unflattened(item: Mapping[str, Any]) -> Any:
    """A flattened message, prompt or tool as the object that it was, as far as it is read."""
    schema = item.get("tool.json_schema")
    if schema is not None:
        return schema
    message: dict[str, Any] = {}
    parts: list[tuple[str, Any]] = []
    for name, value in item.items():
        last = name.rpartition(".")[2]
        if name in {"message.role", "role"}:
            message["role"] = value
        elif name in {"message.content", "content", "prompt.text"} or name.endswith("message_content.text"):
            parts.append((name, value))
        elif last not in {"type", "id", "finish_reason"}:
            message[name] = value
    message["content"] = [value for _, value in sorted(parts, key=lambda part: _natural(part[0]))]
    return message


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isascii() and part.isdigit() else (-1, part) for part in name.split(".")]


def _hex_id(value: str, digits: int) -> str | None:
    """*value* as an id of *digits* lower-case hexadecimal digits; None where it is none, or all zero."""
    if len(value) != digits or not _HEX.fullmatch(value) or not value.strip("0"):
        return None
    return value.lower()


def _seconds(nanoseconds: int) -> float | None:
    return nanoseconds / 1e9 if _EARLIEST_NS <= nanoseconds < _LATEST_NS else None


def _identifier(value: Any) -> str | None:
    if not isinstance(value, str):
        return None
    return _CONTROL.sub("", value[:_IDENTIFIER_CHARS]) or None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _count(value: Any) -> int | None:
    number = _amount(value)
    return None if number is None else int(number)


def _amount(value: Any) -> float | None:
    number = _number(value)
    return number if number is not None and 0 <= number <= _LARGEST_COUNT else None


def _dollars(value: Any) -> float | None:
    number = _number(value)
    return number if number is not None and 0 <= number <= _LARGEST_COST else None


def _annotator(value: Any) -> str | None:
    if not isinstance(value, str):
        return None
    return HUMAN if value.upper() in {"HUMAN", "ANNOTATION"} else JUDGE


def _usage(value: Any) -> tuple[int | None, int | None] | None:
    """Tokens in and out as Langfuse writes them: its own names, or those of the provider."""
    details = parsed(value)
    if not isinstance(details, Mapping):
        return None
    names = (("input", "prompt_tokens", "input_tokens"), ("output", "completion_tokens", "output_tokens"))
    found = [next((n for key in keys if (n := _count(details.get(key))) is not None), None) for keys in names]
    return found[0], found[1]


def _cost(facts: _Facts) -> float | None:
    whole = _first(facts, Fact.COST, _cost_of)
    if whole is not None:
        return whole
    parts = [cost for value in facts.values(Fact.COST_PART) if (cost := _dollars(value)) is not None]
    return math.fsum(parts) if parts else None


def _cost_of(value: Any) -> float | None:
    details = parsed(value)
    if not isinstance(details, Mapping):
        return _dollars(details)
    total = _dollars(details.get("total"))
    parts = [cost for part in details.values() if (cost := _dollars(part)) is not None]
    return total if total is not None else (math.fsum(parts) if parts else None)


def _error(status_code: int, facts: _Facts) -> bool | None:
    if status_code == _ERROR_STATUS or ERROR_LEVEL in facts.values(Fact.LEVEL):
        return True
    return False if status_code == _OK_STATUS else None


def _budget(facts: _Facts) -> Budget:
    if _SIGNS_OF_OURS.isdisjoint(facts.singles):
        return _NO_BUDGET
    return Budget(
        tool_calls=_first(facts, Fact.BUDGET_TOOL_CALLS, _count),
        steps=_first(facts, Fact.BUDGET_STEPS, _count),
        tokens=_first(facts, Fact.BUDGET_TOKENS, _count),
        seconds=_first(facts, Fact.BUDGET_SECONDS, _amount),
    )


_NO_BUDGET = Budget()


def _request_attributes(flattened: Mapping[str, Any]) -> dict[str, float | str]:
    known: dict[str, float | str] = {}
    for name, value in sorted(flattened.items())[:_MAX_REQUEST_ATTRIBUTES]:
        number = _number(value)
        if number is not None:
            known[name[:_MAX_ATTRIBUTE_TEXT]] = number
        elif isinstance(value, str):
            known[name[:_MAX_ATTRIBUTE_TEXT]] = value[:_MAX_ATTRIBUTE_TEXT]
    return known
