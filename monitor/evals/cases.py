"""Attempts as readers find them, the cases of a run, and the pairs of the same case in both runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from operator import add
from types import MappingProxyType
from typing import NamedTuple

import msgspec
from msgspec import structs

from monitor.difficulty.tiers import Tier
from monitor.trace.capability import UNCLASSIFIED
from monitor.trace.labels import clean_label
from monitor.trace.model import VARIANT_MARK, Request

MetadataValue = float | str
"""A fact about a case: a number or a short text."""


class CaseKey(msgspec.Struct, frozen=True, order=True, gc=False):
    """
    Names a case across runs.

    Attributes:
        task: The task or suite that the case belongs to; empty if the file names none.
        case_id: Its name within the task.
    """

    task: str
    case_id: str

    def __str__(self) -> str:
        return f"{self.task}/{self.case_id}" if self.task else self.case_id

    @property
    def canonical(self) -> CaseKey:
        """The case that this one is a variant of (`probes variants`); itself if it is no variant."""
        name, mark, number = self.case_id.rpartition(VARIANT_MARK)
        return CaseKey(self.task, name) if mark and number.isdecimal() else self


_NO_FACTS: Mapping[str, MetadataValue] = MappingProxyType({})
_UNNAMED = (None,)
_NO_AUDITS = (0, 0, 0, 0)


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """
    One answer of a model to one case, with its score.

    Attributes:
        key: The case.
        model: The model that answered; empty if the file does not name it.
        passed: Whether the answer passed; None without a score.
        repeat: The repeat of the case (such as an epoch), or None if it is asked once.
        capability: Class of the case; empty if unknown.
        failure: The reason of the failure in the suite's own words, or None.
        unscored_because: Why there is no score (`error`, `limit`, ...), or None with a score.
        input_text: The question, or None.
        input_digest: Hash of the question, to check that both runs asked the same; None if the file lacks the question.
        metadata: Facts about the case, such as its tier or capability, under the suite's own names.
        attempt_id: Id of this attempt, so that it counts once even if it is written twice; None without an id.
        variant: The prompt, if one suite asks the same cases with several prompts.
        human: Whether a person passed the answer, whatever *passed* is; None if no person checked it.
    """

    key: CaseKey
    model: str = ""
    passed: bool | None = None
    repeat: str | None = None
    capability: str = ""
    failure: str | None = None
    unscored_because: str | None = None
    input_text: str | None = None
    input_digest: str | None = None
    metadata: Mapping[str, MetadataValue] = _NO_FACTS
    attempt_id: str | None = None
    variant: str = ""
    human: bool | None = None


class Corrected(NamedTuple):
    """
    The pass rate of a case, corrected for the scorer's errors.

    Attributes:
        rate: Probability that it passes, ratio 0 to 1.
        plain_variance: Variance of one case of its tier if all scores were right.
        variance: The same with the uncertainty of the correction, which is large with few audits.
    """

    rate: float
    plain_variance: float
    variance: float


class Case(msgspec.Struct, frozen=True, gc=False):
    """
    All attempts of one run at one case.

    A case has a score if at least half of its attempts have one, and its pass rate is over those; otherwise it is
    unknown, and never a success. A person's verdict on an attempt overrides its score when the case is listed as lost
    or won (`audited_rate`); pass rates use scores, corrected by the audits of all cases (`human`).

    Attributes:
        scored: Attempts with a score.
        passed: Those that passed.
        unscored: Attempts without a score.
        failure: The reason of the last failed attempt, in the suite's words.
        input_digests: Hashes of the questions under this name; more than one means a duplicate id.
        repeats: `Attempt.repeat` of each attempt.
        input_text: The question, or None.
        audits: Audited attempts: those that failed, how many of these really fail, those that passed, how many of
            these really fail.
        corrected: The pass rate corrected for the scorer's errors; None if scores count as they are.
    """

    key: CaseKey
    capability: str
    scored: int
    passed: int
    unscored: int
    failure: str | None
    unscored_because: str | None
    input_digests: tuple[str, ...]
    metadata: Mapping[str, MetadataValue]
    repeats: tuple[str | None, ...]
    input_text: str | None
    audits: tuple[int, int, int, int] = _NO_AUDITS
    corrected: Corrected | None = None

    @property
    def has_unnamed_repeats(self) -> bool:
        """Whether several attempts have the same `repeat`, or none."""
        return len(set(self.repeats)) < len(self.repeats)

    @property
    def is_scored(self) -> bool:
        """Whether at least half of the attempts have a score."""
        return self.scored > 0 and self.scored >= self.unscored

    @property
    def audited_rate(self) -> float:
        """Passed per scored attempt (at least one), with people's verdicts in place of scores; ratio 0 to 1."""
        failed, do_fail, _, fail_after_all = self.audits
        return (self.passed + failed - do_fail - fail_after_all) / self.scored

    @property
    def rate(self) -> float:
        """Pass rate of the case, corrected if scores were audited; ratio 0 to 1."""
        return self.passed / self.scored if self.corrected is None else self.corrected.rate

    def settled(self, *, passed: bool, lost: int = 0) -> Case:
        """The case as if its attempts without a score, except for *lost* ones, had all passed or all failed."""
        attempts, passing = self.scored + self.unscored - lost, (self.unscored - lost) * passed
        new = self.corrected and self.corrected._replace(rate=(self.corrected.rate * self.scored + passing) / attempts)
        return structs.replace(self, scored=attempts, passed=self.passed + passing, unscored=0, corrected=new)

    @property
    def is_flaky(self) -> bool:
        """Whether it passed some attempts and failed others."""
        return 0 < self.passed < self.scored


