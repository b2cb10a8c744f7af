"""Cases grouped for the people who route them."""

from __future__ import annotations

from monitor.difficulty.tiers import Tier
from monitor.rollout.cases import Case, CaseKind, by_signature
from monitor.rollout.cohort import Runs
from monitor.rollout.oncall import Signature

TIMEOUT, WRONG_TOOL = Signature(Tier.HARD, "search", "timeout"), Signature(Tier.HARD, "search", "wrong_tool")


def a_case(name: str, signature: Signature) -> Case:
    return Case(name, CaseKind.REQUEST, signature, f"t-{name}", 0.0, Runs(1, 1), Runs(1, 0), f"p-{name}", "model-1")


def test_cases_of_one_signature_stand_together() -> None:
    """The largest group comes first, and cases keep their order in it."""
    cases = [a_case("a", TIMEOUT), a_case("b", WRONG_TOOL), a_case("c", WRONG_TOOL)]

    assert [(WRONG_TOOL, cases[1:]), (TIMEOUT, cases[:1])] == by_signature(cases)
