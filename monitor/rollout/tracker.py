"""Finds rollouts in the traffic of model versions: which version is established, which is new, when a watch ends."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

from monitor.rollout.deployment import Deployment, ServiceTraffic, Traffic
from monitor.rollout.policy import Policy
from monitor.trace.grouping import grouped
from monitor.trace.model import PROBES_ENVIRONMENT, REFERENCE_ENVIRONMENT, hash_of

_DAY = 86_400.0
_WEEK = 7 * _DAY
_GROWTH = 1.2  # ratio of the candidate's share of late to the one before, above which it grows
_CLEARLY_MORE = 2.0  # ratio of the requests of two versions


@dataclass(frozen=True, slots=True)
class VersionActivity:
    """
    The traffic of one model version of one service and environment.

    Attributes:
        first_started_at: Start of its first request, Unix seconds.
        last_started_at: Start of its latest request, Unix seconds.
        requests: Requests counted so far.
        traffic: The same requests over time, oldest first, by hour if recent; empty if spread evenly.
        late_seconds: How much later its requests arrive than those of other versions with the same start; 0 or more.
    """

    service: str
    environment: str
    model_version: str
    first_started_at: float
    last_started_at: float
    requests: int
    traffic: Sequence[Traffic] = ()
    late_seconds: float = 0.0


class EndReason(StrEnum):
    """
    Why the watch over a rollout ended.

    After `ramp_over` and `superseded`, a candidate that took over the traffic is the established version.
    """

    RAMP_OVER = "ramp_over"
    SUPERSEDED = "superseded"
    ROLLED_BACK = "rolled_back"
    REPLACED = "replaced"


_FAILED_ATTEMPT = frozenset({EndReason.ROLLED_BACK.value, EndReason.REPLACED.value})
"""After these, later requests under the candidate's name are a new attempt."""


class Role(StrEnum):
    """The role of a model version in its service and environment now."""

    BASELINE = "baseline"
    CANDIDATE = "candidate"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class Rollout:
    """
    A change of the model version behind one service in one environment.

    Attributes:
        rollout_id: Stable id; every replica computes the same one.
        started_at: Start of the first request of this attempt, Unix seconds. Evidence begins here.
        ended_at: When the watch ended, Unix seconds, or None.
        calibration_id: The calibration that tags both arms.
        end_reason: An `EndReason`, or the text of the person who ended it; empty while under way.
    """

    rollout_id: str
    service: str
    environment: str
    baseline: str
    candidate: str
    started_at: float
    ended_at: float | None = None
    calibration_id: str = ""
    end_reason: str = ""

    @property
    def is_under_way(self) -> bool:
        return self.ended_at is None


VersionKey = tuple[str, str, str]
"""Service, environment, model version."""


def find_rollouts(
    activity: Sequence[VersionActivity],
    rollouts: Sequence[Rollout],
    policy: Policy,
    *,
    now: float,
    decided: Mapping[str, float] = MappingProxyType({}),
) -> Sequence[Rollout]:
    """
    The rollouts that started, ended or got an earlier start since *rollouts* was written, oldest first.

    A rollout under way gets an earlier start if an earlier request of its candidate has arrived since.

    A version serves in deployments. A deployment ends when the version is silent while others go on serving, so a night
    in which the whole service is silent ends none; a name that comes back afterwards starts a new deployment. The
    established version is the candidate of the last rollout that took over, else the version seen first. A later
    deployment with enough requests starts a rollout against it, however small its share; several may be under way at
    once. A rollout ends as

    - `ramp_over`, after the policy's ramp, once its candidate serves alone, or has a verdict and no longer grows;
    - `superseded`, when its candidate has taken over most of the traffic and becomes the baseline of the next rollout;
    - `rolled_back`, when its candidate's deployment ended. If the name comes back, a new attempt starts.

    Times of events come from the traffic and not from *now*, so every replica finds the same ones.

    Args:
        activity: Every version of every service and environment.
        rollouts: Every rollout so far, oldest first, ended ones included.
        policy: Thresholds.
        now: Unix seconds.
        decided: When each rollout got its current verdict (Unix seconds), by id; without rollouts at `waiting`.
    """
    return [changed for watch in _watches(activity, rollouts, policy) for changed in watch.advance(now, decided)]


def version_roles(
    activity: Sequence[VersionActivity], rollouts: Sequence[Rollout], policy: Policy
) -> Mapping[VersionKey, Role]:
    """
    Role of every version outside the reference environment.

    Args:
        activity: Every version of every service and environment.
        rollouts: Every rollout, oldest first, ended ones included.
        policy: Thresholds.
    """
    return {key: role for watch in _watches(activity, rollouts, policy) for key, role in watch.roles()}


