from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from monitor.trace.capability import CapabilityRules
from monitor.trace.settings import CapabilityRule, TraceSettings

BY_SPAN = CapabilityRule(look_at="span_name", pattern="chat (.*)", capability=r"\1")
BY_TOOL = CapabilityRule(look_at="tool_name", pattern="pay|refund", capability="payments")
BY_ATTRIBUTE = CapabilityRule(look_at="attribute", attribute="intent")


def match(*rules: CapabilityRule, span_name: str = "", tool_name: str | None = None, **attributes: Any) -> Any:
    return CapabilityRules(rules).match(span_name=span_name, tool_name=tool_name, attributes=attributes)


def test_first_rule_that_matches_holds() -> None:
    """Rules are tried in their order, and the answer says which one it was."""
    assert (0, "billing") == match(BY_ATTRIBUTE, BY_TOOL, tool_name="pay", intent="billing")
    assert (1, "payments") == match(BY_ATTRIBUTE, BY_TOOL, tool_name="pay")
    assert match(BY_ATTRIBUTE, BY_TOOL, tool_name="look") is None


def test_pattern_has_to_match_the_whole_value() -> None:
    """A word inside a longer name is another name."""
    assert match(BY_TOOL, tool_name="repay") is None


def test_class_may_be_a_part_of_the_value() -> None:
    """A group of the pattern gives the class its name, made fit to be a label."""
    assert (0, "trip_plan") == match(BY_SPAN, span_name="chat trip plan")


@pytest.mark.parametrize(("value", "expected"), [(7, (0, "7")), (True, (0, "True")), ("", None), ("!!", None)])
def test_value_that_leaves_no_label_is_no_match(value: Any, expected: Any) -> None:
    """A value out of which no label can be made names no class."""
    assert expected == match(BY_ATTRIBUTE, intent=value)


@pytest.mark.timeout(60)
def test_long_value_is_cut_before_it_is_matched() -> None:
    """A rule never meets an endless text."""
    assert (0, "a" * 128) == match(CapabilityRule(look_at="span_name"), span_name="a" * 10_000_000)


@pytest.mark.parametrize(
    "rule",
    [
        {"look_at": "span_name", "pattern": "("},
        {"look_at": "span_name", "pattern": "a", "capability": r"\1"},
        {"look_at": "attribute"},
        {"look_at": "span_name", "attribute": "intent"},
        {"look_at": "anything"},
        {"look_at": "span_name", "colour": "red"},
    ],
    ids=["broken pattern", "missing group", "no attribute", "needless attribute", "unknown place", "unknown key"],
)
def test_rule_that_cannot_work_is_refused_at_the_edge(rule: dict[str, str]) -> None:
    """The config says so at start, and not the first trace."""
    with pytest.raises(ValidationError, match="capabilities"):
        TypeAdapter(TraceSettings).validate_python({"capabilities": [rule]})
