"""Tiers of difficulty, and the tag that a request carries."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from msgspec import Struct


class Tier(StrEnum):
    """Easy: any decent model; medium: models vary; hard: even the best fails often; frontier: none solves it today."""

    EASY = "easy"
    MEDIUM = "medium"
    HARD = "hard"
    FRONTIER = "frontier"
    UNTIERED = "untiered"


TIERS = (Tier.EASY, Tier.MEDIUM, Tier.HARD, Tier.FRONTIER)
"""All tiers of a trusted calibration, easiest first."""

EASIER_TIERS = (Tier.EASY, Tier.MEDIUM)

HARD_TIER = (Tier.HARD, Tier.FRONTIER)
"""The meaning of "the hard tier" everywhere: hard and frontier together."""


class Tag(Struct, frozen=True, gc=False):
    """
    Difficulty and tier of one request by a frozen calibration.

    Attributes:
        tier: Most probable tier, or `untiered` if too little is known.
        difficulty_logit: Posterior mean of the difficulty: logit of failing, without the version's ability.
        difficulty_variance: Posterior variance of the difficulty, in logits squared.
        is_known: Whether at least two versions answered the request's own item or family.
        bin: Index of the difficulty bin of the calibration, from 0, which groups requests in cohorts.
        calibration_id: The frozen calibration that made this tag; empty without one.
    """

    tier: Tier
    difficulty_logit: float
    difficulty_variance: float
    is_known: bool
    bin: int
    calibration_id: str


NO_TAG = Tag(Tier.UNTIERED, 0.0, 0.0, is_known=False, bin=0, calibration_id="")
"""The tag of every request while no calibration is in force."""


@dataclass(frozen=True, slots=True)
class TierCuts:
    """
    Bounds between tiers on the difficulty logit (frozen with a calibration).

    Attributes:
        medium, hard, frontier: Lowest difficulty logit of the tier; easy begins at minus infinity.
    """

    medium: float
    hard: float
    frontier: float
