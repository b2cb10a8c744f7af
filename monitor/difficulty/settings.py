"""Settings of difficulty: how much is remembered, and when tiers are trusted."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt
from pydantic import NonNegativeInt

from monitor.config.settings import Settings


class DifficultySettings(Settings):
    """How difficulty is learnt, where tiers begin, and which gates a calibration has to pass."""

    max_features: Annotated[int, Ge(1_000)] = 500_000
    """Weights that the estimator remembers; those that carry least information go first."""

    medium_failure_rate: Annotated[float, Gt(0), Lt(1)] = 0.02
    """Reference version's failure probability from which a request is medium, ratio."""

    hard_failure_rate: Annotated[float, Gt(0), Lt(1)] = 0.15
    """Reference version's failure probability from which a request is hard, ratio."""

    frontier_failure_rate: Annotated[float, Gt(0), Lt(1)] = 0.60
    """Reference version's failure probability from which a request is frontier, ratio."""

    frontier_min_versions: Annotated[int, Ge(1)] = 3
    """Versions that must all have failed a request before it is frontier."""

    min_tag_probability: Annotated[float, Gt(0), Le(1)] = 0.60
    """Probability of its tier that a request not known needs to be tagged, ratio 0 to 1."""

    min_capability_labels: NonNegativeInt = 100
    """Labels before requests of a capability are tagged."""

    min_capability_versions: Annotated[int, Ge(1)] = 2
    """Versions that these labels must come from."""

    min_class_labels: Annotated[int, Ge(1)] = 100
    """Labels of the baseline before a rollout from which a class of requests has a tier of its own."""

    min_versions: Annotated[int, Ge(1)] = 3
    """History versions before tiers and shares are trusted."""

    min_versions_hard_rate: Annotated[int, Ge(1)] = 6
    """History versions before the hard tier's failure rate is trusted."""

    min_known_share: Annotated[float, Ge(0), Le(1)] = 0.50
    """Share of known requests before the hard tier's failure rate is trusted, ratio."""

    min_known_share_tiers: Annotated[float, Ge(0), Le(1)] = 0.10
    """Share of known requests before learnt tiers are trusted in a rollout at all, ratio."""

    min_auc: Annotated[float, Gt(0), Lt(1)] = 0.72
    """Within-version AUC of the difficulty before tiers are trusted, ratio 0 to 1."""

    min_auc_lower: Annotated[float, Gt(0), Lt(1)] = 0.68
    """Smallest lower 90 % bound of that AUC, ratio 0 to 1."""

    max_calibration_error: Annotated[float, Gt(0), Lt(1)] = 0.10
    """Largest expected calibration error that is trusted, ratio 0 to 1."""

    evaluated_versions: Annotated[int, Ge(1)] = 3
    """Latest versions that trust is measured on."""

    min_reference_labels: Annotated[int, Ge(1)] = 100
    """Labels before a version may be the reference version."""
