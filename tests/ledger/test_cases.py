from __future__ import annotations

from dataclasses import replace
from typing import Any

from msgspec import structs

from monitor.difficulty.features import RequestFeatures
from monitor.difficulty.tiers import Tag, Tier
from monitor.ledger.ledger import (
    TaggedTrace,
)
from monitor.ledger.sql import SqlLedger
from monitor.rollout.cases import Case, CaseKind
from monitor.rollout.cohort import Runs
from monitor.rollout.oncall import Signature
from tests.builders import (
    NOON,
    a_batch,
    a_trace,
    failure,
    success,
    tagged,
)
from tests.ledgers import (
    EASY,
    HARD,
    ROLLOUT,
)


def test_cases_are_what_the_baseline_passed_and_the_candidate_fails(ledger: SqlLedger) -> None:
    """One case per request that comes again, with the latest run on either side, whatever its tier."""

    def run(trace_id: str, item: str, *, passes: bool, tag: Tag = HARD, **trace: Any) -> TaggedTrace:
        return tagged(a_trace(trace_id, request_id=item, outcome=success() if passes else failure(), **trace), tag)

    def new(trace_id: str, item: str, *, passes: bool = False, **trace: Any) -> TaggedTrace:
        return run(trace_id, item, passes=passes, model_version="model-2", **trace)

    ledger.record(
        a_batch(
            run("b1", "broken", passes=True),
            run("b2", "broken", passes=True, started_at=NOON + 5),
            run("b3", "always failed", passes=False),
            run("b4", "easy", passes=True),
            run("b5", "mostly passes", passes=True),
            run("r1", "known from history", passes=True, environment="reference", service="x", model_version="old"),
            run("r2", "always failed", passes=True, environment="reference", service="x", model_version="old"),
            run("o1", "of another service", passes=True, service="other"),
            new("c1", "broken"),
            new("c2", "broken", started_at=NOON + 9),
            new("c3", "always failed"),
            new("c4", "easy", tag=EASY),
            new("c5", "mostly passes"),
            new("c6", "mostly passes", passes=True),
            new("c7", "known from history"),
            new("c8", "of another service"),
            new("c9", "never met"),
        )
    )

    cases = ledger.cases(ROLLOUT, limit=10)

    signature = Signature(Tier.HARD, "search", "wrong_tool")
    broken = Case(
        name="broken",
        kind=CaseKind.REQUEST,
        signature=signature,
        trace_id="c2",
        started_at=NOON + 9,
        candidate=Runs(2, 2),
        established=Runs(2, 0),
        passed_trace_id="b2",
        passed_by="model-1",
    )
    assert [broken, "easy", "known from history"] == [cases.cases[0], *(case.name for case in cases.cases[1:])]
    assert Tier.EASY == cases.cases[1].signature.tier
    assert ("r1", "old", Runs(1, 0)) == (
        cases.cases[2].passed_trace_id,
        cases.cases[2].passed_by,
        cases.cases[2].established,
    )
    assert (3, 3) == (cases.total, len(cases.cases))
    limited = ledger.cases(ROLLOUT, limit=1)
    assert (3, [broken]) == (limited.total, list(limited.cases))
    assert [3, 0] == [ledger.cases(ROLLOUT, limit=9, capability=name).total for name in ("search", "other \"' --")]


def test_requests_without_a_name_are_cases_by_their_family(ledger: SqlLedger) -> None:
    """Requests that are alike but for names and numbers stand for one case; those without text for none."""

    def run(trace_id: str, family: str | None, model_version: str, *, passes: bool) -> TaggedTrace:
        trace = a_trace(trace_id, model_version=model_version, outcome=success() if passes else failure())
        return structs.replace(tagged(trace, HARD), features=RequestFeatures("search", prompt_family=family))

    ledger.record(
        a_batch(
            *(run(f"b{number}", "f00", "model-1", passes=number > 0) for number in range(3)),
            *(run(f"c{number}", "f00", "model-2", passes=number == 0) for number in range(3)),
            run("b9", None, "model-1", passes=True),
            run("c9", None, "model-2", passes=False),
        )
    )

    cases = ledger.cases(ROLLOUT, limit=10)

    assert [("f00", CaseKind.FAMILY, Runs(3, 2), Runs(3, 1))] == [
        (case.name, case.kind, case.candidate, case.established) for case in cases.cases
    ]


def test_cases_need_no_tiers_and_a_declared_one_is_named(ledger: SqlLedger) -> None:
    """Without tiers, what fails is still named; a tier that the operator declared comes before one that was learnt."""

    def run(trace_id: str, item: str, model_version: str, *, passes: bool, declared: str | None = None) -> TaggedTrace:
        outcome = success() if passes else failure()
        trace = a_trace(trace_id, request_id=item, model_version=model_version, outcome=outcome)
        return structs.replace(tagged(trace), declared_tier=declared)

    ledger.record(
        a_batch(
            run("b1", "plain", "model-1", passes=True),
            run("c1", "plain", "model-2", passes=False),
            run("b2", "stated", "model-1", passes=True, declared="hard"),
            run("c2", "stated", "model-2", passes=False, declared="hard"),
        )
    )

    cases = ledger.cases(ROLLOUT, limit=10).cases

    assert [("plain", Tier.UNTIERED), ("stated", Tier.HARD)] == [(case.name, case.signature.tier) for case in cases]


def test_a_retry_is_not_blamed_on_the_attempt_that_ended(ledger: SqlLedger) -> None:
    """What fails after a rollout has ended is no case of it."""
    ended = replace(ROLLOUT, ended_at=NOON + 10)

    def run(trace_id: str, item: str, model_version: str, *, passes: bool, started_at: float) -> TaggedTrace:
        trace = a_trace(trace_id, request_id=item, model_version=model_version, started_at=started_at)
        return tagged(structs.replace(trace, outcome=success() if passes else failure()), HARD)

    ledger.record(
        a_batch(
            run("b1", "first", "model-1", passes=True, started_at=NOON),
            run("b2", "second", "model-1", passes=True, started_at=NOON),
            run("c1", "first", "model-2", passes=False, started_at=NOON + 5),
            run("c2", "second", "model-2", passes=False, started_at=NOON + 50),
        )
    )

    assert ["first"] == [case.name for case in ledger.cases(ended, limit=10).cases]
