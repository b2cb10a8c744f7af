"""Whether a report keeps what a team agreed on beforehand; what cannot be decided is broken, unless told otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from monitor.difficulty.tiers import HARD_TIER, Tier
from monitor.evals.cases import Case, CaseKey
from monitor.evals.comparison import Stratum
from monitor.evals.floors import By, FloorRule, Floors
from monitor.evals.paired import pass_rate
from monitor.evals.report import EvalReport
from monitor.evals.words import counted, percent, points
from monitor.rollout.comparison import Interval

_SHOWN = 5
_HARD = "hard_tier"


class RuleState(StrEnum):
    """What became of a rule."""

    KEPT = "kept"
    BROKEN = "broken"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class CheckedRule:
    """
    One rule beside the report.

    Attributes:
        name: The rule in a few words; stable, so that a CI can tell it from run to run.
        sentence: What was found, one sentence.
    """

    name: str
    state: RuleState
    sentence: str


@dataclass(frozen=True, slots=True)
class GateResult:
    """
    Every rule, and whether the report may pass.

    Attributes:
        floors: Lowest pass rate agreed on by tier (`hard_tier` is hard and frontier together, `all` everything), ratio.
    """

    rules: Sequence[CheckedRule]
    undecided_fails: bool
    floors: Mapping[str, float] = field(default_factory=dict)

    @property
    def broken(self) -> Sequence[CheckedRule]:
        """Rules that stop the candidate."""
        stopping = {RuleState.BROKEN, RuleState.UNDECIDED} if self.undecided_fails else {RuleState.BROKEN}
        return [rule for rule in self.rules if rule.state in stopping]

    @property
    def is_open(self) -> bool:
        """Nothing stops the candidate."""
        return not self.broken


def check(report: EvalReport, floors: Floors) -> GateResult:
    """Each rule of *floors* beside *report*."""
    rules = [
        *(_check_floor(report, floor, unscored_fails=floors.unscored == "fails") for floor in floors.floors),
        *_check_share(report, floors),
        *(_check_newly_failing(report, tier, most) for tier, most in floors.limits.newly_failing.items()),
        *(_check_drop(report, tier, most) for tier, most in floors.limits.drop.items()),
        *(_check_must_pass(report, name) for name in floors.must_pass),
    ]
    limits: dict[str, float] = {
        floor.tier or "all": floor.pass_rate for floor in floors.floors if floor.capability is None
    }
    return GateResult(rules, undecided_fails=floors.undecided == "fails", floors=limits)


def _check_floor(report: EvalReport, floor: FloorRule, *, unscored_fails: bool) -> CheckedRule:
    what = " of ".join(word for word in (_tier_words(floor.tier), floor.capability) if word) or "everything"
    name = f"pass rate of {what} at least {percent(floor.pass_rate)}"
    cases = [case for key, case in report.pairing.candidate.cases.items() if _belongs(report, key, case, floor)]
    if not unscored_fails:
        cases = [case for case in cases if case.scored]
    rate = _pass_rate(cases, report.comparison.confidence)
    if rate is None:
        return _undecided(name, f"No case of {what} is in the candidate.", report)
    is_bound = floor.by is By.LOWER_BOUND
    reached = f"{_first_upper(what)} passes {percent(rate.estimate)} of {counted(len(cases), 'case')}"
    reached += f", at least {percent(rate.lower)}" * is_bound
    if (rate.lower if is_bound else rate.estimate) >= floor.pass_rate:
        return CheckedRule(name, RuleState.KEPT, f"{reached}; the floor is {percent(floor.pass_rate)}.")
    agreed = f", agreed by {floor.agreed_by}" * bool(floor.agreed_by)
    agreed += f" on {floor.agreed_on}" * bool(floor.agreed_on)
    return CheckedRule(name, RuleState.BROKEN, f"{reached}, below the floor of {percent(floor.pass_rate)}{agreed}.")


def _belongs(report: EvalReport, key: CaseKey, case: Case, floor: FloorRule) -> bool:
    if floor.capability is not None and case.capability != floor.capability:
        return False
    return floor.tier is None or _is_in(report.tiering.tier_of(key), floor.tier)


def _is_in(tier: Tier, name: str) -> bool:
    return tier in HARD_TIER if name == _HARD else tier.value == name


def _pass_rate(cases: Sequence[Case], confidence: float) -> Interval | None:
    """Pass rate over *cases*; attempts without a score count as failed."""
    attempts = np.array([case.scored + case.unscored for case in cases], dtype=np.int64)
    if not attempts.sum():
        return None
    rates = np.array([case.passed for case in cases]) / attempts
    return pass_rate(rates, attempts, confidence=confidence)


def _check_share(report: EvalReport, floors: Floors) -> Iterator[CheckedRule]:
    share, limits = report.comparison.share, floors.limits
    if limits.hard_share_of_failures is not None:
        most = limits.hard_share_of_failures
        name = f"hard share of failures at most {percent(most)}"
        if share is None:
            yield _undecided(name, "The hard tier's share of failures is not known.", report)
        else:
            told = (
                f"The hard tier has {percent(share.candidate.estimate)} of the failures; the limit is {percent(most)}."
            )
            yield CheckedRule(name, _kept_if(share.candidate.estimate <= most), told)
    if limits.excess_over_uniform_gain is not None:
        most = limits.excess_over_uniform_gain
        name = f"excess over a uniform gain at most {points(most)}"
        if share is None:
            yield _undecided(name, "The excess over a uniform gain is not known.", report)
        else:
            excess = share.excess.estimate
            told = f"The share changed by {points(excess)} beyond a uniform gain; the limit is {points(most)}."
            yield CheckedRule(name, _kept_if(excess <= most), told)


def _check_newly_failing(report: EvalReport, tier: str, most: int) -> CheckedRule:
    words = _tier_words(tier)
    name = f"at most {most} newly failing in {words}"
    if _stratum(report, tier) is None:
        return _undecided(name, f"No case of {words} ran on both.", report)
    pairs = [pair for pair in report.tiering.tiered(report.pairing.pairs) if _is_in(pair.tier, tier)]
    failing = [str(pair.key) for pair in pairs if pair.is_newly_failing]
    unseen = _unseen(report, tier)
    if len(failing) <= most and unseen:
        told = f"No score in the candidate for what the baseline passes in {words}: {_named(unseen)}; run them."
        return CheckedRule(name, RuleState.UNDECIDED, told)
    told = f"Passed and fail now in {words}: {counted(len(failing), 'case')}"
    told += f" ({_named(failing)})" * bool(failing)
    return CheckedRule(name, _kept_if(len(failing) <= most), f"{told}; the limit is {most}.")


def _unseen(report: EvalReport, tier: str) -> Sequence[str]:
    """Cases that the baseline passes and of which the candidate says nothing."""
    after = report.pairing.candidate.cases
    return [
        str(key)
        for key, case in report.pairing.baseline.cases.items()
        if case.passed * 2 > case.scored
        and (key not in after or not after[key].scored)
        and _is_in(report.tiering.tier_of(key), tier)
    ]


def _check_drop(report: EvalReport, tier: str, most: float) -> CheckedRule:
    name = f"pass rate of {_tier_words(tier)} falls by at most {points(most).removeprefix('+')}"
    stratum = _stratum(report, tier)
    if stratum is None:
        return _undecided(name, f"No case of {_tier_words(tier)} ran on both.", report)
    rates = f"{percent(stratum.before.estimate)} → {percent(stratum.after.estimate)}"
    told = (
        f"{_first_upper(_tier_words(tier))} passes {rates}, {points(stratum.change.estimate)}; the limit is "
        f"{points(-most)}."
    )
    return CheckedRule(name, _kept_if(-stratum.change.estimate <= most), told)


def _check_must_pass(report: EvalReport, case_name: str) -> CheckedRule:
    name = f"{case_name} passes"
    found = [case for key, case in report.pairing.candidate.cases.items() if case_name in {str(key), key.case_id}]
    if not any(case.scored for case in found):
        told = "is not in the candidate's results" if not found else "has no score in the candidate's results"
        return CheckedRule(name, RuleState.UNDECIDED, f"{case_name} has to pass and {told}.")
    failed = [case for case in found if not case.scored or 2 * case.passed <= case.scored]
    if failed:
        failure = next((f" ({case.failure})" for case in failed if case.failure), "")
        return CheckedRule(name, RuleState.BROKEN, f"{case_name} has to pass and fails{failure}.")
    return CheckedRule(name, RuleState.KEPT, f"{case_name} passes.")


def _stratum(report: EvalReport, tier: str) -> Stratum | None:
    if tier == _HARD:
        return report.comparison.hard_tier
    return report.comparison.tiers.get(Tier(tier))


def _undecided(name: str, sentence: str, report: EvalReport) -> CheckedRule:
    because = "" if report.tiering.is_told else f" {' '.join((report.tiering.explanation, *report.tiering.notes))}"
    return CheckedRule(name, RuleState.UNDECIDED, f"{sentence}{because}")


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")


def _tier_words(tier: str | None) -> str:
    if tier is None:
        return ""
    return "the hard tier" if tier == _HARD else f"tier {tier}"


def _kept_if(is_kept: bool) -> RuleState:  # noqa: FBT001  (the one fact that it turns into a state)
    return RuleState.KEPT if is_kept else RuleState.BROKEN


def _first_upper(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}"
