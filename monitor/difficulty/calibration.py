"""A frozen calibration: everything that tags a request, and whether it may be trusted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from monitor.difficulty.features import LabelledRequest, RequestFeatures
from monitor.difficulty.tiers import Tag


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


@dataclass(frozen=True, slots=True)
class Trust:
    """
    Whether tiers may be believed, and why not.

    Attributes:
        is_trusted: Every gate is passed.
        reasons: One sentence per gate that is not passed, saying what is missing; empty when trusted.
        auc: Within-version AUC of the difficulty on labels not learnt, ratio 0 to 1; None where it cannot be told.
        auc_lower: Lower 90 % bound of *auc*.
        calibration_error: Expected calibration error with a per-version intercept, ratio 0 to 1, or None.
        versions: History versions learnt from (K).
        known_share: Share of the evaluated requests whose item or family was met in at least two versions, or None.
    """

    is_trusted: bool
    reasons: Sequence[str]
    auc: float | None
    auc_lower: float | None
    calibration_error: float | None
    versions: int
    known_share: float | None


@dataclass(frozen=True, slots=True)
class Calibration:
    """A frozen fit; never changes once it has an id."""

    calibration_id: str
    frozen_at: float
    cuts: TierCuts
    trust: Trust

    def tag(self, features: RequestFeatures) -> Tag:
        """Tag of a request with *features*."""
        raise NotImplementedError

    def to_json(self) -> str:
        """Versioned JSON with a checksum."""
        raise NotImplementedError

    @classmethod
    def from_json(cls, text: str) -> Calibration:
        """
        The calibration that `to_json` wrote.

        Raises:
            CalibrationInvalid: corrupted, oversized or of another version.
        """
        raise NotImplementedError


def calibrate(history: Iterable[LabelledRequest], *, frozen_at: float) -> Calibration | None:
    """
    Learn difficulty from *history* in one pass, then freeze; None where the history is empty.

    Args:
        history: Versions in order of first appearance, each in trace order.
        frozen_at: Unix seconds.
    """
    raise NotImplementedError
