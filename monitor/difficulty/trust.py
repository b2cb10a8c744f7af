"""Whether tiers may be believed, and what is missing where they may not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class ReliabilityPoint(NamedTuple):
    """
    Labels that were not learnt and that were predicted about alike.

    Attributes:
        predicted: Mean failure probability told beforehand, ratio 0 to 1.
        observed: Failures per label, ratio 0 to 1.
        labels: How many.
    """

    predicted: float
    observed: float
    labels: int


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
        hard_rate_reasons: One sentence per gate that only the hard tier's failure rate has to pass and does not.
        reliability: What *calibration_error* sums up, from the least likely failures to the most.
    """

    is_trusted: bool
    reasons: Sequence[str]
    auc: float | None
    auc_lower: float | None
    calibration_error: float | None
    versions: int
    known_share: float | None
    hard_rate_reasons: Sequence[str] = ()
    reliability: Sequence[ReliabilityPoint] = ()

    @property
    def is_trusted_for_hard_rate(self) -> bool:
        """The hard tier's failure rate may be believed too."""
        return self.is_trusted and not self.hard_rate_reasons