@dataclass(frozen=True, slots=True)
class Run:
    """
    One model on one suite.

    Attributes:
        model: Empty if the files do not name it.
        families: Cases that have variants: each as written, paired with all its variants together. Variants are in no
            other list.
    """

    model: str
    cases: Mapping[CaseKey, Case]
    families: Sequence[Pair] = ()


class CaseFold:
    """Adds attempts up to cases one by one; an attempt that is written twice counts once."""

    def __init__(self) -> None:
        self.cases: dict[CaseKey, Case] = {}
        self._counted: set[tuple[CaseKey, str]] = set()

    def add(self, attempt: Attempt) -> None:
        """Count *attempt* for its case."""
        if attempt.attempt_id is not None:
            if (attempt.key, attempt.attempt_id) in self._counted:
                return
            self._counted.add((attempt.key, attempt.attempt_id))
        earlier = self.cases.get(attempt.key)
        self.cases[attempt.key] = _case(attempt) if earlier is None else merged(earlier, _case(attempt))


def runs_of(attempts: Iterable[Attempt]) -> Mapping[str, Run]:
    """The runs of *attempts*, by model."""
    by_model: dict[str, CaseFold] = defaultdict(CaseFold)
    for attempt in attempts:
        by_model[attempt.model].add(attempt)
    return {model: Run(model, fold.cases) for model, fold in sorted(by_model.items())}


def merged(one: Case, other: Case) -> Case:
    """Both parts of one case's attempts together; *other* came later."""
    return Case(
        key=one.key,
        capability=one.capability or other.capability,
        scored=one.scored + other.scored,
        passed=one.passed + other.passed,
        unscored=one.unscored + other.unscored,
        failure=other.failure or one.failure,
        unscored_because=other.unscored_because or one.unscored_because,
        input_digests=tuple(dict.fromkeys(one.input_digests + other.input_digests)),
        metadata=one.metadata if one.metadata == other.metadata else {**one.metadata, **other.metadata},
        repeats=one.repeats + other.repeats,
        input_text=one.input_text or other.input_text,
        audits=tuple(map(add, one.audits, other.audits)),
    )


def _case(attempt: Attempt) -> Case:
    return Case(
        key=attempt.key,
        capability=attempt.capability,
        scored=int(attempt.passed is not None),
        passed=int(bool(attempt.passed)),
        unscored=int(attempt.passed is None),
        failure=attempt.failure if attempt.passed is False else None,
        unscored_because=attempt.unscored_because,
        input_digests=() if attempt.input_digest is None else (attempt.input_digest,),
        metadata=attempt.metadata,
        repeats=_UNNAMED if attempt.repeat is None else (attempt.repeat,),
        input_text=attempt.input_text,
        audits=_audits(attempt),
    )


def _audits(attempt: Attempt) -> tuple[int, int, int, int]:
    if attempt.passed is None or attempt.human is None:
        return _NO_AUDITS
    fails = int(not attempt.human)
    return (0, 0, 1, fails) if attempt.passed else (1, fails, 0, 0)


def request_of(key: CaseKey, capability: str, text: str | None) -> Request:
    """
    The request of a case, the same for every tool that ran it.

    Metadata is left out, because it may hold measurements of the answer.
    """
    return Request(capability=clean_label(capability) or UNCLASSIFIED, request_id=str(key), text=text)


class Grade(NamedTuple):
    """
    Difficulty of one case.

    Attributes:
        tier: `untiered` if unknown.
        difficulty_logit: Logit of failing for the average version, or None if only a label is known.
        difficulty_variance: Variance of *difficulty_logit*, logits squared.
    """

    tier: Tier
    difficulty_logit: float | None = None
    difficulty_variance: float = 0.0


UNGRADED = Grade(Tier.UNTIERED)


