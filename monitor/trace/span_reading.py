"""Reads the fields of a `Span` from its attributes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from monitor.trace import semconv
from monitor.trace.bounds import MOST_ATTRIBUTE_CHARACTERS, MOST_ATTRIBUTES
from monitor.trace.messages import Asked, has_content, model_and_usage_of, parsed, request_of, tools_of
from monitor.trace.model import Budget, Tool
from monitor.trace.semconv import Field
from monitor.trace.span import OperationKind
from monitor.trace.span_attributes import WRITTEN_AT_ONCE, SpanAttributes, meaning_of
from monitor.trace.values import amount, count, dollars, identifier, number, written_number

ERROR_STATUS, _OK_STATUS = 2, 1
# Bound once: before Python 3.12 each access to an enum member costs as much as three attributes.
_INPUT, _OUTPUT, _TOOLS, _REQUEST_MODEL, _CALLED_MODEL, _RESPONSE_MODEL = (
    Field.INPUT, Field.OUTPUT, Field.TOOLS, Field.REQUEST_MODEL, Field.CALLED_MODEL, Field.RESPONSE_MODEL
)  # fmt: skip
_LEVEL, _ERROR_TYPE, _ERROR_MESSAGE, _COST, _COST_PART = (
    Field.LEVEL, Field.ERROR_TYPE, Field.ERROR_MESSAGE, Field.COST, Field.COST_PART
)  # fmt: skip
_INPUT_TOKENS, _OUTPUT_TOKENS, _TOKENS = Field.INPUT_TOKENS, Field.OUTPUT_TOKENS, Field.TOKENS
_OF_CACHES = (Field.CACHED_TOKENS, Field.CACHE_WRITTEN_TOKENS)
_PARTS_OF_TOKENS = frozenset({*_OF_CACHES, Field.REASONING_TOKENS})
_ALL_TOKENS = frozenset({_INPUT_TOKENS, _OUTPUT_TOKENS, _TOKENS})
_CALLS = frozenset({Field.PROVIDER, _OUTPUT_TOKENS})
_SIGNS_OF_A_STEP = _ALL_TOKENS | _CALLS | {_INPUT, _OUTPUT, _TOOLS, _COST, _COST_PART, _REQUEST_MODEL, Field.AGENT_NAME}
_BUDGETS: Mapping[Field, Callable[[Any], Any]] = {
    **dict.fromkeys((Field.BUDGET_TOOL_CALLS, Field.BUDGET_STEPS, Field.BUDGET_TOKENS), count),
    Field.BUDGET_SECONDS: amount,
}
OWN_FACTS = _BUDGETS.keys() | {Field.MODEL_VERSION, Field.REQUEST_ID, Field.CONVERSATION, Field.USER}
"""Attributes that a sender may put on any span of the application for Cliffwatch."""
_USAGE_NAMES = (
    (("input", "prompt_tokens", "input_tokens"), re.compile(r"input_|cache_|.*_input_tokens$")),
    (("output", "completion_tokens", "output_tokens"), re.compile(r"output_")),
)
"""Names of the total input and output tokens, best first, and a pattern for names of parts of each."""


def kind_of(attributes: SpanAttributes, name: str = "") -> OperationKind:
    """The kind of the span *name*: as an attribute states it, or else by attributes that only one kind has."""
    singles = attributes.singles
    if Field.KIND in singles:
        if semconv.BESIDE_CALLS.search(name):
            return OperationKind.STEP
        for value in attributes.values(Field.KIND):
            kind = _kind_named(value) if isinstance(value, str) and len(value) <= _LONGEST_KIND else None
            if kind is not None:
                return _model_kind(attributes) if kind is OperationKind.MODEL else kind
        # Whatever the stated kind: a span that writes tokens or fails at a provider is a model call; a tool has a name.
        failed = singles.keys() >= {Field.PROVIDER, _REQUEST_MODEL, _ERROR_TYPE} and error_type_of(attributes, "")
        if singles.keys().isdisjoint((Field.TOOL_NAME, _OUTPUT_TOKENS)) and not failed:
            return OperationKind.STEP
    if Field.TOOL_NAME in singles:
        return OperationKind.TOOL
    if Field.RESPONSE_MODEL in singles or (Field.REQUEST_MODEL in singles and not _CALLS.isdisjoint(singles)):
        return _model_kind(attributes)
    nothing = _SIGNS_OF_A_STEP.isdisjoint(singles) and not attributes.has_messages_or_tools()
    # Some libraries append the name of the agent in brackets.
    return semconv.KINDS_BY_NAME.get(name.partition(" [")[0], OperationKind.OTHER if nothing else OperationKind.STEP)


_LONGEST_KIND = _LONGEST_MODEL = 1_024  # characters of a name to remember; hostile names have no end


@lru_cache(maxsize=1_024)  # the same few come with every span
def _kind_named(value: str) -> OperationKind | None:
    named = parsed(value)  # Braintrust writes an object with a type in it
    return semconv.OPERATION_KINDS.get(str(named.get("type") if isinstance(named, dict) else named).lower())


def _model_kind(attributes: SpanAttributes) -> OperationKind:
    models = (model for fact in (Field.RESPONSE_MODEL, Field.REQUEST_MODEL) for model in attributes.values(fact))
    answers_nobody = any(isinstance(model, str) and _answers_nobody(model[:_LONGEST_MODEL]) for model in models)
    return OperationKind.RETRIEVAL if answers_nobody else OperationKind.MODEL


@lru_cache(maxsize=1_024)  # the same few names come with every span
def _answers_nobody(model: str) -> bool:
    return semconv.NOT_ANSWERING.search(model) is not None


def error_of(status_code: int, attributes: SpanAttributes, *, answer: bool | None) -> bool | None:
    """
    True: ended in an error; False: reported as fine; None: not reported.

    An exception beside an empty *answer* is an error too, whatever the status is. So is `error.type`, which
    OpenTelemetry defines for failed operations, if there is no status.
    """
    if status_code == ERROR_STATUS:
        return True
    # A level and a reason to finish are read alike.
    singles = attributes.singles
    reasons = singles.get(_LEVEL, [])
    if answer is not True and (_OUTPUT in singles or attributes.families):  # the answer may hold the reason
        answers = {name: held for name, held in attributes.families.items() if "output" in name or "completion" in name}
        reasons = [*reasons, *_REASON.findall(f"{singles.get(_OUTPUT)} {answers}")]
    names_error = reasons and any(word in str(reasons).lower() for word in _FAILED)
    if names_error or (_ERROR_MESSAGE in singles and _OUTPUT in singles and answer is not True):
        return True
    if status_code == _OK_STATUS:
        return False
    types = [str(name) for rank, name in singles.get(_ERROR_TYPE, ()) if rank == _ERROR_TYPE_RANK]
    return None if all(map(_NO_ERROR.fullmatch, types)) and not _is_cut_off(attributes) else True


def _is_cut_off(attributes: SpanAttributes) -> bool:
    """Whether the span of an agent lacks all that its library writes at any end but that of a cancelled task."""
    singles = attributes.singles
    is_open = _REQUEST_MODEL in singles and _AT_AN_END.isdisjoint(singles) and _OUTPUT not in attributes.messages
    return is_open and any(written in singles.get(fact, ()) for fact, written in WRITTEN_AT_ONCE)


def error_type_of(attributes: SpanAttributes, status_message: str) -> str | None:
    """The type of an error from its own attribute, or else from the beginning of a message about it."""
    if not status_message and attributes.singles.keys().isdisjoint((_ERROR_TYPE, _ERROR_MESSAGE, _LEVEL)):
        return semconv.CUT_OFF if _is_cut_off(attributes) else None
    types = (str(value).removeprefix("<class '").removesuffix("'>") for value in attributes.values(_ERROR_TYPE))
    named = [name for name in types if not _NO_ERROR.fullmatch(name)]
    # Go names the wrapper of an error with a star before it; JavaScript writes a code in place of the type.
    if specific := next((name for name in named if not _UNSPECIFIC.fullmatch(name)), None):
        return specific
    for message in (*attributes.values(_ERROR_MESSAGE), status_message, *attributes.values(_LEVEL)):
        if found := _LEADING_TYPE.match(str(message).strip("[]'")):  # reasons to finish are a list
            return found[found.lastindex or 0]
    return named[0] if named else None


_REASON = re.compile(r"""(?:finish_?reason|['"]status)\\?['"]: ?\\?['"]?([\w.]+)""", re.IGNORECASE)
_FAILED = ("error", "fail", "malformed", "cancel", "abort", "expire", "generatorexit")
_ERROR_TYPE_RANK = getattr(meaning_of("error.type"), "rank", None)
_AT_AN_END = frozenset({_LEVEL, _OUTPUT, _OUTPUT_TOKENS, _ERROR_TYPE, _ERROR_MESSAGE})
_NO_ERROR = re.compile(
    r"\W*(?:(?:none|null|nil|undefined|n/?a|(?:status)?_?(?:ok|unset)|success|no[-_ ]?error|false|0|[23]\d\d)\W*)?",
    re.IGNORECASE,
)
_UNSPECIFIC = re.compile(
    r"\d+|\*.*|Exception|Error|_OTHER|framework_error|provider_call_error|java\.io\.IOException|DOMException|"
    r"System\.Threading\.Tasks\.TaskCanceledException|grpc\.(?:aio\._call\.Aio)?RpcError|"
    r"grpc\._channel\._InactiveRpcError|io\.grpc\.StatusRuntimeException|Grpc\.Core\.RpcException"
)
_LEADING_TYPE = re.compile(
    r"(?:\d+ (?=[A-Z_]+: )|io\.grpc\.\w+: |.*\bcode = |(?:<\w+ of RPC that terminated with:\s+status = )?StatusCode\.|"
    r"Status\(StatusCode=\")([A-Za-z](?!borted\b)\w+)\b|(CANCELL?ED)(?::|$)|(?:Error code: |An error occurred \()(\w+)|"
    r"((?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Exceeded|Timeout|Interrupt|Triggered|Exit))\b|"
    r"(?:.*\b)?(context cancell?ed|(?i:operation|request|run|task) was (?:aborted|cancell?ed))\.?$|"
    r"(?:[Tt]he )?([Uu]ser (?:aborted|cancell?ed))(?: (?:an?|th\w+) \w+)?\.?$|.*(HttpClient\.Timeout|due to timeout)\b|"
    r"((?i:cancell?ed|aborted|client disconnected|(?:run )?(?:cancell?ed|aborted|stopped) by (?:the )?user))\.?$"
)
"""The type of an error at the beginning of a message, or a library's words for a run that somebody stopped."""


def asked_of(attributes: SpanAttributes) -> Asked:
    """The request text and the number of messages, each from the best name that has it."""
    text, messages, is_plain = Asked()
    for value in attributes.documents(_INPUT):
        asked = request_of(value)
        if text is None or (asked.text is not None and asked.is_plain and not is_plain):
            text, is_plain = asked.text, asked.is_plain
        messages = asked.messages if messages is None else messages
        if text is not None and is_plain and messages is not None:
            break
    return Asked(text if text is None or semconv.MASKED.fullmatch(text) is None else None, messages, is_plain)


def models_of(attributes: SpanAttributes, *, failed: bool, is_call: bool) -> tuple[str | None, str | None]:
    """
    The requested model and the model that answered, without the names of gateways.

    If the call *failed*, the library may have written the requested model as the one that answered.
    """
    called = attributes.first(_CALLED_MODEL, _model_name) if is_call else None
    request = attributes.first(_REQUEST_MODEL, _model_name) or called or _model_in_arguments(attributes)
    response = attributes.first(_RESPONSE_MODEL, _model_name)
    if failed:
        # A stream that broke off names the model that was answering, unless the library repeats the requested name.
        return request or response, None if request in {None, response} else response
    # If the library repeats the requested name, an answer written by LangChain may hold the real one.
    answers = attributes.values(_OUTPUT) if response == request else ()
    is_final = response is not None and not any(isinstance(value, str) and '"model_name"' in value for value in answers)
    if not is_final and (is_call or request is not None):
        response = _model_name(_model_and_usage(attributes)[0]) or response
    return request, response


def _model_and_usage(attributes: SpanAttributes) -> tuple[str | None, Any]:
    found = map(model_and_usage_of, attributes.documents(Field.OUTPUT))
    return next((each for each in found if each is not None), (None, None))


def _model_name(value: Any) -> str | None:
    return _without_gateway(value[:_LONGEST_MODEL]) or None if isinstance(value, str) else None


@lru_cache(maxsize=1_024)
def _without_gateway(model: str) -> str:
    # The first of a chain of fallbacks is meant to answer.
    return semconv.PROVIDER_PREFIX.sub("", model, count=1).partition(",")[0]


def _model_in_arguments(attributes: SpanAttributes) -> str | None:
    """The model in the arguments of a call that a library wrote as one object."""
    values = (*attributes.values(_TOOLS), *attributes.values(_INPUT))
    read = (parsed(each) if isinstance(each, str) and '"model"' in each else each for each in values)
    return next((name for each in read if isinstance(each, dict) and (name := _model_name(each.get("model")))), None)


def tools_on_offer(attributes: SpanAttributes) -> tuple[Tool, ...]:
    """Tool definitions, from the best name that has any."""
    if offered := next(filter(None, map(tools_of, attributes.written(_TOOLS))), None):
        return offered
    # Langfuse writes the arguments of the call, with the tools, as its input.
    for value in attributes.values(Field.INPUT):
        may_hold = isinstance(value, dict) or (isinstance(value, str) and _HOLDS_TOOLS.search(value))
        document = parsed(value) if may_hold else None
        for holder in _holders(document):
            if isinstance(holder.get("tools"), list):
                return tools_of(holder)
        if isinstance(document, list):  # its LangChain handler appends the tools to the messages
            behind = [part["content"] for part in document if isinstance(part, dict) and part.get("role") == "tool"]
            return tools_of([part for part in behind if isinstance(part, dict)])
    return ()


_HOLDS_TOOLS = re.compile(r'"tools"|"content": ?\{"type": ?"function"')


def _holders(document: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(document, dict):
        yield document
        inner = map(document.get, ("config", "kwargs", "invocation_params"))
        yield from (held for held in inner if isinstance(held, dict))


def answered(attributes: SpanAttributes, output_tokens: int | None) -> bool | None:
    """Whether there is an answer; False only with evidence that there is none, because answers may be redacted."""
    found = has_content([*attributes.documents(_OUTPUT)], -1)
    return None if output_tokens and not found else found


def calls_tools(attributes: SpanAttributes) -> bool:
    """Whether the answer calls a tool, in the format of any provider."""
    is_named = any("tool_call" in name for names in attributes.families.values() for name in names)
    # The expression takes twenty times as long as a search for the parts that all its words share.
    text = "\n".join(map(str, (*attributes.values(_OUTPUT), *attributes.messages.get(_OUTPUT, ()))))
    return is_named or (("tool" in text or "function" in text) and _TOOL_CALL.search(text) is not None)


_TOOL_CALL = re.compile(
    r"""["'](?:tool_calls?|tool_use|toolUse|function_call|functionCall|toolCalls?|toolCallId)["'](?!\s*:\s*(?:null|None|\[\]))"""
)


def tokens_of(attributes: SpanAttributes, *, is_call: bool) -> tuple[int | None, int | None]:
    """
    Input and output tokens, by their own names, from one object with both, or from the answer of a model call.

    Cached tokens are part of the input, and reasoning tokens part of the output.
    """
    if not is_call and _ALL_TOKENS.isdisjoint(attributes.singles):
        return None, None
    own = attributes.first(_INPUT_TOKENS, count), attributes.first(_OUTPUT_TOKENS, count)
    if None not in own and _PARTS_OF_TOKENS.isdisjoint(attributes.singles):  # as in nearly all calls
        return own
    both = attributes.first(Field.TOKENS, _usage) or (None, None)
    if is_call and own == both == (None, None):
        both = _usage(_model_and_usage(attributes)[1]) or both

    def whole(own: int | None, otherwise: int | None, parts: Sequence[Field]) -> int | None:
        part = 0 if own is None else sum([attributes.first(each, count) or 0 for each in parts])
        # A part larger than the whole was not counted in it.
        return otherwise if own is None else own + part if part > own else own

    return whole(own[0], both[0], _OF_CACHES), whole(own[1], both[1], (Field.REASONING_TOKENS,))


def _usage(value: Any) -> tuple[int | None, int | None] | None:
    """Tokens in a usage object, under the names of Langfuse or of the provider."""
    details = parsed(value)
    if not isinstance(details, dict):
        return None
    read = {name: n for name, part in details.items() if (n := count(part)) is not None}
    base = [next((read[key] for key in keys if key in read), None) for keys, _ in _USAGE_NAMES]
    # Langfuse defines the other buckets as disjoint.
    beside = [sum(n for key, n in read.items() if key not in keys and more.match(key)) for keys, more in _USAGE_NAMES]
    if read.get("total", read.get("total_tokens")) == sum(part or 0 for part in base):
        beside = [0, 0]
    inward, outward = ((own or 0) + more if more else own for own, more in zip(base, beside, strict=True))
    return inward, outward


def cost_of(attributes: SpanAttributes) -> float | None:
    """Cost in US dollars: the total, or else the sum of the parts."""
    whole = attributes.first(_COST, _cost)
    parts = [cost for value in attributes.values(_COST_PART) if (cost := dollars(value)) is not None]
    return math.fsum(parts) if whole is None and parts else whole


def _cost(value: Any) -> float | None:
    details = parsed(value)
    if not isinstance(details, dict):
        return dollars(written_number(details) if isinstance(details, str) else details)
    total = dollars(details.get("total", details.get("total_cost")))
    parts = [cost for part in details.values() if (cost := dollars(part)) is not None]
    summed = math.fsum(parts) if parts else _cost_within(details)
    return summed if total is None else total


def _cost_within(metadata: Mapping[str, Any]) -> float | None:
    """The first `cost` anywhere in the metadata of a provider or a gateway."""
    inner = (_cost_within(part) for part in metadata.values() if isinstance(part, dict))
    return _cost(metadata["cost"]) if "cost" in metadata else next((cost for cost in inner if cost is not None), None)


def budget_of(attributes: SpanAttributes) -> Budget:
    """The budget of the run."""
    return Budget(*(attributes.first(fact, read) for fact, read in _BUDGETS.items()))


DIFFERING: Sequence[tuple[Collection[Field], str, Callable[[SpanAttributes], Any]]] = (
    ((Field.CONVERSATION,), "conversation_id", lambda facts: facts.first(Field.CONVERSATION, identifier)),
    ((Field.USER,), "user_id", lambda facts: facts.first(Field.USER, identifier)),
    ((Field.REQUEST_ID,), "request_id", lambda facts: facts.first(Field.REQUEST_ID, identifier)),
    ((_COST, _COST_PART), "cost_usd", cost_of),
    (_BUDGETS.keys(), "budget", budget_of),
)
"""Facts that few spans have, their field of `Span`, and the function that reads it."""


def request_attributes(flattened: Mapping[str, Any]) -> dict[str, float | str]:
    """Numbers and short strings known at request time."""
    longest, some = MOST_ATTRIBUTE_CHARACTERS, sorted(flattened.items())[:MOST_ATTRIBUTES]
    said = [(name[:longest], value[:longest] if isinstance(value, str) else number(value)) for name, value in some]
    return {name: value for name, value in said if value is not None}
