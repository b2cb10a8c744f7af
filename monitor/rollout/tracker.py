"""Finds rollouts in what is known of each model version: which is established, which is new, when a watch is over."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from monitor.rollout.policy import Policy
from monitor.trace.model import REFERENCE_ENVIRONMENT


@dataclass(frozen=True, slots=True)
class VersionActivity:
    """
    What the ledger knows of one model version of one service and environment.

    Attributes:
        first_started_at: Start of its first request, Unix seconds.
        last_started_at: Start of its latest request, Unix seconds.
        requests: Requests counted so far.
        requests_since: (model_version, requests) for each version that first appeared later in the same service and
            environment: requests of *this* version since then; tells a candidate's share of traffic.
    """

    service: str
    environment: str
    model_version: str
    first_started_at: float
    last_started_at: float
    requests: int
    requests_since: Sequence[tuple[str, int]] = ()


class EndReason(StrEnum):
    """Why the watch over a rollout ended; all but `rolled_back` leave the candidate established."""

    RAMP_OVER = "ramp_over"
    SUPERSEDED = "superseded"
    ROLLED_BACK = "rolled_back"


class Role(StrEnum):
    """What a model version is to its service and environment now."""

    BASELINE = "baseline"
    CANDIDATE = "candidate"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class Rollout:
    """
    A change of the model version behind one service in one environment.

    Attributes:
        rollout_id: Stable name, the same whichever replica finds it.
        started_at: Start of the candidate's first request, Unix seconds; after a rollback, of the first one met again.
        ended_at: When the watch ended, Unix seconds, or None.
        calibration_id: The calibration that both arms are read under.
        end_reason: An `EndReason`, or the words of the person who ended it; empty while under way.
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


@dataclass(frozen=True, slots=True)
class RolloutStarted:
    """A new rollout, without a calibration yet."""

    rollout: Rollout


@dataclass(frozen=True, slots=True)
class RolloutEnded:
    """The end of a watch; *ended_at* is Unix seconds."""

    rollout: Rollout
    ended_at: float
    reason: EndReason


RolloutEvent = RolloutStarted | RolloutEnded

VersionKey = tuple[str, str, str]
"""Service, environment, model version."""


