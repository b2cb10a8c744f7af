"""Masking finds what one plain expression would find, in a time that hostile texts cannot stretch."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.difficulty.features import masked, request_features
from monitor.trace.model import Request

PLAIN = re.compile(r"\"[^\"]*\"|'[^']{1,80}'|\d+(?:[.,:/-]\d+)*|https?://\S+|\S+@\S+")
PIECES = st.sampled_from([*"ab h9\"'@.:/-,_é٣İ\n", "http://", "https://x", "@@", "a@b.c", "word", " ", "'it'"])
TEXTS = st.lists(PIECES, max_size=30).map("".join) | st.text()
MILLION = 1_000_000


@given(TEXTS)
def test_masked_is_what_the_plain_expression_finds(text: str) -> None:
    """Looked for apart or at once, the same parts are masked."""
    assert PLAIN.sub("#", text) == masked(text)


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a" * MILLION, id="one word"),
        pytest.param("a" * MILLION + " @", id="one word, and an at sign that is none of it"),
        pytest.param("a@" * MILLION, id="at signs"),
        pytest.param("a@b " * MILLION, id="addresses"),
        pytest.param("'@a " * MILLION, id="quotes that never close"),
        pytest.param("_" * MILLION, id="no word at all"),
        pytest.param("9." * MILLION, id="one number"),
    ],
)
def test_hostile_texts_cost_no_more_than_their_length(text: str) -> None:
    """A text is gone through once, whatever it pretends to be on the way."""
    assert request_features(Request("search", text=text)).prompt_family
