"""Publishes the snapshot that the next scrape shows: the totals of the ledger and the status of the loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from threading import RLock
from typing import Any

from monitor.ledger.ledger import CounterKey
from monitor.metrics import snapshot
from monitor.rollout.tracker import Role, VersionActivity, VersionKey, is_floating_alias, version_roles
from monitor.service.stages import Stages
from monitor.trace.model import PROBES_ENVIRONMENT, REFERENCE_ENVIRONMENT


class Publisher:
    """
    Publishes snapshots; owns the status of the loop.

    `publish` may run on another thread than the loop; `report` never waits for its queries.

    Args:
        stages: Its ledger is the source of the totals, its reviewer has the policy and the calibration in force.

    Attributes:
        status: Status of the loop, as last reported.
    """

    def __init__(self, stages: Stages) -> None:
        self._stages = stages
        self._view = stages.snapshots.current
        self._is_loaded = False
        self.status = snapshot.LoopStatus()
        self._exemplars: Mapping[CounterKey, snapshot.TraceExemplar] = {}
        self._publishing = RLock()
        self._probed: Mapping[CounterKey, int] = {}
        self._frontier_solved: Mapping[tuple[str, str, str], float] = {}

    def publish(self) -> None:
        """Publish what the ledger holds now."""
        view = self._read()
        with self._publishing:
            self._view, self._is_loaded = view, True
            self._publish()

    def report(self, **changes: Any) -> None:
        """Update fields of `LoopStatus`: a change of readiness is published at once, others with the next snapshot."""
        with self._publishing:
            previous, self.status = self.status, replace(self.status, **changes)
            if _readiness(previous) != _readiness(self.status):
                self._publish()

    def report_failures(self, failed_traces: Mapping[CounterKey, str]) -> None:
        """Show these traces as exemplars of the failure counters they incremented, from the next snapshot on."""
        with self._publishing:
            self._exemplars = snapshot.with_failures(self._exemplars, failed_traces, at=self._stages.clock.time())

    def report_job(self, job: str, problem: str, seconds: float) -> None:
        """Report how long *job* (`review`, `snapshot`) took and its *problem*, empty if it succeeded."""
        with self._publishing:
            durations, problems = {**self.status.job_seconds, job: seconds}, {**self.status.job_problems, job: problem}
            self.report(job_seconds=durations, job_problems=problems)

    def _publish(self) -> None:
        status = self.status
        self._stages.snapshots.current = replace(
            self._view,
            now=self._stages.clock.time(),
            exemplars=self._exemplars,
            loop=status,
            is_ready=self._is_loaded and status.turned_at is not None and not _problem(status),
            health=_health(status),
        )

    def _read(self) -> snapshot.Snapshot:
        ledger, policy = self._stages.ledger, self._stages.reviewer.policy
        counters, activity, rollouts = ledger.counters(), ledger.activity(), ledger.rollouts()
        probed = {key: value for key, value in counters.items() if key.environment == PROBES_ENVIRONMENT}
        if probed != self._probed:  # the query scans every probe run, so repeat it only after new runs
            self._probed, self._frontier_solved = probed, ledger.frontier_solved()
        roles = version_roles(activity, [record.rollout for record in rollouts], policy)
        return snapshot.Snapshot(
            now=self._stages.clock.time(),
            policy=policy,
            counters=counters,
            pending_spans=ledger.pending_spans(),
            model_versions=[_status(v, roles) for v in activity if v.environment != REFERENCE_ENVIRONMENT],
            rollouts=rollouts,
            calibration=self._calibration(),
            frontier_solved=self._frontier_solved,
        )

    def _calibration(self) -> snapshot.CalibrationStatus | None:
        reviewer = self._stages.reviewer
        calibration, live = reviewer.tagger.calibration, reviewer.live_trust
        if calibration is None:
            return None
        if live is not None and live.calibration_id != calibration.calibration_id:
            live = None  # it checks the previous calibration
        return snapshot.CalibrationStatus(calibration.calibration_id, calibration.frozen_at, calibration.trust, live)


def _status(version: VersionActivity, roles: Mapping[VersionKey, Role]) -> snapshot.ModelVersionStatus:
    role = roles[version.service, version.environment, version.model_version]
    return snapshot.ModelVersionStatus(version, role, is_floating=is_floating_alias(version.model_version))


def _readiness(status: snapshot.LoopStatus) -> tuple[object, ...]:
    """The parts of *status* that probes and alerts must see at once."""
    return status.turned_at is None, _problem(status), status.blocked, status.job_problems


def _problem(status: snapshot.LoopStatus) -> str:
    return "The service is stopping." if status.is_stopping else status.problem


def _health(status: snapshot.LoopStatus) -> list[snapshot.HealthFact]:
    """One check for the loop, the brokers, the consumer and each job."""
    checks = [
        ("pipeline", _problem(status), "Records are read and recorded."),
        ("kafka", status.kafka_problem, "The brokers answer."),
        ("consumer", status.blocked, "No partition is blocked."),
        *((job, problem, f"The {job} is up to date.") for job, problem in status.job_problems.items()),
    ]
    return [snapshot.HealthFact(name, not problem, problem or success) for name, problem, success in checks]
