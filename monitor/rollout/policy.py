"""What the team agreed on before the rollout: jumps, floors, minimum counts."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt
from pydantic import Field, PositiveFloat

from monitor.config.settings import Settings
from monitor.labels.delay import LabelDelay
from monitor.rollout.cohort import TierGroup, TiersBy

_DAY = 86_400.0
_LEAST_MATURITY_SECONDS = 3_600.0
_Objective = Annotated[float, Ge(0), Lt(1)]


class Floor(Settings):
    """A pre-committed lower limit of a pass rate."""

    service: str
    """Service that the floor is for."""

    pass_rate: Annotated[float, Gt(0), Lt(1)]
    """Lowest acceptable pass rate, ratio 0 to 1."""

    tier: TierGroup = TierGroup.HARD
    """Requests that it is for: all, the easier tiers, or the hard tier."""

    environment: str = "production"
    """Environment that the floor is for."""

    capability: str | None = None
    """Capability class, or null for all of them together."""

    agreed_by: str = ""
    """Who agreed to it."""

    agreed_on: str = ""
    """Day of the agreement, as YYYY-MM-DD."""


class Severity(Settings):
    """What a failure of one capability class costs, as a multiple of any other."""

    capability: str
    """Capability class."""

    weight: Annotated[float, Ge(0), Le(1_000_000)]
    """Failures of other classes that one of this class is worth; 1 where nothing is said."""


class ClassRunbook(Settings):
    """Where your own runbook of one capability class is."""

    capability: str
    """Capability class."""

    runbook_url: Annotated[str, Field(pattern=r"^https?://[^\s{}/?#@]+([/?#]\S*)?$")]
    """Its address, http or https; the alert about the class links to it."""


class Policy(Settings):
    """When a rollout is noticed, how long it is watched, and what counts as a cliff or a regression."""

    share_jump: Annotated[float, Gt(0), Lt(1)] = 0.10
    """Rise of the hard tier's share of failures that matters, ratio 0 to 1."""

    error_rate: Annotated[float, Gt(0), Lt(0.5)] = 0.05
    """Chance of a false alarm on one rollout, over all looks, ratio 0 to 1."""

    min_labelled_requests: Annotated[int, Ge(1)] = 200
    """Labelled requests that each arm needs before `ok`."""

    min_hard_failures: Annotated[int, Ge(1)] = 30
    """Hard-tier failures, and passes, that each arm needs before `cliff`."""

    ok_margin: Annotated[float, Gt(0), Lt(1)] = 0.03
    """Rise of the failure rate of all requests that `ok` rules out, ratio 0 to 1."""

    ok_margin_hard: Annotated[float, Gt(0), Lt(1)] = 0.10
    """Rise of the hard tier's failure rate that `ok` rules out, ratio 0 to 1."""

    tiers_by: tuple[TiersBy, ...] = (TiersBy.DECLARED, TiersBy.LEARNT, TiersBy.CLASS)
    """What may give requests their tier, best first; a rollout takes the first that can be trusted."""

    watched_capabilities: tuple[str, ...] = ()
    """Capability classes whose rise is a regression, however rare they are."""

    capability_min_share: Annotated[float, Gt(0), Le(1)] = 0.5
    """Share of the candidate's requests from which any class's rise is a regression, ratio 0 to 1."""

    baseline_days: PositiveFloat = 14.0
    """Days before a cutover whose same hours of the week stand in for the baseline."""

    maturity_seconds: Annotated[float | None, Ge(0)] = None
    """
    Age at which a request is judged, in seconds; null to learn for each service when 95 % of its labels have come: at
    least an hour, at most `baseline_days`.
    """

    ramp_seconds: PositiveFloat = 42 * _DAY
    """How long a rollout is watched, in seconds (six weeks)."""

    rollback_seconds: PositiveFloat = 21_600.0
    """Silence of a candidate, while others serve, that counts as a rollback, in seconds: above its longest pause."""

    candidate_min_share: Annotated[float, Ge(0), Le(1)] = 0.0
    """Share of traffic from which on a new model version is a rollout, ratio 0 to 1."""

    candidate_min_requests: Annotated[int, Ge(1)] = 20
    """Requests of a new model version before it is a rollout."""

    easy_objective: _Objective = 0.98
    """Pass rate that easy requests should keep over 30 days, ratio 0 to 1; 0 for none."""

    medium_objective: _Objective = 0.85
    """Pass rate that medium requests should keep over 30 days, ratio 0 to 1; 0 for none."""

    hard_objective: _Objective = 0.0
    """Pass rate that hard and frontier requests should keep over 30 days, ratio 0 to 1; 0 until you agree on one."""

    severities: tuple[Severity, ...] = ()
    """What failures cost by class: weighted failures stand beside plain ones, and no test or verdict changes."""

    class_runbooks: tuple[ClassRunbook, ...] = ()
    """Runbooks of your own, by capability class."""

    floors: tuple[Floor, ...] = ()
    """Pre-committed floors of pass rates."""

    def judged_after(self, delay: LabelDelay | None = None) -> float:
        """Age at which a request is judged, in seconds, where *delay* is the longest that its labels take."""
        if self.maturity_seconds is not None:
            return self.maturity_seconds
        return min(max(_LEAST_MATURITY_SECONDS, delay.seconds if delay else 0.0), self.baseline_days * _DAY)
