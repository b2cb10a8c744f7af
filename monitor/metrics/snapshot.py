"""The snapshot that scrapes show: an immutable value, read from the ledger after a commit and replaced as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from monitor.difficulty.trust import LiveTrust, Trust
from monitor.ledger.ledger import CounterKey, RolloutRecord
from monitor.rollout.policy import Policy
from monitor.rollout.tracker import Role, VersionActivity


@dataclass(frozen=True, slots=True)
class ModelVersionStatus:
    """A model version with its role; *is_floating* if traffic requests an alias instead of a pinned version."""

    activity: VersionActivity
    role: Role
    is_floating: bool = False


@dataclass(frozen=True, slots=True)
class CalibrationStatus:
    """
    The calibration in force.

    Attributes:
        frozen_at: Unix seconds.
        trust: Its trust on labels of its history, assessed when it was frozen; tags and verdicts depend on it.
        live: Its trust on labels of live versions since; None before the first check.
    """

    calibration_id: str
    frozen_at: float
    trust: Trust
    live: LiveTrust | None = None

    @property
    def live_reasons(self) -> Sequence[str]:
        """Reasons not to trust it any more, from live labels."""
        return () if self.live is None else self.live.reasons


@dataclass(frozen=True, slots=True)
class HealthFact:
    """
    One check of the monitor itself.

    Attributes:
        name: Short fixed name, a label value (`ledger`, `consumer`, `calibration`).
        is_ok: Whether the check passes.
        sentence: The result, with what to do if the check fails.
    """

    name: str
    is_ok: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class LoopStatus:
    """
    Status of this replica's loop and jobs.

    Attributes:
        turned_at: Time of the last turn, Unix seconds; None before the first.
        problem: Why reading is paused; empty if it is not.
        kafka_problem: The same, if the brokers do not answer.
        is_stopping: Whether the replica is shutting down.
        lag: Records between the next offset and the end of each partition (topic and number) of this replica.
        blocked: One sentence on partitions that are blocked by a corrupt batch; empty if none is.
        last_commit_at: Time of the last batch written to the ledger, Unix seconds; None before the first.
        batches_fenced: Batches dropped because another replica had taken over the partition.
        pauses: Pauses because a dependency could not be reached.
        job_seconds: Duration of the last run of each job.
        job_problems: Why the last run of each job failed; empty if it did not.
    """

    turned_at: float | None = None
    problem: str = ""
    kafka_problem: str = ""
    is_stopping: bool = False
    lag: Mapping[tuple[str, int], int] = field(default_factory=dict)
    blocked: str = ""
    last_commit_at: float | None = None
    batches_fenced: int = 0
    pauses: int = 0
    job_seconds: Mapping[str, float] = field(default_factory=dict)
    job_problems: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TraceExemplar:
    """The trace of a failed request, an example of what a counter counts; *observed_at* is Unix seconds."""

    trace_id: str
    observed_at: float


MOST_EXEMPLARS = 1_000
"""Most failure counters that have an exemplar, those that increased last, which limits the size of a scrape."""


def with_failures(
    exemplars: Mapping[CounterKey, TraceExemplar], failed_traces: Mapping[CounterKey, str], *, at: float
) -> Mapping[CounterKey, TraceExemplar]:
    """Add the *failed_traces* of a batch recorded *at* (Unix seconds) to *exemplars*; the oldest are dropped."""
    older = [(key, exemplar) for key, exemplar in exemplars.items() if key not in failed_traces]
    latest = [(key, TraceExemplar(trace_id, at)) for key, trace_id in failed_traces.items()]
    return dict([*older, *latest][-MOST_EXEMPLARS:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """
    Everything that the next scrape, the status page and the JSON show.

    Attributes:
        now: Time of the snapshot, Unix seconds; ages are relative to it.
        policy: The policy in force.
        counters: Every counter as committed, an integer number of its unit.
        pending_spans: Spans whose trace is not complete yet.
        exemplars: Trace of a failed request for some of *counters*; shown in OpenMetrics only.
        model_versions: Each model version of each service and environment.
        rollouts: Every rollout with its latest verdict, oldest first.
        calibration: The calibration in force, or None.
        frontier_solved: See `HistoryReader.frontier_solved`.
        loop: Status of this replica's loop.
        is_ready: Whether the counters are loaded and the loop turns without a problem.
        health: Checks of the monitor itself; failed checks are the reasons for not being ready.
    """

    now: float
    policy: Policy
    counters: Mapping[CounterKey, int] = field(default_factory=dict)
    pending_spans: int = 0
    exemplars: Mapping[CounterKey, TraceExemplar] = field(default_factory=dict)
    model_versions: Sequence[ModelVersionStatus] = ()
    rollouts: Sequence[RolloutRecord] = ()
    calibration: CalibrationStatus | None = None
    frontier_solved: Mapping[tuple[str, str, str], float] = field(default_factory=dict)
    loop: LoopStatus = field(default_factory=LoopStatus)
    is_ready: bool = False
    health: Sequence[HealthFact] = ()

    @property
    def not_ready_reason(self) -> str:
        """Why the replica is not ready, in one line; empty if it is."""
        if self.is_ready:
            return ""
        failed = dict.fromkeys(fact.sentence for fact in self.health if not fact.is_ok)  # without duplicates
        return " ".join(" ".join(failed or ["still starting; try again in a few seconds."]).split())


@dataclass(slots=True)
class SnapshotHolder:
    """
    Holds the snapshot that the service publishes and scrapes read.

    Attributes:
        current: The latest snapshot; replaced as a whole, so that readers need no lock.
    """

    current: Snapshot
