"""The same case of two runs beside each other, and the cases that have no counterpart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

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
            baseline_only=_alone(before, after),
            candidate_only=_alone(after, before),
            unscored=unscored,
            changed=changed,
        ),
    )


def _alone(cases: Mapping[CaseKey, Case], others: Mapping[CaseKey, Case]) -> Sequence[CaseKey]:
    return sorted(set(cases) - set(others))


def _asks_something_else(before: Case, after: Case) -> bool:
    digests = (before.input_digests, after.input_digests)
    return all(digests) and digests[0].isdisjoint(digests[1])


def _pair(before: Case, after: Case) -> Pair:
    return Pair(before.key, before.capability or after.capability, before, after)


def hard(pairs: Iterable[Pair]) -> Sequence[Pair]:
    """Those of *pairs* that are in the hard tier."""
    return [pair for pair in pairs if pair.tier in _HARD]


_HARD = frozenset({Tier.HARD, Tier.FRONTIER})
