"""Tags batches of requests by a calibration, and finds the tier that an operator declares for a request."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from monitor.difficulty.calibration import Calibration
from monitor.difficulty.features import RequestFeatures
from monitor.difficulty.tiers import NO_TAG, TIERS, Tag, Tier
from monitor.trace.model import Request
from monitor.trace.settings import TierRule

_REMEMBERED = 20_000
_ATTRIBUTE = "tier"
_BY_NAME = {tier.value: tier for tier in TIERS}


class Tagger:
    """
    Tags requests by one frozen calibration, as `Calibration.tag` does, with a cache.

    A tag depends only on the calibration and the features, so it can be cached. A full cache is emptied at once:
    repeated requests are back after the next batch, and there is no cost for keeping an order of use.

    Args:
        calibration: Predicts the difficulty; None gives every request `NO_TAG`.
        remembered: Size of the cache; a tag takes about 0.5 kB.
    """

    def __init__(self, calibration: Calibration | None, *, remembered: int = _REMEMBERED) -> None:
        self.calibration = calibration
        self._remembered = remembered
        self._tags: dict[tuple[object, ...], Tag] = {}

    def tag_all(self, requests: Iterable[RequestFeatures]) -> list[Tag]:
        """One tag for each of *requests*, in their order."""
        calibration = self.calibration
        if calibration is None:
            return [NO_TAG for _ in requests]
        tags, known = [], self._tags
        for features in requests:
            identity = _identity(features)
            tag = known.get(identity)
            if tag is None:
                if len(known) >= self._remembered:
                    known.clear()
                tag = known[identity] = calibration.tag(features)
            tags.append(tag)
        return tags


def _identity(features: RequestFeatures) -> tuple[object, ...]:
    known_by = features.capability, features.item, features.tool_set, features.prompt_family
    return (*known_by, *features.attributes.items()) if features.attributes else known_by


def declared_tier(request: Request, rules: Sequence[TierRule]) -> Tier | None:
    """
    Tier in the attribute ``tier`` of *request*, else the tier of the first of *rules* that matches it.

    >>> declared_tier(Request("sql", attributes={"tier": "hard"}), [])
    <Tier.HARD: 'hard'>
    """
    declared = request.attributes.get(_ATTRIBUTE)
    tier = _BY_NAME.get(declared.strip().lower()) if isinstance(declared, str) else None
    return tier or next((_BY_NAME[rule.tier] for rule in rules if _matches(rule, request)), None)


def _matches(rule: TierRule, request: Request) -> bool:
    value = request.attributes.get(rule.attribute or "")
    return (
        fnmatchcase(request.capability, rule.capability)
        and _is_within(len(request.tools), rule.min_tools, rule.max_tools)
        and _is_within(request.messages, rule.min_messages, rule.max_messages)
        and (rule.attribute is None or (rule.equals in (None, value) and _is_within(value, rule.at_least, None)))
    )


def _is_within(value: float | str | None, least: float | None, most: float | None) -> bool:
    """Whether *value* is a number within the limits; None is no limit. Without limits, any value matches."""
    if least is None and most is None:
        return True
    return not (value is None or isinstance(value, str)) and (least or 0) <= value and (most is None or value <= most)
