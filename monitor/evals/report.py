"""The eval report as one value: the runs, the estimates, and the verdict with its reasons."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from monitor.difficulty.tiers import TIERS
from monitor.errors import UsageError
from monitor.evals.audit import Audit, audit
from monitor.evals.cases import Pair, Pairing
from monitor.evals.comparison import Comparison, ShareReport, Stratum, compare
from monitor.evals.tiering import Tiering, TierSource
from monitor.rollout.cohort import ArmName, TierGroup, TiersBy
from monitor.rollout.labelling import Labelling
from monitor.rollout.measurement import CLEARLY_FEWER, MIN_EASIER_FAILURES
from monitor.rollout.policy import Policy
from monitor.rollout.reasons import audit_words, judge_words, moved_judge_words
from monitor.rollout.verdict import Interval, VerdictState
from monitor.rollout.wording import bounds, counted, percent, points, points_of, probability, some_of, with_bounds

_SCORER = "scorer"  # a test or a judge


@dataclass(frozen=True, slots=True)
class ArmSource:
    """
    The source of one run.

    Attributes:
        label: Name of the run: its model, or its files if they name none.
        files: File names as given.
        formats: Formats of the files.
        notes: Choices and guesses made while reading, one sentence each.
    """

    label: str
    files: Sequence[str]
    formats: Sequence[str]
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class EvalReport:
    """
    The effect of an upgrade on an eval suite, in the terms of live rollouts.

    Verdicts are those of docs/verdicts.md, with tests for one look at a fixed sample. A regression is tested on the
    cases with a score in both runs; `ok` also has to hold if every case without a score failed.

    Attributes:
        policy: Sets the jump of the share that matters, the margins of `ok`, and the error rate.
        labelling: The scorer's errors, found by people who checked its scores; None without such checks.

    Raises:
        UsageError: the runs have no case in common.
    """

    baseline: ArmSource
    candidate: ArmSource
    pairing: Pairing
    tiering: Tiering
    policy: Policy
    labelling: Labelling | None = None

    def __post_init__(self) -> None:
        if not self.pairing.pairs and not self.pairing.unpaired.unscored:
            raise UsageError(_nothing_in_common(self.pairing))

    @cached_property
    def pairs(self) -> Sequence[Pair]:
        """Cases with a score in both runs, with their tiers."""
        return self.tiering.tiered(self.pairing.pairs)

    @property
    def worst_pairs(self) -> Sequence[Pair]:
        """The pairs as if everything unknown in the candidate had failed; not cached, as a large suite has many."""
        return self.pairs if self.pairing.is_complete else self.tiering.tiered(self.pairing.worst_case())

    @cached_property
    def comparison(self) -> Comparison:
        """Estimates over the pairs."""
        return compare(self.pairs, confidence=1.0 - self.policy.error_rate)

    @cached_property
    def worst_case(self) -> Comparison:
        """Estimates over the worst pairs."""
        worst = self.worst_pairs
        return self.comparison if worst is self.pairs else compare(worst, confidence=self.comparison.confidence)

    @cached_property
    def audit(self) -> Audit:
        """What the suite cannot detect."""
        return audit(self.pairing, self.comparison, min_hard_failures=self.policy.min_hard_failures)

    @property
    def tiers_by(self) -> TiersBy:
        """The source of tiers."""
        by_source = {TierSource.LABELS: TiersBy.DECLARED, TierSource.NONE: TiersBy.NONE}
        return by_source.get(self.tiering.source, TiersBy.LEARNT)

    @cached_property
    def _changes(self) -> Sequence[Pair]:
        """Every case that changed sides or is flaky: flaky ones last, otherwise hardest first."""
        changed = [pair for pair in self.pairs if pair.is_newly_failing or pair.is_newly_passing or pair.is_flaky]
        return sorted(changed, key=lambda pair: (pair.is_flaky, -TIERS.index(pair.tier) if pair.tier in TIERS else 0))

    @property
    def lost(self) -> Sequence[Pair]:
        """Newly failing cases."""
        return [pair for pair in self._changes if pair.is_newly_failing]

    @property
    def won(self) -> Sequence[Pair]:
        """Newly passing cases."""
        return [pair for pair in self._changes if pair.is_newly_passing]

    @cached_property
    def variants(self) -> Mapping[str, Stratum]:
        """The candidate's cases as written (before) and in variants (after), by scope; empty without variants."""
        families = self.tiering.tiered(self.pairing.candidate.families)
        return compare(families, confidence=self.comparison.confidence).judged() if families else {}

    @property
    def brittle(self) -> Sequence[Pair]:
        """Cases that pass as written while at least half of their variants fail."""
        return [pair for pair in self.tiering.tiered(self.pairing.candidate.families) if pair.is_newly_failing]

    @property
    def flaky(self) -> Sequence[Pair]:
        """Cases that passed some attempts and failed others within a run."""
        return [pair for pair in self._changes if pair.is_flaky]

    @cached_property
    def scope(self) -> Sequence[str]:
        """What a regression is about: `all`, `hard`, `easier`, `capability:NAME`; else empty."""
        return _fallen(self.comparison)

    @cached_property
    def verdict(self) -> VerdictState:
        """The gravest verdict that the estimates support; `waiting` if too little is known."""
        if self.scope:
            return VerdictState.REGRESSION
        if self._is_cliff():
            return VerdictState.CLIFF
        return VerdictState.OK if self.cases_needed == 0 else VerdictState.WAITING

    def _is_cliff(self) -> bool:
        share, hard, easier = self.comparison.share, self.comparison.hard_tier, self.comparison.easier_tiers
        if self.comparison.aggregate is None or share is None or hard is None or easier is None:
            return False
        hard_counts = (hard.failures_before, hard.failures_after, hard.passed_before, hard.passed_after)
        easier_counts = (easier.failures_before, max(easier.failures_after, easier.failures_before / CLEARLY_FEWER))
        has_enough = min(hard_counts) >= self.policy.min_hard_failures and min(easier_counts) >= MIN_EASIER_FAILURES
        has_jumped = share.change.estimate >= self.policy.share_jump and share.change.lower > 0.0
        is_better = self.comparison.aggregate.change.estimate >= 0.0
        return has_enough and has_jumped and is_better and share.excess.lower > 0.0

    @cached_property
    def _claims(self) -> Mapping[str, tuple[Stratum, float]]:
        """The worst-case stratum and the margin that `ok` has to rule out, by scope."""
        judged = self.worst_case.judged()
        margins = {"all": self.policy.ok_margin, "hard": self.policy.ok_margin_hard}
        return {name: (judged[name], margin) for name, margin in margins.items() if name in judged}

    @property
    def could_still_be(self) -> Mapping[str, float]:
        """Largest rise of the failure rate that is not ruled out, by scope; ratios -1 to 1."""
        return {name: -stratum.change.lower for name, (stratum, _) in self._claims.items()}

    @property
    def cases_needed(self) -> int | None:
        """
        Further cases like these that would give `ok` at the present rates.

        Bounds narrow with the square root of the number of cases. 0 if the verdict is `ok` already, None if no number
        of cases gives it.
        """
        needed = [_cases_to_claim(stratum, margin) for stratum, margin in self._claims.values()]
        if self.comparison.aggregate is None or any(each is None for each in needed):
            return None
        return max((each or 0 for each in needed), default=None)

    @property
    def obstacles(self) -> Iterator[str]:
        """Sentences about what more cases will not change."""
        if self.comparison.aggregate is None:
            yield "No case has a score in both runs; run the suite again."
        if not self.tiering.has_tiers:
            yield " ".join((self.tiering.explanation, *self.tiering.notes))
        elif self.comparison.hard_tier is None and self.worst_case.hard_tier is None:
            yield "No case is in the hard tier, so the report says nothing about it."
        yield from filter(None, [self.decided_by_unknown])

    @cached_property
    def decided_by_unknown(self) -> str | None:
        """A sentence if a scope would be worse or beyond its margin with all cases without a score failed."""
        unknown, observed, worst = self.pairing.unknown_after, self.comparison.judged(), self.worst_case.judged()
        fallen = _fallen(self.worst_case)
        beyond = [name for name, (stratum, margin) in self._claims.items() if stratum.change.estimate < -margin]
        worse = [name for name in (*fallen, *beyond) if unknown and name not in self.scope]
        changes = {name: worst[name].change.estimate for name in worse}
        turned = [name for name in changes if name not in observed or changes[name] < observed[name].change.estimate]
        if not turned:
            return None
        name = min(turned, key=changes.__getitem__)
        return (
            f"If the {counted(len(unknown), 'case')} without a score in the candidate failed, {scope_words(name)} "
            f"would go {_rates(worst[name])}, {with_bounds(worst[name].change)}: run them again "
            f"({some_of(unknown)})."
        )

    @property
    def headline(self) -> str:
        """The verdict in one sentence."""
        judged, share, state = self.comparison.judged(), self.comparison.share, self.verdict
        if state is VerdictState.REGRESSION:
            others = [f"{scope_words(name)} ({_rates(judged[name])})" for name in self.scope[1:]]
            more = f" Also worse: {', '.join(others)}." if others else ""
            return f"Worse: {_moved(self.scope[0], judged)}.{more}"
        if state is VerdictState.CLIFF and share is not None:
            return (
                f"Better on average, but the hard tier is left behind: its share of failures goes {_shares(share)}, "
                f"{points_of(share.excess.estimate)} more than a uniform gain gives ({bounds(share.excess)})."
            )
        if state is VerdictState.OK:
            claims = (
                f"{scope_words(at)} at most {points_of(margin)} worse" for at, (_, margin) in self._claims.items()
            )
            unknown = "" if "hard" in judged else " Nothing is known about the hard tier."
            return f"Not worse: {' and '.join(claims)}.{unknown}"
        return f"Not known yet: {self._not_yet()}"

    def _not_yet(self) -> str:
        if self.comparison.aggregate is None:
            return "no case has a score in both runs."
        open_claims = [
            f"{scope_words(name)} may be up to {points_of(-stratum.change.lower)} worse ({points_of(margin)} allowed)"
            for name, (stratum, margin) in self._claims.items()
            if stratum.change.lower < -margin
        ]
        return f"{' and '.join(open_claims)}."

    @property
    def audits_needed(self) -> int:
        """Further scores of each run that people should check; at most as many as are unchecked."""
        if self.labelling is None:
            return 0
        unchecked = max(labels.sources.get("judge", 0) - labels.audited for labels in self.labelling.arms)
        return min(self.labelling.audits_needed(self.policy.ok_margin), unchecked)

    @property
    def reasons(self) -> Iterator[str]:
        """Sentences with numbers, most important first."""
        comparison, judged, state = self.comparison, self.comparison.judged(), self.verdict
        arms = {} if self.labelling is None else dict(zip(ArmName, self.labelling.arms, strict=True))
        moved = () if self.labelling is None else self.labelling.moved
        yield from moved_judge_words(arms, moved, _SCORER)
        yield from (f"Also worse: {_moved(name, judged)}." for name in self.scope[1:])
        yield from audit_words(arms, self.audits_needed, _SCORER)
        if not moved and all(labels.judge for labels in arms.values()):
            for arm, labels in arms.items():
                yield f"On the {arm} the {_SCORER} {judge_words(labels.judge[TierGroup.ALL])}."
        if not self.tiering.has_tiers or (comparison.hard_tier is None and self.worst_case.hard_tier is None):
            yield next(iter(self.obstacles))
        yield from self._unknown()
        yield from (
            _movement(name, judged[name]) for name in ("hard", "all") if name in judged and name not in self.scope
        )
        if comparison.share is not None:
            yield _share_words(comparison.share, state)
        if state is VerdictState.WAITING and self.decided_by_unknown is None:
            needed = self.cases_needed
            if needed is None:
                yield "More cases like these would not show that it is not worse: the rates are beyond the margin."
            else:
                yield f"About {counted(needed, 'more case')} like these would show that it is not worse."
        if state is VerdictState.OK and comparison.share is not None and comparison.share.excess.lower > 0.0:
            yield "Too few cases, or too small a rise, to call the hard tier left behind."
        for name, stratum in self.variants.items():
            if stratum.has_fallen:
                text = f"Brittle, {scope_words(name)}: {percent(stratum.before.estimate)} pass as written"
                yield f"{text} and {percent(stratum.after.estimate)} in variants, {with_bounds(stratum.change)}."

    def _unknown(self) -> Iterator[str]:
        unknown = [self.pairing.candidate.cases.get(key) for key in self.pairing.unknown_after]
        if unknown:
            reasons = Counter("missing" if case is None else case.unscored_because or "no score" for case in unknown)
            counts = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())
            text = f"Without a score in the candidate: {counted(len(unknown), 'case')} ({counts})"
            yield f"{text}, left out of the comparison and failed for a gate."
        yield from filter(None, [self.decided_by_unknown])