class EvidenceWindow(NamedTuple):
    """
    The start of the requests that count as evidence, Unix seconds.

    Attributes:
        candidate_since: The start of this attempt.
        baseline_since: If the baseline no longer serves beside the candidate, its earlier requests since then count.
        is_decided: Whether the hours that both served have decided; then no earlier requests count.
    """

    candidate_since: float
    baseline_since: float
    is_decided: bool = False


def evidence_window(rollout: Rollout, rollouts: Sequence[Rollout], policy: Policy, *, decided: bool) -> EvidenceWindow:
    """
    The evidence window of *rollout*, which leaves out earlier deployments under the same names.

    Args:
        rollout: The rollout to judge.
        rollouts: Every rollout, oldest first, ended ones included.
        policy: Sets how many days of the baseline count after a cutover.
        decided: Whether the hours that both served have decided.
    """
    days_before = rollout.started_at - policy.baseline_days * _DAY
    return EvidenceWindow(rollout.started_at, max(days_before, baseline_since(rollout, rollouts)), decided)


def probes_window(rollout: Rollout, rollouts: Sequence[Rollout]) -> EvidenceWindow:
    """As `evidence_window`, for the probe panel, which may have been replayed long before the rollout."""
    return EvidenceWindow(candidate_since(rollout, rollouts), baseline_since(rollout, rollouts))


def baseline_since(rollout: Rollout, rollouts: Sequence[Rollout]) -> float:
    """When the baseline of *rollout* was last rolled out under its name, Unix seconds; -inf if it never was."""
    starts = (r.started_at for r in earlier(rollout, rollouts) if r.candidate == rollout.baseline)
    return max(starts, default=-math.inf)


def candidate_since(rollout: Rollout, rollouts: Sequence[Rollout]) -> float:
    """End of the last rollout before *rollout* that involved its candidate's name, Unix seconds; -inf without one."""
    ends = (
        rollout.started_at if r.ended_at is None else r.ended_at
        for r in earlier(rollout, rollouts)
        if rollout.candidate in (r.candidate, r.baseline)
    )
    return max((min(end, rollout.started_at) for end in ends), default=-math.inf)


def earlier(rollout: Rollout, rollouts: Sequence[Rollout]) -> Iterator[Rollout]:
    """Those of *rollouts* in the same service and environment that began before *rollout*."""
    where = (rollout.service, rollout.environment)
    return (r for r in rollouts if (r.service, r.environment) == where and r.started_at < rollout.started_at)


_FLOATING = re.compile(r"(?:^|[-_:@/])(?:latest|stable|default|current)$", re.IGNORECASE)
_PIN = re.compile(
    r"""
      \d{4}-\d{2}-\d{2} | (?<!\d)\d{8}(?!\d) | (?<!\d)\d{6}(?!\d)   # a date
    | [-_@:]\d{3,4}(?![\dbk])                                       # a month and day, or a numbered revision
    | (?<![a-z])v\d+ | (?<!\d)\d+\.\d+\.\d+                         # a release
    | (?<![a-z\d])\d+(?:\.\d+)?b(?![a-z\d])                         # open weights, named by their size
    | (?<![a-z\d])(?=[a-f]*\d)[0-9a-f]{7,64}(?![a-z\d])             # a commit or digest
    """,
    re.IGNORECASE | re.VERBOSE,
)


def is_floating_alias(model_version: str) -> bool:
    """
    Whether the provider may change the model behind this name: `-latest`, or a name without date, revision or release.

    >>> [is_floating_alias(name) for name in ("gpt-4o", "gpt-4o-2024-08-06", "claude-3-5-sonnet-latest", "gpt-4-0613")]
    [True, False, True, False]
    """
    return bool(_FLOATING.search(model_version)) or not _PIN.search(model_version)


def _watches(activity: Sequence[VersionActivity], rollouts: Sequence[Rollout], policy: Policy) -> Iterator[_Watch]:
    served = [version for version in activity if version.environment != REFERENCE_ENVIRONMENT]
    for group, members in sorted(grouped(served, lambda version: (version.service, version.environment)).items()):
        yield _Watch(members, [r for r in rollouts if (r.service, r.environment) == group], policy)


