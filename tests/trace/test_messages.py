from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.trace.messages import MAX_TOOLS, has_content, parsed, request_of, tools_of
from monitor.trace.model import Tool

ASKED = "Book a table"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(ASKED, (ASKED, None), id="plain text"),
        pytest.param([{"role": "user", "parts": [{"type": "text", "content": ASKED}]}], (ASKED, 1), id="OpenTelemetry"),
        pytest.param([{"role": "user", "content": ASKED}], (ASKED, 1), id="OpenAI"),
        pytest.param(
            [{"role": "user", "content": [{"type": "text", "text": ASKED}, {"type": "image_url", "image_url": {}}]}],
            (ASKED, 1),
            id="OpenAI with an image",
        ),
        pytest.param(
            {"input": [{"role": "user", "content": [{"type": "input_text", "text": ASKED}]}]},
            (ASKED, 1),
            id="Responses",
        ),
        pytest.param({"contents": [{"role": "user", "parts": [{"text": ASKED}]}]}, (ASKED, 1), id="Gemini"),
        pytest.param({"messages": [[{"type": "human", "content": ASKED}]]}, (ASKED, 1), id="LangChain batch"),
        pytest.param({"messages": [["system", "Be brief."], ["human", ASKED]]}, (ASKED, 2), id="LangChain pairs"),
        pytest.param({"role": "user", "content": ASKED}, (ASKED, 1), id="one message"),
        pytest.param({"question": ASKED, "k": 3}, (ASKED, None), id="named input"),
        pytest.param([ASKED], (ASKED, 1), id="list of texts"),
        pytest.param([json.dumps({"role": "user", "content": ASKED})], (ASKED, 1), id="list of messages as JSON"),
        pytest.param([{"role": "user", "content": '{"order": 5}'}], ('{"order": 5}', 1), id="asked in JSON"),
        pytest.param(
            [
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": "?"},
                {"role": "user", "content": ASKED},
            ],
            (ASKED, 3),
            id="last word of the user",
        ),
        pytest.param([{"role": "system", "content": "Be brief."}], (None, 1), id="nobody asked"),
        pytest.param([{"role": "user", "content": None}], (None, 1), id="no content"),
        pytest.param([{"role": ["user"], "content": {"type": [], "text": "x"}}], (None, 1), id="hostile types"),
        pytest.param(
            [{"role": "user", "content": [{"type": "text", "text": {"value": ASKED, "annotations": []}}]}],
            (ASKED, 1),
            id="Assistants",
        ),
        pytest.param({"a": 1}, ('{"a": 1}', None), id="some object"),
        pytest.param({"model": "m", "contents": ASKED}, (ASKED, None), id="Gemini with a text"),
        pytest.param({"params": {"message": {"role": "user", "parts": [{"text": ASKED}]}}}, (ASKED, 1), id="A2A"),
        pytest.param(
            {"user_id": "u", "new_message": {"role": "user", "parts": [{"text": ASKED}]}, "run_config": None},
            (ASKED, None),
            id="Google ADK",
        ),
        pytest.param({"args": [{"query": ASKED}], "kwargs": {}}, (ASKED, None), id="argument that is an object"),
        pytest.param({"args": ["Bot", ASKED], "kwargs": {}}, (ASKED, None), id="argument of a method"),
        pytest.param({"args": ["Bot", "天气"], "kwargs": {}}, ("天气", None), id="argument of a method in Chinese"),
        pytest.param({"args": ["Hi", "u-7"], "kwargs": {}}, ("Hi", None), id="argument that is a word"),
        pytest.param({"kwargs": {"messages": [{"role": "user", "content": ASKED}]}}, (ASKED, 1), id="keyword argument"),
        pytest.param([{"role": "MessageRole.USER", "content": ASKED}], (ASKED, 1), id="printed enumeration"),
        pytest.param(f"[Message(role='user', content='{ASKED}')]", (ASKED, None), id="printed list"),
        pytest.param("Mend f(a=1, content='x')", ("Mend f(a=1, content='x')", None), id="question about code"),
        pytest.param([], (None, None), id="empty list"),
        pytest.param({}, (None, None), id="empty object"),
        pytest.param(7, (None, None), id="number"),
    ],
)
def test_request_is_found_in_every_shape(value: Any, expected: tuple[str | None, int | None]) -> None:
    """What the user asked, and after how many messages."""
    assert expected == request_of(value)[:2]


