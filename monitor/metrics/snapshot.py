"""What the next scrape shows: one value, taken from the ledger after a commit and swapped in whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from monitor.difficulty.trust import LiveTrust, Trust
from monitor.ledger.ledger import CounterKey, RolloutRecord
from monitor.rollout.policy import Policy
from monitor.rollout.tracker import Role, VersionActivity


@dataclass(frozen=True, slots=True)
class ModelVersionStatus:
    """A model version with its role; *is_floating* says that traffic asks for an alias instead of a pinned version."""

    activity: VersionActivity
    role: Role
    is_floating: bool = False


@dataclass(frozen=True, slots=True)
class CalibrationStatus:
    """
    The calibration in force.

    Attributes:
        frozen_at: Unix seconds.
        trust: On labels of its own history, as it was frozen; tags and verdicts rest on it.
        live: What labels of live versions said of it since, None before they were looked at.
    """

    calibration_id: str
    frozen_at: float
    trust: Trust
    live: LiveTrust | None = None

    @property
    def live_reasons(self) -> Sequence[str]:
        """What live labels say against it."""
        return () if self.live is None else self.live.reasons


@dataclass(frozen=True, slots=True)
class HealthFact:
    """
    One check of the monitor itself.

    Attributes:
        name: Short fixed name, a label value (`ledger`, `consumer`, `calibration`).
        is_ok: Whether the check passes.
        sentence: What was found, and what to do next where it is not ok.
    """

    name: str
    is_ok: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class LoopStatus:
    """
    How the loop of this replica, and the jobs beside it, are doing.

    Attributes:
        turned_at: Unix seconds of its last turn, or None before the first.
        problem: Why nothing is read now; empty while all is well.
        kafka_problem: The same where it is the brokers that do not answer.
        is_stopping: The replica is going away.
        lag: Records up to the end of each partition (topic and number) of this replica, where the end is known.
        blocked: One sentence on the partitions that are blocked by a corrupt batch; empty while none is.
        last_commit_at: Unix seconds of the last batch written to the ledger, or None before the first.
        batches_fenced: Batches dropped because another replica had taken over.
        pauses: Waits for a dependency out of reach.
        job_seconds: How long the last run of each job took.
        job_problems: Why the last run of each job failed; empty where it did not.
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
    """A failed request that stands for the counter it is attached to; *observed_at* is Unix seconds."""

    trace_id: str
    observed_at: float


MOST_EXEMPLARS = 1_000
"""Counters of failures that show a trace id, those that moved last: a scrape stays small however many there are."""


def with_failures(
    exemplars: Mapping[CounterKey, TraceExemplar], failed_traces: Mapping[CounterKey, str], *, at: float
) -> Mapping[CounterKey, TraceExemplar]:
    """*exemplars* with the *failed_traces* of a batch that was recorded *at* (Unix seconds); the latest ones."""
    older = [(key, exemplar) for key, exemplar in exemplars.items() if key not in failed_traces]
    latest = [(key, TraceExemplar(trace_id, at)) for key, trace_id in failed_traces.items()]
    return dict([*older, *latest][-MOST_EXEMPLARS:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """
    Everything that the next scrape, the status page and the JSON show.

    Attributes:
        now: Time of the snapshot, Unix seconds; ages are counted from here.
        policy: The policy in force.
        counters: Every counter as committed, each a whole number of its unit.
        pending_spans: Spans that wait for their trace to be complete.
        exemplars: A failed request for some of *counters*; shown in OpenMetrics only.
        model_versions: Each model version of each service and environment.
        rollouts: Every rollout with its latest verdict, oldest first.
        calibration: None while no calibration is in force.
        frontier_solved: As `HistoryReader.frontier_solved` gives it.
        loop: How the loop of this replica is doing.
        is_ready: The replica has caught up with its own start: counters loaded, source open.
        health: Checks of the monitor itself; those that fail are the reason for not being ready.
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
        """One line that says why the replica is not ready; empty when it is."""
        if self.is_ready:
            return ""
        failed = dict.fromkeys(fact.sentence for fact in self.health if not fact.is_ok)  # two checks may say the same
        return " ".join(" ".join(failed or ["still starting; try again in a few seconds."]).split())


@dataclass(slots=True)
class SnapshotHolder:
    """
    The one place where a snapshot is handed from the service to the scrapes.

    Attributes:
        current: What every scrape shows; swapped whole, so a reader sees the old one or the new one and never waits.
    """

    current: Snapshot