def _nothing_in_common(pairing: Pairing) -> str:
    unpaired = pairing.unpaired
    if unpaired.changed:
        return (
            f"All {len(unpaired.changed):,} common cases ask another question in the candidate, so nothing can be "
            "compared; run both versions on the same suite."
        )
    before, after = (some_of(keys) or "none" for keys in (unpaired.baseline_only, unpaired.candidate_only))
    return (
        f"No case is in both runs: the baseline has {before}, the candidate {after}; name the column that identifies a "
        "case (--column case=NAME), or run both versions on the same suite."
    )


def _fallen(comparison: Comparison) -> Sequence[str]:
    return [name for name, stratum in comparison.judged().items() if stratum.has_fallen]


def _cases_to_claim(stratum: Stratum, margin: float) -> int | None:
    width = stratum.change.estimate + margin  # largest distance of the lower bound that is within the margin
    if stratum.change.lower >= -margin:
        return 0
    if width <= 0.0:
        return None
    return math.ceil(stratum.cases * ((stratum.change.estimate - stratum.change.lower) / width) ** 2) - stratum.cases


def scope_words(scope: str) -> str:
    """
    Name of a scope in sentences.

    >>> scope_words("hard"), scope_words("capability:refunds")
    ('the hard tier', 'class refunds')
    """
    kind, _, name = scope.partition(":")
    return {"all": "the whole suite", "hard": "the hard tier", "easier": "the easier tiers"}.get(kind, f"class {name}")


