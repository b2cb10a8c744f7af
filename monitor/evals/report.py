"""The whole report as one value: what was compared, what came out, and what it means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from monitor.errors import UsageError
from monitor.evals.audit import MIN_HARD_FAILURES, Audit, audit
from monitor.evals.cases import CaseKey, Run
from monitor.evals.comparison import Comparison, Stratum, compare
from monitor.evals.pairing import Pair, Pairing, hard
from monitor.evals.tiering import Tiering
from monitor.evals.words import change_words, percent, points
from monitor.rollout.comparison import Interval
from monitor.rollout.policy import Policy
from monitor.rollout.verdict import VerdictState

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class ArmSource:
    """
    Where one run came from.

    Attributes:
        label: What the run is called: its model, or its files where they name none.
        files: As they were named.
        formats: What they are.
        notes: What was chosen or guessed while reading, one sentence each.
    """

    label: str
    files: Sequence[str]
    formats: Sequence[str]
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class CaseChange:
    """One case that changed sides; rates are pass rates, ratio 0 to 1."""

    key: CaseKey
    tier: str
    capability: str
    before: float
    after: float
    failure: str | None


@dataclass(frozen=True, slots=True)
class EvalReport:
    """
    What an upgrade does to an eval suite.

    Attributes:
        verdict: In the words of live rollouts: `regression`, `cliff`, `ok`, or `waiting` where too little is known.
        reasons: Sentences with numbers, most telling first.
        regressed: Every hard-tier case that is newly failing, by name.
    """

    baseline: ArmSource
    candidate: ArmSource
    pairing: Pairing
    tiering: Tiering
    comparison: Comparison
    audit: Audit
    verdict: VerdictState
    reasons: Sequence[str]
    regressed: Sequence[CaseChange]


def build_report(
    pairing: Pairing, tiering: Tiering, *, baseline: ArmSource, candidate: ArmSource, policy: Policy
) -> EvalReport:
    """
    The report on *pairing*.

    Args:
        pairing: Both runs.
        tiering: How hard the cases are.
        baseline: Where the baseline came from.
        candidate: Where the candidate came from.
        policy: The jump of the share that matters, and the error rate.

    Raises:
        UsageError: no case has a score in both runs.
    """
    if not pairing.pairs:
        raise UsageError(_nothing_in_common(pairing))
    pairs = tiering.tiered(pairing.pairs)
    comparison = compare(pairs, confidence=1.0 - policy.error_rate)
    state = _state(comparison, policy)
    return EvalReport(
        baseline=baseline,
        candidate=candidate,
        pairing=pairing,
        tiering=tiering,
        comparison=comparison,
        audit=audit(pairing, comparison),
        verdict=state,
        reasons=tuple(_reasons(state, tiering, comparison, policy)),
        regressed=[_case_change(pair) for pair in hard(pairs) if pair.is_newly_failing],
    )


def _nothing_in_common(pairing: Pairing) -> str:
    unpaired = pairing.unpaired
    if unpaired.unscored:
        return f"None of {len(unpaired.unscored):,} common cases has a score in both runs; run the suite again."
    if unpaired.changed:
        return (
            f"All {len(unpaired.changed):,} common cases ask another question in the candidate, so nothing can be "
            "compared; run both versions on the same suite."
        )
    return (
        f"No case is in both runs: the baseline has {_some(pairing.baseline)}, the candidate "
        f"{_some(pairing.candidate)}; name the column that identifies a case (--column case=NAME), or run both "
        "versions on the same suite."
    )


def _some(run: Run) -> str:
    names = [str(key) for key in sorted(run.cases)]
    return (", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")) if names else "none"


def _case_change(pair: Pair) -> CaseChange:
    return CaseChange(pair.key, pair.tier.value, pair.capability, pair.before, pair.after, pair.candidate.failure)


def _state(comparison: Comparison, policy: Policy) -> VerdictState:
    """Worst first, as for live rollouts (docs/verdicts.md), but with bounds for one look."""
    hard_tier, share = comparison.hard_tier, comparison.share
    if hard_tier is not None and hard_tier.has_fallen:
        return VerdictState.REGRESSION
    if hard_tier is None or share is None or _fewest_hard_failures(hard_tier) < MIN_HARD_FAILURES:
        return VerdictState.WAITING
    has_jumped = share.change.estimate >= policy.share_jump and share.change.lower > 0.0
    if has_jumped and share.excess.lower > 0.0 and comparison.aggregate.change.estimate >= 0.0:
        return VerdictState.CLIFF
    return VerdictState.OK


def _fewest_hard_failures(hard_tier: Stratum) -> float:
    return min(hard_tier.failures_before, hard_tier.failures_after)


def _reasons(state: VerdictState, tiering: Tiering, comparison: Comparison, policy: Policy) -> Iterator[str]:
    hard_tier, share = comparison.hard_tier, comparison.share
    if not tiering.is_told:
        yield " ".join((tiering.explanation, *tiering.notes))
    elif hard_tier is None:
        yield "No case is in the hard tier, so nothing can be said of a cliff."
    elif state is VerdictState.WAITING:
        yield (
            f"Too few hard cases fail to read their share: baseline {hard_tier.failures_before:g}, candidate "
            f"{hard_tier.failures_after:g} ({MIN_HARD_FAILURES} needed in each)."
        )
    if hard_tier is not None:
        yield _movement("The hard tier passes", hard_tier)
    yield _movement("All cases together pass", comparison.aggregate)
    if share is not None:
        shares = f"{percent(share.baseline.estimate)} → {percent(share.candidate.estimate)}"
        yield (
            f"The hard tier's share of failures goes {shares}, {points(share.change.estimate)}; a uniform gain would "
            f"give {points(share.expected_change)}, so the excess is {change_words(share.excess)}: "
            f"{_meaning(share.excess, state)}."
        )
    if share is not None and state is VerdictState.OK and share.excess.lower > 0.0:
        yield f"A rise of the share of less than {points(policy.share_jump)} is not called a cliff."


def _movement(name: str, stratum: Stratum) -> str:
    rates = f"{percent(stratum.before.estimate)} → {percent(stratum.after.estimate)}"
    shown = "shown to rise" if stratum.has_risen else "shown to fall" if stratum.has_fallen else "not shown to change"
    return f"{name} {rates}, {change_words(stratum.change)}: {shown}."


def _meaning(excess: Interval, state: VerdictState) -> str:
    if excess.lower > 0.0:
        return "the hard tier was left behind" if state is VerdictState.CLIFF else "hard cases gained less than others"
    return "hard cases gained more than others" if excess.upper < 0.0 else "no more than chance may give"
