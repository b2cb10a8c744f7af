"""What is seen of the ledger as a whole: its rollouts are reviewed, and a snapshot of it is shown to scrapes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Lock

from monitor.clock import Clock
from monitor.difficulty.calibration import Calibration
from monitor.ledger.ledger import CounterKey, Ledger
from monitor.metrics.snapshot import (
    CalibrationStatus,
    HealthFact,
    LoopFacts,
    ModelVersionStatus,
    PartitionLag,
    Snapshot,
    SnapshotHolder,
    TraceExemplar,
    with_failures,
)
from monitor.rollout.policy import Policy
from monitor.rollout.tracker import is_floating_alias, version_roles
from monitor.service.review import Reviewer
from monitor.trace.model import REFERENCE_ENVIRONMENT


@dataclass(frozen=True, slots=True)
class LoopStatus:
    """
    How the loop that reads and records is doing, handed over whole to whoever shows it.

    Attributes:
        has_turned: It has polled and recorded at least once.
        problem: Why nothing is read now; empty while all is well.
        lag: Partitions that this replica owns, where the end is known.
        last_commit_at: Unix seconds of the last batch written to the ledger, or None before the first.
        blocked: One sentence on the partitions that are blocked by a corrupt batch; empty while none is.
        turned_at: Unix seconds of its last turn, or None before the first.
        batches_fenced: Batches dropped because another replica had taken over.
        pauses: Waits for a dependency out of reach.
    """

    has_turned: bool = False
    problem: str = ""
    lag: Sequence[PartitionLag] = ()
    last_commit_at: float | None = None
    blocked: str = ""
    turned_at: float | None = None
    batches_fenced: int = 0
    pauses: int = 0


class Overview:
    """
    Reviews the ledger, and publishes what the next scrape shows.

    `review` and `show` may each run on a thread of its own beside the loop that records; `calibration` and `report`
    never wait for them, `meet` only for a calibration that is being frozen.

    Args:
        ledger: What is looked at.
        reviewer: Who judges.
        clock: Time of what is shown.
        snapshots: Where it is published.
        policy: What is shown as the policy in force.
    """

    def __init__(
        self, ledger: Ledger, reviewer: Reviewer, clock: Clock, snapshots: SnapshotHolder, *, policy: Policy
    ) -> None:
        self._ledger = ledger
        self._reviewer = reviewer
        self._clock = clock
        self._snapshots = snapshots
        self._policy = policy
        self._calibration: Calibration | None = None
        self._calibrating = Lock()
        self._view = snapshots.current
        self._is_loaded = False
        self._status = LoopStatus()
        self._is_leaving = False
        self._problems: Mapping[str, str] = {}
        self._job_seconds: Mapping[str, float] = {}
        self._exemplars: Mapping[CounterKey, TraceExemplar] = {}
        self._publishing = Lock()

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self._policy

    @property
    def calibration(self) -> Calibration | None:
        """The calibration that tags new requests, as last seen in force."""
        return self._calibration

    def follow(self, policy: Policy) -> None:
        """From the next review on, judge by *policy*."""
        self._policy = policy
        self._reviewer.follow(policy)

    def load(self) -> None:
        """Take over the calibration that is in force."""
        with self._calibrating:  # read and kept in one: who reads later must not be overwritten by who read before
            self._calibration = self._reviewer.calibration_in_force()

    def meet(self, newcomers: Collection[str]) -> None:
        """Before the first request of *newcomers* is tagged, freeze what the versions before them have taught."""
        self._reviewer.before_new_versions(newcomers, now=self._clock.time())
        self.load()

    def review(self) -> None:
        """Find rollouts, judge them, and calibrate where that is due."""
        self._reviewer.look(now=self._clock.time())
        self.load()

    def show(self) -> None:
        """Publish what the ledger holds now."""
        view = self._look()
        with self._publishing:
            self._view, self._is_loaded = view, True
            self._publish()

    def report(self, status: LoopStatus) -> None:
        """The loop says how it is doing; whether it is well is shown at once, the rest with the next snapshot."""
        with self._publishing:
            last, self._status = self._status, status
            if (last.has_turned, last.problem) != (status.has_turned, status.problem):
                self._publish()

    def saw_failures(self, failed_traces: Mapping[CounterKey, str]) -> None:
        """Show these traces beside the counters of failures that they moved, from the next snapshot on."""
        with self._publishing:
            self._exemplars = with_failures(self._exemplars, failed_traces, at=self._clock.time())

    def leave(self) -> None:
        """From now on this replica is not ready, whatever the loop still does."""
        with self._publishing:
            self._is_leaving = True
            self._publish()

    def note(self, job: str, problem: str, seconds: float) -> None:
        """*job* (`review`, `snapshot`) took so long and met *problem*, or none any more where that is empty."""
        with self._publishing:
            self._job_seconds = {**self._job_seconds, job: seconds}
            if self._problems.get(job) != problem:
                self._problems = {**self._problems, job: problem}
                self._publish()

    def _publish(self) -> None:
        status = self._status
        problem = "The service is stopping." if self._is_leaving else status.problem
        self._snapshots.publish(
            replace(
                self._view,
                exemplars=self._exemplars,
                now=self._clock.time(),
                lag=status.lag,
                last_commit_at=status.last_commit_at,
                loop=LoopFacts(status.turned_at, status.batches_fenced, status.pauses, self._job_seconds),
                is_ready=self._is_loaded and status.has_turned and not problem,
                health=[
                    _fact("pipeline", problem, "Records are read and recorded."),
                    _fact("consumer", status.blocked, "No partition stands still."),
                    *(_fact(job, problem, f"The {job} is up to date.") for job, problem in self._problems.items()),
                ],
            )
        )

    def _look(self) -> Snapshot:
        ledger = self._ledger
        activity, rollouts = ledger.activity(), ledger.rollouts()
        roles = version_roles(activity, [record.rollout for record in rollouts], self._policy)
        calibration, live = self._calibration, self._reviewer.live_trust()
        if calibration is not None and live is not None and live.calibration_id != calibration.calibration_id:
            live = None  # another came into force since
        return Snapshot(
            now=self._clock.time(),
            policy=self._policy,
            counters=ledger.counters(),
            pending_spans=ledger.pending_spans(),
            model_versions=[
                ModelVersionStatus(
                    version,
                    roles[version.service, version.environment, version.model_version],
                    is_floating=is_floating_alias(version.model_version),
                )
                for version in activity
                if version.environment != REFERENCE_ENVIRONMENT
            ],
            rollouts=rollouts,
            calibration=None
            if calibration is None
            else CalibrationStatus(calibration.calibration_id, calibration.frozen_at, calibration.trust, live),
        )


def _fact(name: str, problem: str, all_is_well: str) -> HealthFact:
    return HealthFact(name, is_ok=not problem, sentence=problem or all_is_well)
