"""
Attempts as a reader finds them, the cases that they make up, and the same case of both runs beside each other.
"""

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
        task: The task or suite that the case belongs to; empty where the file names none.
        case_id: Its name within the task.
    """

    task: str
    case_id: str

    def __str__(self) -> str:
        return f"{self.task}/{self.case_id}" if self.task else self.case_id

    @property
    def canonical(self) -> CaseKey:
        """The case that this one is a variant of (`probes variants`); itself where it is none."""
        name, mark, number = self.case_id.rpartition(VARIANT_MARK)
        return CaseKey(self.task, name) if mark and number.isdecimal() else self


_NO_FACTS: Mapping[str, MetadataValue] = MappingProxyType({})
_UNNAMED = (None,)
_NO_AUDITS = (0, 0, 0, 0)


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """
    One answer of a model to one case, and what the suite thought of it.

    Attributes:
        key: The case.
        model: The model that answered; empty where the file does not say.
        passed: Whether the answer passed; None where it was not scored.
        repeat: What tells repeats of a case apart (an epoch), or None where it is asked once.
        capability: Class of the case; empty if it is not known.
        failure: What went wrong in the suite's own words, or None.
        unscored_because: Why there is no score (`error`, `limit`, ...), or None where there is one.
        input_text: What was asked, or None.
        input_digest: Tells whether two runs asked the same, or None where the file does not hold the question.
        metadata: Facts about the case that tell its tier or capability, names as the suite has them.
        attempt_id: Names this very attempt, so that it counts once though written twice; None where nothing does.
        variant: The prompt, where one suite asks the same cases with several.
        human: Whether a person who checked the answer passes it, whatever *passed* says; None where nobody did.
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


class Belief(NamedTuple):
    """
    What a case counts as in a pass rate, once people have checked the scores.

    Attributes:
        rate: Chance that it passes, ratio 0 to 1.
        plain, known: Variance of one case of its tier, and as it counts in a rate: few audits leave doubt.
    """

    rate: float
    plain: float
    known: float


class Case(msgspec.Struct, frozen=True, gc=False):
    """
    Everything that one run did on one case.

    A case has a score where at least half of its attempts have one, and its pass rate is over those; otherwise it is
    unknown, and never a success. Of an answer that a person checked, their word stands; rates rest on the score alone,
    and on what the audits of all cases say of it (`human`).

    Attributes:
        scored: Attempts with a score.
        passed: Those that passed.
        unscored: Attempts without a score.
        failure: What went wrong in the last failed attempt, in the suite's words.
        input_digests: Questions that went under this name; more than one is a duplicate id.
        repeats: What tells the attempts apart, one entry each.
        input_text: What was asked, or None.
        audits: Attempts that a person checked: failed ones, how many of them do fail, and the same of passed ones.
        belief: What it counts as once the scorer's errors are allowed for; None where it is taken at its word.
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
    belief: Belief | None = None

    @property
    def has_unnamed_repeats(self) -> bool:
        """Attempts of the same repeat, or without any, came more than once."""
        return len(set(self.repeats)) < len(self.repeats)

    @property
    def is_scored(self) -> bool:
        """At least half of the attempts have a score."""
        return self.scored > 0 and self.scored >= self.unscored

    @property
    def standing(self) -> float:
        """Passed per scored attempt by the word that stands, ratio 0 to 1; of a case that has a scored attempt."""
        failed, do_fail, _, fail_after_all = self.audits
        return (self.passed + failed - do_fail - fail_after_all) / self.scored

    @property
    def rate(self) -> float:
        """What the case counts as in a pass rate, ratio 0 to 1."""
        return self.passed / self.scored if self.belief is None else self.belief.rate

    def settled(self, *, passed: bool, lost: int = 0) -> Case:
        """The case if its attempts without a score, but for those *lost*, had passed, or had failed."""
        attempts, passing = self.scored + self.unscored - lost, (self.unscored - lost) * passed
        believed = self.belief and self.belief._replace(rate=(self.belief.rate * self.scored + passing) / attempts)
        return structs.replace(self, scored=attempts, passed=self.passed + passing, unscored=0, belief=believed)

    @property
    def is_flaky(self) -> bool:
        """Passed some attempts and failed others."""
        return 0 < self.passed < self.scored


@dataclass(frozen=True, slots=True)
class Run:
    """
    One model on one suite.

    Attributes:
        model: Empty where the files do not name it.
        families: Cases that have variants: as written, beside all variants together. These are in no other list.
    """

    model: str
    cases: Mapping[CaseKey, Case]
    families: Sequence[Pair] = ()


class CaseFold:
    """Attempts folded into cases as they come; one that is written twice counts once."""

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
    """The runs that *attempts* make up, by model."""
    by_model: dict[str, CaseFold] = defaultdict(CaseFold)
    for attempt in attempts:
        by_model[attempt.model].add(attempt)
    return {model: Run(model, fold.cases) for model, fold in sorted(by_model.items())}


def merged(one: Case, other: Case) -> Case:
    """Two parts of the attempts of one case together; the second came later."""
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
    The request that a case asks, the same whichever tool ran it.

    Metadata is left out: nobody can tell what was known before the model answered from what was measured afterwards.
    """
    return Request(capability=clean_label(capability) or UNCLASSIFIED, request_id=str(key), text=text)


