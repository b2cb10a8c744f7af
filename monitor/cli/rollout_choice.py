"""Which rollouts a command is about."""

from __future__ import annotations

from collections.abc import Sequence

from monitor.errors import RolloutUnknown
from monitor.ledger.ledger import RolloutRecord


def matching(
    records: Sequence[RolloutRecord], *, service: str = "", environment: str = "", candidate: str = ""
) -> Sequence[RolloutRecord]:
    """The rollouts of that service, environment and candidate, oldest first; an empty word matches all."""
    wanted = {"service": service, "environment": environment, "candidate": candidate}
    return [
        record
        for record in records
        if all(not word or word == getattr(record.rollout, name) for name, word in wanted.items())
    ]


def under_way(records: Sequence[RolloutRecord]) -> Sequence[RolloutRecord]:
    """Those that have not ended."""
    return [record for record in records if record.rollout.is_under_way]


def latest(records: Sequence[RolloutRecord]) -> Sequence[RolloutRecord]:
    """The last rollout of each service and environment."""
    return list({(record.rollout.service, record.rollout.environment): record for record in records}.values())


def found(records: Sequence[RolloutRecord], beginning: str) -> RolloutRecord:
    """
    The rollout whose id begins so; the last one where nothing was typed.

    Raises:
        RolloutUnknown: there is none, or more than one.
    """
    matches = [record for record in records if record.rollout.rollout_id.startswith(beginning)]
    if not matches:
        raise RolloutUnknown("There is no such rollout; `cliffwatch rollouts list` shows those that are.")
    if beginning and len(matches) > 1:
        raise RolloutUnknown(f"More than one rollout begins with {beginning}; type more of its id.")
    return matches[-1]
