"""The same case of two runs beside each other, and the cases that have no counterpart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from msgspec import structs

from monitor.difficulty.tiers import Tier
from monitor.evals.cases import Case, CaseKey, Run


class Pair(msgspec.Struct, frozen=True, gc=False):
    """
    One case with a score in both runs.

    Attributes:
        tier: How hard it is; `untiered` where nobody says.
        difficulty_logit: Logit of failing for the average version, or None where only a label is known.
        difficulty_variance: Variance of it, logits squared.
    """

    key: CaseKey
    capability: str
    baseline: Case
    candidate: Case
    tier: Tier = Tier.UNTIERED
    difficulty_logit: float | None = None
    difficulty_variance: float = 0.0

    @property
    def before(self) -> float:
        """The baseline's pass rate, ratio 0 to 1."""
        return self.baseline.passed / self.baseline.scored

    @property
    def after(self) -> float:
        """The candidate's pass rate, ratio 0 to 1."""
        return self.candidate.passed / self.candidate.scored

    @property
    def is_flaky(self) -> bool:
        """A run passed some attempts and failed others."""
        return self.baseline.is_flaky or self.candidate.is_flaky

    @property
    def is_newly_failing(self) -> bool:
        """Most attempts passed before, and no longer do."""
        return self.before > _HALF >= self.after

    @property
    def is_newly_passing(self) -> bool:
        """Most attempts pass now, and did not before."""
        return self.after > _HALF >= self.before


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
        """Cases of which the baseline has a score and the candidate has none, or is without some attempts."""
        return [
            key
            for key, case in self.baseline.cases.items()
            if case.is_scored and ((after := self.candidate.cases.get(key)) is None or after.unscored)
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
        after = self.candidate.cases
        changed = set(self.unpaired.changed)
        pairs = (
            _worst(before, after.get(key)) for key, before in sorted(self.baseline.cases.items()) if key not in changed
        )
        return [pair for pair in pairs if pair is not None]


def pair_runs(baseline: Run, candidate: Run) -> Pairing:
    """Every case of both runs, beside its counterpart or among the unpaired."""
    before, after = baseline.cases, candidate.cases
    both = sorted(set(before) & set(after))
    changed = [key for key in both if _asks_something_else(before[key], after[key])]
    left = set(both) - set(changed)
    unscored = sorted(key for key in left if not before[key].is_scored or not after[key].is_scored)
    return Pairing(
        baseline,
        candidate,
        [_pair(before[key], after[key]) for key in sorted(left - set(unscored))],
        Unpaired(
            baseline_only=sorted(set(before) - set(after)),
            candidate_only=sorted(set(after) - set(before)),
            unscored=unscored,
            changed=changed,
        ),
    )


def _asks_something_else(before: Case, after: Case) -> bool:
    digests = (before.input_digests, after.input_digests)
    return all(digests) and digests[0].isdisjoint(digests[1])


def _pair(before: Case, after: Case) -> Pair:
    return Pair(before.key, before.capability or after.capability, before, after)


def _worst(before: Case, after: Case | None) -> Pair | None:
    if not before.is_scored and (after is None or not after.is_scored):
        return None
    attempts = before.scored + before.unscored
    passed = structs.replace(before, scored=attempts, passed=before.passed + before.unscored, unscored=0)
    if after is None:
        return _pair(passed, structs.replace(before, scored=attempts, passed=0, unscored=0))
    return _pair(passed, structs.replace(after, scored=after.scored + after.unscored, unscored=0))
