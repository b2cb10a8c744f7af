"""What the pairs say, counted and bounded: over all, by tier, by capability class."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from monitor.difficulty.tiers import EASIER_TIERS, HARD_TIER, TIERS, Tier
from monitor.evals.cases import Case
from monitor.evals.paired import RepeatedRates, exact_p_value, holm, paired_change, pass_rate, simultaneous
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
        tries: Attempts that every case has in both runs.
        all_tries_before, all_tries_after: Chance that a case passes so many attempts in a row (pass^k), ratio 0 to 1.
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
    tries: int
    all_tries_before: float
    all_tries_after: float

    @property
    def has_risen(self) -> bool:
        """Shown to pass more often: the bounds and the exact test agree."""
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
        aggregate: All pairs; None where no case has a score in both runs.
        tiers: Tiers that have cases, easiest first, untiered last.
        hard_tier: Hard and frontier together; None without such a case.
        easier_tiers: Easy and medium together; None without such a case.
        capabilities: By class.
        share: None while it cannot be told.
        confidence: Of all bounds together, over the tiers or over the capabilities.
    """

    aggregate: Stratum | None
    tiers: Mapping[Tier, Stratum]
    hard_tier: Stratum | None
    easier_tiers: Stratum | None
    capabilities: Mapping[str, Stratum]
    share: ShareReport | None
    confidence: float

    def rows(self) -> Mapping[str, Stratum]:
        """Tiers easiest first, the hard tier where it is more than one of them, and everything: as tables show them."""
        rows = {tier.value: stratum for tier, stratum in self.tiers.items()}
        if self.hard_tier is not None and Tier.FRONTIER in self.tiers:
            rows["hard tier"] = self.hard_tier
        return rows if self.aggregate is None else {**rows, "all": self.aggregate}

    def judged(self) -> Mapping[str, Stratum]:
        """What a verdict is about, by the name of its scope."""
        main = {"all": self.aggregate, "hard": self.hard_tier, "easier": self.easier_tiers}
        classes = {f"capability:{name}": stratum for name, stratum in self.capabilities.items()}
        classes = classes if len(classes) > 1 else {}  # one class is everything over again
        return {name: stratum for name, stratum in (main | classes).items() if stratum is not None}


def compare(pairs: Sequence[Pair], *, confidence: float) -> Comparison:
    """
    What *pairs* say.

    Args:
        pairs: Cases with a score in both runs.
        confidence: That all bounds of the tiers hold together, and all of the capabilities, ratio 0 to 1. The bounds of
            everything, of the hard tier and of the easier tiers hold one by one; their tests are raised together.
    """
    by_tier = _grouped(pairs, lambda pair: pair.tier)
    tiers = {tier: by_tier[tier] for tier in (*TIERS, Tier.UNTIERED) if tier in by_tier}
    capabilities = _grouped([pair for pair in pairs if pair.capability], lambda pair: pair.capability)
    groups = {
        "all": pairs,
        "hard": [pair for pair in pairs if pair.tier in HARD_TIER],
        "easier": [pair for pair in pairs if pair.tier in EASIER_TIERS],
    }
    main = _raised({name: _stratum(group, confidence, 1.0 - confidence) for name, group in groups.items() if group})
    return Comparison(
        aggregate=main.get("all"),
        tiers=_strata(tiers, confidence),
        hard_tier=main.get("hard"),
        easier_tiers=main.get("easier"),
        capabilities=_strata(dict(sorted(capabilities.items())), confidence),
        share=measure_share(pairs, confidence=confidence),
        confidence=confidence,
    )


def _grouped(pairs: Iterable[Pair], kind: Callable[[Pair], _Kind]) -> dict[_Kind, list[Pair]]:
    groups: dict[_Kind, list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[kind(pair)].append(pair)
    return groups


def _strata(groups: Mapping[_Kind, Sequence[Pair]], confidence: float) -> Mapping[_Kind, Stratum]:
    each = simultaneous(confidence, len(groups))
    return _raised({kind: _stratum(group, each, 1.0 - confidence) for kind, group in groups.items()})


def _raised(strata: Mapping[_Kind, Stratum]) -> dict[_Kind, Stratum]:
    """*strata* with their p-values raised for their number."""
    p_values = holm({kind: stratum.p_value for kind, stratum in strata.items()})
    return {kind: replace(stratum, p_value=p_values[kind]) for kind, stratum in strata.items()}


def _stratum(pairs: Sequence[Pair], confidence: float, level: float) -> Stratum:
    rates = _rates(pairs)
    tries = int(min(rates.before_attempts.min(), rates.after_attempts.min()))
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
        flaky=sum(pair.is_flaky for pair in pairs),
        tries=tries,
        all_tries_before=_all_tries([pair.baseline for pair in pairs], tries),
        all_tries_after=_all_tries([pair.candidate for pair in pairs], tries),
    )


def _all_tries(cases: Sequence[Case], tries: int) -> float:
    """
    Chance that *tries* attempts drawn from a case all pass, mean over *cases*.

    Source:
        pass^k of Yao et al. (2024), tau-bench, section 3.
    """
    return sum(math.comb(case.passed, tries) / math.comb(case.scored, tries) for case in cases) / len(cases)


def _rates(pairs: Sequence[Pair]) -> RepeatedRates:
    return RepeatedRates(
        before=np.array([pair.before for pair in pairs]),
        after=np.array([pair.after for pair in pairs]),
        before_attempts=np.array([pair.baseline.scored for pair in pairs], dtype=np.int64),
        after_attempts=np.array([pair.candidate.scored for pair in pairs], dtype=np.int64),
    )
