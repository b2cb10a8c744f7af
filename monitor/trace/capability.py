"""Names the capability class of a request: the first rule that matches any span of its trace decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monitor.trace.labels import clean_label
from monitor.trace.settings import CapabilityRule, compiled, full_match

UNCLASSIFIED = "unclassified"

_LOOKED_AT_CHARS = 1_024
"""A rule sees no more of a text than these first characters."""


class CapabilityRules:
    """Compiled rules in order of precedence; `attributes` are the names that they look at."""

    def __init__(self, rules: Sequence[CapabilityRule]) -> None:
        self._rules = [(rule, compiled(rule.pattern)) for rule in rules]
        self.attributes = frozenset(rule.attribute for rule in rules if rule.attribute is not None)

    def match(self, *, span_name: str, tool_name: str | None, attributes: Mapping[str, Any]) -> tuple[int, str] | None:
        """Index of the first rule that matches this span, and the class that it names; None if no rule matches."""
        for index, (rule, pattern) in enumerate(self._rules):
            name = span_name if rule.look_at == "span_name" else tool_name
            looked_at = name if rule.attribute is None else attributes.get(rule.attribute)
            found = None if looked_at is None else full_match(pattern, str(looked_at)[:_LOOKED_AT_CHARS])
            named = found and (found[0] if rule.capability is None else found.expand(rule.capability))
            if named and (capability := clean_label(named)) is not None:
                return index, capability
        return None
