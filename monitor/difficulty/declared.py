"""The tier that an operator declares: an attribute of the request, or the first rule of the config that fits it."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from monitor.difficulty.tiers import TIERS, Tier
from monitor.trace.model import Request
from monitor.trace.settings import TierRule

_ATTRIBUTE = "tier"
_BY_NAME = {tier.value: tier for tier in TIERS}


def declared_tier(request: Request, rules: Sequence[TierRule]) -> Tier | None:
    """
    Tier that *request* says it has in its attribute ``tier``, else that of the first of *rules* that fits it.

    >>> declared_tier(Request("sql", attributes={"tier": "hard"}), [])
    <Tier.HARD: 'hard'>
    """
    said = request.attributes.get(_ATTRIBUTE)
    tier = _BY_NAME.get(said.strip().lower()) if isinstance(said, str) else None
    return tier or next((_BY_NAME[rule.tier] for rule in rules if _fits(rule, request)), None)


def _fits(rule: TierRule, request: Request) -> bool:
    value = request.attributes.get(rule.attribute or "")
    return (
        fnmatchcase(request.capability, rule.capability)
        and _is_within(len(request.tools), rule.min_tools, rule.max_tools)
        and _is_within(request.messages, rule.min_messages, rule.max_messages)
        and (rule.attribute is None or (rule.equals in (None, value) and _is_within(value, rule.at_least, None)))
    )


def _is_within(value: float | str | None, least: float | None, most: float | None) -> bool:
    """Whether a number lies between two limits, each of them left out where None; what is no number fits no limit."""
    if least is None and most is None:
        return True
    return not (value is None or isinstance(value, str)) and (least or 0) <= value and (most is None or value <= most)
