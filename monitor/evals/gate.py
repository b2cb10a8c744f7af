"""Checks a report against the rules that a team agreed on; an undecided rule counts as broken unless configured."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Literal, TypeVar

import numpy as np
from pydantic import AfterValidator, Field

from monitor.config.file import Problem, read_settings
from monitor.config.settings import Settings
from monitor.difficulty.tiers import HARD_TIER, TIERS, Tier
from monitor.errors import ConfigInvalid
from monitor.evals.cases import Case, Pair
from monitor.evals.comparison import Rates, efficiency, pass_rate
from monitor.evals.formats.reading import text_of
from monitor.evals.report import EvalReport
from monitor.rollout.verdict import Interval
from monitor.rollout.wording import capitalised, counted, percent, points, points_of, some_of

_Name = Annotated[str, AfterValidator(text_of)]
"""A name, normalised as in result files."""

_Ratio = Annotated[float, Field(ge=0, le=1)]
_TierName = Literal["easy", "medium", "hard", "frontier", "hard_tier"]


class FloorRule(Settings):
    """
    A lower limit of the candidate's pass rate in a tier, a capability class, both, or the whole suite.

    *tier* `hard_tier` is hard and frontier together; *by* is the number that is compared with the floor.
    """

    pass_rate: _Ratio
    tier: _TierName | None = None
    capability: _Name | None = None
    by: Literal["estimate", "lower_bound"] = "estimate"
    agreed_by: str = ""
    agreed_on: str = ""


class Limits(Settings):
    """
    Upper limits; those left out are not checked.

    *newly_failing* (cases that passed and fail now) and *drop* (of the pass rate, 0 to 1) are by tier, `hard_tier`,
    `all` or capability class.
    """

    hard_share_of_failures: Annotated[float | None, Field(ge=0, le=1)] = None
    excess_over_uniform_gain: Annotated[float | None, Field(ge=-1, le=1)] = None
    newly_failing: Mapping[_Name, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    drop: Mapping[_Name, _Ratio] = Field(default_factory=dict)


class Floors(Settings):
    """
    All rules of a gate.

    Attributes:
        verdict: Verdicts that open the gate; a regression never does.
        must_pass: Cases, by name or as `task/name`, that the candidate has to pass.
        undecided: Whether a rule that cannot be decided stops the candidate.
        unscored: How a case without a score counts against a floor.
    """

    floors: tuple[FloorRule, ...] = ()
    limits: Limits = Limits()
    verdict: Annotated[tuple[Literal["ok", "cliff", "waiting"], ...], Field(min_length=1)] = ("ok", "cliff", "waiting")
    must_pass: tuple[_Name, ...] = ()
    undecided: Literal["fails", "passes"] = "fails"
    unscored: Literal["fails", "left_out"] = "fails"


def read_floors(name: str, content: bytes) -> Floors:
    """
    The rules in a YAML file.

    Raises:
        ConfigInvalid: with a line for everything that is wrong.
    """
    floors = read_settings(Floors, name, content)
    has_verdict = "verdict" in floors.model_fields_set
    if not has_verdict and floors == Floors(undecided=floors.undecided, unscored=floors.unscored):
        problem = "holds no rule, so nothing would be checked: add verdict, floors, limits or must_pass"
        raise ConfigInvalid(Problem(1, (), problem).of(name))
    return floors


_SHOWN = 5
_HARD = "hard_tier"
_CLASS = "capability:"
_TIER_NAMES = frozenset({_HARD, *(tier.value for tier in TIERS)})
_HALF = 0.5
_ROUNDING = 1e-9
_Counted = TypeVar("_Counted", Case, Pair)


_SHARES: Mapping[str, tuple[str, str, Callable[[float], str], str]] = {
    "hard_share_of_failures": ("hard share of failures", "candidate", percent, "hard tier has {} of the failures"),
    "excess_over_uniform_gain": (
        *("excess over a uniform gain", "excess"),
        *(points, "share changed by {} beyond a uniform gain"),
    ),
}
"""By limit: name of the quantity, its field in `ShareReport`, its format, and the sentence about it."""


class RuleState(StrEnum):
    """The result of checking a rule."""

    KEPT = "kept"
    BROKEN = "broken"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class CheckedRule:
    """
    The result of one rule.

    Attributes:
        name: The rule in a few words; stable, so that a CI recognises it in the next run.
        sentence: The observed value and the limit, one sentence.
    """

    name: str
    state: RuleState
    sentence: str


@dataclass(frozen=True, slots=True)
class GateResult:
    """
    The results of all rules, kept ones last.

    Attributes:
        floors: Agreed floor by tier (`hard_tier` is hard and frontier together, `all` the whole suite), ratio.
    """

    rules: Sequence[CheckedRule]
    undecided_fails: bool
    floors: Mapping[str, float] = field(default_factory=dict)

    @property
    def broken(self) -> Sequence[CheckedRule]:
        """Rules that stop the candidate."""
        return [rule for rule in self.rules if self.stops(rule)]

    def stops(self, rule: CheckedRule) -> bool:
        """Whether *rule* stops the candidate."""
        return rule.state is RuleState.BROKEN or (self.undecided_fails and rule.state is RuleState.UNDECIDED)

    @property
    def is_open(self) -> bool:
        """Whether no rule stops the candidate."""
        return not self.broken


def check(report: EvalReport, floors: Floors) -> GateResult:
    """Checks *report* against each rule of *floors*."""
    of_tiers = (floor for floor in floors.floors if floor.capability is None)
    limits: dict[str, float] = {floor.tier or "all": floor.pass_rate for floor in of_tiers}
    rules = sorted(_Checker(report, floors).rules(), key=lambda rule: rule.state is RuleState.KEPT)
    return GateResult(rules, undecided_fails=floors.undecided == "fails", floors=limits)


class _Checker:
    """Checks one report against one file of rules."""

    def __init__(self, report: EvalReport, floors: Floors) -> None:
        self._report, self._floors = report, floors
        self._counts_unscored = floors.unscored == "fails"
        self._worst = report.worst_pairs if self._counts_unscored else report.pairs
        tiering = report.tiering
        self._by_name: dict[str, list[Case]] = defaultdict(list)
        for key, case in report.pairing.candidate.cases.items():
            for name in {str(key), key.case_id}:
                self._by_name[name].append(case)
        # An iterator, so that only the first sentence that needs a tier explains why there is none.
        self._why_no_tiers = iter(() if tiering.has_tiers else (tiering.explanation, *tiering.notes))

    def rules(self) -> Iterator[CheckedRule]:
        """Every rule, the verdict first."""
        limits = self._floors.limits
        yield self._verdict()
        yield from self._unknown()
        yield from map(self._floor, self._floors.floors)
        yield from self._share()
        yield from (self._newly_failing(name, most) for name, most in limits.newly_failing.items())
        yield from (self._drop(name, most) for name, most in limits.drop.items())
        yield from map(self._must_pass, self._floors.must_pass)

    def _verdict(self) -> CheckedRule:
        *others, last = self._floors.verdict
        allowed = f"{', '.join(others)} or {last}" if others else last
        verdict = self._report.verdict.value
        sentence = f"The verdict is {verdict}; the gate opens on {allowed}."
        return _rule(f"verdict is {allowed}", sentence, is_kept=verdict in self._floors.verdict)

    def _unknown(self) -> Iterator[CheckedRule]:
        """
        The rule on cases without a score.

        It is broken if they decide the verdict; with `unscored: left_out`, only if they make it a regression.
        """
        report = self._report
        if not report.pairing.unknown_after:
            return
        worst = report.worst_case.judged()
        may_regress = any(stratum.has_fallen for name, stratum in worst.items() if name not in report.scope)
        matters = self._counts_unscored or may_regress or report.comparison.aggregate is None
        decided = report.decided_by_unknown if matters else None
        sentence = decided or "Cases without a score do not turn the verdict."
        yield _rule("no verdict by cases without a score", sentence, is_kept=decided is None)

    def _floor(self, floor: FloorRule) -> CheckedRule:
        what, least = _words(floor.tier, floor.capability), percent(floor.pass_rate)
        name = f"pass rate of {what} at least {least}"
        pairing = self._report.pairing
        cases = self._within(pairing.candidate.cases.values(), floor.tier, floor.capability)
        cases = [case for case in cases if self._counts_unscored or case.is_scored]
        absent = [pairing.baseline.cases[key] for key in pairing.unpaired.baseline_only if self._counts_unscored]
        missing = self._within(absent, floor.tier, floor.capability)
        rate, worst = self._rate(cases, 0), self._rate(cases, len(missing))
        if rate is None or worst is None:
            where = f"{'is' if self._counts_unscored else 'has a score'} in the candidate"
            return self._undecided(name, _no_case(what, where), floor.tier)
        is_bound = floor.by == "lower_bound"
        observed, at_worst = ((interval.lower if is_bound else interval.estimate) for interval in (rate, worst))
        sentence = f"{capitalised(what)} passes {percent(rate.estimate)} of {counted(len(cases), 'case')}"
        sentence += f", at least {percent(rate.lower)}" * is_bound
        unscored = sum(case.unscored > 0 for case in cases) if self._counts_unscored else 0
        sentence += f", {unscored:,} of them without a score and counted as failed" * bool(unscored)
        if observed < floor.pass_rate:
            agreed = f", agreed by {floor.agreed_by}" * bool(floor.agreed_by)
            agreed += f" on {floor.agreed_on}" * bool(floor.agreed_on)
            return _rule(name, f"{sentence}, below the floor of {least}{agreed}.", is_kept=False)
        is_undecided = at_worst < floor.pass_rate
        sentence += f", but {percent(at_worst)} if the {counted(len(missing), 'missing case')} failed" * is_undecided
        return _rule(name, f"{sentence}; the floor is {least}.", is_kept=True, is_undecided=is_undecided)

    def _rate(self, cases: Sequence[Case], missing: int) -> Interval | None:
        """Pass rate over *cases* and *missing* failed ones; attempts without a score count as the rules configure."""
        settled = [case.settled(passed=False) if self._counts_unscored else case for case in cases]
        if not len(settled) + missing:
            return None
        attempts = np.array([case.scored for case in settled] + [1] * missing, dtype=np.int64)
        rates = np.array([case.rate for case in settled] + [0.0] * missing)
        confidence = self._report.comparison.confidence
        return pass_rate(Rates(rates, attempts, efficiency(settled) if settled else 1.0), confidence=confidence)

    def _share(self) -> Iterator[CheckedRule]:
        share = self._report.comparison.share
        for limit, (what, field_name, words, template) in _SHARES.items():
            most = getattr(self._floors.limits, limit)
            if most is None:
                continue
            name = f"{what} at most {words(most)}"
            if share is None:
                yield self._undecided(name, f"The {what} is not known.", _HARD)
            else:
                observed = getattr(share, field_name).estimate
                sentence = f"The {template.format(words(observed))}; the limit is {words(most)}."
                yield _rule(name, sentence, is_kept=observed <= most)

    def _within(self, cases: Iterable[_Counted], tier: str | None, capability: str | None) -> Sequence[_Counted]:
        """*cases* in a tier and a class; None stands for all."""
        tiers = None if tier is None else HARD_TIER if tier == _HARD else {Tier(tier)}
        of_class = (case for case in cases if capability in {None, case.capability})
        return [case for case in of_class if tiers is None or self._report.tiering.tier_of(case.key) in tiers]

    def _newly_failing(self, scope: str, most: int) -> CheckedRule:
        of, words = _parts(scope), _words(*_parts(scope))
        name = f"at most {most} newly failing in {words}"
        worst = self._within(self._worst, *of)
        failing = [str(pair.key) for pair in self._within(self._report.pairs, *of) if pair.is_newly_failing]
        known = set(failing)
        possible = [str(pair.key) for pair in worst if pair.is_newly_failing and str(pair.key) not in known]
        if not worst:
            return self._undecided(name, _no_case(words, "ran on both"), of[0])
        sentence = f"Passed and fail now in {words}: {counted(len(failing), 'case')}"
        sentence += f" ({some_of(failing, _SHOWN)})" * bool(failing) + f"; the limit is {most}."
        is_undecided = len(failing) <= most < len(failing) + len(possible)
        if is_undecided:
            named = some_of(possible, _SHOWN)
            sentence = f"No score in the candidate for cases that the baseline passes in {words}: {named}; run them."
        return _rule(name, sentence, is_kept=len(failing) <= most, is_undecided=is_undecided)

    def _drop(self, scope: str, most: float) -> CheckedRule:
        of, words = _parts(scope), _words(*_parts(scope))
        name = f"pass rate of {words} falls by at most {points_of(most)}"
        pairs = self._within(self._report.pairs, *of)
        if not pairs:
            return self._undecided(name, _no_case(words, "ran on both"), of[0])
        (before, after), at_worst = _mean_rates(pairs), _mean_rates(self._within(self._worst, *of))
        drop, drop_at_worst = before - after, at_worst[0] - at_worst[1]
        sentence = f"{capitalised(words)} passes {percent(before)} → {percent(after)}, {points(-drop)}"
        is_undecided = drop <= most + _ROUNDING < drop_at_worst
        sentence += f", but {points(-drop_at_worst)} if what has no score failed" * is_undecided
        sentence += f"; the limit is {points(-most)}."
        return _rule(name, sentence, is_kept=drop <= most + _ROUNDING, is_undecided=is_undecided)

    def _must_pass(self, case_name: str) -> CheckedRule:
        name = f"{case_name} passes"
        named = self._by_name.get(case_name, ())
        failed = [case for case in named if case.is_scored and case.audited_rate <= _HALF]
        if failed:
            failure = next((f" ({case.failure})" for case in failed if case.failure), "")
            return _rule(name, f"{case_name} must pass but fails{failure}.", is_kept=False)
        if not named or not all(case.is_scored for case in named):
            problem = "has no score in" if named else "is not in"
            return self._undecided(name, f"{case_name} must pass but {problem} the candidate's results.")
        return _rule(name, f"{case_name} passes.", is_kept=True)

    def _undecided(self, name: str, sentence: str, tier: str | None = None) -> CheckedRule:
        """A rule without data; the first about a *tier* says why there are no tiers."""
        return _rule(name, " ".join((sentence, *(self._why_no_tiers if tier else ()))), is_kept=True, is_undecided=True)


def _rule(name: str, sentence: str, *, is_kept: bool, is_undecided: bool = False) -> CheckedRule:
    state = RuleState.UNDECIDED if is_undecided else RuleState.KEPT
    return CheckedRule(name, state if is_kept else RuleState.BROKEN, sentence)


def _mean_rates(pairs: Sequence[Pair]) -> tuple[float, float]:
    return float(np.mean([pair.before for pair in pairs])), float(np.mean([pair.after for pair in pairs]))


def _parts(scope: str) -> tuple[str | None, str | None]:
    """The tier and the class of a limit's scope."""
    if scope == "all":
        return None, None
    return (scope, None) if scope in _TIER_NAMES else (None, scope.removeprefix(_CLASS))


def _words(tier: str | None, capability: str | None) -> str:
    of_tier = None if tier is None else "the hard tier" if tier == _HARD else f"tier {tier}"
    of_class = None if capability is None else f"class {capability}"
    return " of ".join(filter(None, (of_tier, of_class))) or "the whole suite"


def _no_case(words: str, predicate: str) -> str:
    return f"No case of {words} {predicate}.".replace(" of the whole suite", "")
