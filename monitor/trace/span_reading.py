"""The parts of a `Span` out of its attributes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from monitor.trace.bounds import MOST_ATTRIBUTE_CHARACTERS, MOST_ATTRIBUTES
from monitor.trace.messages import has_content, parsed, request_of, tools_of
from monitor.trace.model import Budget, Tool
from monitor.trace.semconv import ERROR_LEVEL, SPAN_KINDS, Field
from monitor.trace.span import OperationKind
from monitor.trace.span_attributes import SpanAttributes
from monitor.trace.values import amount, count, dollars, number

_ERROR_STATUS, _OK_STATUS = 2, 1
_NO_BUDGET = Budget()
_SIGNS_OF_A_STEP = frozenset(
    {
        Field.PROVIDER,
        Field.REQUEST_MODEL,
        Field.AGENT_NAME,
        Field.INPUT,
        Field.OUTPUT,
        Field.TOOLS,
        Field.INPUT_TOKENS,
        Field.OUTPUT_TOKENS,
        Field.TOKENS,
        Field.COST,
        Field.COST_PART,
    }
)
_BUDGETS = frozenset({Field.BUDGET_TOOL_CALLS, Field.BUDGET_STEPS, Field.BUDGET_TOKENS, Field.BUDGET_SECONDS})
_WORDS_OF_OURS = _BUDGETS | {Field.MODEL_VERSION, Field.REQUEST_ID}
_USAGE_NAMES = (("input", "prompt_tokens", "input_tokens"), ("output", "completion_tokens", "output_tokens"))


def kind_of(attributes: SpanAttributes) -> OperationKind:
    """What the span stands for: as it says itself, or else by the attributes that only one kind has."""
    for value in attributes.values(Field.KIND):
        if isinstance(value, str):
            return SPAN_KINDS.get(value.lower(), OperationKind.STEP)
    singles = attributes.singles
    if Field.TOOL_NAME in singles:
        return OperationKind.TOOL
    if Field.RESPONSE_MODEL in singles or (Field.REQUEST_MODEL in singles and Field.PROVIDER in singles):
        return OperationKind.MODEL
    if _SIGNS_OF_A_STEP.isdisjoint(singles) and not attributes.has_families_but_evaluations():
        return OperationKind.OTHER
    return OperationKind.STEP


def speaks_to_us(attributes: SpanAttributes) -> bool:
    """Whether the sender put something for Cliffwatch on the span."""
    return not _WORDS_OF_OURS.isdisjoint(attributes.singles)


def error_of(status_code: int, attributes: SpanAttributes) -> bool | None:
    """True: ended in an error; False: said to be fine; None: nothing said."""
    if status_code == _ERROR_STATUS or ERROR_LEVEL in attributes.values(Field.LEVEL):
        return True
    return False if status_code == _OK_STATUS else None


def asked_of(attributes: SpanAttributes) -> tuple[str | None, int | None]:
    """What was asked, and after how many messages; each from the best name that tells it."""
    text: str | None = None
    messages: int | None = None
    for value in attributes.documents(Field.INPUT):
        said, length = request_of(value)
        text = said if text is None else text
        messages = length if messages is None else messages
        if text is not None and messages is not None:
            break
    return text, messages


def tools_on_offer(attributes: SpanAttributes) -> tuple[Tool, ...]:
    """Tool definitions, from the best name that has any."""
    for value in attributes.documents(Field.TOOLS):
        found = tools_of(value)
        if found:
            return found
    # Langfuse writes the arguments of the call as its input, tools and all.
    for value in attributes.values(Field.INPUT):
        document = parsed(value) if isinstance(value, dict) or (isinstance(value, str) and '"tools"' in value) else None
        if isinstance(document, dict) and isinstance(document.get("tools"), list):
            return tools_of(document)
    return ()


def answered(attributes: SpanAttributes, output_tokens: int | None) -> bool | None:
    """Whether an answer came out: by what is shown of it, or else by its length."""
    said = [has_content(value) for value in attributes.documents(Field.OUTPUT)]
    if said:
        return any(said)
    return None if output_tokens is None else output_tokens > 0


def tokens_of(attributes: SpanAttributes) -> tuple[int | None, int | None]:
    """Tokens in and out, by their own names or as Langfuse's object of both."""
    own = attributes.first(Field.INPUT_TOKENS, count), attributes.first(Field.OUTPUT_TOKENS, count)
    both = attributes.first(Field.TOKENS, _usage) or (None, None)
    return both[0] if own[0] is None else own[0], both[1] if own[1] is None else own[1]


def _usage(value: Any) -> tuple[int | None, int | None] | None:
    """Tokens under Langfuse's own names, or those of the provider."""
    details = parsed(value)
    if not isinstance(details, dict):
        return None
    found = [next((n for key in keys if (n := count(details.get(key))) is not None), None) for keys in _USAGE_NAMES]
    return found[0], found[1]


def cost_of(attributes: SpanAttributes) -> float | None:
    """US dollars, whole or added up."""
    whole = attributes.first(Field.COST, _cost)
    if whole is not None or Field.COST_PART not in attributes.singles:
        return whole
    parts = [cost for value in attributes.values(Field.COST_PART) if (cost := dollars(value)) is not None]
    return math.fsum(parts) if parts else None


def _cost(value: Any) -> float | None:
    details = parsed(value)
    if not isinstance(details, dict):
        return dollars(details)
    total = dollars(details.get("total"))
    parts = [cost for part in details.values() if (cost := dollars(part)) is not None]
    return total if total is not None else (math.fsum(parts) if parts else None)


def budget_of(attributes: SpanAttributes) -> Budget:
    """What the run is allowed."""
    if _BUDGETS.isdisjoint(attributes.singles):
        return _NO_BUDGET
    return Budget(
        tool_calls=attributes.first(Field.BUDGET_TOOL_CALLS, count),
        steps=attributes.first(Field.BUDGET_STEPS, count),
        tokens=attributes.first(Field.BUDGET_TOKENS, count),
        seconds=attributes.first(Field.BUDGET_SECONDS, amount),
    )


def request_attributes(flattened: Mapping[str, Any]) -> dict[str, float | str]:
    """Numbers and short strings known at request time."""
    known: dict[str, float | str] = {}
    for name, value in sorted(flattened.items())[:MOST_ATTRIBUTES] if flattened else ():
        measured = number(value)
        if measured is not None:
            known[name[:MOST_ATTRIBUTE_CHARACTERS]] = measured
        elif isinstance(value, str):
            known[name[:MOST_ATTRIBUTE_CHARACTERS]] = value[:MOST_ATTRIBUTE_CHARACTERS]
    return known
