"""What the team agreed on before the rollout: jumps, floors, minimum counts."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt
from pydantic import Field, PositiveFloat

from monitor.config.settings import Settings, one_for_each
from monitor.labels.delay import LabelDelay
from monitor.rollout.cohort import TierGroup, TiersBy

_DAY = 86_400.0
_LEAST_MATURITY_SECONDS = 3_600.0
_Objective = Annotated[float, Ge(0), Lt(1)]


class Floor(Settings):
    """A pre-committed lower limit of a pass rate."""

    service: str
    """Service that the floor applies to."""

    pass_rate: Annotated[float, Gt(0), Lt(1)]
    """Lowest acceptable pass rate, ratio 0 to 1."""

    tier: TierGroup = TierGroup.HARD
    """Requests that the floor applies to: all, the easier tiers, or the hard tier."""

    environment: str = "production"
    """Environment that the floor applies to."""

    capability: str | None = None
    """Capability class, or null for all of them together."""

    agreed_by: str = ""
    """People who agreed to it."""

    agreed_on: str = ""
    """Day of the agreement, as YYYY-MM-DD."""


class Severity(Settings):
    """What a failure of one capability class costs, as a multiple of any other."""

    capability: str
    """Capability class."""

    weight: Annotated[float, Ge(0), Le(1_000_000)]
    """Number of failures of other classes that one failure of this class is worth; classes not listed have 1."""


class ClassRunbook(Settings):
    """Where your own runbook of one capability class is."""

    capability: str
    """Capability class."""

    runbook_url: Annotated[str, Field(pattern=r"^https?://[^\s{}/?#@]+([/?#]\S*)?$")]
    """Address of the runbook, http or https; alerts about the class link to it."""


class Policy(Settings):
    """When a rollout starts, how long Cliffwatch watches it, and what counts as a cliff or a regression."""

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
    """Sources of tiers, best first; a rollout uses the first one that can be trusted."""

    watched_capabilities: tuple[str, ...] = ()
    """Capability classes whose rise is a regression even if they are rare."""

    capability_min_share: Annotated[float, Gt(0), Le(1)] = 0.5
    """Share of the candidate's requests that makes the rise of any class a regression, ratio 0 to 1."""

    baseline_days: PositiveFloat = 14.0
    """Days before a cutover to compare with, at the same hours of the week."""

    maturity_seconds: Annotated[float | None, Ge(0)] = None
    """
    Age at which Cliffwatch judges a request, in seconds; null learns for each service when 95 % of its labels have
    arrived: at least an hour, at most `baseline_days`.
    """

    ramp_seconds: PositiveFloat = 42 * _DAY
    """How long to watch a rollout, in seconds (six weeks)."""

    rollback_seconds: PositiveFloat = 21_600.0
    """Silence of a candidate, while others serve, that ends a rollout, in seconds; set it above its longest pause."""

    candidate_min_share: Annotated[float, Ge(0), Le(1)] = 0.0
    """Share of traffic that makes a new model version a rollout, ratio 0 to 1."""

    candidate_min_requests: Annotated[int, Ge(1)] = 20
    """Requests of a new model version that make it a rollout."""

    easy_objective: _Objective = 0.98
    """Pass rate that easy requests should keep over 30 days, ratio 0 to 1; 0 for none."""

    medium_objective: _Objective = 0.85
    """Pass rate that medium requests should keep over 30 days, ratio 0 to 1; 0 for none."""

    hard_objective: _Objective = 0.0
    """Pass rate that hard and frontier requests should keep over 30 days, ratio 0 to 1; 0 for none."""

    severities: Annotated[tuple[Severity, ...], one_for_each("capability")] = ()
    """Costs of failures by class, to show weighted failures beside plain ones; tests and verdicts ignore them."""

    class_runbooks: Annotated[tuple[ClassRunbook, ...], one_for_each("capability")] = ()
    """Your own runbooks, by capability class."""

    floors: Annotated[tuple[Floor, ...], one_for_each("service", "environment", "tier", "capability")] = ()
    """Lowest pass rates that your team agreed on before a rollout."""

    def judged_after(self, delay: LabelDelay | None = None) -> float:
        """Age at which a request is judged, in seconds, where *delay* is the longest that its labels take."""
        if self.maturity_seconds is not None:
            return self.maturity_seconds
        return min(max(_LEAST_MATURITY_SECONDS, delay.seconds if delay else 0.0), self.baseline_days * _DAY)