class Grade(NamedTuple):
    """
    How hard one case is.

    Attributes:
        tier: `untiered` if it is not known.
        difficulty_logit: Logit of failing for the average version, or None where only a label is known.
        difficulty_variance: Variance of it, logits squared.
    """

    tier: Tier
    difficulty_logit: float | None = None
    difficulty_variance: float = 0.0


UNGRADED = Grade(Tier.UNTIERED)


class Pair(msgspec.Struct, frozen=True, gc=False):
    """One case with a score in both runs, and how hard it is."""

    baseline: Case
    candidate: Case
    grade: Grade = UNGRADED

    @property
    def key(self) -> CaseKey:
        """The case."""
        return self.baseline.key

    @property
    def tier(self) -> Tier:
        """How hard it is; `untiered` if it is not known."""
        return self.grade.tier

    @property
    def capability(self) -> str:
        """Its class; empty where neither run says."""
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
        """A run passed some attempts and failed others; variants are no repeats."""
        return self.baseline.is_flaky or (self.candidate.is_flaky and self.candidate.key == self.key)

    @property
    def is_failing(self) -> bool:
        """At most half of the candidate's attempts pass."""
        return self.candidate.standing <= _HALF

    @property
    def is_newly_failing(self) -> bool:
        """Most attempts passed before, and no longer do."""
        return self.baseline.standing > _HALF and self.is_failing

    @property
    def is_newly_passing(self) -> bool:
        """Most attempts pass now, and did not before."""
        return self.candidate.standing > _HALF >= self.baseline.standing


_HALF = 0.5


@dataclass(frozen=True, slots=True)
class Unpaired:
    """
    Cases that say nothing about the change, by reason; each is in one list only.

    Attributes:
        baseline_only: In the baseline's files alone.
        candidate_only: In the candidate's files alone.
        unscored: In both, but without a score in one of them: unknown, and not counted as a success.
        changed: In both under one name, but another question was asked.
    """

    baseline_only: Sequence[CaseKey]
    candidate_only: Sequence[CaseKey]
    unscored: Sequence[CaseKey]
    changed: Sequence[CaseKey]


@dataclass(frozen=True, slots=True)
class Pairing:
    """Both runs, what of them can be compared, and what cannot."""

    baseline: Run
    candidate: Run
    pairs: Sequence[Pair]
    unpaired: Unpaired

    @property
    def unknown_after(self) -> Sequence[CaseKey]:
        """Cases of which the baseline has a score and the candidate has none, or lost more attempts."""
        return [
            key
            for key, case in self.baseline.cases.items()
            if case.is_scored and ((after := self.candidate.cases.get(key)) is None or after.unscored > case.unscored)
        ]

    @property
    def is_complete(self) -> bool:
        """No case or attempt that one of the runs has is unknown in the candidate, or in the baseline."""
        cases = (case for run in (self.baseline, self.candidate) for case in run.cases.values())
        return not self.unpaired.baseline_only and not any(case.unscored for case in cases)

    def worst_case(self) -> Sequence[Pair]:
        """
        The pairs if whatever the candidate leaves unknown failed, and whatever the baseline leaves unknown passed.

        A case that neither run has a score for says nothing of either, and one that the baseline never had is new.
        """
        after, changed = self.candidate.cases, set(self.unpaired.changed)
        known = sorted(self.baseline.cases.items())
        pairs = (_worst(before, after.get(key)) for key, before in known if key not in changed)
        return [pair for pair in pairs if pair is not None]


def pair_runs(baseline: Run, candidate: Run) -> Pairing:
    """Every case of both runs, beside its counterpart or among the unpaired."""
    if any(VARIANT_MARK in key.case_id for run in (baseline, candidate) for key in run.cases):
        named = {*baseline.cases, *candidate.cases}
        baseline, candidate = (_in_families(run, named) for run in (baseline, candidate))
    before, after = baseline.cases, candidate.cases
    both = sorted(before.keys() & after.keys())
    digests = ((key, before[key].input_digests, after[key].input_digests) for key in both)
    changed = {key: None for key, asked, now in digests if asked and now and set(asked).isdisjoint(now)}
    left = [(before[key], after[key]) for key in both if key not in changed]
    return Pairing(
        baseline,
        candidate,
        [Pair(one, other) for one, other in left if one.is_scored and other.is_scored],
        Unpaired(
            baseline_only=sorted(before.keys() - after.keys()),
            candidate_only=sorted(after.keys() - before.keys()),
            unscored=[one.key for one, other in left if not one.is_scored or not other.is_scored],
            changed=list(changed),
        ),
    )


def _in_families(run: Run, named: AbstractSet[CaseKey]) -> Run:
    """
    *run* with the variants of the cases *named* in families of their own.

    Variants are as alike as repeats: among the cases, they would make every bound too narrow.
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
    # Attempts that both runs lost say nothing of either.
    lost = min(before.unscored, after.unscored) if after is not None and before.scored and after.scored else 0
    passed = before.settled(passed=True, lost=lost)
    failed = structs.replace(passed, passed=0, belief=None, audits=_NO_AUDITS)
    return Pair(passed, failed if after is None else after.settled(passed=False, lost=lost))
