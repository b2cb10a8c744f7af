"""What a request is tagged with: what a calibration says of whole batches, and the tier that an operator declares."""

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
    Gives requests their tags under one frozen calibration, as `Calibration.tag` does, and sooner.

    A tag depends on nothing but the calibration and the features, so it may be remembered. When too many are, all are
    forgotten at once: requests that come again are back after the next batch, and no order is kept for those that never
    do.

    Args:
        calibration: What predicts the difficulty; None gives every request the tag of no calibration.
        remembered: Most tags that are kept, about 0.5 kB each.
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
    """Whether a number lies between two limits, each left out where None; what is not a number fits none."""
    if least is None and most is None:
        return True
    return not (value is None or isinstance(value, str)) and (least or 0) <= value and (most is None or value <= most)
