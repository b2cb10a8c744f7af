"""Whether the suite can see a cliff at all, and what it would take."""

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
_DROPS = 10_000  # looked at, a hundredth of a point apart


MIN_HARD_SHARE = 0.30
"""Share of hard or adversarial cases from which a suite can tell a cliff from noise."""

SATURATED_PASS_RATE = 0.97
_POWER = 0.80
_DROP_WORTH_SEEING = 0.05
_LARGE_DROP = 0.20


class Blindness(StrEnum):
    """What keeps a suite from seeing a cliff."""

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
class BlindSpot:
    """
    One thing that the suite cannot see.

    Attributes:
        sentence: What it is, and by how much.
        cases_to_add: Cases that would mend it, or None where cases do not.
    """

    kind: Blindness
    sentence: str
    cases_to_add: int | None = None
    tier: Tier | None = None


@dataclass(frozen=True, slots=True)
class Sight:
    """
    What a tier's cases can show.

    Attributes:
        smallest_visible_drop: Drop of the pass rate that is seen four times in five, ratio 0 to 1; None where not even
            a drop to nothing is.
        cases_to_see_5_points: Cases that would show a drop of 5 points as often; None where a million do not.
    """

    cases: int
    smallest_visible_drop: float | None
    cases_to_see_5_points: int | None


@dataclass(frozen=True, slots=True)
class Audit:
    """What the suite can and cannot see."""

    blind_spots: Sequence[BlindSpot]
    sight: Mapping[Tier, Sight]


def audit(pairing: Pairing, comparison: Comparison, *, min_hard_failures: int) -> Audit:
    """Blind spots of the suite that *comparison* stands on, gravest first; a share needs *min_hard_failures* a run."""
    tiers: dict[Tier, Stratum] = {t: stratum for t, stratum in comparison.tiers.items() if t is not Tier.UNTIERED}
    level = 1.0 - simultaneous(comparison.confidence, len(tiers))
    sight: dict[Tier, Sight] = {tier: _sight(stratum, level) for tier, stratum in tiers.items()}
    return Audit([*_of_tiers(comparison, min_hard_failures), *_of_sight(tiers, sight), *_of_runs(pairing)], sight)


def _of_tiers(comparison: Comparison, min_hard_failures: int) -> Iterator[BlindSpot]:
    tiers, all_cases = comparison.tiers, 0 if comparison.aggregate is None else comparison.aggregate.cases
    untiered = tiers[Tier.UNTIERED].cases if Tier.UNTIERED in tiers else 0
    cases = all_cases - untiered
    if not cases:
        told = f"No tier is known for any of {counted(all_cases, 'case')}: this report does not see a hard tier that "
        told += "is left behind."
        yield BlindSpot(Blindness.TIERS_UNKNOWN, told)
        return
    yield from _of_hard_tier(comparison.hard_tier, cases, min_hard_failures)
    if Tier.FRONTIER not in tiers:
        told = "No case is a frontier probe (failed by every model today): add a few, to see what an upgrade unlocks."
        yield BlindSpot(Blindness.NO_FRONTIER_CASES, told)
    if untiered:
        told = f"Without a tier, so in the aggregate only: {untiered:,} of {counted(all_cases, 'case')}."
        yield BlindSpot(Blindness.UNTIERED_CASES, told)


def _of_hard_tier(hard: Stratum | None, cases: int, min_failures: int) -> Iterator[BlindSpot]:
    hard_cases = 0 if hard is None else hard.cases
    missing = max(0, math.ceil(round((MIN_HARD_SHARE * cases - hard_cases) / (1.0 - MIN_HARD_SHARE), 9)))
    if hard is None:
        told = f"Not one of {counted(cases, 'case')} is hard: this suite cannot see a cliff. Add "
        told += f"{counted(missing, 'hard or adversarial case')} for {MIN_HARD_SHARE:.0%}."
        yield BlindSpot(Blindness.NO_HARD_CASES, told, missing)
        return
    if missing:
        told = f"Hard or adversarial: {hard.cases:,} of {counted(cases, 'case')} ({hard.cases / cases:.0%}), fewer "
        told += f"than {MIN_HARD_SHARE:.0%}, so the average hides them. Add {counted(missing, 'hard case')}."
        yield BlindSpot(Blindness.FEW_HARD_CASES, told, missing)
    fewest, name = min((hard.failures_before, "baseline"), (hard.failures_after, "candidate"))
    if fewest < min_failures:
        more = math.ceil((min_failures - fewest) * hard.cases / fewest) if fewest > 0 else None
        told = f"Too few hard cases fail to read a share of failures: {fewest:g} in the {name}, {min_failures} "
        told += "needed. " + ("Add harder cases." if more is None else f"Add {counted(more, 'hard case')}.")
        yield BlindSpot(Blindness.FEW_HARD_FAILURES, told, more)


