"""Tags for whole batches: requests that are alike are judged once, and remembered for when they come again."""

from __future__ import annotations

from collections.abc import Iterable

from monitor.difficulty.calibration import Calibration
from monitor.difficulty.features import RequestFeatures
from monitor.difficulty.tiers import NO_TAG, Tag

_REMEMBERED = 20_000


class Tagger:
    """
    Gives requests their tags under one frozen calibration, as `Calibration.tag` does, and sooner.

    A tag depends on nothing but the calibration and the features, so it may be remembered. When too many are, all are
    forgotten at once: requests that come again are back after the next batch, and no order is kept for those that never
    do.

    Args:
        calibration: What tells the difficulty; None gives every request the tag of no calibration.
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