def find_rollouts(
    activity: Sequence[VersionActivity], rollouts: Sequence[Rollout], policy: Policy, *, now: float
) -> Sequence[RolloutEvent]:
    """
    What has started and ended since *rollouts* was written, oldest first.

    The established version is the candidate of the last rollout that was not rolled back, else the version seen
    first. A later version with enough requests and enough of the traffic since it appeared starts a rollout against
    it; several may be under way at once. A rollout ends

    - `ramp_over`, when it was watched for the policy's ramp;
    - `superseded`, when its candidate, having taken over most of the traffic, becomes the baseline of the next one;
    - `rolled_back`, when its candidate has been silent while the baseline served. It may come back: a new rollout.

    Times of events come from the traffic and not from *now*, so every replica finds the same ones.

    Args:
        activity: Every version of every service and environment.
        rollouts: Every rollout so far, oldest first, ended ones included.
        policy: Thresholds.
        now: Unix seconds.
    """
    return [event for watch in _watches(activity, rollouts, policy) for event in watch.advance(now)]


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
    Whether the provider may change what this name stands for: `-latest`, or no date, revision or release in it.

    >>> [is_floating_alias(name) for name in ("gpt-4o", "gpt-4o-2024-08-06", "claude-3-5-sonnet-latest", "gpt-4-0613")]
    [True, False, True, False]
    """
    return bool(_FLOATING.search(model_version)) or not _PIN.search(model_version)


def _watches(activity: Sequence[VersionActivity], rollouts: Sequence[Rollout], policy: Policy) -> Iterator[_Watch]:
    groups: dict[tuple[str, str], list[VersionActivity]] = defaultdict(list)
    for version in activity:
        if version.environment != REFERENCE_ENVIRONMENT:
            groups[version.service, version.environment].append(version)
    for group, members in sorted(groups.items()):
        yield _Watch(members, [r for r in rollouts if (r.service, r.environment) == group], policy)


class _Watch:
    """The versions of one service and environment, in order of appearance, and the rollouts between them."""

    def __init__(self, members: Sequence[VersionActivity], past: Sequence[Rollout], policy: Policy) -> None:
        self._versions = sorted(members, key=lambda member: (member.first_started_at, member.model_version))
        self._by_name = {member.model_version: member for member in self._versions}
        self._rollouts = list(past)
        self._policy = policy
        self._events: list[RolloutEvent] = []

    def advance(self, now: float) -> list[RolloutEvent]:
        for version in self._versions[1:]:
            self._end_rolled_back()
            self._end_ramps(min(now, version.first_started_at))
            if self._is_new_candidate(version):
                self._start(version, version.first_started_at)
        self._end_rolled_back()
        self._end_ramps(now)
        for version in self._versions:
            if self._has_come_back(version):
                self._start(version, version.last_started_at)
        return self._events

    def roles(self) -> Iterator[tuple[VersionKey, Role]]:
        established = self._established()
        baselines = {established, *(rollout.baseline for rollout in self._under_way())}
        candidates = {rollout.candidate for rollout in self._under_way()}
        names = [version.model_version for version in self._versions]
        if established in names:  # a later version may yet have a rollout
            later = names[names.index(established) + 1 :]
            candidates |= {name for name in later if not any(name == r.candidate for r in self._rollouts)}
        for version in self._versions:
            name = version.model_version
            role = Role.CANDIDATE if name in candidates else Role.BASELINE if name in baselines else Role.RETIRED
            yield (version.service, version.environment, name), role

    def _is_new_candidate(self, version: VersionActivity) -> bool:
        if any(version.model_version in (rollout.candidate, rollout.baseline) for rollout in self._rollouts):
            return False
        share = version.requests / _requests_since(self._versions, version)
        return version.requests >= self._policy.candidate_min_requests and share >= self._policy.candidate_min_share

    def _has_come_back(self, version: VersionActivity) -> bool:
        """A version that was rolled back or replaced serves again: the rollout is on once more, or is undone."""
        name = version.model_version
        last = next((r for r in reversed(self._rollouts) if name in (r.candidate, r.baseline)), None)
        if last is None or last.ended_at is None or name == self._established():
            return False
        if last.end_reason == EndReason.ROLLED_BACK:
            return name == last.candidate and version.last_started_at > last.ended_at
        established = self._by_name.get(self._established())
        return established is not None and self._is_silent(established, beside=version)

    def _start(self, version: VersionActivity, started_at: float) -> None:
        baseline = self._incumbent(version)
        earlier = sum(r.candidate == version.model_version and r.baseline == baseline for r in self._rollouts)
        rollout = Rollout(
            rollout_id=_rollout_id(version, baseline, earlier),
            service=version.service,
            environment=version.environment,
            baseline=baseline,
            candidate=version.model_version,
            started_at=started_at,
        )
        self._rollouts.append(rollout)
        self._events.append(RolloutStarted(rollout))

    def _incumbent(self, newcomer: VersionActivity) -> str:
        """The established version; first, a candidate that took over most of its traffic becomes it."""
        for rollout in self._under_way():
            began_before = rollout.started_at < newcomer.first_started_at
            if began_before and rollout.candidate != newcomer.model_version and self._has_taken_over(rollout):
                self._end(rollout, newcomer.first_started_at, EndReason.SUPERSEDED)
        return self._established()

    def _established(self) -> str:
        confirmed = [r for r in self._rollouts if r.ended_at is not None and r.end_reason != EndReason.ROLLED_BACK]
        successors = [rollout for rollout in confirmed if self._has_taken_over(rollout)]
        if successors:
            return max(successors, key=lambda rollout: rollout.ended_at or 0.0).candidate
        return self._rollouts[0].baseline if self._rollouts else self._versions[0].model_version

    def _has_taken_over(self, rollout: Rollout) -> bool:
        baseline, candidate = self._by_name.get(rollout.baseline), self._by_name.get(rollout.candidate)
        if baseline is None or candidate is None:  # forgotten by the ledger: it has not served for long
            return candidate is not None
        since = dict(baseline.requests_since).get(candidate.model_version, baseline.requests)
        return candidate.requests > since or self._is_silent(baseline, beside=candidate)

    def _is_silent(self, version: VersionActivity, *, beside: VersionActivity) -> bool:
        return beside.last_started_at - version.last_started_at >= self._policy.rollback_seconds

    def _end_rolled_back(self) -> None:
        for rollout in self._under_way():
            baseline, candidate = self._by_name.get(rollout.baseline), self._by_name.get(rollout.candidate)
            if baseline and candidate and self._is_silent(candidate, beside=baseline):
                silent_at = candidate.last_started_at + self._policy.rollback_seconds
                self._end(rollout, silent_at, EndReason.ROLLED_BACK)

    def _end_ramps(self, until: float) -> None:
        for rollout in self._under_way():
            over_at = rollout.started_at + self._policy.ramp_seconds
            if over_at <= until:
                self._end(rollout, over_at, EndReason.RAMP_OVER)

    def _end(self, rollout: Rollout, ended_at: float, reason: EndReason) -> None:
        ended = replace(rollout, ended_at=ended_at, end_reason=reason.value)
        self._rollouts[self._rollouts.index(rollout)] = ended
        self._events.append(RolloutEnded(ended, ended_at, reason))

    def _under_way(self) -> list[Rollout]:
        return [rollout for rollout in self._rollouts if rollout.ended_at is None]


def _requests_since(versions: Sequence[VersionActivity], newcomer: VersionActivity) -> int:
    """Requests of all versions since *newcomer* appeared; those that appeared later count whole."""
    return sum(
        dict(version.requests_since).get(newcomer.model_version, 0)
        if version.first_started_at < newcomer.first_started_at
        else version.requests
        for version in versions
    )


def _rollout_id(candidate: VersionActivity, baseline: str, earlier: int) -> str:
    parts = (
        candidate.service,
        candidate.environment,
        baseline,
        candidate.model_version,
        repr(candidate.first_started_at),
        str(earlier),
    )
    return hashlib.blake2b("\x1f".join(parts).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
