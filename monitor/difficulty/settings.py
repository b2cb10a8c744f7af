"""Settings of difficulty: how much is remembered, and when tiers are trusted."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt
from pydantic import NonNegativeInt

from monitor.config.settings import Settings


class DifficultySettings(Settings):
    """How Cliffwatch learns difficulty, where tiers begin, and which gates a calibration must pass."""

    max_features: Annotated[int, Ge(1_000)] = 500_000
    """Most weights that the estimator keeps; it drops those with the least information first."""

    medium_failure_rate: Annotated[float, Gt(0), Lt(1)] = 0.02
    """Lowest failure probability of the reference version that makes a request medium, ratio 0 to 1."""

    hard_failure_rate: Annotated[float, Gt(0), Lt(1)] = 0.15
    """Lowest failure probability of the reference version that makes a request hard, ratio 0 to 1."""

    frontier_failure_rate: Annotated[float, Gt(0), Lt(1)] = 0.60
    """Lowest failure probability of the reference version that makes a request frontier, ratio 0 to 1."""

    frontier_min_versions: Annotated[int, Ge(1)] = 3
    """Fewest versions that must have failed a frontier request, with none that passed it."""

    min_tag_probability: Annotated[float, Gt(0), Le(1)] = 0.60
    """Lowest probability of a tier that tags a request that is not known, ratio 0 to 1."""

    min_capability_labels: NonNegativeInt = 100
    """Labels needed before requests of a capability get a tier."""

    min_capability_versions: Annotated[int, Ge(1)] = 2
    """Fewest versions that these labels must come from."""

    min_class_labels: Annotated[int, Ge(1)] = 100
    """Labels of the baseline before a rollout that a class needs to get its own tier."""

    min_versions: Annotated[int, Ge(1)] = 3
    """History versions needed to trust tiers and shares."""

    min_versions_hard_rate: Annotated[int, Ge(1)] = 6
    """History versions needed to trust the hard tier's failure rate."""

    min_known_share: Annotated[float, Ge(0), Le(1)] = 0.50
    """Share of known requests needed to trust the hard tier's failure rate, ratio 0 to 1."""

    min_known_share_tiers: Annotated[float, Ge(0), Le(1)] = 0.10
    """Share of known requests needed to use learnt tiers in a rollout at all, ratio 0 to 1."""

    min_auc: Annotated[float, Gt(0), Lt(1)] = 0.72
    """Within-version AUC of the difficulty needed to trust tiers, ratio 0 to 1."""

    min_auc_lower: Annotated[float, Gt(0), Lt(1)] = 0.68
    """Lower 90 % bound of that AUC needed to trust tiers, ratio 0 to 1."""

    max_calibration_error: Annotated[float, Gt(0), Lt(1)] = 0.10
    """Largest expected calibration error of trusted tiers, ratio 0 to 1."""

    evaluated_versions: Annotated[int, Ge(1)] = 3
    """Number of latest versions on which to measure trust."""

    min_reference_labels: Annotated[int, Ge(1)] = 100
    """Labels needed before a version may be the reference version."""
