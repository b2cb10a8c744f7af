"""Which rung of the ladder a rollout is read by: the best that gives its requests tiers that can be trusted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from monitor.difficulty.calibration import Calibration
from monitor.difficulty.class_tiers import class_tiers
from monitor.difficulty.settings import DifficultySettings
from monitor.difficulty.tiers import Tier
from monitor.difficulty.trust import Trust
from monitor.difficulty.trust_gate import on_traffic
from monitor.ledger.cohorts import ArmReader
from monitor.ledger.ledger import FailureCounts
from monitor.rollout.cohort import LEARNT, Cohort, Comparison, TiersBy, TierView, gives_tiers
from monitor.rollout.policy import Policy
from monitor.rollout.tracker import EvidenceWindow, Rollout
from monitor.trace.capability import UNCLASSIFIED

_DAY = 86_400.0
_WEEK = 7 * _DAY
_ENOUGH_TO_KNOW = 100  # requests of an arm
_FEW_FAILURES = 20
_NO_CLASS = (UNCLASSIFIED, "")
"""Requests with neither a capability nor tools do not form a class."""


@dataclass(frozen=True, slots=True)
class ReadBy:
    """
    Both arms of a rollout as one rung reads them.

    Attributes:
        signatures: Failures of baseline and candidate by signature.
        calibration: That of the rollout, trusted as far as its own traffic is known; None where there is none.
    """

    cohort: Cohort
    signatures: tuple[FailureCounts, FailureCounts]
    view: TierView
    window: EvidenceWindow
    calibration: Calibration | None

    def class_tiers(self) -> Mapping[float, Sequence[tuple[str, str, Tier]]]:
        """Those that this reading used, by the time until which the baseline taught them; empty on another rung."""
        rows = [(*name, tier) for name, tier in self.view.class_tiers.items()]
        return {self.window.baseline_since: rows} if rows else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """
    Finds the rung of a rollout.

    Args:
        arms: Reads both arms.
        window: What counts as evidence, where no rung says otherwise.
        class_tiers: Those that earlier looks used, by the time until which the baseline taught them, Unix seconds.
    """

    arms: ArmReader
    policy: Policy
    difficulty: DifficultySettings
    rollout: Rollout
    calibration: Calibration | None
    window: EvidenceWindow
    class_tiers: Mapping[float, Sequence[tuple[str, str, Tier]]]

    def climb(self) -> ReadBy:
        """The first rung of the policy that gives tiers; else learnt tiers, untrusted, which say what is missing."""
        for tiers_by in filter(self._may_serve, self.policy.tiers_by):
            for view, window in self._views(tiers_by):
                read = self._read(view, window)
                if self._is_usable(read):
                    return read
        return self._read(LEARNT if TiersBy.LEARNT in self.policy.tiers_by else TierView(TiersBy.NONE), self.window)

    def _may_serve(self, tiers_by: TiersBy) -> bool:
        """Whether it is worth reading both arms by it: a reading is most of what a review costs."""
        if tiers_by is TiersBy.DECLARED:
            return self.arms.declares_tiers()
        return tiers_by is not TiersBy.LEARNT or (self.calibration is not None and self.calibration.trust.is_trusted)

    def _views(self, tiers_by: TiersBy) -> Iterator[tuple[TierView, EvidenceWindow]]:
        if tiers_by is not TiersBy.CLASS:
            yield TierView(tiers_by), self.window
            return
        # No outcome serves twice. After a cutover the later half of the baseline's time stands in, the earlier teaches.
        for taught_until in (self.rollout.started_at, self._half_taught()):
            view = TierView(tiers_by, self._class_tiers(taught_until))
            if view.class_tiers:
                yield view, self.window._replace(baseline_since=max(taught_until, self.window.baseline_since))

    def _half_taught(self) -> float:
        started_at = self.rollout.started_at
        begins = self.arms.baseline_begins(since=self.window.baseline_since, until=started_at)
        served = started_at - max(self.window.baseline_since, begins)
        # A whole week stands in where there is one, so that a weekend is not compared with weekdays; less than a day
        # says nothing of the hours of a day.
        compared = max(served / 2, min(_WEEK, served - _DAY)) if served >= _WEEK else served / 2
        half = started_at - compared if compared >= _DAY else started_at
        return next((until for until in self.class_tiers if until < started_at), half)

    def _class_tiers(self, taught_until: float) -> Mapping[tuple[str, str], Tier]:
        if taught_until in self.class_tiers:
            return {(capability, tools): tier for capability, tools, tier in self.class_tiers[taught_until]}
        counts = self.arms.classes(since=self.window.baseline_since, until=taught_until)
        return class_tiers({name: pair for name, pair in counts.items() if name != _NO_CLASS}, self.difficulty)

    def _read(self, view: TierView, window: EvidenceWindow) -> ReadBy:
        cohort, signatures = self.arms.cohort(window, view)
        calibration = self.calibration
        if calibration is not None:
            calibration = replace(calibration, trust=self._trust(calibration.trust, cohort))
        return ReadBy(cohort, signatures, view, window, calibration)

    def _trust(self, trust: Trust, cohort: Cohort) -> Trust:
        """By the arm of which the calibration knows less: what it knows of the other's requests does not tag these."""
        baseline, candidate = cohort.baseline, cohort.candidate
        arms = [(sum(s.requests for s in arm.strata if s.is_known), arm.requests) for arm in (baseline, candidate)]
        enough = [(known, requests) for known, requests in arms if requests >= _ENOUGH_TO_KNOW]
        known, requests = min(enough or arms, key=lambda arm: arm[0] / max(arm[1], 1))
        trust = on_traffic(trust, known=known, requests=requests, settings=self.difficulty)
        untiered = sum(stratum.failures for stratum in baseline.strata if stratum.tier is Tier.UNTIERED)
        if cohort.tiers_by is TiersBy.LEARNT and _FEW_FAILURES <= baseline.failures < 2 * untiered:
            sentence = (
                f"{untiered} of the baseline's {baseline.failures} failures are of classes with too few reference runs "
                "for tiers: add runs of these."
            )
            trust = replace(trust, is_trusted=False, reasons=(*trust.reasons, sentence))
        return trust

    def _is_usable(self, read: ReadBy) -> bool:
        match read.view.tiers_by:
            case TiersBy.NONE:
                return True
            case TiersBy.LEARNT:
                return read.calibration is not None and read.calibration.trust.is_trusted
            case TiersBy.CLASS if read.window.baseline_since >= self.rollout.started_at:
                return read.cohort.comparison is Comparison.CONCURRENT and gives_tiers(read.cohort)
            case _:
                return gives_tiers(read.cohort)