def _rates(stratum: Stratum) -> str:
    return f"{percent(stratum.before.estimate)} → {percent(stratum.after.estimate)}"


def _moved(scope: str, judged: Mapping[str, Stratum]) -> str:
    stratum = judged[scope]
    sides = f"{stratum.newly_failing:,} lost, {stratum.newly_passing:,} won"
    p_value = probability(stratum.p_value)
    change = f"{with_bounds(stratum.change)}, p {p_value if p_value.startswith('<') else f'= {p_value}'}"
    return f"{scope_words(scope)}, {_rates(stratum)} pass, {change}; {sides}"


def _movement(name: str, stratum: Stratum) -> str:
    shown = "shown to rise" if stratum.has_risen else "not shown to change"
    if not stratum.has_risen and not stratum.change.lower <= 0.0 <= stratum.change.upper:
        shown += f", since the exact test gives p = {probability(stratum.p_value)}"
    words = {"all": "All cases together pass", "hard": "The hard tier passes"}[name]
    return f"{words} {_rates(stratum)}, {with_bounds(stratum.change)}: {shown}."


def _shares(share: ShareReport) -> str:
    return f"{percent(share.baseline.estimate)} → {percent(share.candidate.estimate)}"


def _share_words(share: ShareReport, state: VerdictState) -> str:
    return (
        f"The hard tier's share of failures goes {_shares(share)}, {points(share.change.estimate)}; a uniform gain "
        f"would give {points(share.expected_change)}, so the excess is {with_bounds(share.excess)}: "
        f"{_meaning(share.excess, state)}."
    )


def _meaning(excess: Interval, state: VerdictState) -> str:
    if excess.lower > 0.0:
        return "the hard tier is left behind" if state is VerdictState.CLIFF else "hard cases did worse than the others"
    return "hard cases did better than the others" if excess.upper < 0.0 else "no more than chance may give"