@pytest.mark.parametrize(
    "definition",
    [
        {"type": "function", "function": {"name": "book", "description": "Books.", "parameters": {"b": 1}}},
        {"type": "function", "name": "book", "description": "Books.", "parameters": {"b": 1}},
        {"name": "book", "description": "Books.", "input_schema": {"b": 1}},
        {"name": "book", "description": "Books.", "inputSchema": {"b": 1}},
        {"functionDeclarations": [{"name": "book", "description": "Books.", "parameters": {"b": 1}}]},
        {"toolSpec": {"name": "book", "description": "Books.", "inputSchema": {"b": 1}}},
        {"type": "haystack.tools.tool.Tool", "data": {"name": "book", "description": "Books.", "parameters": {"b": 1}}},
        {"book": {"description": "Books.", "parameters": {"b": 1}}},
    ],
    ids=["OpenAI", "OpenAI flat", "Anthropic", "MCP", "Gemini", "Bedrock", "Haystack", "AI SDK"],
)
def test_tool_is_found_in_every_shape(definition: Any) -> None:
    """A definition, a list of them, a list of JSON texts and an object around them mean the same tool."""
    expected = (Tool("book", "Books.", '{"b": 1}'),)

    assert expected == tools_of(definition) == tools_of([definition])
    assert expected == tools_of([json.dumps(definition)]) == tools_of({"tools": [definition]})


@pytest.mark.parametrize(
    "value",
    [None, 7, "text", [], [7], [{}], [{"name": ""}], [{"name": 7}], {"tools": 7}, {"metadata": {}, "x": {"type": 1}}],
)
def test_what_is_no_tool_is_left_out(value: Any) -> None:
    """A tool has a name."""
    assert () == tools_of(value)


def test_number_of_tools_is_bounded() -> None:
    """An endless list is cut."""
    assert MAX_TOOLS == len(tools_of([{"name": str(n)} for n in range(MAX_TOOLS + 9)]))


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "  ",
        [],
        {},
        None,
        [{"role": "assistant", "content": ""}],
        [{"role": "assistant", "parts": []}],
        {"type": "x"},
        {"candidates": [{"content": {"parts": [{"text": ""}]}, "finishReason": "STOP"}], "modelVersion": "gemini-2.5"},
        {"role": "assistant", "content": [], "stop_reason": "end_turn", "usage": {"output_tokens": 0}},
        {"object": "response", "status": "incomplete", "output": [], "parallel_tool_calls": True, "error": None},
        {"object": "response", "output": None},
        {"object": "response"},
    ],
)
def test_nothing_is_no_answer(answer: Any) -> None:
    """The envelope of a message is no content."""
    assert not has_content(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "ok",
        0,
        {"role": "assistant", "content": "", "refusal": "I cannot."},
        [{"role": "assistant", "content": "ok"}],
        [{"tool_calls": [{"function": {"name": "book"}}]}],
    ],
)
def test_text_numbers_and_calls_are_an_answer(answer: Any) -> None:
    """Whatever is in the envelope is content."""
    assert has_content(answer)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (' {"a": 1}', {"a": 1}),
        ('"{\\"a\\": 1}"', {"a": 1}),
        ('"[sic]', '"[sic]'),
        ("[1", "[1"),
        ("7", "7"),
        ("null", "null"),
        (7, 7),
        ("[" * 500, "[" * 500),
    ],
)
def test_only_objects_and_lists_are_taken_out_of_text(text: Any, expected: Any) -> None:
    """A prompt that happens to be a number stays a prompt; broken JSON stays text."""
    assert expected == parsed(text)


_keys = st.sampled_from(
    ["role", "type", "content", "parts", "text", "messages", "contents", "input", "tools", "function", "name", "kwargs"]
)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["user", "text", "x", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=4),
    max_leaves=12,
)


@given(_json)
def test_any_json_is_survived(value: Any) -> None:
    """Whatever stands where, there is text or none, a count or none, and a tuple of tools."""
    text, messages, _ = request_of(value)

    assert isinstance(text, str | None)
    assert messages is None or messages > 0
    assert has_content(value) in {True, False, None}
    assert all(isinstance(tool, Tool) for tool in tools_of(value))
