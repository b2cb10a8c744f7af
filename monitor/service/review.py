"""The review: what happens beside the batches. Freeze a calibration when one is due, find rollouts, judge them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

import structlog

from monitor.difficulty.calibration import Calibration
from monitor.difficulty.features import LabelledRequest
from monitor.difficulty.live_trust import LiveTrust
from monitor.difficulty.settings import DifficultySettings
from monitor.errors import CalibrationInvalid, LedgerUnavailable
from monitor.ledger.ledger import CalibrationRecord, Lease, Ledger, RolloutRecord
from monitor.rollout.cohort import Cohort
from monitor.rollout.commitment import changed_floors
from monitor.rollout.oncall import on_call_load
from monitor.rollout.policy import Policy
from monitor.rollout.tracker import Role, Rollout, RolloutEnded, RolloutStarted, find_rollouts, version_roles
from monitor.rollout.verdict import VerdictState
from monitor.service.settings import ServiceSettings
from monitor.trace.model import PROBES_ENVIRONMENT, REFERENCE_ENVIRONMENT

_log = structlog.get_logger()

_LIVE_LABELS = 2_000
_MOST_LIVE_VERSIONS = 10
_CALIBRATION_WAIT_SECONDS = 60.0
_PRUNE_INTERVAL_SECONDS = 3_600.0
_PRUNED_PORTIONS = 50


class Reviewer(Protocol):
    """What the service asks beside its batches; `look` and the rest may be asked by different threads."""

    def follow(self, policy: Policy) -> None:
        """From the next look on, judge by *policy*."""
        ...

    def look(self, *, now: float) -> None:
        """Find rollouts that started or ended, and judge those under way; *now* is Unix seconds."""
        ...

    def before_new_versions(self, newcomers: Collection[str], *, now: float) -> None:
        """Freeze what is known before the first request of *newcomers* is tagged."""
        ...

    def calibration_in_force(self) -> Calibration | None:
        """The calibration that tags new requests, or None."""
        ...

    def live_trust(self) -> LiveTrust | None:
        """What live labels said of the calibration in force when they were last looked at, or None."""
        ...


class NoReview:
    """Judges nothing and tags nothing: for history that is read as a whole before it teaches."""

    def follow(self, policy: Policy) -> None:
        """Nothing is judged by it."""

    def look(self, *, now: float) -> None:
        """Nothing is looked at."""

    def before_new_versions(self, newcomers: Collection[str], *, now: float) -> None:
        """Nothing is frozen."""

    def calibration_in_force(self) -> None:
        """None."""

    def live_trust(self) -> None:
        """None."""


@dataclass(frozen=True, slots=True)
class Draft:
    """
    A calibration that was frozen and is not kept yet.

    Attributes:
        history: What it learnt from: versions in order of first appearance, each in trace order.
        history_labels: Labelled requests that the history holds, learnt or beyond the limit per version.
    """

    calibration: Calibration
    history: Sequence[LabelledRequest]
    history_labels: int


class Review:
    """
    The job that only one replica does at a time.

    Args:
        ledger: Where everything is read and kept.
        settings: How often.
        difficulty: How calibrations are made and when they are trusted.
        policy: When a rollout is noticed and what counts as a cliff.
    """

    def __init__(
        self, ledger: Ledger, *, settings: ServiceSettings, difficulty: DifficultySettings, policy: Policy
    ) -> None:
        self._ledger = ledger
        self._settings = settings
        self._difficulty = difficulty
        self._policy = policy
        self._read: dict[str, Calibration] = {}
        self._calibrated_at = float("-inf")
        self._live_trust: LiveTrust | None = None
        self._assessed_at = float("-inf")
        self._pruned_at = float("-inf")

    def follow(self, policy: Policy) -> None:
        """From the next look on, judge by *policy*."""
        self._policy = policy

    def look(self, *, now: float) -> None:
        """Find rollouts that started or ended, and judge those under way; *now* is Unix seconds."""
        self._review(now)
        # Every replica tells it for itself: it changes nothing, and the rules take the best that any of them shows.
        self._assess_if_due(now)

    def _review(self, now: float) -> None:
        with self._ledger.hold_lease(Lease.REVIEW) as is_ours:
            if not is_ours:
                return
            if now - self._calibrated_at >= self._settings.calibration_interval_seconds:
                self._calibrate_if_due(now=now, newcomers=())
            self._ledger.see_floors(self._policy.floors, at=now)
            self._follow_rollouts(now)
            for record in self._ledger.rollouts():
                if record.rollout.ended_at is None:
                    self._judge(record, now)
            self._prune_if_due(now)

    def before_new_versions(self, newcomers: Collection[str], *, now: float) -> None:
        """Freeze what is known before the first request of *newcomers*, so that they cannot teach what judges them."""
        self._calibrate_if_due(now=now, newcomers=newcomers)

    def calibration_in_force(self) -> Calibration | None:
        """The calibration that tags new requests; the previous one where the latest cannot be read."""
        for record in reversed(self._promoted()):
            calibration = self._calibration(record.calibration_id)
            if calibration is not None:
                return calibration
        return None

    def live_trust(self) -> LiveTrust | None:
        """What live labels said of the calibration in force when they were last looked at, or None."""
        return self._live_trust

    def draft(
        self, *, now: float, newcomers: Collection[str] = (), progress: Callable[[int], None] | None = None
    ) -> Draft | None:
        """
        A calibration of everything that versions no longer live have taught; None where they taught nothing.

        Args:
            now: Unix seconds.
            newcomers: Versions about to go live, which teach nothing either.
            progress: Told how many labelled requests were read since it was last called.
        """
        from monitor.difficulty.calibrating import calibrate  # noqa: PLC0415  (brings SciPy, for which no start need wait)

        exclude = self._live_versions() | set(newcomers)
        history = []
        for request in self._ledger.history(exclude=exclude, limit=self._settings.max_labels_per_version):
            history.append(request)
            if progress is not None:
                progress(1)
        calibration = calibrate(history, frozen_at=now, settings=self._difficulty)
        if calibration is None:
            return None
        return Draft(calibration, history, self._ledger.history_labels(exclude=exclude))

    def held_by(self) -> Sequence[Rollout]:
        """Rollouts under way whose trusted calibration both arms are read under, so that it has to stay."""
        return [rollout for rollout in self._under_way() if self._is_trusted(rollout.calibration_id)]

    def history_labels(self) -> int:
        """Labelled requests of versions no longer live."""
        return self._ledger.history_labels(exclude=self._live_versions())

    def put_in_force(self, calibration: Calibration, *, history_labels: int, now: float) -> None:
        """
        Tag by *calibration* from *now* on, and read both arms of every rollout under way under it.

        Args:
            calibration: A frozen one, kept by the ledger or not.
            history_labels: Labelled requests that the history holds; growth from there calls for a new calibration.
            now: Unix seconds.
        """
        self._ledger.promote(calibration, at=now, history_labels=history_labels)
        for rollout in self._under_way():
            self._ledger.read_rollout_under(rollout.rollout_id, calibration.calibration_id)
        _log.info(
            "calibration.promoted",
            calibration_id=calibration.calibration_id,
            labels=history_labels,
            trusted=calibration.trust.is_trusted,
        )

    def _calibrate_if_due(self, *, now: float, newcomers: Collection[str]) -> None:
        # Apart from the review, whose looks may take long: the first request of a newcomer waits only for this.
        with self._ledger.hold_lease(Lease.CALIBRATION, wait_seconds=_CALIBRATION_WAIT_SECONDS) as is_ours:
            if not is_ours:
                raise LedgerUnavailable(
                    f"Another replica has been calibrating for {_CALIBRATION_WAIT_SECONDS:.0f} s; "
                    "what needs its result waits and tries again."
                )
            self._calibrated_at = now
            if self.held_by() or not self._is_due(newcomers):
                return
            draft = self.draft(now=now, newcomers=newcomers)
            if draft is not None:
                self.put_in_force(draft.calibration, history_labels=draft.history_labels, now=now)

    def _is_due(self, newcomers: Collection[str]) -> bool:
        """Whether there is enough news to learn, or something learnt that a newcomer must not have taught."""
        live = self._live_versions()
        labels = self._ledger.history_labels(exclude=live | set(newcomers))
        earlier = self._promoted()
        if not labels or not earlier:
            return labels > 0
        taught_by_newcomers = self._ledger.history_labels(exclude=live) > labels
        # While nobody is served there is nothing to tag, and history comes in by leaps.
        growth = self._settings.min_history_growth if live or newcomers else max(1.0, self._settings.min_history_growth)
        return taught_by_newcomers or labels >= earlier[-1].history_labels * (1 + growth)

    def _prune_if_due(self, now: float) -> None:
        """Let go of what is old, some of it at each look, so that verdicts do not wait for it."""
        if now - self._pruned_at < _PRUNE_INTERVAL_SECONDS:
            return
        portions = [pruned.rows for pruned in islice(self._ledger.prune(now=now), _PRUNED_PORTIONS)]
        if len(portions) < _PRUNED_PORTIONS:  # nothing is left
            self._pruned_at = now
        if portions:
            _log.info("ledger.pruned", rows=sum(portions))

    def _assess_if_due(self, now: float) -> None:
        calibration = self.calibration_in_force()
        if calibration is None:
            self._live_trust = None
            return
        is_other = self._live_trust is None or self._live_trust.calibration_id != calibration.calibration_id
        if is_other or now - self._assessed_at >= self._settings.calibration_interval_seconds:
            self._assessed_at = now
            before, self._live_trust = self._live_trust, self._assess(calibration, now)
            if self._live_trust.reasons and (before is None or before.reasons != self._live_trust.reasons):
                _log.warning(
                    "calibration.doubted",
                    calibration_id=calibration.calibration_id,
                    reasons=list(self._live_trust.reasons),
                )

    def _assess(self, calibration: Calibration, now: float) -> LiveTrust:
        """
        What the latest labels of versions say that are live, or went live since *calibration* was frozen.

        It has learnt neither. Labels too young to be a fair sample are left out.
        """
        from monitor.difficulty.live import assess_live  # noqa: PLC0415  (brings SciPy, for which no start need wait)

        live = self._live_versions()
        unlearnt = (
            seen.model_version
            for seen in self._ledger.activity()
            if seen.model_version in live
            or (seen.environment != REFERENCE_ENVIRONMENT and seen.first_started_at > calibration.frozen_at)
        )
        versions = list(dict.fromkeys(unlearnt))
        matured_before = now - self._policy.maturity_seconds
        labels = [
            label
            for version in versions[-_MOST_LIVE_VERSIONS:]
            for label in self._ledger.labels_of(version, matured_before=matured_before, limit=_LIVE_LABELS)
        ]
        return assess_live(calibration, labels, settings=self._difficulty)

    def _promoted(self) -> Sequence[CalibrationRecord]:
        return [record for record in self._ledger.calibrations() if record.promoted_at is not None]

    def _under_way(self) -> Sequence[Rollout]:
        return [record.rollout for record in self._ledger.rollouts() if record.rollout.ended_at is None]

    def _live_versions(self) -> set[str]:
        """Versions that serve or are tried now; what they do teaches only once they are retired."""
        rollouts = [record.rollout for record in self._ledger.rollouts()]
        roles = version_roles(self._ledger.activity(), rollouts, self._policy)
        serving = {version for (_, _, version), role in roles.items() if role is not Role.RETIRED}
        # A rollout may be announced before its candidate serves.
        return serving | {version for r in rollouts if r.ended_at is None for version in (r.baseline, r.candidate)}

    def _follow_rollouts(self, now: float) -> None:
        records = self._ledger.rollouts()
        rollouts = [record.rollout for record in records]
        decided = {
            record.rollout.rollout_id: at
            for record in records
            for at, state in record.changes[-1:]
            if state != VerdictState.WAITING
        }
        for event in find_rollouts(self._ledger.activity(), rollouts, self._policy, now=now, decided=decided):
            match event:
                case RolloutStarted(rollout):
                    self._start(rollout)
                case RolloutEnded(rollout, ended_at, reason):
                    self._ledger.end_rollout(rollout.rollout_id, ended_at=ended_at, reason=reason)
                    _log.info("rollout.ended", rollout_id=rollout.rollout_id, reason=reason)

    def _start(self, rollout: Rollout) -> None:
        calibration = self.calibration_in_force()
        started = replace(rollout, calibration_id="" if calibration is None else calibration.calibration_id)
        self._ledger.start_rollout(started)
        _log.info(
            "rollout.started",
            rollout_id=rollout.rollout_id,
            service=rollout.service,
            environment=rollout.environment,
            baseline=rollout.baseline,
            candidate=rollout.candidate,
        )

    def _judge(self, record: RolloutRecord, now: float) -> None:
        from monitor.rollout.judging import judge  # noqa: PLC0415  (brings SciPy, for which no start need wait)

        rollout = record.rollout
        calibration = self._calibration(rollout.calibration_id)
        if calibration is not None:
            self._ledger.retag(rollout, calibration)
        matured_before = now - self._policy.maturity_seconds
        cohort = self._ledger.cohort(rollout, matured_before=matured_before)
        verdict = judge(
            cohort,
            calibration,
            self._policy.model_copy(update={"floors": tuple(committed.floor for committed in record.floors)}),
            service=rollout.service,
            environment=rollout.environment,
            previous=record.verdict,
            probes=self._probes(rollout, calibration, now),
        )
        verdict = replace(
            verdict,
            reasons=(*verdict.reasons, *changed_floors(self._policy.floors, record.floors, rollout)),
            on_call=on_call_load(cohort, self._ledger.failure_classes(rollout, matured_before=matured_before)),
        )
        self._ledger.save_verdict(rollout.rollout_id, verdict, at=now)
        if record.verdict is None or record.verdict.state != verdict.state:
            _log.info(
                "verdict.changed",
                rollout_id=rollout.rollout_id,
                service=rollout.service,
                candidate=rollout.candidate,
                verdict=verdict.state.value,
                reason=next(iter(verdict.reasons), ""),
            )

    def _probes(self, rollout: Rollout, calibration: Calibration | None, now: float) -> Cohort | None:
        """The probe panel replayed on both versions, under the calibration of *rollout*; None where it is no help."""
        if calibration is None or rollout.environment == PROBES_ENVIRONMENT:
            return None
        panel = replace(rollout, environment=PROBES_ENVIRONMENT)
        self._ledger.retag(panel, calibration)
        return self._ledger.cohort(panel, matured_before=now - self._policy.maturity_seconds)

    def _is_trusted(self, calibration_id: str) -> bool:
        calibration = self._calibration(calibration_id)
        return calibration is not None and calibration.trust.is_trusted

    def _calibration(self, calibration_id: str) -> Calibration | None:
        """The calibration of that id, read once; None where there is none or it cannot be trusted as stored."""
        if calibration_id not in self._read:
            try:
                calibration = self._ledger.calibration(calibration_id) if calibration_id else None
            except CalibrationInvalid as error:
                _log.error("calibration.refused", calibration_id=calibration_id, problem=str(error))
                return None
            if calibration is None:
                return None
            self._read[calibration_id] = calibration
        return self._read[calibration_id]
