from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from monitor.trace.model import Budget, ModelVersion, Outcome, Request, Trace, TraceId, Usage
from monitor.trace.outcome_policy import (
    MOST_STANDING,
    Evaluation,
    budget_of,
    implied_outcomes,
    is_over_budget,
    outcome_of,
    resolve,
    standing,
)
from monitor.trace.settings import BudgetRule, EvaluationRule, OutcomeSettings

DEFAULT = OutcomeSettings()


def an_evaluation(**changes: Any) -> Evaluation:
    return Evaluation(**({"trace_id": TraceId("t"), "name": "correctness"} | changes))


def a_trace(**changes: Any) -> Trace:
    whole = Trace(
        trace_id=TraceId("t"),
        service="s",
        environment="production",
        model_version=ModelVersion("m"),
        request=Request(capability="booking"),
        started_at=100.0,
        ended_at=110.0,
        usage=Usage(60, 40),
        tool_calls=3,
        steps=4,
    )
    return replace(whole, **changes)


def verdict_on(evaluation: Evaluation, *rules: EvaluationRule) -> bool | None:
    outcome = outcome_of(evaluation, OutcomeSettings(evaluations=rules))
    return None if outcome is None else outcome.success


@pytest.mark.parametrize(
    ("evaluation", "rules", "expected"),
    [
        (an_evaluation(label="pass"), [], True),
        (an_evaluation(label=" Incorrect "), [], False),
        (an_evaluation(label="hallucinated"), [], None),
        (an_evaluation(score=0.1), [], None),
        (an_evaluation(verdict=False), [], False),
        (an_evaluation(verdict=True, label="fail"), [], False),
        (an_evaluation(score=0.4), [EvaluationRule(name="correctness", fails_below=0.5)], False),
        (an_evaluation(score=0.5), [EvaluationRule(name="correctness", fails_below=0.5)], True),
        (an_evaluation(score=0.5), [EvaluationRule(name="correctness", fails_above=0.5)], True),
        (an_evaluation(score=0.6), [EvaluationRule(name="correctness", fails_above=0.5)], False),
        (an_evaluation(score=3.0), [EvaluationRule(name="*", fails_below=1, fails_above=2)], False),
        (an_evaluation(score=0.4), [EvaluationRule(name="tone", fails_below=0.5)], None),
        (an_evaluation(label="Rude"), [EvaluationRule(name="*", fail_labels=("rude",))], False),
        (an_evaluation(label="kind"), [EvaluationRule(name="*", pass_labels=("Kind",))], True),
        (an_evaluation(label="kind", score=0.1), [EvaluationRule(name="*", fails_below=0.5)], False),
        (an_evaluation(label="pass", score=0.1), [EvaluationRule(name="*", fails_below=0.5)], False),
        (an_evaluation(label="pass"), [EvaluationRule(name="*", fails_below=0.5)], True),
        (an_evaluation(label="fail"), [EvaluationRule(name="*", ignored=True)], None),
        (
            an_evaluation(score=0.4),
            [EvaluationRule(name="correctness", fails_below=0.1), EvaluationRule(name="*", fails_below=0.5)],
            True,
        ),
    ],
    ids=[
        "plain label passes",
        "plain label fails in any case",
        "unknown label says nothing",
        "score without a rule says nothing",
        "a plain no",
        "label goes before a plain yes",
        "below the limit",
        "at the lower limit",
        "at the upper limit",
        "above the limit",
        "outside of both limits",
        "rule of another evaluation",
        "label of the rule fails",
        "label of the rule passes",
        "score speaks where the label does not",
        "score of a rule goes before a plain label",
        "plain label speaks where the rule does not",
        "ignored evaluation",
        "first rule holds",
    ],
)
def test_evaluation_says_what_its_rule_says(
    evaluation: Evaluation, rules: list[EvaluationRule], *, expected: bool | None
) -> None:
    """An evaluation is a success, a failure, or says nothing."""
    assert expected is verdict_on(evaluation, *rules)


