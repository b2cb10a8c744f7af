"""What the team agreed on before the rollout: jumps, floors, minimum counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Gt, Le, Lt
from typing_extensions import Doc

from monitor.rollout.cohort import TiersBy

_DAY = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """A pre-committed lower limit of the hard tier's pass rate."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    service: Annotated[str, Doc("Service that the floor is for.")]
    pass_rate: Annotated[float, Gt(0), Lt(1), Doc("Lowest acceptable pass rate of the hard tier, ratio 0 to 1.")]
    environment: Annotated[str, Doc("Environment that the floor is for.")] = "production"
    capability: Annotated[str | None, Doc("Capability class, or null for all of them together.")] = None
    agreed_by: Annotated[str, Doc("Who agreed to it.")] = ""
    agreed_on: Annotated[str, Doc("Day of the agreement, as YYYY-MM-DD.")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """When a rollout is noticed, how long it is watched, and what counts as a cliff or a regression."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    share_jump: Annotated[
        float, Gt(0), Lt(1), Doc("Rise of the hard tier's share of failures that matters, ratio 0 to 1.")
    ] = 0.10
    error_rate: Annotated[
        float, Gt(0), Lt(0.5), Doc("Chance of a false alarm on one rollout, over all looks, ratio 0 to 1.")
    ] = 0.05
    min_labelled_requests: Annotated[int, Ge(1), Doc("Labelled requests that each arm needs before `ok`.")] = 200
    min_hard_failures: Annotated[int, Ge(1), Doc("Hard-tier failures that each arm needs before `ok` or `cliff`.")] = 30
    ok_margin: Annotated[
        float, Gt(0), Lt(1), Doc("Rise of the failure rate of all requests that `ok` rules out, ratio 0 to 1.")
    ] = 0.03
    ok_margin_hard: Annotated[
        float, Gt(0), Lt(1), Doc("Rise of the hard tier's failure rate that `ok` rules out, ratio 0 to 1.")
    ] = 0.10
    tiers_by: Annotated[
        tuple[TiersBy, ...],
        Doc("What may give requests their tier, best first; a rollout takes the first that can be trusted."),
    ] = (TiersBy.DECLARED, TiersBy.LEARNT, TiersBy.CLASS)
    baseline_days: Annotated[
        float, Gt(0), Doc("Days before a cutover whose same hours of the week stand in for the baseline.")
    ] = 14.0
    maturity_seconds: Annotated[
        float, Ge(0), Doc("Age at which a request is judged, in seconds: as long as labels usually take to arrive.")
    ] = 3_600.0
    ramp_seconds: Annotated[float, Gt(0), Doc("How long a rollout is watched, in seconds (six weeks).")] = 42 * _DAY
    rollback_seconds: Annotated[
        float, Gt(0), Doc("Silence of a candidate, while its baseline serves, that counts as a rollback, in seconds.")
    ] = 21_600.0
    candidate_min_share: Annotated[
        float, Gt(0), Le(1), Doc("Share of traffic above which a new model version is a rollout, ratio 0 to 1.")
    ] = 0.01
    candidate_min_requests: Annotated[int, Ge(1), Doc("Requests of a new model version before it is a rollout.")] = 20
    max_coverage_gap: Annotated[
        float,
        Gt(0),
        Le(1),
        Doc("Largest difference of label coverage between the arms that is still judged, ratio 0 to 1."),
    ] = 0.20
    floors: Annotated[tuple[Floor, ...], Doc("Pre-committed floors of the hard tier's pass rate.")] = ()
