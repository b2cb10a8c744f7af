"""Whether the suite can see a cliff at all, and what it would take."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from monitor.difficulty.tiers import TIERS, Tier
from monitor.evals.cases import Pairing, Run
from monitor.evals.comparison import Comparison, Stratum, simultaneous
from monitor.evals.words import counted, some_of

_TAIL_DEVIATIONS = 9.0
_MOST_CASES = 1_000_000
_FINEST_DROP = 1e-4


MIN_HARD_SHARE = 0.30
"""Share of hard or adversarial cases from which a suite can tell a cliff from noise."""

MIN_HARD_FAILURES = 30
"""Hard-tier failures that each run needs, as for a verdict on live traffic (docs/verdicts.md)."""

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


def audit(pairing: Pairing, comparison: Comparison) -> Audit:
    """Blind spots of the suite that *comparison* stands on, gravest first."""
    tiers: dict[Tier, Stratum] = {t: stratum for t, stratum in comparison.tiers.items() if t is not Tier.UNTIERED}
    level = 1.0 - simultaneous(comparison.confidence, len(tiers))
    sight: dict[Tier, Sight] = {tier: _sight(stratum, level) for tier, stratum in tiers.items()}
    found = [*_of_tiers(comparison)]
    found += _of_sight(tiers, sight)
    found += _of_runs(pairing)
    return Audit(found, sight)


def _of_tiers(comparison: Comparison) -> Iterator[BlindSpot]:
    tiers, all_cases = comparison.tiers, 0 if comparison.aggregate is None else comparison.aggregate.cases
    untiered = tiers[Tier.UNTIERED].cases if Tier.UNTIERED in tiers else 0
    cases = all_cases - untiered
    if not set(tiers) - {Tier.UNTIERED}:
        yield BlindSpot(
            Blindness.TIERS_UNKNOWN,
            f"No tier is known for any of {counted(all_cases, 'case')}: this report does not see a hard tier that is "
            "left behind.",
        )
        return
    hard = comparison.hard_tier
    if hard is None:
        yield BlindSpot(
            Blindness.NO_HARD_CASES,
            f"Not one of {counted(cases, 'case')} is hard: this suite cannot see a cliff. Add "
            f"{counted(_to_reach_share(0, cases), 'hard or adversarial case')} for {MIN_HARD_SHARE:.0%}.",
            _to_reach_share(0, cases),
        )
    else:
        yield from _of_hard_tier(hard, cases)
    if Tier.FRONTIER not in tiers:
        yield BlindSpot(
            Blindness.NO_FRONTIER_CASES,
            "No case is a frontier probe (failed by every model today): add a few, to see what an upgrade unlocks.",
        )
    if untiered:
        yield BlindSpot(
            Blindness.UNTIERED_CASES,
            f"Without a tier, so in the aggregate only: {untiered:,} of {counted(all_cases, 'case')}.",
        )


def _of_hard_tier(hard: Stratum, cases: int) -> Iterator[BlindSpot]:
    if hard.cases < MIN_HARD_SHARE * cases:
        missing = _to_reach_share(hard.cases, cases)
        yield BlindSpot(
            Blindness.FEW_HARD_CASES,
            f"Hard or adversarial: {hard.cases:,} of {counted(cases, 'case')} ({hard.cases / cases:.0%}), fewer than "
            f"{MIN_HARD_SHARE:.0%}, so the average hides them. Add {counted(missing, 'hard case')}.",
            missing,
        )
    fewest, name = min((hard.failures_before, "baseline"), (hard.failures_after, "candidate"))
    if fewest < MIN_HARD_FAILURES:
        rate = fewest / hard.cases
        more = math.ceil((MIN_HARD_FAILURES - fewest) / rate) if rate > 0 else None
        add = "Add harder cases." if more is None else f"Add {counted(more, 'hard case')}."
        yield BlindSpot(
            Blindness.FEW_HARD_FAILURES,
            f"Too few hard cases fail to read a share of failures: {fewest:g} in the {name}, {MIN_HARD_FAILURES} "
            f"needed. {add}",
            more,
        )


def _to_reach_share(hard: int, cases: int) -> int:
    """Hard cases to add until they are 30 % of the suite."""
    return max(0, math.ceil(round((MIN_HARD_SHARE * cases - hard) / (1.0 - MIN_HARD_SHARE), 9)))


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
            told, hidden = f"is saturated: {both}, so it tells them apart no more;", f"{hidden} still"
        yield BlindSpot(kind, f"{tier.value} {told} {hidden} go unseen.{add}", missing, tier)


def _of_runs(pairing: Pairing) -> Iterator[BlindSpot]:
    for name, run in (("baseline", pairing.baseline), ("candidate", pairing.candidate)):
        duplicates = [str(case.key) for case in run.cases.values() if len(case.input_digests) > 1]
        if duplicates:
            yield BlindSpot(
                Blindness.DUPLICATE_IDS,
                f"Ids of the {name} that stand for several questions: {len(duplicates):,} ({some_of(duplicates)}); "
                "give each question its own.",
            )
        repeated = sum(case.has_unnamed_repeats and len(case.input_digests) <= 1 for case in run.cases.values())
        if repeated:
            yield BlindSpot(
                Blindness.DUPLICATE_IDS,
                f"Ids that come more than once in the {name} without a repeat number, and count as repeats of one "
                f"case: {repeated:,}.",
            )
        yield from _unscored(name, run)
    unpaired = pairing.unpaired
    for keys, what in (
        (unpaired.baseline_only, "in the baseline only"),
        (unpaired.candidate_only, "in the candidate only"),
        (unpaired.changed, "another question is asked under the same name"),
    ):
        if keys:
            yield BlindSpot(
                Blindness.UNPAIRED_CASES,
                f"Left out of the comparison, since {what}: {counted(len(keys), 'case')} "
                f"({some_of([str(key) for key in keys])}).",
            )


def _unscored(name: str, run: Run) -> Iterator[BlindSpot]:
    unscored = [case for case in run.cases.values() if case.unscored]
    if unscored:
        reasons = sorted({case.unscored_because for case in unscored if case.unscored_because})
        because = f" ({', '.join(reasons[:3])})" if reasons else ""
        yield BlindSpot(
            Blindness.UNSCORED_CASES,
            f"Without a score in the {name}{because}: {counted(len(unscored), 'case')}, unknown and no success "
            f"({some_of([str(case.key) for case in unscored])}).",
        )


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
    if power_to_see(1.0, cases=cases, churn=0.0, level=level) < power:
        return None
    hidden, seen = 0.0, 1.0
    while seen - hidden > _FINEST_DROP:
        middle = (hidden + seen) / 2
        if power_to_see(middle, cases=cases, churn=churn, level=level) < power:
            hidden = middle
        else:
            seen = middle
    return seen


def cases_to_see(drop: float, *, churn: float, level: float, power: float) -> int | None:
    """Fewest cases that show a drop of *drop* with a chance of *power*; None where a million do not."""
    few, enough = 0, 1
    while power_to_see(drop, cases=enough, churn=churn, level=level) < power:
        few, enough = enough, 2 * enough
        if enough > _MOST_CASES:
            return None
    while enough - few > max(1, enough // 200):  # the power is no smooth function of the cases: half a percent will do
        middle = (few + enough) // 2
        if power_to_see(drop, cases=middle, churn=churn, level=level) < power:
            few = middle
        else:
            enough = middle
    return enough