def test_failed_evaluation_names_the_failure() -> None:
    """The failure's class is the evaluation's name, fit to be a label; a success has none."""
    failed = outcome_of(an_evaluation(name="Task success?", label="fail", score=0.2, at=5.0), DEFAULT)
    passed = outcome_of(an_evaluation(label="pass"), DEFAULT)

    assert failed == Outcome(
        success=False,
        failure_class="Task_success_",
        score=0.2,
        source="judge",
        labelled_at=5.0,
        evaluation="Task_success_",
    )
    assert passed is not None
    assert passed.failure_class is None


def test_rule_may_say_who_speaks() -> None:
    """A thumb of a user is a human's word, whatever wrote it down."""
    rule = EvaluationRule(name="thumb", fails_below=1, source="human")

    outcome = outcome_of(an_evaluation(name="thumb", score=0.0), OutcomeSettings(evaluations=(rule,)))

    assert outcome is not None
    assert outcome.source == "human"


@pytest.mark.parametrize(
    "budget",
    [Budget(tool_calls=2), Budget(steps=3), Budget(tokens=99), Budget(seconds=9.5)],
    ids=["tool calls", "steps", "tokens", "seconds"],
)
def test_every_kind_of_budget_can_be_exceeded(budget: Budget) -> None:
    """One unit above the budget fails with a class of its own; the budget itself is still within."""
    grown = Budget(
        tool_calls=budget.tool_calls and budget.tool_calls + 1,
        steps=budget.steps and budget.steps + 1,
        tokens=budget.tokens and budget.tokens + 1,
        seconds=budget.seconds and budget.seconds + 0.5,
    )
    over = a_trace(budget=budget)

    assert implied_outcomes(over, DEFAULT) == (
        Outcome(success=False, failure_class="budget_exceeded", source="budget", labelled_at=110.0),
    )
    assert () == implied_outcomes(a_trace(budget=grown), DEFAULT)
    assert () == implied_outcomes(over, OutcomeSettings(over_budget_fails=False))


def test_what_is_not_known_is_not_over() -> None:
    """A budget cannot be exceeded by what nobody counted."""
    unknown = a_trace(tool_calls=None, steps=None, usage=Usage(), ended_at=None)

    assert not is_over_budget(unknown, Budget(0, 0, 0, 0.0))


def test_first_fitting_budget_rule_fills_what_the_trace_leaves_open() -> None:
    """The trace's own budget goes first, part by part."""
    settings = OutcomeSettings(
        budgets=(BudgetRule(service="other", steps=1), BudgetRule(capability="booking", steps=1), BudgetRule(steps=9))
    )

    def is_over(trace: Trace) -> bool:
        return is_over_budget(trace, budget_of(trace, settings))

    assert is_over(a_trace())
    assert not is_over(a_trace(budget=Budget(steps=4)))
    assert not is_over(a_trace(request=Request(capability="refund")))
    assert Budget(tool_calls=7, steps=1) == budget_of(a_trace(budget=Budget(tool_calls=7)), settings)


def test_no_answer_is_a_failure_of_its_own() -> None:
    """A run that visibly said nothing failed; one of which nobody knows did not."""
    silent = a_trace(answered=False, outcome=Outcome(success=True, source="status", labelled_at=110.0))

    outcome = resolve(implied_outcomes(silent, DEFAULT), DEFAULT)

    assert outcome is not None
    assert (False, "no_answer") == (outcome.success, outcome.failure_class)
    assert () == implied_outcomes(a_trace(answered=None), DEFAULT)
    assert () == implied_outcomes(a_trace(answered=False), OutcomeSettings(no_answer_fails=False))


def said(source: str, *, success: bool, at: float | None = 1.0, evaluation: str | None = None) -> Outcome:
    return Outcome(success=success, source=source, labelled_at=at, evaluation=evaluation)


