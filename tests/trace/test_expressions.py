"""Expressions of operators take a time that grows with the text alone, or are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from monitor.trace.capability import CapabilityRules
from monitor.trace.settings import CapabilityRule

NESTED = [
    r"(\w+\s?)*:end",
    r"(a+)+$b",
    r"(a|a)*c",
    r"(a|aa)+$b",
    r"(.*a){20}b",
    r"(x+x+)+y",
    r"^(([a-z])+.)+[A-Z]([a-z])+$",
    r"(?:(?:a?){30}){30}c",
]


@pytest.mark.parametrize("pattern", NESTED)
@pytest.mark.parametrize("text", ["a" * 1_024, "x" * 1_024, "summarize the quarterly report pdf " * 29])
def test_nested_quantifiers_end(pattern: str, text: str) -> None:
    """What takes a backtracking engine longer than the sun will shine is over at once."""
    rules = CapabilityRules([CapabilityRule(look_at="span_name", pattern=pattern, capability="x")])

    assert rules.match(span_name=text, tool_name=None, attributes={}) is None


@pytest.mark.parametrize("pattern", [r"(a)\1", r"(?=a)b", r"(?<!a)b", r"(?>a+)b", r"a{1001}", r"(", r"[z-a]", r"a**"])
def test_what_needs_backtracking_is_refused(pattern: str) -> None:
    """Back references and look-around are named when the config is read, not on the first trace."""
    with pytest.raises(ValidationError, match="RE2"):
        CapabilityRule(look_at="span_name", pattern=pattern)


@pytest.mark.parametrize("template", [r"\2", r"\g<name>", r"\g<3>"])
def test_a_group_that_the_pattern_lacks_is_refused(template: str) -> None:
    """The name of a class may name only groups that are there."""
    with pytest.raises(ValidationError, match="has no group"):
        CapabilityRule(look_at="span_name", pattern="(a)", capability=template)


@given(st.text(st.characters(exclude_categories=[])))
def test_any_text_can_be_looked_at(text: str) -> None:
    """Half characters, line ends and zeros are no error."""
    rules = CapabilityRules([CapabilityRule(look_at="span_name", pattern=".*", capability="any")])

    assert (0, "any") == rules.match(span_name=text, tool_name=None, attributes={})
