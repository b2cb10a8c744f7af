"""Announced rollouts: checks what a person or a deploy hook announces before traffic shows the new version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from monitor.errors import UsageError
from monitor.rollout.policy import Policy
from monitor.rollout.tracker import Role, Rollout, VersionActivity, version_roles
from monitor.trace.bounds import MOST_LABEL_CHARACTERS
from monitor.trace.labels import clean_label
from monitor.trace.model import TEACHING_ENVIRONMENTS, UNRESOLVED, hash_of

MOST_UNDER_WAY = 10
"""Announced rollouts that one service and environment may have under way, since each adds metric series."""

_LONGEST_REASON = 200
_CONTENT = "v"  # starts an id with a hash of `stands_for`; "v" is no hexadecimal digit, so no other id starts with it


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutRequest:
    """
    Which version is rolled out, and where.

    Attributes:
        baseline: None for the established version.
        stands_for: What the candidate's name stands for now, such as a digest or a commit; None if names are unique.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    service: str
    candidate: str
    baseline: str | None = None
    environment: str = "production"
    stands_for: str | None = None


def requested_rollout(
    request: RolloutRequest,
    activity: Sequence[VersionActivity],
    rollouts: Sequence[Rollout],
    policy: Policy,
    *,
    now: float,
) -> Rollout:
    """
    The rollout under way between the versions of *request*, or a new one.

    Args:
        request: The announcement.
        activity: Every version of every service and environment.
        rollouts: Every rollout so far, oldest first, ended ones included.
        policy: Thresholds that decide which version is established.
        now: Unix seconds; a new rollout starts here, or with the candidate's first request if that was earlier.

    Raises:
        UsageError: a name cannot be a label, or the rollout makes no sense.
    """
    _check_names(request)
    baseline = request.baseline or _established(request, activity, rollouts, policy)
    if baseline == request.candidate:
        raise UsageError(f"baseline and candidate are both {baseline}; a rollout needs two model versions.")
    ours = [r for r in rollouts if (r.service, r.environment) == (request.service, request.environment)]
    under_way = [rollout for rollout in ours if rollout.is_under_way]
    same = [rollout for rollout in under_way if rollout.candidate == request.candidate]
    if same and same[0].baseline == baseline:
        is_replaced = _is_replaced(request, same[0], policy, now)
        return _new_rollout(request, baseline, ours, now) if is_replaced else same[0]
    if same:
        raise UsageError(
            f"A rollout of {request.candidate} against {same[0].baseline} is under way; end {same[0].rollout_id} first."
        )
    if len(under_way) >= MOST_UNDER_WAY:
        raise UsageError(f"{len(under_way)} rollouts of {request.service} are under way; end some of them first.")
    return _new_rollout(request, baseline, ours, _started_at(request, activity, ours, now))


def _is_replaced(request: RolloutRequest, rollout: Rollout, policy: Policy, now: float) -> bool:
    """Whether the candidate's name stands for something else than when *rollout* started."""
    content = _content(request)
    if not content or rollout.rollout_id.startswith(content):
        return False
    # A rollout that the stream found shortly before the hook called is the one that the hook announces.
    return rollout.rollout_id.startswith(_CONTENT) or now - rollout.started_at > policy.rollback_seconds


def _new_rollout(request: RolloutRequest, baseline: str, ours: Sequence[Rollout], started_at: float) -> Rollout:
    names = (request.service, request.environment, baseline, request.candidate)
    content = _content(request)
    rollout_id = content + hash_of(*names, "announced", len(ours))[len(content) :]
    return Rollout(rollout_id, *names, started_at)


def _content(request: RolloutRequest) -> str:
    """The start of a rollout's id, which identifies what its candidate stands for; empty if that is unknown."""
    return "" if request.stands_for is None else _CONTENT + hash_of(request.stands_for, size=4)


def checked_reason(reason: str) -> str:
    """
    The *reason* why somebody ended a rollout, on one line.

    Raises:
        UsageError: the reason is empty or too long.
    """
    words = " ".join(reason.split())
    if not words or len(words) > _LONGEST_REASON or not words.isprintable():
        raise UsageError(f"Say in 1 to {_LONGEST_REASON} characters why the rollout ends, for example rolled_back.")
    return words


def _check_names(request: RolloutRequest) -> None:
    for field in ("service", "environment", "baseline", "candidate"):
        name = getattr(request, field)
        if name is not None and clean_label(name) != name:
            raise UsageError(
                f"{field} cannot be used as a name: up to {MOST_LABEL_CHARACTERS} letters, digits and . _ : / @ + -, "
                "beginning with a letter or digit."
            )
    if UNRESOLVED in (request.baseline, request.candidate):
        raise UsageError(f"{UNRESOLVED} stands for requests whose version is unknown; name a version that answers.")
    if request.environment in TEACHING_ENVIRONMENTS:
        raise UsageError(f"environment {request.environment} serves no users, so it has no rollouts.")


def _established(
    request: RolloutRequest, activity: Sequence[VersionActivity], rollouts: Sequence[Rollout], policy: Policy
) -> str:
    place = (request.service, request.environment)
    names = [
        version
        for (*where, version), role in version_roles(activity, rollouts, policy).items()
        if tuple(where) == place and role is Role.BASELINE
    ]
    if len(names) != 1:
        raise UsageError(
            f"{request.service} ({request.environment}) has {'no' if not names else 'more than one'} "
            "established version; name the baseline."
        )
    return names[0]


def _started_at(
    request: RolloutRequest, activity: Sequence[VersionActivity], ours: Sequence[Rollout], now: float
) -> float:
    if any(request.candidate in (rollout.baseline, rollout.candidate) for rollout in ours):
        return now  # its earlier requests belong to an earlier attempt
    place = (request.service, request.environment, request.candidate)
    starts = (v.first_started_at for v in activity if (v.service, v.environment, v.model_version) == place)
    return min([now, *starts])