@pytest.mark.parametrize("worse", ["budget", "judge", "reported", "status", "somebody"])
def test_human_word_stands(worse: str) -> None:
    """Nobody overrules a human, however late."""
    human = said("human", success=True)

    assert human == resolve([said(worse, success=False, at=99.0), human], DEFAULT)


def test_order_of_sources_is_configured() -> None:
    """Sources are believed in the order of the settings, and one that is not listed is not believed."""
    judge, human = said("judge", success=True), said("human", success=False)

    assert judge == resolve([human, judge], OutcomeSettings(sources=("judge", "human")))
    assert judge == resolve([human, judge], OutcomeSettings(sources=("judge",)))
    assert resolve([human], OutcomeSettings(sources=("judge",))) is None


def test_source_of_its_own_name_counts_as_reported() -> None:
    """A name that nobody configured stands where reported outcomes stand, or not at all."""
    own, status = said("nightly-eval", success=False), said("status", success=True)

    assert own == resolve([status, own], DEFAULT)
    assert status == resolve([status, own], OutcomeSettings(sources=("status",)))


def test_later_word_of_the_same_source_replaces_the_earlier() -> None:
    """A revision after days stands, and one that arrives out of order does not."""
    first, revised = said("human", success=False, at=1.0), said("human", success=True, at=2.0)
    undated = said("human", success=False, at=None)

    assert revised == resolve([revised, first, undated], DEFAULT)


def test_one_failed_evaluation_fails() -> None:
    """Of several evaluations by one source all have to pass, each by its latest word."""
    tone = said("judge", success=True, at=9.0, evaluation="tone")
    wrong = said("judge", success=False, at=1.0, evaluation="correctness")
    right = said("judge", success=True, at=2.0, evaluation="correctness")

    assert wrong == resolve([tone, wrong], DEFAULT)
    assert tone == resolve([tone, wrong, right], DEFAULT)


def test_nobody_spoke() -> None:
    """Without an outcome there is none: unknown is a state."""
    assert resolve([], DEFAULT) is None


outcomes = st.lists(
    st.builds(
        Outcome,
        success=st.booleans(),
        failure_class=st.sampled_from([None, "a", "b"]),
        score=st.none() | st.floats(0, 1),
        source=st.sampled_from(["human", "judge", "status", "budget", "own"]),
        labelled_at=st.none() | st.integers(0, 3).map(float),
        evaluation=st.sampled_from([None, "x", "y"]),
    ),
    max_size=8,
)


@given(outcomes, st.randoms(use_true_random=False))
def test_verdict_does_not_depend_on_order_or_repetition(said_so: list[Outcome], dice: Any) -> None:
    """Any order and any repetition of the same outcomes gives the same verdict."""
    again = [*said_so, *said_so[:3]]
    dice.shuffle(again)

    assert resolve(said_so, DEFAULT) == resolve(again, DEFAULT)
    assert standing(said_so) == standing(again)


@given(outcomes, outcomes)
def test_what_stands_is_all_that_has_to_be_kept(before: list[Outcome], after: list[Outcome]) -> None:
    """Outcomes that come later meet what was kept as if they had met everything."""
    assert standing([*before, *after]) == standing([*standing(before), *after])
    assert resolve([*before, *after], DEFAULT) == resolve([*standing(before), *after], DEFAULT)


@given(st.permutations(range(100)), st.integers(0, 100))
def test_of_hostile_many_sources_some_are_kept_in_any_order(order: list[int], cut: int) -> None:
    """A trace that a hundred sources judge keeps as many verdicts as are allowed, our own ones among them."""
    judged = [Outcome(success=True, source=f"source-{number:03}", labelled_at=1.0) for number in range(97)]
    judged += [Outcome(success=False, source=source, labelled_at=1.0) for source in ("human", "judge", "status")]
    shuffled = [judged[number] for number in order]

    kept = standing(shuffled)

    assert MOST_STANDING == len(kept)
    assert {"human", "judge", "status"} <= {outcome.source for outcome in kept}
    assert kept == standing(judged) == standing([*standing(shuffled[:cut]), *shuffled[cut:]])
