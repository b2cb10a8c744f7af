"""What a person may set about difficulty: how much is remembered, and when tiers are believed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Gt, Le, Lt
from typing_extensions import Doc


@dataclass(frozen=True, slots=True, kw_only=True)
class DifficultySettings:
    """How difficulty is learnt, where tiers begin, and which gates a calibration has to pass."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    max_features: Annotated[
        int, Ge(1_000), Doc("Weights that the estimator remembers; those that carry least information go first.")
    ] = 500_000
    max_calibration_bytes: Annotated[
        int, Ge(1_024), Doc("Largest stored calibration that is read or written, in bytes of JSON.")
    ] = 64 * 1024 * 1024
    medium_failure_rate: Annotated[
        float,
        Gt(0),
        Lt(1),
        Doc("Reference version's failure probability from which a request is medium, ratio."),
    ] = 0.02
    hard_failure_rate: Annotated[
        float, Gt(0), Lt(1), Doc("Reference version's failure probability from which a request is hard, ratio.")
    ] = 0.15
    frontier_failure_rate: Annotated[
        float, Gt(0), Lt(1), Doc("Reference version's failure probability from which a request is frontier, ratio.")
    ] = 0.60
    frontier_min_versions: Annotated[
        int, Ge(1), Doc("Versions that must all have failed a request before it is frontier.")
    ] = 3
    min_tag_probability: Annotated[
        float, Gt(0), Le(1), Doc("Probability of its tier that a request not known needs to be tagged, ratio 0 to 1.")
    ] = 0.60
    min_capability_labels: Annotated[int, Ge(0), Doc("Labels before requests of a capability are tagged.")] = 100
    min_capability_versions: Annotated[int, Ge(1), Doc("Versions that these labels must come from.")] = 2
    min_versions: Annotated[int, Ge(1), Doc("History versions before tiers and shares are trusted.")] = 3
    min_versions_hard_rate: Annotated[
        int, Ge(1), Doc("History versions before the hard tier's failure rate is trusted.")
    ] = 6
    min_known_share: Annotated[
        float,
        Ge(0),
        Le(1),
        Doc("Share of known requests before the hard tier's failure rate is trusted, ratio."),
    ] = 0.50
    min_auc: Annotated[
        float, Gt(0), Lt(1), Doc("Within-version AUC of the difficulty before tiers are trusted, ratio 0 to 1.")
    ] = 0.72
    min_auc_lower: Annotated[float, Gt(0), Lt(1), Doc("Smallest lower 90 % bound of that AUC, ratio 0 to 1.")] = 0.68
    max_calibration_error: Annotated[
        float, Gt(0), Lt(1), Doc("Largest expected calibration error that is trusted, ratio 0 to 1.")
    ] = 0.10
    evaluated_versions: Annotated[int, Ge(1), Doc("Latest versions that trust is measured on.")] = 3
    min_reference_labels: Annotated[int, Ge(1), Doc("Labels before a version may be the reference version.")] = 100
