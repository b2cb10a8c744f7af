"""Decides what counts as a failure, and whose verdict counts if several disagree."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from msgspec.structs import asdict, astuple

from monitor.trace.labels import clean_label
from monitor.trace.model import NO_BUDGET, Budget, Outcome, Trace, TraceId
from monitor.trace.settings import EvaluationRule, OutcomeSettings

HUMAN, JUDGE, REPORTED, STATUS, BUDGET = "human", "judge", "reported", "status", "budget"
NO_ANSWER = "no_answer"
ABORTED = "aborted"
BUDGET_EXCEEDED = "budget_exceeded"

MOST_STANDING = 64
"""Most verdicts kept for one trace, one for each source and evaluation."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """
    One evaluation or score as its evaluator wrote it, before any rule interprets it.

    Attributes:
        trace_id: Trace that it judges.
        name: Criterion, or None.
        score: Number in the evaluator's own unit, or None.
        label: Category, or None.
        verdict: A plain yes or no, or None.
        source: Who gave it.
        at: Unix seconds, or None.
        observation: Part of the trace that it judges, or None for the whole trace.
        sampling_probability: Probability that this trace was chosen to be evaluated, or None.
    """

    trace_id: TraceId
    name: str | None = None
    score: float | None = None
    label: str | None = None
    verdict: bool | None = None
    source: str = JUDGE
    at: float | None = None
    observation: str | None = None
    sampling_probability: float | None = None


def outcome_of(evaluation: Evaluation, settings: OutcomeSettings) -> Outcome | None:
    """
    The outcome that *evaluation* stands for, or None if no rule can tell.

    A rule reads the label first, then the score. Without a rule only the labels of the settings and a plain yes or no
    count, because a high score may be good or bad.
    """
    rule = next((rule for rule in settings.evaluations if rule.name in {"*", evaluation.name}), None)
    success = _success(evaluation, rule, settings)
    if success is None:
        return None
    name = clean_label(evaluation.name or "")
    return Outcome(
        success=success,
        failure_class=None if success else name,
        score=evaluation.score,
        source=(rule.source if rule else None) or evaluation.source,
        labelled_at=evaluation.at,
        sampling_probability=evaluation.sampling_probability,
        evaluation=name,
        observation=evaluation.observation if settings.observations == "worst" else None,
    )


def _success(evaluation: Evaluation, rule: EvaluationRule | None, settings: OutcomeSettings) -> bool | None:
    if rule is not None and rule.ignored:
        return None
    answers = (
        None if rule is None else _by_label(evaluation.label, rule.fail_labels, rule.pass_labels),
        None if rule is None else _by_score(evaluation.score, rule),
        _by_label(evaluation.label, settings.fail_labels, settings.pass_labels),
        evaluation.verdict,
    )
    return next((success for success in answers if success is not None), None)


def _by_label(label: str | None, fail_labels: Iterable[str], pass_labels: Iterable[str]) -> bool | None:
    if label is None:
        return None
    label = label.strip().lower()
    if label in map(str.lower, fail_labels):
        return False
    return True if label in map(str.lower, pass_labels) else None


def _by_score(score: float | None, rule: EvaluationRule) -> bool | None:
    if score is None or (rule.fails_below is None and rule.fails_above is None):
        return None
    too_low = rule.fails_below is not None and score < rule.fails_below
    too_high = rule.fails_above is not None and score > rule.fails_above
    return not (too_low or too_high)


def status_outcome(
    *, error: bool, aborted: bool, error_type: str | None, ended_at: float | None, settings: OutcomeSettings
) -> Outcome | None:
    """The outcome of a run by its status: a failure with *error*, else a success; None if the settings ignore it."""
    if settings.status == "ignored" or (not error and (ended_at is None or settings.status == "error_only")):
        return None
    if aborted and not settings.aborted_fails:
        return None
    return Outcome(
        success=not error,
        failure_class=ABORTED if aborted else (error_type or "error") if error else None,
        source=STATUS,
        labelled_at=ended_at,
    )


def implied_outcomes(trace: Trace, settings: OutcomeSettings, *, is_over: bool | None = None) -> tuple[Outcome, ...]:
    """
    Every verdict that *trace* itself carries: its own outcome, a missing answer, an exceeded budget.

    Args:
        trace: One finished agent run.
        settings: Which verdicts count.
        is_over: The result of `is_over_budget`, if the caller has it; None computes it.
    """
    given = [trace.outcome] if trace.outcome is not None else []
    has_failed = trace.outcome is not None and not trace.outcome.success
    failure = partial(Outcome, success=False, labelled_at=trace.ended_at)
    if trace.answered is False and settings.no_answer_fails and not has_failed:
        given.append(failure(failure_class=NO_ANSWER, source=STATUS, evaluation=NO_ANSWER))
    exceeds = is_over_budget(trace, budget_of(trace, settings)) if is_over is None else is_over
    if settings.over_budget_fails and exceeds:
        given.append(failure(failure_class=BUDGET_EXCEEDED, source=BUDGET))
    return tuple(given)


def is_over_budget(trace: Trace, budget: Budget) -> bool:
    """Whether *trace* used more than its *budget*; an unknown amount exceeds nothing."""
    if budget == NO_BUDGET:
        return False
    tokens = [n for n in (trace.usage.input_tokens, trace.usage.output_tokens) if n is not None]
    used = (trace.tool_calls, trace.steps, sum(tokens) if tokens else None, trace.duration_seconds)
    return any(
        amount is not None and allowed is not None and amount > allowed
        for amount, allowed in zip(used, astuple(budget), strict=True)
    )


def budget_of(trace: Trace, settings: OutcomeSettings) -> Budget:
    """The budget of *trace*: its own limits, and for those that it lacks the first matching rule of the settings."""
    service, capability = {None, trace.service}, {None, trace.request.capability}
    rules = (rule for rule in settings.budgets if rule.service in service and rule.capability in capability)
    if (rule := next(rules, None)) is None:
        return trace.budget
    own = asdict(trace.budget).items()
    return Budget(*(getattr(rule, unit) if allowed is None else allowed for unit, allowed in own))


def standing(outcomes: Iterable[Outcome]) -> tuple[Outcome, ...]:
    """
    The latest outcome of each source, evaluation and part of the trace: all that `resolve` needs.

    The result does not depend on order or repeats, and outcomes may be added to it one at a time. The same holds if a
    hostile sender invents many sources: above `MOST_STANDING` the first by name stay, ranked sources before others.
    """
    latest: dict[tuple[str, str, str], Outcome] = {}
    for outcome in outcomes:
        key = (outcome.source, outcome.evaluation or "", outcome.observation or "")
        if key not in latest or _recency(outcome) > _recency(latest[key]):
            latest[key] = outcome
    kept = sorted(latest)
    if len(kept) > MOST_STANDING:
        kept = sorted(sorted(kept, key=lambda key: (key[0] not in NAMED_SOURCES, key))[:MOST_STANDING])
    return tuple(latest[key] for key in kept)


def resolve(outcomes: Iterable[Outcome], settings: OutcomeSettings) -> Outcome | None:
    """
    The final outcome, whatever the order of *outcomes*; None if there is none from a source that counts.

    The highest-ranked source with an outcome decides alone. If any of its evaluations, each by its latest outcome, is a
    failure, the latest failure is the result, else the latest success.
    """
    outcomes = tuple(outcomes)
    if len(outcomes) > 1:  # usually there is one
        outcomes = standing(outcomes)
    ranked = [(rank, outcome) for outcome in outcomes if (rank := _rank(outcome.source, settings)) is not None]
    if len(ranked) <= 1:
        return ranked[0][1] if ranked else None
    best = min(rank for rank, _ in ranked)
    decisive = [outcome for rank, outcome in ranked if rank == best]
    return max([outcome for outcome in decisive if not outcome.success] or decisive, key=_recency)


def _rank(source: str, settings: OutcomeSettings) -> int | None:
    known = source if source in settings.sources or source in NAMED_SOURCES else REPORTED
    return settings.sources.index(known) if known in settings.sources else None


NAMED_SOURCES = frozenset({HUMAN, JUDGE, REPORTED, STATUS, BUDGET})


def _recency(outcome: Outcome) -> tuple[float, bool, str, str, str, str, float]:
    """A total order: later labels last, failures after successes, then any field in which two outcomes differ."""
    return (
        float("-inf") if outcome.labelled_at is None else outcome.labelled_at,
        not outcome.success,
        outcome.failure_class or "",
        outcome.source,
        outcome.evaluation or "",
        outcome.observation or "",
        float("-inf") if outcome.score is None else outcome.score,
    )
