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
"""The tiers that a trusted calibration can give, easiest first."""

EASIER_TIERS = (Tier.EASY, Tier.MEDIUM)

HARD_TIER = (Tier.HARD, Tier.FRONTIER)
"""What "the hard tier" means wherever we say it: hard and frontier together."""


class Tag(Struct, frozen=True, gc=False):
    """
    What a frozen calibration says of one request.

    Attributes:
        tier: Most probable tier, or `untiered` where too little is known.
        difficulty_logit: Posterior mean of the difficulty: logit of failing, a version's ability left out.
        difficulty_variance: Posterior variance of the difficulty, in logits squared.
        is_known: The request's own item or family was seen in at least two versions.
        bin: Index of the difficulty bin of the calibration, from 0; what cohorts are grouped by.
        calibration_id: The frozen calibration that made this tag; empty where there was none.
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
    Where tiers begin, on the difficulty logit (frozen with a calibration).

    Attributes:
        medium, hard, frontier: Lowest difficulty logit of the tier; easy begins at minus infinity.
    """

    medium: float
    hard: float
    frontier: float
