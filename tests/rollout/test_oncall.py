"""Failures per 1,000 requests before and after a rollout."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.difficulty.tiers import Tier
from monitor.rollout.cohort import Arm, Cohort, Stratum
from monitor.rollout.judging import judge
from monitor.rollout.oncall import (
    Signature,
    SignatureLoad,
    arm_failures,
    expected_load,
    on_call_load,
    weighed,
)
from monitor.rollout.policy import Policy, Severity

EASY = Signature(Tier.EASY, "search")
HARD = Signature(Tier.HARD, "search")


def test_load_is_counted_over_requests_of_every_tier() -> None:
    """A tier's load is what 1,000 mixed requests bring, the most frequent kind first."""
    loads = expected_load(({EASY: 20, HARD: 30}, {EASY: 5, HARD: 14}), (1000, 500))

    assert [SignatureLoad(HARD, 30.0, 28.0), SignatureLoad(EASY, 20.0, 10.0)] == loads


def test_signature_of_one_arm_alone_is_shown() -> None:
    """A kind of incident that is new, or gone, counts as 0 on the other side."""
    loads = expected_load(({EASY: 1}, {HARD: 1}), (100, 100))

    assert [SignatureLoad(HARD, 0.0, 10.0), SignatureLoad(EASY, 10.0, 0.0)] == loads


def test_failures_of_cells_add_up_by_tier_and_capability() -> None:
    """Bins and known or not do not matter to the people on call."""
    strata = [
        Stratum(Tier.HARD, "search", 3, True, 10, 10, 4, 0.0, 0.0),
        Stratum(Tier.HARD, "search", 4, False, 10, 10, 5, 0.0, 0.0),
        Stratum(Tier.EASY, "search", 0, True, 10, 10, 1, 0.0, 0.0),
    ]

    assert {HARD: 9, EASY: 1} == arm_failures(Arm("v1", strata))


def test_load_of_a_cohort_tells_tiers_whole_and_the_most_frequent_signatures() -> None:
    """However few signatures are told, the tiers add up to all failures."""
    baseline = Arm("m-1", [Stratum(Tier.HARD, "search", 3, True, 120, 100, 30, 0.0, 0.0)])
    candidate = Arm("m-2", [Stratum(Tier.HARD, "search", 3, True, 60, 50, 20, 0.0, 0.0)])
    timeouts, wrong_tool = Signature(Tier.HARD, "search", "timeout"), Signature(Tier.HARD, "search", "wrong_tool")

    load = on_call_load(Cohort(baseline, candidate, "c1"), ({timeouts: 30}, {timeouts: 5, wrong_tool: 15}), limit=1)

    assert load is not None
    assert (300.0, 400.0) == load.total == load.tiers[Tier.HARD]
    assert (0.0, 0.0) == load.tiers[Tier.FRONTIER]
    assert (SignatureLoad(wrong_tool, 0.0, 300.0),) == load.signatures


def test_severities_weigh_failures_beside_the_plain_ones() -> None:
    """One wrong refund is worth fifty searches; a class without a severity counts once, as does everything without."""
    strata = [("refund", 10), ("search", 20)]
    arms = [
        Arm(name, [Stratum(Tier.HARD, capability, 3, True, 100, 100, times * n, 0.0, 0.0) for capability, n in strata])
        for name, times in (("m-1", 1), ("m-2", 2))
    ]
    cohort = Cohort(*arms, "c1")

    load = on_call_load(cohort, ({}, {}), severities=(Severity(capability="refund", weight=50.0),))

    assert load is not None
    assert ((150.0, 300.0), pytest.approx((2_600.0, 5_200.0))) == (load.total, load.weighted)
    (sentence,) = weighed(load)
    assert "go from 2,600.0 to 5,200.0 (plain: 150.0 to 300.0); the verdict counts every failure once" in sentence
    plain = on_call_load(cohort, ({}, {}))
    assert plain is not None
    assert (None, []) == (plain.weighted, [*weighed(plain)])


_NAMES = ("refund", "search", "compliance")
_STRATA = st.lists(
    st.builds(
        lambda tier, capability, labelled, failed, logit: Stratum(
            tier, capability, 3, True, labelled, labelled, round(labelled * failed), logit * labelled, 0.0
        ),
        st.sampled_from([Tier.EASY, Tier.MEDIUM, Tier.HARD, Tier.UNTIERED]),
        st.sampled_from(_NAMES),
        st.integers(1, 2_000),
        st.floats(0.0, 1.0),
        st.floats(-3.0, 3.0),
    ),
    min_size=1,
    max_size=8,
)
_SEVERITIES = st.lists(
    st.builds(Severity, capability=st.sampled_from((*_NAMES, "other")), weight=st.just(0.0) | st.floats(1e-30, 1e6)),
    max_size=4,
    unique_by=lambda severity: severity.capability,
)


@given(before=_STRATA, after=_STRATA, severities=_SEVERITIES)
@settings(max_examples=40)
def test_severities_change_no_test_statistic(
    before: list[Stratum], after: list[Stratum], severities: list[Severity]
) -> None:
    """State, scope, bounds, rates, reasons of the test: every field of a verdict is what it is without them."""
    cohort = Cohort(Arm("m-1", before), Arm("m-2", after), "c1")

    verdicts = [
        judge(cohort, None, policy, previous=None) for policy in (Policy(), Policy(severities=tuple(severities)))
    ]

    assert verdicts[0] == verdicts[1]


def test_load_of_an_arm_without_labels_is_unknown() -> None:
    """Nothing is forecast from nothing."""
    served = Arm("m-1", [Stratum(Tier.HARD, "search", 3, True, 120, 100, 30, 0.0, 0.0)])

    for arms in ((served, Arm("m-2", [])), (Arm("m-1", []), served)):
        assert on_call_load(Cohort(*arms, "c1"), ({}, {})) is None
