"""What the messages and tool definitions inside attributes say, in any of the shapes that providers gave them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic_core import from_json

from monitor.trace.model import Tool

MAX_TOOLS = 512

_CANONICAL = json.JSONEncoder(sort_keys=True)
_USER_ROLES = frozenset({"user", "human"})
_MESSAGE_LISTS = ("messages", "contents")
_PLAIN_KEYS = ("input", "question", "query", "prompt", "text", "content", "message")
_MAX_TOOL_NAME_CHARS = 256
_TEXT_TYPES = ("text", "input_text")  # no set: a hostile type need not be hashable
_DEEPEST = 6
"""Levels of wrapping that are looked through; real payloads have at most four."""


def parsed(value: Any) -> Any:
    """
    *value* with JSON inside a text taken out of it; text that is no JSON object or array stays text.

    >>> parsed('[{"role": "user"}]'), parsed("[sic] hello")
    ([{'role': 'user'}], '[sic] hello')
    """
    if isinstance(value, str) and value.lstrip()[:1] in {"{", "["}:
        try:
            return from_json(value)
        except ValueError:
            return value
    return value


def request_of(value: Any) -> tuple[str | None, int | None]:
    """
    What was asked, and after how many messages.

    Args:
        value: A list of messages, an object that holds one, or plain text; JSON already parsed.

    Returns:
        Text of the last message of the user (of the last message at all where nobody is called user), and the number of
        messages; None for what *value* does not tell.

    >>> request_of([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}])
    ('Hi', 2)
    """
    messages = _messages(value)
    if messages is None:
        return _plain_text(value), None
    spoken = [text for message in messages if _role(message) in _USER_ROLES and (text := _text(message))]
    if spoken:
        return spoken[-1], len(messages)
    unsaid = [text for message in messages if _role(message) is None and (text := _text(message))]
    return (unsaid[-1] if unsaid else None), len(messages)


def has_content(value: Any, depth: int = 0) -> bool:
    """
    Whether there is any text, call or number in *value*, an answer in any shape.

    >>> has_content([{"role": "assistant", "content": ""}]), has_content([{"role": "assistant", "content": "Done."}])
    (False, True)
    """
    if isinstance(value, str):
        return bool(value.strip())
    if isinstance(value, dict):
        return any(
            has_content(part, depth + 1) for key, part in value.items() if key not in _ENVELOPE and depth < _DEEPEST
        )
    if isinstance(value, list | tuple):
        return depth < _DEEPEST and any(has_content(part, depth + 1) for part in value)
    return value is not None


_ENVELOPE = frozenset({"role", "type", "finish_reason", "index", "id"})
"""Keys that a message without any content has too."""


def tools_of(value: Any) -> tuple[Tool, ...]:
    """
    Tools on offer.

    Args:
        value: A list of tool definitions, an object that holds one under `tools`, or one definition; JSON already
            parsed. Shapes: OpenAI (nested or flat), Anthropic, Gemini, MCP.

    Returns:
        At most `MAX_TOOLS` tools, in the sender's order; what has no name is left out.
    """
    found: list[Tool] = []
    for definition in _definitions(value):
        tool = _tool(definition)
        if tool is not None:
            found.append(tool)
        if len(found) == MAX_TOOLS:
            break
    return tuple(found)


def _definitions(value: Any) -> Iterator[Mapping[str, Any]]:
    value = parsed(value)
    if isinstance(value, list | tuple):
        for part in value:
            yield from _definitions_in(parsed(part))
    else:
        yield from _definitions_in(value)


def _definitions_in(value: Any) -> Iterator[Mapping[str, Any]]:
    if not isinstance(value, dict):
        return
    for key in ("tools", "functions", "functionDeclarations", "function_declarations"):
        if isinstance(value.get(key), list):
            for part in value[key]:
                yield from _definitions_in(part)
            return
    inner = value.get("function")
    yield inner if isinstance(inner, dict) else value


def _tool(definition: Mapping[str, Any]) -> Tool | None:
    name = definition.get("name")
    if not isinstance(name, str) or not name:
        return None
    description = definition.get("description")
    schemas = (definition.get(key) for key in ("parameters", "input_schema", "inputSchema"))
    schema = next((schema for schema in schemas if isinstance(schema, dict)), {})
    return Tool(
        name[:_MAX_TOOL_NAME_CHARS],
        description if isinstance(description, str) else "",
        _CANONICAL.encode(schema),
    )


def _messages(value: Any) -> list[Any] | None:
    if isinstance(value, list | tuple):
        # LangChain writes batches: a list with one list of messages in it. A pair (role, text) is a message of its own.
        if len(value) == 1 and isinstance(value[0], list) and not _is_pair(value[0]):
            return list(value[0]) or None
        return list(value) or None
    if isinstance(value, dict):
        for key in _MESSAGE_LISTS:
            if isinstance(value.get(key), list):
                return _messages(value[key])
        if "role" in value:
            return [value]
        inner = value.get("input")
        return _messages(inner) if isinstance(inner, list | dict) else None
    return None


def _is_pair(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == len(("role", "text"))
        and all(isinstance(x, str) for x in value)
    )


def _role(message: Any) -> str | None:
    if isinstance(message, dict):
        role = message.get("role", message.get("type"))
        return role.lower() if isinstance(role, str) else None
    if _is_pair(message):
        return str(message[0]).lower()
    return None


def _text(message: Any) -> str | None:
    if isinstance(message, str):
        return message
    if _is_pair(message):
        return str(message[1])
    if not isinstance(message, dict):
        return None
    for key in ("content", "parts", "contents"):
        if key in message:
            return "\n".join(_texts(message[key])) or None
    kwargs = message.get("kwargs")  # a serialised LangChain message
    return _text(kwargs) if isinstance(kwargs, dict) else None


def _texts(content: Any, depth: int = 0) -> Iterable[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, list | tuple) and depth < _DEEPEST:
        for part in content:
            yield from _texts(part, depth + 1)
    elif isinstance(content, dict) and content.get("type", "text") in _TEXT_TYPES and depth < _DEEPEST:
        yield from _texts(content.get("text", content.get("content", "")), depth + 1)


def _plain_text(value: Any) -> str | None:
    if isinstance(value, str):
        return value or None
    if isinstance(value, dict):
        for key in _PLAIN_KEYS:
            part = value.get(key)
            if isinstance(part, str) and part:
                return part
        return _CANONICAL.encode(value) if value else None
    return None
