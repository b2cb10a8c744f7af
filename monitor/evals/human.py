"""Corrects pass rates for the scorer's errors, where people checked some of its scores, as live rollouts do."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping

from msgspec import structs

from monitor.difficulty.tiers import Tier
from monitor.evals.cases import Case, CaseKey, Corrected, Pairing, Run, pair_runs
from monitor.labels.source_verdicts import PatternCount
from monitor.rollout.cohort import Arm, Cohort, Stratum
from monitor.rollout.labelling import Labelling, weigh_labels
from monitor.rollout.verdict import CountBy

TierOf = Callable[[CaseKey], Tier]
_FAILED, _PASSED = "f", "p"


def corrected(
    pairing: Pairing, tier_of: TierOf, *, error_rate: float, is_asked: bool = False
) -> tuple[Pairing, Labelling | None]:
    """
    *pairing* with pass rates corrected for the scorer's errors, and what the audits are worth.

    Without an audit the second is None, unless somebody asked for it. With too few audits, rates stay as counted.

    Args:
        pairing: Both runs.
        tier_of: Tier of a case; each arm and tier is corrected by itself (docs/labels.md).
        error_rate: Chance that a bound of the scorer's errors is wrong.
        is_asked: Whether somebody named the column of the audits.
    """
    runs = (pairing.baseline, pairing.candidate)
    if not is_asked and not any(any(case.audits) for run in runs for case in run.cases.values()):
        return pairing, None
    before, after = (_arm(run, tier_of) for run in runs)
    labelling = weigh_labels(Cohort(before, after, ""), error_rate=error_rate)
    if labelling.arms[0].count_by is CountBy.AUDITS:
        arms = (labelling.cohort.baseline, labelling.cohort.candidate)
        pairing = pair_runs(*(_corrected_run(run, arm, tier_of) for run, arm in zip(runs, arms, strict=True)))
    return pairing, labelling


def _arm(run: Run, tier_of: TierOf) -> Arm:
    by_score: dict[tuple[Tier, str], Counter[str]] = defaultdict(Counter)  # verdicts of people
    for key, case in run.cases.items():
        tier, failed, (checked, do_fail, checked_passes, fail) = tier_of(key), case.scored - case.passed, case.audits
        by_score[tier, _FAILED].update({"-": failed - checked, _FAILED: do_fail, _PASSED: checked - do_fail})
        passes = {"-": case.passed - checked_passes, _FAILED: fail, _PASSED: checked_passes - fail}
        by_score[tier, _PASSED].update(passes)
    return Arm(run.model, [_stratum(*kind, human) for kind, human in by_score.items() if human.total()])


def _stratum(tier: Tier, score: str, human: Counter[str]) -> Stratum:
    """Attempts of one tier with the same *score*, which takes the place of a live stratum's capability."""
    patterns = []
    for verdict, count in human.items():
        failures, audited = count * ((score if verdict == "-" else verdict) == _FAILED), count * (verdict != "-")
        patterns.append(PatternCount(f"--{score}{verdict}", count, count, failures, count, count, audited, audited))
    return Stratum(tier, score, 0, True, human.total(), human.total(), 0, 0.0, 0.0, by_pattern=patterns)


def _corrected_run(run: Run, arm: Arm, tier_of: TierOf) -> Run:
    by_tier: dict[Tier, dict[str, Stratum]] = defaultdict(dict)
    for stratum in arm.strata:
        by_tier[stratum.tier][stratum.capability] = stratum
    rates = {tier: _rates(by_score) for tier, by_score in by_tier.items()}
    cases = {key: _corrected_case(c, *rates[tier_of(key)]) if c.scored else c for key, c in run.cases.items()}
    return Run(run.model, cases)


def _rates(by_score: Mapping[str, Stratum]) -> tuple[Mapping[str, float], float, float]:
    """True pass rate of attempts by their score; then the variance of one case without and with correction."""
    pass_rate = {score: 1.0 - stratum.evidence[1] / stratum.evidence[0] for score, stratum in by_score.items()}
    attempts = sum(stratum.requests for stratum in by_score.values())
    passed = sum(pass_rate[score] * stratum.requests for score, stratum in by_score.items())
    smoothed = (passed + 0.5) / (attempts + 1.0)
    plain = smoothed * (1.0 - smoothed)
    return pass_rate, plain, plain * attempts / sum(stratum.evidence[0] for stratum in by_score.values())


def _corrected_case(case: Case, pass_rate: Mapping[str, float], plain: float, with_correction: float) -> Case:
    checked, do_fail, checked_passes, fail_after_all = case.audits
    passed = float(checked - do_fail + checked_passes - fail_after_all)  # people's verdicts count as they are
    passed += (case.passed - checked_passes) * pass_rate.get(_PASSED, 1.0)
    passed += (case.scored - case.passed - checked) * pass_rate.get(_FAILED, 0.0)
    return structs.replace(case, corrected=Corrected(passed / case.scored, plain, with_correction))
