"""Reads the messages and tool definitions inside attributes, in any of the shapes that providers use."""

from __future__ import annotations

import json
import re
from ast import literal_eval
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

from pydantic_core import from_json

from monitor.trace.model import Tool
from monitor.trace.values import read_json

MAX_TOOLS = 512

_CANONICAL = json.JSONEncoder(sort_keys=True)
_USER_ROLES = frozenset({"user", "human"})
_MESSAGE_LISTS = ("messages", "contents", "new_messages")
_PLAIN_KEYS = (
    "input", "question", "query", "prompt", "text", "content", "message", "task", "description", "user_input",
    "user_query", "user_message", "new_message", "instruction", "request", "goal", "topic", "contents", "messages",
    "inputs", "kwargs", "args", "parts", "value",
)  # fmt: skip
_TEXT_KEYS = ("content", "parts", "contents", "blocks", "description")
_WRAPPERS = ("input", "inputs", "state", "data", "kwargs", "params", "message", "value")
_MAX_TOOL_NAME_CHARS = 256
_TEXT_TYPES = ("text", "input_text")  # no set: a hostile type need not be hashable
_DEEPEST = 6
"""Most levels of wrapping to look through; real payloads have at most four."""


def parsed(value: Any) -> Any:
    """
    *value* with JSON in a text parsed; a text that is not a JSON object or array stays a text.

    >>> parsed('[{"role": "user"}]'), parsed("[sic] hello")
    ([{'role': 'user'}], '[sic] hello')
    """
    if isinstance(value, str) and (value.lstrip()[:1] in {"{", "["} or value[:2] in {'"{', '"['}):
        try:
            document = read_json(value)
        except ValueError:
            return _as_python_prints_it(value)
        return parsed(document) if value[0] == '"' else document  # JSON encoded twice
    return value


