"""What people who checked the scores say of them: pass rates without the scorer's errors, as in live rollouts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping

from msgspec import structs

from monitor.difficulty.tiers import Tier
from monitor.evals.cases import Belief, Case, CaseKey, Pairing, Run, pair_runs
from monitor.labels.source_verdicts import SaidCount
from monitor.rollout.cohort import Arm, Cohort, Stratum
from monitor.rollout.labelling import Labelling, weigh_labels
from monitor.rollout.verdict import CountBy

TierOf = Callable[[CaseKey], Tier]
_FAILED, _PASSED = "f", "p"


def corrected(
    pairing: Pairing, tier_of: TierOf, *, error_rate: float, is_asked: bool = False
) -> tuple[Pairing, Labelling | None]:
    """
    *pairing* with pass rates that allow for the scorer's errors, and what the audits are worth.

    Without an audit there is nothing to say (None), unless it is asked for. With too few, rates stay as counted.

    Args:
        pairing: Both runs.
        tier_of: Each arm and tier is corrected by itself (docs/labels.md).
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
        pairing = pair_runs(*(_believed(run, arm, tier_of) for run, arm in zip(runs, arms, strict=True)))
    return pairing, labelling


def _arm(run: Run, tier_of: TierOf) -> Arm:
    heard: dict[tuple[Tier, str], Counter[str]] = defaultdict(Counter)
    for key, case in run.cases.items():
        tier, failed, (checked, do_fail, checked_passes, fail) = tier_of(key), case.scored - case.passed, case.audits
        heard[tier, _FAILED].update({"-": failed - checked, _FAILED: do_fail, _PASSED: checked - do_fail})
        passes = {"-": case.passed - checked_passes, _FAILED: fail, _PASSED: checked_passes - fail}
        heard[tier, _PASSED].update(passes)
    return Arm(run.model, [_stratum(tier, word, human) for (tier, word), human in heard.items() if human.total()])


def _stratum(tier: Tier, word: str, human: Counter[str]) -> Stratum:
    """Attempts of one tier that the score failed, or passed: the *word* stands where a live stratum has its class."""
    said = []
    for spoken, count in human.items():
        failures, audited = count * ((word if spoken == "-" else spoken) == _FAILED), count * (spoken != "-")
        said.append(SaidCount(f"--{word}{spoken}", count, count, failures, count, count, audited, audited))
    return Stratum(tier, word, 0, True, human.total(), human.total(), 0, 0.0, 0.0, said=said)


def _believed(run: Run, arm: Arm, tier_of: TierOf) -> Run:
    by_tier: dict[Tier, dict[str, Stratum]] = defaultdict(dict)
    for stratum in arm.strata:
        by_tier[stratum.tier][stratum.capability] = stratum
    rates = {tier: _rates(words) for tier, words in by_tier.items()}
    cases = {key: _of(case, *rates[tier_of(key)]) if case.scored else case for key, case in run.cases.items()}
    return Run(run.model, cases)


def _rates(words: Mapping[str, Stratum]) -> tuple[Mapping[str, float], float, float]:
    """How often what the score failed, and what it passed, passes; and the variances of one case."""
    passing = {word: 1.0 - stratum.evidence[1] / stratum.evidence[0] for word, stratum in words.items()}
    attempts = sum(stratum.requests for stratum in words.values())
    passed = sum(passing[word] * stratum.requests for word, stratum in words.items())
    smoothed = (passed + 0.5) / (attempts + 1.0)
    plain = smoothed * (1.0 - smoothed)
    return passing, plain, plain * attempts / sum(stratum.evidence[0] for stratum in words.values())


def _of(case: Case, passing: Mapping[str, float], plain: float, known: float) -> Case:
    checked, do_fail, checked_passes, fail_after_all = case.audits
    passed = float(checked - do_fail + checked_passes - fail_after_all)  # what people said is known
    passed += (case.passed - checked_passes) * passing.get(_PASSED, 1.0)
    passed += (case.scored - case.passed - checked) * passing.get(_FAILED, 0.0)
    return structs.replace(case, belief=Belief(passed / case.scored, plain, known))
