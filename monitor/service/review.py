"""The periodic review: freezes calibrations when due, finds rollouts that start or end, and judges them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from threading import Lock
from typing import Any

import structlog

from monitor.difficulty.calibration import Calibration
from monitor.difficulty.features import LabelledRequest
from monitor.difficulty.settings import DifficultySettings
from monitor.difficulty.tagger import Tagger
from monitor.difficulty.trust import LiveTrust
from monitor.errors import CalibrationInvalid, LedgerUnavailable
from monitor.labels.delay import LabelDelay, slowest
from monitor.ledger.ledger import CalibrationRecord, Lease, PruneSubject, RolloutRecord
from monitor.ledger.sql import SqlLedger
from monitor.rollout import tracker
from monitor.rollout.cohort import Cohort, TiersBy
from monitor.rollout.floors import changed_floors
from monitor.rollout.oncall import OnCallLoad, on_call_load, weighed
from monitor.rollout.policy import Policy
from monitor.rollout.verdict import Verdict, VerdictState
from monitor.rollout.wording import delay_words
from monitor.service.rung import Ladder, ReadBy
from monitor.service.settings import ServiceSettings
from monitor.trace.model import PROBES_ENVIRONMENT, REFERENCE_ENVIRONMENT

_log = structlog.get_logger()

_LIVE_LABELS = 2_000
_MOST_LIVE_VERSIONS = 10
_CALIBRATION_WAIT_SECONDS = 60.0
_PRUNE_CHUNKS = 50  # transactions per review
_DELAY_INTERVAL_SECONDS = 3_600.0


@dataclass(frozen=True, slots=True)
class Draft:
    """
    A frozen calibration that is not in the ledger yet.

    Attributes:
        history: The labelled requests it learnt from: versions in order of first appearance, each in trace order.
        history_labels: All labelled requests of those versions, including those over the limit per version.
    """

    calibration: Calibration
    history: Sequence[LabelledRequest]
    history_labels: int


class Reviewer:
    """
    Calibrates, judges and prunes; owns the policy in force and the calibration that tags new requests.

    Safe to call from several threads: reading `tagger` and `policy` never blocks, and `freeze_before` waits only for
    another calibration that is being frozen. A lease makes sure that only one replica at a time judges and prunes.

    Args:
        ledger: Source of traffic and history, and where calibrations and verdicts are saved.
        settings: Intervals and limits.
        difficulty: How calibrations are made and when they are trusted.
        policy: When a rollout starts and what counts as a cliff.

    Attributes:
        policy: The policy in force; the next review judges by it.
        live_trust: How well the calibration in force fits live labels, as of the last check; None before that.
        tagger: Tags new requests under the calibration in force, as last loaded.
    """

    _prune_interval_seconds = 3_600.0
    _never_pruned: Collection[PruneSubject] = ()

    def __init__(
        self, ledger: SqlLedger, *, settings: ServiceSettings, difficulty: DifficultySettings, policy: Policy
    ) -> None:
        self.policy = policy
        self.live_trust: LiveTrust | None = None
        self.tagger = Tagger(None)
        self._ledger = ledger
        self._settings = settings
        self._difficulty = difficulty
        self._loading = Lock()
        self._calibrations: dict[str, Calibration] = {}
        self._calibrated_at = self._assessed_at = self._pruned_at = float("-inf")
        self._delays: dict[tuple[str, str], tuple[float, LabelDelay | None]] = {}

    def load(self) -> None:
        """Load the calibration in force from the ledger and tag with it from now on."""
        with self._loading:  # a slow thread must not overwrite a newer calibration that another thread loaded
            calibration = self.calibration_in_force()
            if calibration is not self.tagger.calibration:
                self.tagger = Tagger(calibration)

    def review(self, *, now: float) -> None:
        """Calibrate if due, find rollouts that started or ended, and judge those under way; *now* in Unix seconds."""
        with self._ledger.hold_lease(Lease.REVIEW) as is_ours:
            if is_ours:
                self._review(now)
        # Every replica does this itself: it writes nothing, and the recording rules take the best of all replicas.
        self._assess_if_due(now)
        self.load()

    def _review(self, now: float) -> None:
        if now - self._calibrated_at >= self._settings.calibration_interval_seconds:
            self._calibrate_if_due(now=now, new_versions=())
        self._ledger.see_floors(self.policy.floors, at=now)
        self._follow_rollouts(now)
        self.judge(now=now)
        self._prune_if_due(now)

    def judge(self, *, now: float) -> None:
        """Judge every rollout under way with the labels that are mature at *now*, Unix seconds."""
        records = self._ledger.rollouts()
        for record in records:
            if record.rollout.is_under_way:
                self._judge(record, records, now)

    def finish(self, *, now: float) -> None:
        """Called once after the last record; live reviews have nothing left to do. *now* is in Unix seconds."""

    def freeze_before(self, new_versions: Collection[str], *, now: float) -> None:
        """Freeze a calibration before the first request of *new_versions*: no version may teach what judges it."""
        self._calibrate_if_due(now=now, new_versions=new_versions)
        self.load()

    def calibration_in_force(self) -> Calibration | None:
        """The calibration promoted last; the one before it if that one cannot be read."""
        newest_first = (self._calibration(record.calibration_id) for record in reversed(self._promoted()))
        return next((calibration for calibration in newest_first if calibration is not None), None)

    def draft(
        self, *, now: float, new_versions: Collection[str] = (), progress: Callable[[int], None] | None = None
    ) -> Draft | None:
        """
        Freeze a calibration from the labelled requests of retired versions; None if there are none.

        Args:
            now: Unix seconds.
            new_versions: Versions about to go live; their labels are left out too.
            progress: Called with the number of labelled requests read since the last call.
        """
        from monitor.difficulty.calibrating import calibrate  # noqa: PLC0415  (imports SciPy, which would slow down every start)

        exclude = self._live_versions() | set(new_versions)
        history = []
        for request in self._ledger.history(exclude=exclude, limit=self._settings.max_labels_per_version):
            history.append(request)
            if progress is not None:
                progress(1)
        calibration = calibrate(history, frozen_at=now, settings=self._difficulty)
        if calibration is None:
            return None
        return Draft(calibration, history, self._ledger.history_labels(exclude=exclude))

    def label_delay(self, service: str, environment: str, *, now: float) -> LabelDelay | None:
        """Delay of a service's slowest kind of label at *now* (Unix seconds), at most an hour old; None if unknown."""
        if self.policy.maturity_seconds is not None:
            return None
        measured_at, delay = self._delays.get((service, environment), (float("-inf"), None))
        if now - measured_at >= _DELAY_INTERVAL_SECONDS:
            delay = slowest(self._ledger.label_delays(service, environment, now=now))
            self._delays[service, environment] = now, delay
        return delay

    def judged_after(self, service: str, environment: str, *, now: float) -> float:
        """Age at which requests of a service are judged at *now* (Unix seconds), in seconds."""
        return self.policy.judged_after(self.label_delay(service, environment, now=now))

    def blocking_rollouts(self) -> Sequence[tracker.Rollout]:
        """Rollouts under way that are judged under a trusted calibration, which must not change until they end."""
        pairs = ((rollout, self._calibration(rollout.calibration_id)) for rollout in self._under_way())
        return [rollout for rollout, calibration in pairs if calibration is not None and calibration.trust.is_trusted]

    def history_labels(self) -> int:
        """Labelled requests of versions no longer live."""
        return self._ledger.history_labels(exclude=self._live_versions())

    def put_in_force(self, calibration: Calibration, *, history_labels: int, now: float) -> None:
        """
        Tag with *calibration* from *now* on, and judge every rollout under way under it.

        Args:
            calibration: A frozen calibration; saved if the ledger does not have it yet.
            history_labels: Labelled requests in the history; growth from there makes the next calibration due.
            now: Unix seconds.
        """
        self._ledger.promote(calibration, at=now, history_labels=history_labels)
        for rollout in self._under_way():
            self._ledger.change_rollout(rollout.rollout_id, calibration_id=calibration.calibration_id)
        _log.info(
            "calibration.promoted",
            calibration_id=calibration.calibration_id,
            labels=history_labels,
            trusted=calibration.trust.is_trusted,
        )

    def _calibrate_if_due(self, *, now: float, new_versions: Collection[str]) -> None:
        # A separate lease, so that the first request of a new version does not wait for a whole review.
        with self._ledger.hold_lease(Lease.CALIBRATION, wait_seconds=_CALIBRATION_WAIT_SECONDS) as is_ours:
            if not is_ours:
                raise LedgerUnavailable(
                    f"Another replica has been calibrating for {_CALIBRATION_WAIT_SECONDS:.0f} s; "
                    "what needs its result waits and tries again."
                )
            self._calibrated_at = now
            if self.blocking_rollouts() or not self._is_due(new_versions):
                return
            draft = self.draft(now=now, new_versions=new_versions)
            if draft is not None:
                self.put_in_force(draft.calibration, history_labels=draft.history_labels, now=now)

    def _is_due(self, new_versions: Collection[str]) -> bool:
        """Whether the history has grown enough, or holds labels of a version that goes live now."""
        live = self._live_versions()
        labels = self._ledger.history_labels(exclude=live | set(new_versions))
        promoted = self._promoted()
        if not labels or not promoted:
            return labels > 0
        has_labels_of_new = self._ledger.history_labels(exclude=live) > labels
        # Without live traffic there is nothing to tag, and history arrives in large loads: wait until it has doubled.
        growth = max(self._settings.min_history_growth, 0.0 if live or new_versions else 1.0)
        return has_labels_of_new or labels >= promoted[-1].history_labels * (1 + growth)

    def _prune_if_due(self, now: float) -> None:
        """Delete old rows, a limited number per review, so that verdicts are not delayed."""
        if now - self._pruned_at < self._prune_interval_seconds:
            return
        deleted = [chunk.rows for chunk in islice(self._ledger.prune(now=now, keep=self._never_pruned), _PRUNE_CHUNKS)]
        if len(deleted) < _PRUNE_CHUNKS:  # nothing is left to prune
            self._pruned_at = now
        if deleted:
            _log.info("ledger.pruned", rows=sum(deleted))

    def _assess_if_due(self, now: float) -> None:
        calibration = self.calibration_in_force()
        if calibration is None:
            self.live_trust = None
            return
        is_new = self.live_trust is None or self.live_trust.calibration_id != calibration.calibration_id
        if is_new or now - self._assessed_at >= self._settings.calibration_interval_seconds:
            self._assessed_at = now
            previous, trust = self.live_trust, self._assess(calibration, now)
            self.live_trust = trust
            if trust.reasons and (previous is None or previous.reasons != trust.reasons):
                _log.warning("calibration.doubted", calibration_id=trust.calibration_id, reasons=list(trust.reasons))

    def _assess(self, calibration: Calibration, now: float) -> LiveTrust:
        """
        Compare *calibration* with the latest labels of versions that are live, or went live after it was frozen.

        It learnt from none of them. Labels of requests that are not mature yet are left out: they would be biased.
        """
        from monitor.difficulty.trust_gate import assess_live  # noqa: PLC0415  (imports SciPy, which would slow down every start)

        live = self._live_versions()
        held_out = [
            version
            for version in self._ledger.activity()
            if version.model_version in live
            or (version.environment != REFERENCE_ENVIRONMENT and version.first_started_at > calibration.frozen_at)
        ]
        versions = list(dict.fromkeys(version.model_version for version in held_out))[-_MOST_LIVE_VERSIONS:]
        services = {(version.service, version.environment) for version in held_out[-_MOST_LIVE_VERSIONS:]}
        matured_before = now - max((self.judged_after(*service, now=now) for service in services), default=0.0)
        labels: list[LabelledRequest] = []
        for version in versions:
            labels += self._ledger.labels_of(version, matured_before=matured_before, limit=_LIVE_LABELS)
        return assess_live(calibration, labels, settings=self._difficulty)

    def _promoted(self) -> Sequence[CalibrationRecord]:
        return [record for record in self._ledger.calibrations() if record.is_promoted]

    def _under_way(self) -> Sequence[tracker.Rollout]:
        return [record.rollout for record in self._ledger.rollouts() if record.rollout.is_under_way]

    def _live_versions(self) -> set[str]:
        """Versions that serve traffic or are in a rollout; a calibration learns from them only once they retire."""
        rollouts = [record.rollout for record in self._ledger.rollouts()]
        roles = tracker.version_roles(self._ledger.activity(), rollouts, self.policy)
        serving = {version for (_, _, version), role in roles.items() if role is not tracker.Role.RETIRED}
        # A rollout may be announced before its candidate serves.
        return serving | {version for r in rollouts if r.is_under_way for version in (r.baseline, r.candidate)}

    def _follow_rollouts(self, now: float) -> None:
        records = self._ledger.rollouts()
        rollouts = [record.rollout for record in records]
        decided = {
            record.rollout.rollout_id: record.changes[-1][0]
            for record in records
            if record.changes and record.changes[-1][1] != VerdictState.WAITING
        }
        for rollout in tracker.find_rollouts(self._ledger.activity(), rollouts, self.policy, now=now, decided=decided):
            if rollout.ended_at is None and any(rollout.rollout_id == known.rollout_id for known in rollouts):
                self._ledger.change_rollout(rollout.rollout_id, started_at=rollout.started_at)
            elif rollout.ended_at is None:
                self._start(rollout)
            else:
                self._before_end(rollout, min(rollout.ended_at, now))
                self._ledger.end_rollout(rollout.rollout_id, ended_at=rollout.ended_at, reason=rollout.end_reason)
                _log.info("rollout.ended", rollout_id=rollout.rollout_id, reason=rollout.end_reason)

    def _before_end(self, rollout: tracker.Rollout, ended_at: float) -> None:
        """Hook for a last verdict; a live rollout needs none, since it was judged one review interval ago."""

    def _start(self, rollout: tracker.Rollout) -> None:
        calibration = self.calibration_in_force()
        started = replace(rollout, calibration_id="" if calibration is None else calibration.calibration_id)
        self._ledger.start_rollout(started)
        _log_of(rollout).info("rollout.started", environment=rollout.environment, baseline=rollout.baseline)

    def _judge(self, record: RolloutRecord, records: Sequence[RolloutRecord], now: float) -> RolloutRecord:
        """Judge *record*, one of *records*, at *now* (Unix seconds), save the verdict and return the updated record."""
        from monitor.rollout.judging import judge, withdrawn  # noqa: PLC0415  (imports SciPy, which would slow down every start)
        from monitor.rollout.needed import too_small  # noqa: PLC0415  (likewise)

        rollout, rollouts = record.rollout, [other.rollout for other in records]
        delay = self.label_delay(rollout.service, rollout.environment, now=now)
        maturity = self.policy.judged_after(delay)
        matured_before = now - maturity
        floors, previous = [committed.floor for committed in record.floors], record.verdict
        read = self._read(record, rollouts, matured_before)
        window = tracker.probes_window(rollout, rollouts)
        probes = self._probes(rollout, window, now) if read.view.tiers_by is TiersBy.LEARNT else None
        verdict = judge(read.cohort, read.calibration, self.policy, floors=floors, previous=previous, probes=probes)
        slow_labels = delay if maturity > self.policy.judged_after() else None
        waiting = [f"Younger requests are not counted yet: {delay_words(slow_labels)}."] if slow_labels else []
        predecessors = set(tracker.earlier(rollout, rollouts))
        earlier = [other.verdict for other in records if other.rollout in predecessors and other.verdict is not None]
        load = self._on_call(read, verdict, earlier)
        changed = changed_floors(self.policy.floors, record.floors, rollout)
        reasons = (*verdict.reasons, *weighed(load), *withdrawn(record.changes, verdict.state), *changed, *waiting)
        verdict = replace(
            verdict, reasons=reasons, on_call=load, class_tiers={**record.class_tiers, **read.class_tiers()}
        )
        seconds = matured_before - rollout.started_at
        if small := too_small(read.cohort, self.policy, needed=verdict.requests_needed, seconds=seconds):
            verdict = replace(verdict, obstacles=(*verdict.obstacles, small), reasons=(*verdict.reasons, small))
        self._ledger.save_verdict(rollout.rollout_id, verdict, at=now)
        changes = record.changes
        if record.verdict is None or record.verdict.state != verdict.state:
            changes = (*changes, (now, verdict.state))
            reason = next(iter(verdict.reasons), "")
            _log_of(rollout).info("verdict.changed", verdict=verdict.state.value, reason=reason)
        return replace(record, verdict=verdict, changes=changes)

    def _on_call(self, read: ReadBy, verdict: Verdict, earlier: Sequence[Verdict]) -> OnCallLoad | None:
        """The load on the people on call; *earlier* verdicts show which failures are not new."""
        from monitor.rollout.new_failures import new_failures  # noqa: PLC0415  (imports SciPy, which would slow down every start)

        known = [past.on_call for past in earlier if past.on_call is not None]
        effects, level = verdict.design_effect, self.policy.error_rate
        new = new_failures(read.cohort, read.signatures, effects=effects, earlier=known, level=level)
        return on_call_load(read.cohort, read.signatures, new=new, severities=self.policy.severities)

    def _read(self, record: RolloutRecord, rollouts: Sequence[tracker.Rollout], matured_before: float) -> ReadBy:
        """Both arms of *record*, one of *rollouts*, with tiers from the first rung that can be trusted."""
        rollout, calibration = record.rollout, self._calibration(record.rollout.calibration_id)
        if calibration is not None:
            self._ledger.retag(rollout, calibration)
        with self._ledger.arms(rollout, matured_before=matured_before) as arms:
            return Ladder(
                arms=arms,
                policy=self.policy,
                difficulty=self._difficulty,
                rollout=rollout,
                calibration=calibration,
                window=tracker.evidence_window(rollout, rollouts, self.policy, decided=record.is_decided_side_by_side),
                class_tiers=record.class_tiers,
            ).climb()

    def _probes(self, rollout: tracker.Rollout, window: tracker.EvidenceWindow, now: float) -> Cohort | None:
        """Results of the probe panel for both versions, under the calibration of *rollout*; None if there are none."""
        panel, calibration = replace(rollout, environment=PROBES_ENVIRONMENT), self._calibration(rollout.calibration_id)
        if calibration is None or panel == rollout or not self._ledger.has_served(panel):
            return None
        self._ledger.retag(panel, calibration)
        matured_before = now - self.judged_after(panel.service, panel.environment, now=now)
        return self._ledger.cohort(panel, matured_before=matured_before, window=window)

    def _calibration(self, calibration_id: str) -> Calibration | None:
        """The calibration with that id, cached; None if the ledger has none or the stored one is invalid."""
        calibration = self._calibrations.get(calibration_id)
        if calibration is None and calibration_id:
            try:
                calibration = self._ledger.calibration(calibration_id)
            except CalibrationInvalid as error:
                _log.error("calibration.refused", calibration_id=calibration_id, problem=str(error))
            if calibration is not None:
                self._calibrations[calibration_id] = calibration
        return calibration


def _log_of(rollout: tracker.Rollout) -> Any:
    """A logger bound to *rollout*."""
    return _log.bind(rollout_id=rollout.rollout_id, service=rollout.service, candidate=rollout.candidate)


class NoReview(Reviewer):
    """Judges and tags nothing: for loading history, which a calibration learns from once all of it is in the ledger."""

    def load(self) -> None:
        """Keep the empty tagger."""

    def review(self, *, now: float) -> None:
        """Do nothing."""

    def freeze_before(self, new_versions: Collection[str], *, now: float) -> None:
        """Do nothing."""
