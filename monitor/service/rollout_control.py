"""Actions on rollouts for people and deploy hooks: announce one, end one, list its cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock

import structlog

from monitor.errors import RolloutUnknown, UsageError
from monitor.ledger.ledger import RolloutRecord, record_in_force
from monitor.ledger.sql import SqlLedger
from monitor.output.cases import TraceLinks
from monitor.rollout.cases import Cases
from monitor.rollout.evidence import Evidence
from monitor.rollout.label_plan import LabelPlan, plan_labels
from monitor.rollout.policy import Policy
from monitor.rollout.rollout_request import RolloutRequest, checked_reason, requested_rollout
from monitor.rollout.tracker import EndReason, Rollout, evidence_window

MOST_CASES = 1_000
"""Most cases in one response."""

_log = structlog.get_logger()


@dataclass
class RolloutControl:
    """
    Starts and ends rollouts on request, and lists their cases; thread-safe.

    Attributes:
        ledger: Stores the rollouts.
        policy: Returns the policy in force, which decides which version is the established one.
        now: Returns the time, Unix seconds.
        links: Builds links from cases to traces.
    """

    ledger: SqlLedger
    policy: Callable[[], Policy]
    now: Callable[[], float]
    links: TraceLinks
    _lock: Lock = field(default_factory=Lock)  # a ledger in memory has one connection for all threads

    def start(self, request: RolloutRequest) -> RolloutRecord:
        """
        Start the rollout that *request* announces; idempotent, so a repeated request returns the same rollout.

        Raises:
            UsageError: the request cannot be granted.
        """
        with self._lock:
            rollouts = [record.rollout for record in self.ledger.rollouts()]
            rollout = requested_rollout(request, self.ledger.activity(), rollouts, self.policy(), now=self.now())
            if rollout not in rollouts:
                self._end_replaced(request, rollouts)
                in_force = record_in_force(self.ledger.calibrations())
                rollout = replace(rollout, calibration_id="" if in_force is None else in_force.calibration_id)
                if not self.ledger.announce_rollout(rollout):
                    raise UsageError(
                        "The ledger holds as many services or model versions as it may name; "
                        "raise ledger.max_services or ledger.max_model_versions."
                    )
                _log.info("rollout.announced", rollout_id=rollout.rollout_id, service=rollout.service)
            return self._find(rollout.rollout_id)

    def _end_replaced(self, request: RolloutRequest, rollouts: Sequence[Rollout]) -> None:
        place = (request.service, request.environment, request.candidate)
        for rollout in rollouts:
            if rollout.is_under_way and (rollout.service, rollout.environment, rollout.candidate) == place:
                self._end(rollout, EndReason.REPLACED)

    def _end(self, rollout: Rollout, reason: str) -> None:
        self.ledger.end_rollout(rollout.rollout_id, ended_at=max(self.now(), rollout.started_at), reason=reason)
        _log.info("rollout.ended", rollout_id=rollout.rollout_id, reason=reason)

    def end(self, rollout_id: str, *, reason: str) -> RolloutRecord:
        """
        End the rollout now; with *reason* `rolled_back`, its candidate does not become the established version.

        Raises:
            RolloutUnknown: no rollout has that ID.
            UsageError: it has ended already, or *reason* is invalid.
        """
        words = checked_reason(reason)
        with self._lock:
            rollout = self._find(rollout_id).rollout
            if not rollout.is_under_way:
                raise UsageError(f"Rollout {rollout_id} has ended already: {rollout.end_reason}.")
            self._end(rollout, words)
            return self._find(rollout_id)

    def cases(self, rollout_id: str, *, limit: int, capability: str = "") -> tuple[RolloutRecord, Cases]:
        """
        The rollout and its cases, of one capability or of all; at most *limit* and never more than `MOST_CASES`.

        Raises:
            RolloutUnknown: no rollout has that ID.
        """
        with self._lock:
            record = self._find(rollout_id)
            return record, self.ledger.cases(record.rollout, limit=min(limit, MOST_CASES), capability=capability)

    def next_labels(self, rollout_id: str, *, count: int, budget: int, seed: int) -> tuple[RolloutRecord, LabelPlan]:
        """
        The rollout, the *count* requests to label next, and how much *budget* labels would narrow its verdict.

        Raises:
            RolloutUnknown: no rollout has that ID.
        """
        with self._lock:
            record, rollouts = self._find(rollout_id), [other.rollout for other in self.ledger.rollouts()]
            window = evidence_window(record.rollout, rollouts, self.policy(), decided=record.is_decided_side_by_side)
            with self.ledger.arms(record.rollout, matured_before=self.now()) as arms:
                served = arms.served(window, seed=seed)
        return record, plan_labels(served, count=count, budget=budget, seed=seed)

    def evidence(self, rollout_id: str) -> Sequence[Evidence]:
        """The evidence at each look at a rollout, oldest first; empty if there is no such rollout."""
        with self._lock:
            return self.ledger.evidence(rollout_id)

    def _find(self, rollout_id: str) -> RolloutRecord:
        for record in self.ledger.rollouts():
            if record.rollout.rollout_id == rollout_id:
                return record
        raise RolloutUnknown(f"There is no rollout {rollout_id}; `cliffwatch rollouts list` shows them all.")