class Pair(msgspec.Struct, frozen=True, gc=False):
    """One case with a score in both runs, and its difficulty."""

    baseline: Case
    candidate: Case
    grade: Grade = UNGRADED

    @property
    def key(self) -> CaseKey:
        return self.baseline.key

    @property
    def tier(self) -> Tier:
        """Tier of the case; `untiered` if unknown."""
        return self.grade.tier

    @property
    def capability(self) -> str:
        """Capability class of the case; empty if neither run names it."""
        return self.baseline.capability or self.candidate.capability

    @property
    def before(self) -> float:
        """The baseline's pass rate, ratio 0 to 1."""
        return self.baseline.rate

    @property
    def after(self) -> float:
        """The candidate's pass rate, ratio 0 to 1."""
        return self.candidate.rate

    @property
    def is_flaky(self) -> bool:
        """Whether a run passed some attempts and failed others; variants are not repeats."""
        return self.baseline.is_flaky or (self.candidate.is_flaky and self.candidate.key == self.key)

    @property
    def is_failing(self) -> bool:
        """Whether at most half of the candidate's attempts pass."""
        return self.candidate.audited_rate <= _HALF

    @property
    def is_newly_failing(self) -> bool:
        """Whether most attempts passed in the baseline but not in the candidate."""
        return self.baseline.audited_rate > _HALF and self.is_failing

    @property
    def is_newly_passing(self) -> bool:
        """Whether most attempts pass in the candidate but not in the baseline."""
        return self.candidate.audited_rate > _HALF >= self.baseline.audited_rate


_HALF = 0.5


@dataclass(frozen=True, slots=True)
class Unpaired:
    """
    Cases left out of the comparison, by reason; each is in one list only.

    Attributes:
        baseline_only: In the baseline's files only.
        candidate_only: In the candidate's files only.
        unscored: In both, but without a score in one of them.
        changed: In both under one name, but with another question.
    """

    baseline_only: Sequence[CaseKey]
    candidate_only: Sequence[CaseKey]
    unscored: Sequence[CaseKey]
    changed: Sequence[CaseKey]


@dataclass(frozen=True, slots=True)
class Pairing:
    """Both runs, the cases that can be compared, and those that cannot."""

    baseline: Run
    candidate: Run
    pairs: Sequence[Pair]
    unpaired: Unpaired

    @property
    def unknown_after(self) -> Sequence[CaseKey]:
        """Cases with a score in the baseline for which the candidate has none, or more attempts without one."""
        return [
            key
            for key, case in self.baseline.cases.items()
            if case.is_scored and ((after := self.candidate.cases.get(key)) is None or after.unscored > case.unscored)
        ]

    @property
    def is_complete(self) -> bool:
        """Whether no case or attempt is without a score, and the candidate has every case of the baseline."""
        cases = (case for run in (self.baseline, self.candidate) for case in run.cases.values())
        return not self.unpaired.baseline_only and not any(case.unscored for case in cases)

    def worst_case(self) -> Sequence[Pair]:
        """
        The pairs as if everything unknown had failed in the candidate and passed in the baseline.

        Cases without a score in either run, and cases that the baseline lacks, are left out.
        """
        after, changed = self.candidate.cases, set(self.unpaired.changed)
        known = sorted(self.baseline.cases.items())
        pairs = (_worst(before, after.get(key)) for key, before in known if key not in changed)
        return [pair for pair in pairs if pair is not None]


def pair_runs(baseline: Run, candidate: Run) -> Pairing:
    """Pairs the cases of both runs by their keys; the others are unpaired."""
    if any(VARIANT_MARK in key.case_id for run in (baseline, candidate) for key in run.cases):
        named = {*baseline.cases, *candidate.cases}
        baseline, candidate = (_in_families(run, named) for run in (baseline, candidate))
    before, after = baseline.cases, candidate.cases
    both = sorted(before.keys() & after.keys())
    digests = ((key, before[key].input_digests, after[key].input_digests) for key in both)
    changed = {key: None for key, old, new in digests if old and new and set(old).isdisjoint(new)}
    same = [(before[key], after[key]) for key in both if key not in changed]
    return Pairing(
        baseline,
        candidate,
        [Pair(one, other) for one, other in same if one.is_scored and other.is_scored],
        Unpaired(
            baseline_only=sorted(before.keys() - after.keys()),
            candidate_only=sorted(after.keys() - before.keys()),
            unscored=[one.key for one, other in same if not one.is_scored or not other.is_scored],
            changed=list(changed),
        ),
    )


def _in_families(run: Run, named: AbstractSet[CaseKey]) -> Run:
    """
    *run* with the variants of *named* cases moved to `Run.families`.

    Variants of a case are correlated like repeats: counted as cases, they would make every bound too narrow.
    """
    cases: dict[CaseKey, Case] = {}
    variants: dict[CaseKey, Case] = {}
    for key, case in run.cases.items():
        name = key.canonical
        if name is key or name not in named:
            cases[key] = case
        else:
            variants[name] = merged(variants[name], case) if name in variants else case
    families = [Pair(cases[name], each) for name, each in variants.items() if name in cases]
    return Run(run.model, cases, [pair for pair in families if pair.baseline.is_scored and pair.candidate.is_scored])


def _worst(before: Case, after: Case | None) -> Pair | None:
    if not before.is_scored and (after is None or not after.is_scored):
        return None
    # Attempts without a score in both runs carry no information on the change.
    lost = min(before.unscored, after.unscored) if after is not None and before.scored and after.scored else 0
    passed = before.settled(passed=True, lost=lost)
    failed = structs.replace(passed, passed=0, corrected=None, audits=_NO_AUDITS)
    return Pair(passed, failed if after is None else after.settled(passed=False, lost=lost))