class _Watch:
    """The deployments of one service and environment, in order of appearance, and the rollouts between them."""

    def __init__(self, members: Sequence[VersionActivity], past: Sequence[Rollout], policy: Policy) -> None:
        self._where = (members[0].service, members[0].environment)
        self._rollouts = list(past)
        self._policy = policy
        self._changed: list[Rollout] = []
        traffic = {
            each.model_version: each.traffic or [Traffic(each.first_started_at, each.last_started_at, each.requests)]
            for each in members
        }
        ends: dict[str, list[float]] = defaultdict(list)
        for rollout in past:
            if rollout.ended_at is not None and rollout.end_reason in _FAILED_ATTEMPT:
                ends[rollout.candidate].append(rollout.ended_at)
        # Probes run only now and then, so their silence ends no deployment.
        silence = math.inf if self._where[1] == PROBES_ENVIRONMENT else policy.rollback_seconds
        late = {version.model_version: version.late_seconds for version in members}
        served = ServiceTraffic(traffic, ends, silence, policy.candidate_min_requests, late)
        self._deployments = _established_first(served.deployments(), policy.candidate_min_requests)

    def advance(self, now: float, decided: Mapping[str, float]) -> list[Rollout]:
        self._begin_earlier()
        for deployment in self._deployments[1:]:
            at = deployment.first_started_at
            self._end_rolled_back(at)
            self._end_ramps(min(now, at), decided)
            if self._is_new_candidate(deployment):
                self._start(deployment)
        self._end_rolled_back(math.inf)
        self._end_ramps(now, decided)
        return self._changed

    def roles(self) -> Iterator[tuple[VersionKey, Role]]:
        established = self._established(math.inf)
        baselines = {established.model_version, *(rollout.baseline for rollout in self._under_way())}
        candidates = {rollout.candidate for rollout in self._under_way()}
        later = self._deployments[self._deployments.index(established) + 1 :]
        candidates |= {each.model_version for each in later if each.ended_at is None and not self._is_known(each)}
        for name in dict.fromkeys(each.model_version for each in self._deployments):
            role = Role.CANDIDATE if name in candidates else Role.BASELINE if name in baselines else Role.RETIRED
            yield (*self._where, name), role

    def _begin_earlier(self) -> None:
        """Moves starts back to the candidate's first request, whose partition may have lagged behind."""
        for rollout in self._under_way():
            candidate, is_first_attempt = self._candidate(rollout), math.isinf(candidate_since(rollout, self._rollouts))
            if candidate is not None and is_first_attempt and candidate.first_started_at < rollout.started_at:
                self._change(rollout, started_at=candidate.first_started_at)

    def _is_new_candidate(self, deployment: Deployment) -> bool:
        if deployment is self._established(deployment.first_started_at) or self._is_known(deployment):
            return False
        if self._is_retry(deployment):
            return True
        everything = sum(each.between(deployment.first_started_at, math.inf) for each in self._deployments)
        share = deployment.requests / max(everything, 1.0)
        return deployment.requests >= self._policy.candidate_min_requests and share >= self._policy.candidate_min_share

    def _is_known(self, deployment: Deployment) -> bool:
        """Whether a rollout has been about *deployment*, on either side."""
        return any(deployment is self._candidate(r) or deployment is self._baseline(r) for r in self._rollouts)

    def _is_retry(self, deployment: Deployment) -> bool:
        """Whether the version comes back after a rollback and a silence, which starts a new attempt."""
        first, silence = deployment.first_started_at, self._policy.rollback_seconds
        return any(
            rollout.candidate == deployment.model_version
            and rollout.end_reason == EndReason.ROLLED_BACK
            and (earlier := self._candidate(rollout)) is not None
            and first - earlier.last_started_at >= silence
            for rollout in self._rollouts
        )

    def _start(self, deployment: Deployment) -> None:
        baseline = self._incumbent(deployment).model_version
        name = deployment.model_version
        if baseline == name:  # a deployment of the established version itself
            return
        earlier = sum(r.candidate == name and r.baseline == baseline for r in self._rollouts)
        service, environment = self._where
        at = deployment.first_started_at
        # A hash, so that every replica computes the same id.
        rollout_id = hash_of(service, environment, baseline, name, at, earlier)
        rollout = Rollout(rollout_id, service, environment, baseline, name, at)
        self._rollouts.append(rollout)
        self._changed.append(rollout)

    def _incumbent(self, new: Deployment) -> Deployment:
        """The baseline for *new*; before that, candidates that took over become established (`superseded`)."""
        at = new.first_started_at
        for rollout in self._under_way():
            if rollout.started_at < at and self._candidate(rollout) is not new and self._has_taken_over(rollout, at):
                self._end(rollout, at, EndReason.SUPERSEDED)
        return self._established(at)

    def _established(self, at: float) -> Deployment:
        """The established deployment at *at*, Unix seconds."""
        successors = [
            (rollout.ended_at, candidate.between(-math.inf, at), candidate)
            for rollout in self._rollouts
            if rollout.ended_at is not None
            and rollout.end_reason not in _FAILED_ATTEMPT
            and (candidate := self._candidate(rollout)) is not None
            and self._has_taken_over(rollout, at)
        ]
        if successors:
            return max(successors, key=lambda successor: successor[:2])[2]
        return (self._baseline(self._rollouts[0]) if self._rollouts else None) or self._deployments[0]

    def _has_taken_over(self, rollout: Rollout, at: float) -> bool:
        """Whether the candidate served clearly more than the baseline, in the last day or else since it started."""
        baseline, candidate = self._baseline(rollout), self._candidate(rollout)
        if baseline is None or candidate is None:  # the ledger pruned it, so it has not served for long
            return candidate is not None
        for since in (max(rollout.started_at, at - _DAY), rollout.started_at):
            old, new = baseline.between(since, at), candidate.between(since, at)
            if old + new >= self._policy.candidate_min_requests:
                return new >= _CLEARLY_MORE * old
        return False

    def _end_rolled_back(self, until: float) -> None:
        for rollout in self._under_way():
            candidate = self._candidate(rollout)
            if candidate is not None and candidate.ended_at is not None and candidate.ended_at <= until:
                self._end(rollout, max(candidate.ended_at, rollout.started_at), EndReason.ROLLED_BACK)

    def _end_ramps(self, until: float, decided: Mapping[str, float]) -> None:
        for rollout in self._under_way():
            over_at = max(rollout.started_at + self._policy.ramp_seconds, self._settled_at(rollout, until, decided))
            if over_at <= until:
                self._end(rollout, over_at, EndReason.RAMP_OVER)

    def _settled_at(self, rollout: Rollout, until: float, decided: Mapping[str, float]) -> float:
        """
        When the end of the ramp may end the watch, Unix seconds.

        At the latest, one ramp after the last request of either arm.
        """
        baseline, candidate = self._baseline(rollout), self._candidate(rollout)
        known = [deployment for deployment in (baseline, candidate) if deployment is not None]
        latest = max((deployment.last_started_at for deployment in known), default=0.0) + self._policy.ramp_seconds
        if baseline is None or not baseline.between(rollout.started_at, math.inf):
            return rollout.started_at
        if baseline.ended_at is not None:  # the candidate serves alone
            return min(baseline.ended_at, latest)
        if rollout.rollout_id in decided and not _grows(rollout, baseline, candidate, until):
            return min(decided[rollout.rollout_id], latest)
        return latest

    def _end(self, rollout: Rollout, ended_at: float, reason: EndReason) -> None:
        self._change(rollout, ended_at=ended_at, end_reason=reason.value)

    def _change(self, rollout: Rollout, **to: Any) -> None:
        changed = replace(rollout, **to)
        self._rollouts[self._rollouts.index(rollout)] = changed
        self._changed.append(changed)

    def _under_way(self) -> list[Rollout]:
        return [rollout for rollout in self._rollouts if rollout.is_under_way]

    def _candidate(self, rollout: Rollout) -> Deployment | None:
        """The deployment of the candidate; None before its first request."""
        at = rollout.started_at
        return next((each for each in self._deployments_of(rollout.candidate) if not each.is_over(at)), None)

    def _baseline(self, rollout: Rollout) -> Deployment | None:
        """The deployment of the baseline: the last that began before *rollout*, else the first."""
        deployments = self._deployments_of(rollout.baseline)
        begun = [each for each in deployments if each.first_started_at <= rollout.started_at]
        return begun[-1] if begun else next(iter(deployments), None)

    def _deployments_of(self, name: str) -> list[Deployment]:
        return [each for each in self._deployments if each.model_version == name]


def _established_first(deployments: Sequence[Deployment], min_requests: int) -> Sequence[Deployment]:
    """
    *deployments*, with the established one first.

    That is the first, unless another that began at about the same time served twice as much within a day.
    """
    first = deployments[0]
    at_once = [d for d in deployments if first.between(-math.inf, d.first_started_at) < min_requests]
    served = [d.between(-math.inf, first.first_started_at + _DAY) for d in at_once]
    most = at_once[served.index(max(served))] if max(served) >= _CLEARLY_MORE * served[0] else first
    return [most, *(each for each in deployments if each is not most)]


def _grows(rollout: Rollout, baseline: Deployment, candidate: Deployment | None, until: float) -> bool:
    """Whether the candidate's share of both arms' requests grew in the last week, or in the later half of its time."""
    if candidate is None:
        return False
    lately = max(until - _WEEK, (rollout.started_at + until) / 2)
    shares = []
    for since, to in ((rollout.started_at, lately), (lately, math.inf)):
        old, new = baseline.between(since, to), candidate.between(since, to)
        shares.append(new / (old + new) if old + new else 0.0)
    return shares[1] > _GROWTH * shares[0]
