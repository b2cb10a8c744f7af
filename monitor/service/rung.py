"""Chooses how a rollout's requests get their tiers: the first rung of the policy that gives trustworthy tiers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from monitor.difficulty.calibration import Calibration
from monitor.difficulty.class_tiers import class_tiers
from monitor.difficulty.settings import DifficultySettings
from monitor.difficulty.tiers import Tier
from monitor.difficulty.trust import Trust
from monitor.ledger.cohorts import ArmReader
from monitor.ledger.ledger import FailureCounts
from monitor.rollout.cohort import LEARNT, ArmName, Cohort, Comparison, TiersBy, TierView, gives_tiers, untiered_arm
from monitor.rollout.policy import Policy
from monitor.rollout.tracker import EvidenceWindow, Rollout
from monitor.trace.capability import UNCLASSIFIED

_DAY = 86_400.0
_WEEK = 7 * _DAY
_ENOUGH_TO_KNOW = 100  # requests of an arm
_FEW_FAILURES = 20
_NO_CLASS = (UNCLASSIFIED, "")
"""The class of requests with neither a capability nor tools; it gets no tier, since they have nothing in common."""


@dataclass(frozen=True, slots=True)
class ReadBy:
    """
    Both arms of a rollout, with tiers from one rung.

    Attributes:
        signatures: Failures of baseline and candidate by signature.
        calibration: The rollout's calibration, its trust limited to traffic that it knows; None if there is none.
    """

    cohort: Cohort
    signatures: tuple[FailureCounts, FailureCounts]
    view: TierView
    window: EvidenceWindow
    calibration: Calibration | None

    def class_tiers(self) -> Mapping[float, Sequence[tuple[str, str, Tier]]]:
        """Class tiers used here, by the end of the baseline traffic they were learnt from; empty on another rung."""
        rows = [(*name, tier) for name, tier in self.view.class_tiers.items()]
        return {self.window.baseline_since: rows} if rows else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """
    Finds the rung of a rollout.

    Args:
        arms: Reads both arms from the ledger.
        window: Traffic that counts as evidence; the class rung narrows it.
        class_tiers: Class tiers of earlier looks, by the end of the baseline traffic they were learnt from, Unix
            seconds. They are used again, so that tiers do not change during a rollout.
    """

    arms: ArmReader
    policy: Policy
    difficulty: DifficultySettings
    rollout: Rollout
    calibration: Calibration | None
    window: EvidenceWindow
    class_tiers: Mapping[float, Sequence[tuple[str, str, Tier]]]

    def climb(self) -> ReadBy:
        """Read by the first usable rung; if there is none, by untrusted learnt tiers, whose reasons say why."""
        undeclared = None
        for tiers_by in filter(self._may_serve, self.policy.tiers_by):
            for view, window in self._views(tiers_by):
                read = self._read(view, window, undeclared)
                if self._is_usable(read):
                    return read
                undeclared = untiered_arm(read.cohort) if tiers_by is TiersBy.DECLARED else undeclared
        view = LEARNT if TiersBy.LEARNT in self.policy.tiers_by else TierView(TiersBy.NONE)
        return self._read(view, self.window, undeclared)

    def _may_serve(self, tiers_by: TiersBy) -> bool:
        """Whether the rung can be usable at all; a cheap check, since reading the arms is most of a review's cost."""
        if tiers_by is TiersBy.DECLARED:
            return self.arms.declares_tiers()
        return tiers_by is not TiersBy.LEARNT or (self.calibration is not None and self.calibration.trust.is_trusted)

    def _views(self, tiers_by: TiersBy) -> Iterator[tuple[TierView, EvidenceWindow]]:
        if tiers_by is not TiersBy.CLASS:
            yield TierView(tiers_by), self.window
            return
        # The outcomes that tiers are learnt from are not compared. If the baseline stopped at the cutover, its earlier
        # traffic gives the tiers and its later traffic is compared.
        for learnt_until in self._splits_of_baseline():
            view = TierView(tiers_by, self._class_tiers(learnt_until))
            if view.class_tiers:
                yield view, self.window._replace(baseline_since=max(learnt_until, self.window.baseline_since))

    def _splits_of_baseline(self) -> Iterator[float]:
        """Until when the baseline's traffic gives tiers (Unix seconds); what comes after is compared. Best first."""
        started_at = self.rollout.started_at
        yield started_at
        begins = self.arms.baseline_begins(since=self.window.baseline_since, until=started_at)
        served = started_at - max(self.window.baseline_since, begins)
        # Compare a whole week if there is one, so that weekends meet weekends; less than a day does not cover the
        # hours of a day.
        compared = max(served / 2, min(_WEEK, served - _DAY)) if served >= _WEEK else served / 2
        split = started_at - compared if compared >= _DAY else started_at
        yield next((until for until in self.class_tiers if until < started_at), split)

    def _class_tiers(self, learnt_until: float) -> Mapping[tuple[str, str], Tier]:
        if learnt_until in self.class_tiers:
            return {(capability, tools): tier for capability, tools, tier in self.class_tiers[learnt_until]}
        counts = self.arms.classes(since=self.window.baseline_since, until=learnt_until)
        return class_tiers({name: pair for name, pair in counts.items() if name != _NO_CLASS}, self.difficulty)

    def _read(self, view: TierView, window: EvidenceWindow, undeclared: ArmName | None) -> ReadBy:
        cohort, signatures = self.arms.cohort(window, view)
        known = self.calibration and replace(self.calibration, trust=self._trust(self.calibration.trust, cohort))
        return ReadBy(replace(cohort, undeclared=undeclared), signatures, view, window, known)

    def _trust(self, trust: Trust, cohort: Cohort) -> Trust:
        """*trust*, limited by the arm with the smaller share of requests that the calibration knows."""
        from monitor.difficulty.trust_gate import on_traffic  # noqa: PLC0415  (imports SciPy, which would slow down every start)

        baseline, candidate = cohort.baseline, cohort.candidate
        arms = [(sum(s.requests for s in arm.strata if s.is_known), arm.requests) for arm in (baseline, candidate)]
        large = [(known, requests) for known, requests in arms if requests >= _ENOUGH_TO_KNOW]
        known, requests = min(large or arms, key=lambda arm: arm[0] / max(arm[1], 1))
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
        tiers_by, cohort = read.view.tiers_by, read.cohort
        if tiers_by is TiersBy.LEARNT:
            return read.calibration is not None and read.calibration.trust.is_trusted
        is_learnt_to_start = tiers_by is TiersBy.CLASS and read.window.baseline_since >= self.rollout.started_at
        is_comparable = cohort.comparison is Comparison.CONCURRENT or not is_learnt_to_start
        return tiers_by is TiersBy.NONE or (is_comparable and gives_tiers(cohort))