def _sight(stratum: Stratum, level: float) -> Sight:
    churn = 2.0 * min(stratum.newly_failing, stratum.newly_passing) / stratum.cases
    return Sight(
        stratum.cases,
        smallest_visible_drop(cases=stratum.cases, churn=churn, level=level, power=_POWER),
        cases_to_see(_DROP_WORTH_SEEING, churn=churn, level=level, power=_POWER),
    )


def _of_sight(tiers: Mapping[Tier, Stratum], sight: Mapping[Tier, Sight]) -> Iterator[BlindSpot]:
    for tier in (each for each in TIERS if each in tiers):
        stratum, seen = tiers[tier], sight[tier]
        drop = seen.smallest_visible_drop
        is_saturated = min(stratum.before.estimate, stratum.after.estimate) >= SATURATED_PASS_RATE
        if not is_saturated and drop is not None and drop <= _LARGE_DROP:
            continue
        missing = None if seen.cases_to_see_5_points is None else max(0, seen.cases_to_see_5_points - seen.cases)
        add = f" Add {counted(missing, 'case')} to see one of {100 * _DROP_WORTH_SEEING:g} points." if missing else ""
        hidden = "any drop" if drop is None else f"a drop of up to {100 * drop:.1f} points"
        hidden, cases = f"{hidden} may", counted(seen.cases, "case")
        kind, told = Blindness.LARGE_HIDDEN_DROP, f"has only {cases}:"
        if is_saturated:
            kind, both = Blindness.SATURATED_TIER, f"both versions pass at least {SATURATED_PASS_RATE:.0%} of {cases}"
            told, hidden = f"is saturated: {both}, so it no longer tells them apart;", f"{hidden} still"
        yield BlindSpot(kind, f"{tier.value} {told} {hidden} go unseen.{add}", missing, tier)


def _of_runs(pairing: Pairing) -> Iterator[BlindSpot]:
    for name, run in (("baseline", pairing.baseline), ("candidate", pairing.candidate)):
        cases = run.cases.values()
        several = [case.key for case in cases if len(case.input_digests) > 1]
        if several:
            told = f"Ids of the {name} that stand for several questions: {len(several):,} ({some_of(several)}); give "
            told += "each question its own."
            yield BlindSpot(Blindness.DUPLICATE_IDS, told)
        repeated = sum(case.has_unnamed_repeats and len(case.input_digests) <= 1 for case in cases)
        if repeated:
            told = f"Ids that come more than once in the {name} without a repeat number, and count as repeats of one "
            told += f"case: {repeated:,}."
            yield BlindSpot(Blindness.DUPLICATE_IDS, told)
        unscored = [case.key for case in cases if case.unscored]
        if unscored:
            reasons = sorted({case.unscored_because for case in cases if case.unscored and case.unscored_because})
            because = f" ({', '.join(reasons[:3])})" if reasons else ""
            told = f"Without a score in the {name}{because}: {counted(len(unscored), 'case')}, unknown, not a success"
            yield BlindSpot(Blindness.UNSCORED_CASES, f"{told} ({some_of(unscored)}).")
    unpaired = pairing.unpaired
    for keys, what in (
        (unpaired.baseline_only, "in the baseline only"),
        (unpaired.candidate_only, "in the candidate only"),
        (unpaired.changed, "another question is asked under the same name"),
    ):
        if keys:
            told = f"Left out of the comparison, because {what}: {counted(len(keys), 'case')} ({some_of(keys)})."
            yield BlindSpot(Blindness.UNPAIRED_CASES, told)


def power_to_see(drop: float, *, cases: int, churn: float, level: float) -> float:
    """
    Chance that McNemar's exact test shows a drop of the pass rate.

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
    # The fewest newly failing cases that are significant among so many that moved.
    needed = moved - binom.ppf(level / 2, moved, 0.5)
    needed = np.where(2.0 * binom.cdf(moved - needed, moved, 0.5) > level, needed + 1, needed)
    seen = np.where(needed <= moved, binom.sf(needed - 1, moved, falling / moving), 0.0)
    return float(binom.pmf(moved, cases, moving) @ seen)


def smallest_visible_drop(*, cases: int, churn: float, level: float, power: float) -> float | None:
    """Smallest drop that is seen with a chance of *power*, ratio 0 to 1; None where not even a drop to nothing is."""
    step = _fewest(power, lambda each: power_to_see(each / _DROPS, cases=cases, churn=churn, level=level), _DROPS)
    return None if step is None else step / _DROPS


def cases_to_see(drop: float, *, churn: float, level: float, power: float) -> int | None:
    """Cases from which on a drop of *drop* is seen with a chance of *power*; None where a million do not show it."""
    return _fewest(power, lambda each: power_to_see(drop, cases=each, churn=churn, level=level), _MOST_CASES)


def _fewest(power: float, seen: Callable[[int], float], most: int) -> int | None:
    """The least number, up to *most*, at which the chance of being *seen*, which grows, is *power*."""
    found = bisect_left(range(most + 1), power, key=seen)
    return found if found <= most else None
