"""The parts of a `Span` out of its facts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from monitor.trace.messages import has_content, parsed, request_of, tools_of
from monitor.trace.model import Budget, Tool
from monitor.trace.semconv import ERROR_LEVEL, SPAN_KINDS, Fact
from monitor.trace.span import SpanKind
from monitor.trace.span_attributes import Facts
from monitor.trace.values import amount, count, dollars, number

_MAX_REQUEST_ATTRIBUTES = 64
_MAX_REQUEST_ATTRIBUTE_CHARS = 128
_ERROR_STATUS, _OK_STATUS = 2, 1
_NO_BUDGET = Budget()
_SIGNS_OF_A_STEP = frozenset(
    {
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
)
_BUDGETS = frozenset({Fact.BUDGET_TOOL_CALLS, Fact.BUDGET_STEPS, Fact.BUDGET_TOKENS, Fact.BUDGET_SECONDS})
_WORDS_OF_OURS = _BUDGETS | {Fact.MODEL_VERSION, Fact.REQUEST_ID}
_USAGE_NAMES = (("input", "prompt_tokens", "input_tokens"), ("output", "completion_tokens", "output_tokens"))


def kind_of(facts: Facts) -> SpanKind:
    """What the span stands for: as it says itself, or else by the facts that only one kind has."""
    for value in facts.values(Fact.KIND):
        if isinstance(value, str):
            return SPAN_KINDS.get(value.lower(), SpanKind.STEP)
    singles = facts.singles
    if Fact.TOOL_NAME in singles:
        return SpanKind.TOOL
    if Fact.RESPONSE_MODEL in singles or (Fact.REQUEST_MODEL in singles and Fact.PROVIDER in singles):
        return SpanKind.MODEL
    if _SIGNS_OF_A_STEP.isdisjoint(singles) and not facts.has_families_but_evaluations():
        return SpanKind.OTHER
    return SpanKind.STEP


def speaks_to_us(facts: Facts) -> bool:
    """Whether the sender put something for Cliffwatch on the span."""
    return not _WORDS_OF_OURS.isdisjoint(facts.singles)


def error_of(status_code: int, facts: Facts) -> bool | None:
    """True: ended in an error; False: said to be fine; None: nothing said."""
    if status_code == _ERROR_STATUS or ERROR_LEVEL in facts.values(Fact.LEVEL):
        return True
    return False if status_code == _OK_STATUS else None


def asked_of(facts: Facts) -> tuple[str | None, int | None]:
    """What was asked, and after how many messages; each from the best name that tells it."""
    text: str | None = None
    messages: int | None = None
    for value in facts.documents(Fact.INPUT):
        said, length = request_of(value)
        text = said if text is None else text
        messages = length if messages is None else messages
        if text is not None and messages is not None:
            break
    return text, messages


def tools_on_offer(facts: Facts) -> tuple[Tool, ...]:
    """Tool definitions, from the best name that has any."""
    for value in facts.documents(Fact.TOOLS):
        found = tools_of(value)
        if found:
            return found
    # Langfuse writes the arguments of the call as its input, tools and all.
    for value in facts.values(Fact.INPUT):
        document = parsed(value) if isinstance(value, dict) or (isinstance(value, str) and '"tools"' in value) else None
        if isinstance(document, dict) and isinstance(document.get("tools"), list):
            return tools_of(document)
    return ()


def answered(facts: Facts, output_tokens: int | None) -> bool | None:
    """Whether an answer came out: by what is shown of it, or else by its length."""
    said = [has_content(value) for value in facts.documents(Fact.OUTPUT)]
    if said:
        return any(said)
    return None if output_tokens is None else output_tokens > 0


def tokens_of(facts: Facts) -> tuple[int | None, int | None]:
    """Tokens in and out, by their own names or as Langfuse's object of both."""
    own = facts.first(Fact.INPUT_TOKENS, count), facts.first(Fact.OUTPUT_TOKENS, count)
    both = facts.first(Fact.TOKENS, _usage) or (None, None)
    return both[0] if own[0] is None else own[0], both[1] if own[1] is None else own[1]


def _usage(value: Any) -> tuple[int | None, int | None] | None:
    """Tokens under Langfuse's own names, or those of the provider."""
    details = parsed(value)
    if not isinstance(details, dict):
        return None
    found = [next((n for key in keys if (n := count(details.get(key))) is not None), None) for keys in _USAGE_NAMES]
    return found[0], found[1]


def cost_of(facts: Facts) -> float | None:
    """US dollars, whole or added up."""
    whole = facts.first(Fact.COST, _cost)
    if whole is not None or Fact.COST_PART not in facts.singles:
        return whole
    parts = [cost for value in facts.values(Fact.COST_PART) if (cost := dollars(value)) is not None]
    return math.fsum(parts) if parts else None


def _cost(value: Any) -> float | None:
    details = parsed(value)
    if not isinstance(details, dict):
        return dollars(details)
    total = dollars(details.get("total"))
    parts = [cost for part in details.values() if (cost := dollars(part)) is not None]
    return total if total is not None else (math.fsum(parts) if parts else None)


def budget_of(facts: Facts) -> Budget:
    """What the run is allowed."""
    if _BUDGETS.isdisjoint(facts.singles):
        return _NO_BUDGET
    return Budget(
        tool_calls=facts.first(Fact.BUDGET_TOOL_CALLS, count),
        steps=facts.first(Fact.BUDGET_STEPS, count),
        tokens=facts.first(Fact.BUDGET_TOKENS, count),
        seconds=facts.first(Fact.BUDGET_SECONDS, amount),
    )


def request_attributes(flattened: Mapping[str, Any]) -> dict[str, float | str]:
    """Numbers and short strings known at request time."""
    known: dict[str, float | str] = {}
    for name, value in sorted(flattened.items())[:_MAX_REQUEST_ATTRIBUTES] if flattened else ():
        measured = number(value)
        if measured is not None:
            known[name[:_MAX_REQUEST_ATTRIBUTE_CHARS]] = measured
        elif isinstance(value, str):
            known[name[:_MAX_REQUEST_ATTRIBUTE_CHARS]] = value[:_MAX_REQUEST_ATTRIBUTE_CHARS]
    return known
