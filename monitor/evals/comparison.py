"""What the pairs say, counted and bounded: over all, by tier, by capability class."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from monitor.difficulty.tiers import EASIER_TIERS, HARD_TIER, TIERS, Tier
from monitor.evals.paired import (
    RepeatedRates,
    exact_p_value,
    holm,
    paired_change,
    pass_rate,
    simultaneous,
)
from monitor.evals.pairing import Pair
from monitor.evals.share import ShareReport, measure_share
from monitor.rollout.comparison import Interval

_Kind = TypeVar("_Kind", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Stratum:
    """
    Both runs on the same cases.

    Attributes:
        cases: Cases with a score in both runs.
        hard_cases: Those in the hard tier.
        passed_before, passed_after: Sum of the cases' pass rates: a whole number where every case was asked once.
        before, after: Pass rates with bounds, ratio 0 to 1.
        newly_failing, newly_passing: Cases whose majority of attempts changed sides.
        change: After minus before, paired, with bounds.
        p_value: Exact, two-sided, raised for the strata looked at beside this one.
        level: Largest p-value that shows a change, ratio 0 to 1.
        flaky: Cases that passed some attempts and failed others within a run.
    """

    cases: int
    hard_cases: int
    passed_before: float
    passed_after: float
    before: Interval
    after: Interval
    newly_failing: int
    newly_passing: int
    change: Interval
    p_value: float
    level: float
    flaky: int

    @property
    def has_risen(self) -> bool:
        """Shown to pass more often: the bounds say so, and the exact test does not gainsay it."""
        return self.change.lower > 0.0 and self.p_value <= self.level

    @property
    def has_fallen(self) -> bool:
        """Shown to pass less often, as in `has_risen`."""
        return self.change.upper < 0.0 and self.p_value <= self.level

    @property
    def failures_before(self) -> float:
        """Cases less those passed; a whole number where every case was asked once."""
        return self.cases - self.passed_before

    @property
    def failures_after(self) -> float:
        """As `failures_before`, of the candidate."""
        return self.cases - self.passed_after


@dataclass(frozen=True, slots=True)
class Comparison:
    """
    Everything that is counted.

    Attributes:
        aggregate: All pairs; None where there are none.
        tiers: Tiers that have cases, easiest first, untiered last.
        hard_tier: Hard and frontier together; None without such a case.
        easier_tiers: Easy and medium together; None without such a case.
        capabilities: By class.
        share: None while it cannot be told.
        confidence: Of all bounds together, over the tiers or over the capabilities.
    """

    aggregate: Stratum
    tiers: Mapping[Tier, Stratum]
    hard_tier: Stratum | None
    easier_tiers: Stratum | None
    capabilities: Mapping[str, Stratum]
    share: ShareReport | None
    confidence: float


def compare(pairs: Sequence[Pair], *, confidence: float) -> Comparison:
    """
    What *pairs*, of which there is at least one, say.

    Args:
        pairs: Cases with a score in both runs.
        confidence: That all bounds of the tiers hold together, and all of the capabilities, ratio 0 to 1. The
            aggregate, the hard tier as a whole, and the share are one question each.
    """
    by_tier = _grouped(pairs, lambda pair: pair.tier)
    tiers = {tier: by_tier[tier] for tier in (*TIERS, Tier.UNTIERED) if tier in by_tier}
    capabilities = _grouped([pair for pair in pairs if pair.capability], lambda pair: pair.capability)
    return Comparison(
        aggregate=_stratum(pairs, confidence, 1.0 - confidence),
        tiers=_strata(tiers, confidence),
        hard_tier=_of_tiers(pairs, HARD_TIER, confidence),
        easier_tiers=_of_tiers(pairs, EASIER_TIERS, confidence),
        capabilities=_strata(dict(sorted(capabilities.items())), confidence),
        share=measure_share(pairs, confidence=confidence),
        confidence=confidence,
    )


def _grouped(pairs: Iterable[Pair], kind: Callable[[Pair], _Kind]) -> dict[_Kind, list[Pair]]:
    groups: dict[_Kind, list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[kind(pair)].append(pair)
    return groups


def _of_tiers(pairs: Sequence[Pair], tiers: Sequence[Tier], confidence: float) -> Stratum | None:
    chosen = [pair for pair in pairs if pair.tier in tiers]
    return _stratum(chosen, confidence, 1.0 - confidence) if chosen else None


def _strata(groups: Mapping[_Kind, Sequence[Pair]], confidence: float) -> dict[_Kind, Stratum]:
    each = simultaneous(confidence, len(groups))
    strata = {kind: _stratum(group, each, 1.0 - confidence) for kind, group in groups.items()}
    raised = holm({str(number): stratum.p_value for number, stratum in enumerate(strata.values())})
    return {
        kind: replace(stratum, p_value=raised[str(number)]) for number, (kind, stratum) in enumerate(strata.items())
    }


def _stratum(pairs: Sequence[Pair], confidence: float, level: float) -> Stratum:
    rates = _rates(pairs)
    return Stratum(
        cases=len(pairs),
        hard_cases=sum(pair.tier in HARD_TIER for pair in pairs),
        passed_before=float(rates.before.sum()),
        passed_after=float(rates.after.sum()),
        before=pass_rate(rates.before, rates.before_attempts, confidence=confidence),
        after=pass_rate(rates.after, rates.after_attempts, confidence=confidence),
        newly_failing=sum(pair.is_newly_failing for pair in pairs),
        newly_passing=sum(pair.is_newly_passing for pair in pairs),
        change=paired_change(rates, confidence=confidence),
        p_value=exact_p_value(rates),
        level=level,
        flaky=sum(pair.baseline.is_flaky or pair.candidate.is_flaky for pair in pairs),
    )


def _rates(pairs: Sequence[Pair]) -> RepeatedRates:
    return RepeatedRates(
        before=np.array([pair.before for pair in pairs]),
        after=np.array([pair.after for pair in pairs]),
        before_attempts=np.array([pair.baseline.scored for pair in pairs], dtype=np.int64),
        after_attempts=np.array([pair.candidate.scored for pair in pairs], dtype=np.int64),
    )
