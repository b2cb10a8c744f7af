"""Checks whether a suite can detect a cliff, and which cases it would need."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from monitor.difficulty.tiers import TIERS, Tier
from monitor.evals.cases import Pairing
from monitor.evals.comparison import Comparison, Stratum, simultaneous
from monitor.rollout.wording import counted, some_of

_TAIL_DEVIATIONS = 9.0
_MOST_CASES = 1_000_000
_DROPS = 10_000  # drops that are tried, a hundredth of a point apart


MIN_HARD_SHARE = 0.30
"""Share of hard or adversarial cases that a suite needs to detect a cliff."""

SATURATED_PASS_RATE = 0.97
_POWER = 0.80
_DROP_WORTH_SEEING = 0.05
_LARGE_DROP = 0.20


class GapKind(StrEnum):
    """What keeps a suite from detecting a cliff."""

    TIERS_UNKNOWN = "tiers_unknown"
    UNTIERED_CASES = "untiered_cases"
    FEW_HARD_CASES = "few_hard_cases"
    NO_HARD_CASES = "no_hard_cases"
    NO_FRONTIER_CASES = "no_frontier_cases"
    FEW_HARD_FAILURES = "few_hard_failures"
    SATURATED_TIER = "saturated_tier"
    LARGE_HIDDEN_DROP = "large_hidden_drop"
    DUPLICATE_IDS = "duplicate_ids"
    UNSCORED_CASES = "unscored_cases"
    UNPAIRED_CASES = "unpaired_cases"


@dataclass(frozen=True, slots=True)
class CoverageGap:
    """
    One kind of change that the suite cannot detect.

    Attributes:
        sentence: The gap, with numbers.
        cases_to_add: Cases that would close it, or None if cases do not.
    """

    kind: GapKind
    sentence: str
    cases_to_add: int | None = None
    tier: Tier | None = None


@dataclass(frozen=True, slots=True)
class DetectionLimit:
    """
    The drop that a tier's cases can detect.

    Attributes:
        smallest_visible_drop: Drop of the pass rate that is detected with a power of 80 %, ratio 0 to 1; None if not
            even a drop to 0 is.
        cases_to_see_5_points: Cases that detect a drop of 5 points with that power; None if a million do not.
    """

    cases: int
    smallest_visible_drop: float | None
    cases_to_see_5_points: int | None


@dataclass(frozen=True, slots=True)
class Audit:
    """What the suite can and cannot detect."""

    blind_spots: Sequence[CoverageGap]
    sight: Mapping[Tier, DetectionLimit]


def audit(pairing: Pairing, comparison: Comparison, *, min_hard_failures: int) -> Audit:
    """
    Coverage gaps of the suite, gravest first.

    Args:
        pairing: Both runs.
        comparison: Estimates over the pairs.
        min_hard_failures: Failures of hard cases that each run needs for a share of failures.
    """
    tiers: dict[Tier, Stratum] = {t: stratum for t, stratum in comparison.tiers.items() if t is not Tier.UNTIERED}
    level = 1.0 - simultaneous(comparison.confidence, len(tiers))
    limits: dict[Tier, DetectionLimit] = {tier: _limit(stratum, level) for tier, stratum in tiers.items()}
    return Audit([*_of_tiers(comparison, min_hard_failures), *_of_limits(tiers, limits), *_of_runs(pairing)], limits)


def _of_tiers(comparison: Comparison, min_hard_failures: int) -> Iterator[CoverageGap]:
    tiers, all_cases = comparison.tiers, 0 if comparison.aggregate is None else comparison.aggregate.cases
    untiered = tiers[Tier.UNTIERED].cases if Tier.UNTIERED in tiers else 0
    cases = all_cases - untiered
    if not cases:
        text = f"No tier is known for any of {counted(all_cases, 'case')}: this report does not see a hard tier that "
        text += "is left behind."
        yield CoverageGap(GapKind.TIERS_UNKNOWN, text)
        return
    yield from _of_hard_tier(comparison.hard_tier, cases, min_hard_failures)
    if Tier.FRONTIER not in tiers:
        text = "No case is a frontier probe (failed by every model today): add a few, to see what an upgrade unlocks."
        yield CoverageGap(GapKind.NO_FRONTIER_CASES, text)
    if untiered:
        text = f"Without a tier, so in the aggregate only: {untiered:,} of {counted(all_cases, 'case')}."
        yield CoverageGap(GapKind.UNTIERED_CASES, text)


def _of_hard_tier(hard: Stratum | None, cases: int, min_failures: int) -> Iterator[CoverageGap]:
    hard_cases = 0 if hard is None else hard.cases
    missing = max(0, math.ceil(round((MIN_HARD_SHARE * cases - hard_cases) / (1.0 - MIN_HARD_SHARE), 9)))
    if hard is None:
        text = f"Not one of {counted(cases, 'case')} is hard: this suite cannot see a cliff. Add "
        text += f"{counted(missing, 'hard or adversarial case')} for {MIN_HARD_SHARE:.0%}."
        yield CoverageGap(GapKind.NO_HARD_CASES, text, missing)
        return
    if missing:
        text = f"Hard or adversarial: {hard.cases:,} of {counted(cases, 'case')} ({hard.cases / cases:.0%}), fewer "
        text += f"than {MIN_HARD_SHARE:.0%}, so the average hides them. Add {counted(missing, 'hard case')}."
        yield CoverageGap(GapKind.FEW_HARD_CASES, text, missing)
    fewest, name = min((hard.failures_before, "baseline"), (hard.failures_after, "candidate"))
    if fewest < min_failures:
        more = math.ceil((min_failures - fewest) * hard.cases / fewest) if fewest > 0 else None
        text = f"Too few hard cases fail to read a share of failures: {fewest:g} in the {name}, {min_failures} "
        text += "needed. " + ("Add harder cases." if more is None else f"Add {counted(more, 'hard case')}.")
        yield CoverageGap(GapKind.FEW_HARD_FAILURES, text, more)


def _limit(stratum: Stratum, level: float) -> DetectionLimit:
    churn = 2.0 * min(stratum.newly_failing, stratum.newly_passing) / stratum.cases
    return DetectionLimit(
        stratum.cases,
        smallest_visible_drop(cases=stratum.cases, churn=churn, level=level, power=_POWER),
        cases_to_see(_DROP_WORTH_SEEING, churn=churn, level=level, power=_POWER),
    )


def _of_limits(tiers: Mapping[Tier, Stratum], limits: Mapping[Tier, DetectionLimit]) -> Iterator[CoverageGap]:
    for tier in (each for each in TIERS if each in tiers):
        stratum, limit = tiers[tier], limits[tier]
        drop = limit.smallest_visible_drop
        is_saturated = min(stratum.before.estimate, stratum.after.estimate) >= SATURATED_PASS_RATE
        if not is_saturated and drop is not None and drop <= _LARGE_DROP:
            continue
        missing = None if limit.cases_to_see_5_points is None else max(0, limit.cases_to_see_5_points - limit.cases)
        add = f" Add {counted(missing, 'case')} to see one of {100 * _DROP_WORTH_SEEING:g} points." if missing else ""
        hidden = "any drop" if drop is None else f"a drop of up to {100 * drop:.1f} points"
        hidden, cases = f"{hidden} may", counted(limit.cases, "case")
        kind, problem = GapKind.LARGE_HIDDEN_DROP, f"has only {cases}:"
        if is_saturated:
            kind, both = GapKind.SATURATED_TIER, f"both versions pass at least {SATURATED_PASS_RATE:.0%} of {cases}"
            problem, hidden = f"is saturated: {both}, so it no longer distinguishes them;", f"{hidden} still"
        yield CoverageGap(kind, f"{tier.value} {problem} {hidden} go unseen.{add}", missing, tier)


def _of_runs(pairing: Pairing) -> Iterator[CoverageGap]:
    for name, run in (("baseline", pairing.baseline), ("candidate", pairing.candidate)):
        cases = run.cases.values()
        several = [case.key for case in cases if len(case.input_digests) > 1]
        if several:
            text = f"Ids of the {name} that stand for several questions: {len(several):,} ({some_of(several)}); give "
            text += "each question its own."
            yield CoverageGap(GapKind.DUPLICATE_IDS, text)
        repeated = sum(case.has_unnamed_repeats and len(case.input_digests) <= 1 for case in cases)
        if repeated:
            text = f"Ids that come more than once in the {name} without a repeat number, and count as repeats of one "
            text += f"case: {repeated:,}."
            yield CoverageGap(GapKind.DUPLICATE_IDS, text)
        unscored = [case.key for case in cases if case.unscored]
        if unscored:
            reasons = sorted({case.unscored_because for case in cases if case.unscored and case.unscored_because})
            because = f" ({', '.join(reasons[:3])})" if reasons else ""
            text = f"Without a score in the {name}{because}: {counted(len(unscored), 'case')}, unknown, not a success"
            yield CoverageGap(GapKind.UNSCORED_CASES, f"{text} ({some_of(unscored)}).")
    unpaired = pairing.unpaired
    for keys, what in (
        (unpaired.baseline_only, "in the baseline only"),
        (unpaired.candidate_only, "in the candidate only"),
        (unpaired.changed, "another question is asked under the same name"),
    ):
        if keys:
            text = f"Left out of the comparison, because {what}: {counted(len(keys), 'case')} ({some_of(keys)})."
            yield CoverageGap(GapKind.UNPAIRED_CASES, text)


def power_to_see(drop: float, *, cases: int, churn: float, level: float) -> float:
    """
    Power of McNemar's exact test to detect a drop of the pass rate, ratio 0 to 1.

    Args:
        drop: Newly failing minus newly passing cases, per case; ratio 0 to 1.
        cases: Cases that ran on both versions.
        churn: Cases that change sides without being part of the drop, half of them each way; ratio 0 to 1.
        level: Two-sided error rate of the test.

    Source:
        Duffy (1984), Biometrics 40:1005.
    """
    from scipy.stats import binom  # noqa: PLC0415  (every command would wait a second for this import)

    falling = min(drop + churn / 2, 1.0)
    rising = min(churn / 2, 1.0 - falling)
    moving = falling + rising
    if moving <= 0.0 or cases < 1:
        return 0.0
    spread = _TAIL_DEVIATIONS * math.sqrt(cases * moving * (1.0 - moving)) + 1.0
    moved = np.arange(max(0, math.floor(cases * moving - spread)), min(cases, math.ceil(cases * moving + spread)) + 1)
    # Fewest newly failing cases that are significant, by the number of cases that changed sides.
    needed = moved - binom.ppf(level / 2, moved, 0.5)
    needed = np.where(2.0 * binom.cdf(moved - needed, moved, 0.5) > level, needed + 1, needed)
    detected = np.where(needed <= moved, binom.sf(needed - 1, moved, falling / moving), 0.0)
    return float(binom.pmf(moved, cases, moving) @ detected)


def smallest_visible_drop(*, cases: int, churn: float, level: float, power: float) -> float | None:
    """Smallest drop that is detected with this *power*, ratio 0 to 1; None if not even a drop to 0 is."""
    step = _fewest(power, lambda each: power_to_see(each / _DROPS, cases=cases, churn=churn, level=level), _DROPS)
    return None if step is None else step / _DROPS


def cases_to_see(drop: float, *, churn: float, level: float, power: float) -> int | None:
    """Cases that detect *drop* with this *power*; None if a million do not."""
    return _fewest(power, lambda each: power_to_see(drop, cases=each, churn=churn, level=level), _MOST_CASES)


def _fewest(power: float, power_at: Callable[[int], float], most: int) -> int | None:
    """The least number up to *most* at which *power_at*, which grows with it, reaches *power*; None without one."""
    number = bisect_left(range(most + 1), power, key=power_at)
    return number if number <= most else None