def _as_python_prints_it(text: str) -> Any:
    if text[:2] in {"{'", "[{"} and len(text) <= _LONGEST_LITERAL:
        with suppress(ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return from_json(json.dumps(literal_eval(text), default=repr))  # only what JSON can hold: no sets, no bytes
    return text


_LONGEST_LITERAL = 16_384
"""In characters; a literal takes a hundred times as long to read as JSON."""


class Asked(NamedTuple):
    """
    The request in an input.

    Attributes:
        text: The last message of the user (the last message of all if no role is user), or None.
        messages: Number of messages up to the text, or None.
        is_plain: Whether the text is a message; False if it is how a wrapper prints its arguments.
    """

    text: str | None = None
    messages: int | None = None
    is_plain: bool = True


def request_of(value: Any) -> Asked:
    """
    The request in *value*.

    Args:
        value: A list of messages, an object that holds one, or plain text; JSON already parsed.

    >>> request_of([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}])
    Asked(text='Hi', messages=1, is_plain=True)
    """
    if (messages := _messages(value)) is None:
        return _plain_text(value)
    length = len(messages)
    for message in reversed(messages):  # what follows the user's last message is the answer
        is_answer = isinstance(message, dict) and message.get("role") == "assistant"  # a cheap check for most messages
        if not is_answer and _role(message) in _USER_ROLES and (text := _text(message)):
            return Asked(text, length)
        length -= 1
    last = next((text for message in reversed(messages) if _role(message) is None and (text := _text(message))), None)
    printed = None if last is None else _printed_text(last)
    return Asked(last if printed is None else printed, len(messages), is_plain=printed is None)


def has_content(value: Any, depth: int = 0) -> bool | None:
    """
    Whether *value*, an answer in any shape at *depth* levels below its top, has any text, call or number.

    Returns:
        False only if there is a text and it is empty; None if there is no text, as it may have been redacted.

    >>> [has_content([{"role": "assistant", "content": text}]) for text in ("Done.", "", None)]
    [True, False, None]
    """
    if isinstance(value, str):
        return bool(value.strip())
    if not isinstance(value, _HOLDERS):
        return None if value is None else True
    if isinstance(value, dict) and value.get("object") == "response":
        return has_content(value.get("output"), depth + 1)  # the rest of OpenAI's object are settings
    parts = (part for key, part in value.items() if key not in _ENVELOPE) if isinstance(value, dict) else value
    result = None
    for part in parts if depth < _DEEPEST else ():
        in_part = has_content(part, depth + 1)
        if in_part:
            return True
        result = result if in_part is None else in_part
    return result


_LISTS, _HOLDERS = (list, tuple), (dict, list, tuple)  # made once: a union is made at each mention
_ENVELOPE = frozenset(
    {"role", "type", "index", "id", "object", "created", "model", "usage", "finish_reason", "stop_reason",
     "finishReason", "modelVersion", "model_version", "usageMetadata", "usage_metadata", "responseId", "response_id"}
)  # fmt: skip
"""Keys that say nothing of the content of a message."""

_ANSWERS_BESIDE = frozenset({"choices", "usage", "object", "generations", "token_usage", "system_fingerprint"})
_MOST_LOOKED_AT = 2_000


def model_and_usage_of(value: Any) -> tuple[str, Any] | None:
    """
    The model and the usage in an answer as a provider, LangChain or Haystack writes it; JSON already parsed.

    >>> model_and_usage_of({"object": "chat.completion", "model": "gpt-4o-2024-08-06", "usage": {"prompt_tokens": 5}})
    ('gpt-4o-2024-08-06', {'prompt_tokens': 5})
    """
    left = [value]
    for _ in range(_MOST_LOOKED_AT):
        if not left:
            return None
        part = left.pop()
        if isinstance(part, list):
            left.extend(reversed(part[:_MOST_LOOKED_AT]))
        elif isinstance(part, dict):
            name = part.get("model_name", part.get("model"))
            if isinstance(name, str) and not _ANSWERS_BESIDE.isdisjoint(part):
                return name, part.get("usage", part.get("token_usage"))
            left.extend(reversed(part.values()))
    return None


def tools_of(value: Any) -> tuple[Tool, ...]:
    """
    Tools on offer.

    Args:
        value: A list of tool definitions, an object that holds one under `tools`, or one definition; parsed or as
            JSON. Shapes: OpenAI (nested or flat), Anthropic, Gemini, MCP.

    Returns:
        At most `MAX_TOOLS` tools, in the sender's order; definitions without a name are left out.
    """
    is_short = isinstance(value, str) and len(value) <= _LONGEST_REMEMBERED
    return _remembered_tools(value) if is_short else _tools(value)


def _tools(value: Any) -> tuple[Tool, ...]:
    return tuple(islice(filter(None, map(_tool, _definitions(value))), MAX_TOOLS))


_LONGEST_REMEMBERED = 32_768  # characters; a thousand hostile ones are 30 MB
_remembered_tools = lru_cache(maxsize=1_024)(_tools)  # an agent writes the same few lists of tools all day


def _definitions(value: Any) -> Iterator[Mapping[str, Any]]:
    value = parsed(value)
    if isinstance(value, _LISTS):
        for part in value:
            # Some libraries write only names (Genkit with its folder), and some print an object.
            is_name = isinstance(part, str) and _TOOL_NAME.fullmatch(part) is not None
            yield from _definitions({"name": part.removeprefix("/tool/")} if is_name else part)
    elif isinstance(value, dict):
        listed = next((value[key] for key in _TOOL_LISTS if isinstance(value.get(key), list)), None)
        inner = next((held for key in _TOOL_HOLDERS if isinstance(held := value.get(key), dict)), value)
        if listed is not None:
            yield from _definitions(listed)
        elif all(isinstance(held, dict) and not _DEFINES.isdisjoint(held) for held in inner.values()):
            yield from ({"name": name, **held} for name, held in inner.items())
        else:
            yield inner


_TOOL_NAME = re.compile(r"[\w.:/-]+")
_TOOL_HOLDERS = ("function", "toolSpec", "tool_spec", "custom", "data")
_TOOL_LISTS = ("tools", "functions", "functionDeclarations", "function_declarations", "function_tools")


def _tool(definition: Mapping[str, Any]) -> Tool | None:
    name = definition.get("name")
    if not isinstance(name, str) or not name:
        return None
    description = definition.get("description")
    schemas = (parsed(definition.get(key)) for key in _SCHEMA_KEYS)
    schema = next((schema for schema in schemas if isinstance(schema, dict)), {})
    return Tool(
        name[:_MAX_TOOL_NAME_CHARS], description if isinstance(description, str) else "", _CANONICAL.encode(schema)
    )


_SCHEMA_KEYS = ("parameters", "input_schema", "inputSchema", "parameters_json_schema", "json_schema")
_DEFINES = frozenset({"description", *_SCHEMA_KEYS})


def _messages(value: Any) -> list[Any] | None:
    if isinstance(value, _LISTS):
        # LangChain writes batches: a list with one list of messages in it. A pair (role, text) is a message of its own.
        if len(value) == 1 and isinstance(value[0], list) and not _is_pair(value[0]):
            return list(value[0]) or None
        return [parsed(part) if isinstance(part, str) else part for part in value] or None
    if isinstance(value, dict):
        for key in _MESSAGE_LISTS:
            if isinstance(value.get(key), list):
                return _messages(value[key])
        if "role" in value:
            return [value]
        inner = next((value[key] for key in _WRAPPERS if isinstance(value.get(key), list | dict)), None)
        return None if inner is None else _messages(inner)
    return None


def _is_pair(value: Any) -> bool:
    is_sequence = isinstance(value, _LISTS) and len(value) == len(("role", "text"))
    return is_sequence and all(isinstance(x, str) for x in value)


def _role(message: Any) -> str | None:
    if isinstance(message, dict):
        inner = message.get("kwargs")  # a serialised LangChain message
        role = message.get("role", (inner if isinstance(inner, dict) else message).get("type"))
        return role.lower().rpartition(".")[2] if isinstance(role, str) else None  # some print an enumeration
    return str(message[0]).lower() if _is_pair(message) else None


def _text(message: Any) -> str | None:
    if isinstance(message, str):
        return message
    if _is_pair(message):
        return str(message[1])
    if not isinstance(message, dict):
        return None
    for key in _TEXT_KEYS:
        if key in message:
            content = parsed(message[key])
            found = "\n".join(_texts(content)) or None
            is_json = isinstance(content, dict) and isinstance(message[key], str)  # the JSON is the message
            return message[key] if found is None and is_json else found
    return _text(message.get("kwargs"))


def _texts(content: Any, depth: int = 0) -> Iterable[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, _LISTS) and depth < _DEEPEST:
        for part in content:
            yield from _texts(part, depth + 1)
    elif isinstance(content, dict) and content.get("type", "text") in _TEXT_TYPES and depth < _DEEPEST:
        yield from _texts(content.get("text", content.get("content", content.get("value", ""))), depth + 1)


def _plain_text(value: Any) -> Asked:
    if isinstance(value, str):
        printed = _printed_text(value) if _PRINTED_WHOLE.match(value) else None
        return Asked(printed or value or None, is_plain=printed is None)
    if (text := _best_text(value, 0)) is not None:
        return Asked(_printed_text(text) or text, is_plain=_IS_PRINTED.search(text[:_LONGEST_PRINTED]) is None)
    if not isinstance(value, dict) or not value:
        return Asked()
    dumped = _CANONICAL.encode(value)
    return Asked(_printed_text(dumped) or dumped, is_plain=False)


def _best_text(value: Any, depth: int) -> str | None:
    """The text under the best of `_PLAIN_KEYS`, or under the only key."""
    if isinstance(value, str):
        return value or None
    if depth == _DEEPEST or not isinstance(value, dict | list):
        return None
    if isinstance(value, list):
        texts = [text for part in value[:_DEEPEST] if (text := _best_text(part, depth + 1)) is not None]
        # The first argument of a method is its object, which OpenLLMetry writes as the name of its class.
        return next((text for text in texts if " " in text or not text.isascii()), texts[0] if texts else None)
    for key in _PLAIN_KEYS:
        if key in value and (text := _best_text(value[key], depth + 1)) is not None:
            return text
    only = [part for part in value.values() if isinstance(part, str) and part]
    return only[0] if len(only) == len(value) == 1 and not depth else None


_PRINTED = re.compile(r"""\b(?:text|content)(?:=|['"]: ?)\\?(['"])((?:(?!\1).){1,4096})\1""", re.DOTALL)
_LONGEST_PRINTED = 65_536


def _printed_text(text: str) -> str | None:
    """
    The last message in a printed Python object, or None if *text* is something else.

    >>> _printed_text("[ChatMessage(role=<Role.USER: 'user'>, content='Hi there')]")
    'Hi there'
    """
    if "=" not in text or ("(" not in text and " " not in text):
        return None
    found = _PRINTED.findall(text[-_LONGEST_PRINTED:]) if _IS_PRINTED.search(text[:_LONGEST_PRINTED]) else ()
    return found[-1][1] if found else None


_PRINTED_WHOLE = re.compile(r"""(?:[\[({][\[({'"\w:, ]{0,64})?\w+\(\w+=""")
_IS_PRINTED = re.compile(r"\w\(\w+=|\b\w+=['\"<\[{]")
