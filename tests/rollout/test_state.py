from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from monitor.difficulty.tiers import Tier
from monitor.rollout.cohort import Arm, Cohort, Comparison, Stratum, TierGroup, TiersBy
from monitor.rollout.confidence_sequence import Counts
from monitor.rollout.labelling import FAILURE, SUCCESS, Labelling
from monitor.rollout.policy import Policy
from monitor.rollout.state import Findings, find
from monitor.rollout.verdict import FailureRate, Interval, TierComparison, VerdictState

POLICY = Policy()
STEADY = Interval(0.0, -0.01, 0.01)


def compared(
    *requests: int, failures: tuple[int, int] = (20, 20), coverage: tuple[float | None, float | None] = (1.0, 1.0)
) -> Any:
    """Requests and failures of baseline and candidate."""
    baseline, candidate = (
        FailureRate(number, failed, None, covered)
        for number, failed, covered in zip(requests, failures, coverage, strict=True)
    )
    return TierComparison(baseline, candidate, None)


@dataclass(frozen=True)
class Measured:
    """A measurement at the edge of a cliff, and of nothing else, where every part is given and not computed."""

    changes: dict[TierGroup, Interval | None] = field(default_factory=lambda: dict.fromkeys(TierGroup, STEADY))
    labelled: tuple[int, int] = (POLICY.min_labelled_requests, POLICY.min_labelled_requests)
    tiers_by: TiersBy = TiersBy.LEARNT
    has_hard_requests: bool = True
    other_mixes: dict[TierGroup, Any] = field(default_factory=dict)
    side_by_side: Any = None
    unlabelled_shares: tuple[float, float] = (0.0, 0.0)
    coverage_gaps: dict[TierGroup, float] = field(
        default_factory=lambda: dict.fromkeys((TierGroup.ALL, TierGroup.EASIER, TierGroup.HARD), 0.0)
    )
    judge_gaps: dict[TierGroup, float] = field(default_factory=lambda: dict.fromkeys(TierGroup, 0.0))
    aggregate: Any = field(default_factory=lambda: compared(1_000, 1_000, coverage=(0.9, 0.6)))
    hard_tier: Any = field(default_factory=lambda: compared(100, 100, coverage=(0.5, 0.8)))
    easier_tiers: Any = field(default_factory=lambda: compared(900, 900, failures=(10, 10)))
    capabilities: dict[str, Any] = field(default_factory=lambda: {"search": compared(500, 500)})
    regressed_capabilities: tuple[str, ...] = ()
    earlier: Any = None
    is_left_behind: bool = True
    independent: dict[TierGroup, tuple[float, float]] = field(
        default_factory=lambda: {
            TierGroup.HARD: (float(POLICY.min_hard_failures), float(POLICY.min_hard_failures)),
            TierGroup.EASIER: (5.0, 800.0),
        }
    )
    shift: Any = field(default_factory=lambda: SimpleNamespace(change=POLICY.share_jump))
    standardised_change: float | None = 0.0
    matched: Any = field(
        default_factory=lambda: SimpleNamespace(alone=Counts(0, 0), hours_alone=0, requests=np.ones((2, 1)))
    )
    effective_clusters: tuple[float, float] = (math.inf, math.inf)
    comparison: Comparison = Comparison.CONCURRENT
    latest: dict[TierGroup, Interval | None] = field(default_factory=lambda: dict.fromkeys(TierGroup, STEADY))
    design: dict[TierGroup, tuple[float, float]] = field(default_factory=lambda: {TierGroup.ALL: (1.0, 1.0)})
    labels: Any = field(default_factory=lambda: Labelling(Cohort(Arm("old", ()), Arm("new", ()), "")))

    def changes_at(self, factors: tuple[float, float]) -> dict[TierGroup, Interval | None]:
        """Only with more of the baseline's would `wide` bounds be narrow."""
        return dict.fromkeys(TierGroup, STEADY) if factors[0] > 1.0 else self.latest

    def fewest_independent(self, group: TierGroup) -> tuple[float, float]:
        return self.independent[group]


def found(**parts: Any) -> Findings:
    return find(replace(Measured(), **parts), (), POLICY)  # type: ignore[arg-type]


def test_just_enough_evidence_of_a_cliff_is_enough() -> None:
    """Every minimum is met exactly, the jump is reached exactly, and all requests together got no worse."""
    assert VerdictState.CLIFF == found().state


@pytest.mark.parametrize(
    "parts",
    [
        {"is_left_behind": False},
        {"independent": {TierGroup.HARD: (30.0, 29.9), TierGroup.EASIER: (5.0, 800.0)}},
        {"independent": {TierGroup.HARD: (29.9, 30.0), TierGroup.EASIER: (5.0, 800.0)}},
        {"independent": {TierGroup.HARD: (30.0, 30.0), TierGroup.EASIER: (4.9, 800.0)}},
        {"easier_tiers": compared(900, 900, failures=(9, 10))},
        {"easier_tiers": compared(900, 900, failures=(10, 9))},
        {"easier_tiers": compared(900, 900, failures=(29, 0))},
        {"coverage_gaps": {TierGroup.ALL: 0.0, TierGroup.EASIER: 0.001, TierGroup.HARD: 0.0}},
        {"shift": SimpleNamespace(change=POLICY.share_jump - 1e-9)},
        {"shift": None},
        {"standardised_change": 1e-9},
        {"standardised_change": None},
    ],
    ids=[
        "the hard tier is not shown to be left behind",
        "too few independent passes of the hard tier",
        "too few independent failures of the hard tier",
        "too few independent failures of the easier tiers",
        "too few easier failures of the baseline",
        "too few easier failures of the candidate",
        "none of the candidate, and the baseline has few",
        "a gap in the labels",
        "a smaller jump",
        "no jump that is known",
        "all requests together got worse",
        "no change that is known",
    ],
)
def test_a_hair_less_is_no_cliff(parts: dict[str, Any]) -> None:
    """Each condition alone keeps the verdict from being a cliff."""
    assert VerdictState.OK == replace(found(**parts), obstacles=()).state


def test_easier_tiers_that_fail_no_more_are_no_lack_of_evidence() -> None:
    """Thirty failures were due at the baseline's rate, so a candidate without one gained there."""
    assert VerdictState.CLIFF == found(easier_tiers=compared(900, 900, failures=(30, 0))).state


def test_a_cliff_stays_while_the_hard_tier_is_left_behind() -> None:
    """A cliff that was called does not go away because counts of another look are smaller."""
    earlier = SimpleNamespace(state=VerdictState.CLIFF, scope=())

    assert VerdictState.CLIFF == found(earlier=earlier, shift=None).state
    assert VerdictState.OK == found(earlier=earlier, is_left_behind=False).state
    assert VerdictState.OK == found(earlier=SimpleNamespace(state=VerdictState.OK, scope=()), shift=None).state


@pytest.mark.parametrize(("lower", "risen"), [(0.0, []), (1e-9, [TierGroup.HARD])])
def test_a_rise_is_shown_when_its_lower_bound_is_above_zero(lower: float, risen: list[TierGroup]) -> None:
    """No change at all is no rise, and what cannot be told is none either."""
    changes = {TierGroup.ALL: None, TierGroup.EASIER: STEADY, TierGroup.HARD: Interval(0.1, lower, 0.2)}

    assert risen == found(changes=changes).risen


@pytest.mark.parametrize(
    ("requests", "earlier", "watched", "counts"),
    [
        (500, None, (), True),
        (499, None, (), False),
        (499, SimpleNamespace(state=VerdictState.REGRESSION, scope=("capability:search",)), (), True),
        (499, SimpleNamespace(state=VerdictState.REGRESSION, scope=("all",)), (), False),
        (499, None, ("search",), True),
    ],
    ids=["half of the traffic", "less", "less, but counted before", "less, and another scope before", "watched"],
)
def test_a_class_counts_by_its_share_or_by_name(
    requests: int, earlier: Any, watched: tuple[str, ...], *, counts: bool
) -> None:
    """A class that regressed makes a regression where it is large, was one before, or is watched."""
    measured = replace(
        Measured(),
        regressed_capabilities=("search",),
        capabilities={"search": compared(1, requests)},
        earlier=earlier,
    )

    findings = find(measured, (), POLICY.model_copy(update={"watched_capabilities": watched}))  # type: ignore[arg-type]

    assert counts == (["search"] == findings.risen_capabilities)
    assert counts == (("capability:search",) == findings.scope)
    assert counts == (VerdictState.REGRESSION is findings.state)


def test_ok_needs_labels_and_every_margin_ruled_out() -> None:
    """The minimum of labels is enough exactly; a bound that touches its margin is not below it."""
    least, quiet = POLICY.min_labelled_requests, {"is_left_behind": False}
    at_margin = {**Measured().changes, TierGroup.HARD: Interval(0.0, -0.1, POLICY.ok_margin_hard)}

    assert VerdictState.OK == found(**quiet).state
    assert VerdictState.WAITING == found(**quiet, labelled=(least, least - 1)).state
    assert VerdictState.WAITING == found(**quiet, labelled=(least - 1, least)).state
    assert VerdictState.WAITING == found(**quiet, changes=at_margin).state
    assert VerdictState.WAITING == found(**quiet, changes={**at_margin, TierGroup.HARD: None}).state
    assert VerdictState.OK == found(**quiet, changes=at_margin, has_hard_requests=False).state
    assert VerdictState.OK == found(**quiet, changes=at_margin, tiers_by=TiersBy.NONE).state


def test_a_gap_as_large_as_the_margin_is_an_obstacle_and_names_who_lags() -> None:
    """The arm with fewer labels is named, of the hard tier or of all requests, whichever the gap is of."""
    gaps = {TierGroup.ALL: POLICY.ok_margin, TierGroup.EASIER: 0.0, TierGroup.HARD: POLICY.ok_margin_hard}

    everything, hard = found(coverage_gaps=gaps, is_left_behind=False).obstacles
    smaller = found(coverage_gaps={group: 0.999 * gap for group, gap in gaps.items()}, is_left_behind=False)

    assert everything.startswith("The candidate's labels lag behind: 60.0 % of its matured requests are labelled, 90")
    assert hard.startswith(
        "The baseline's hard-tier labels lag behind: 50.0 % of its matured requests are labelled, 80"
    )
    assert ((), VerdictState.OK) == (smaller.obstacles, smaller.state)


@pytest.mark.parametrize("behind", ["candidate", "baseline"])
def test_a_judge_of_one_arm_only_is_an_obstacle_and_shows_no_cliff(behind: str) -> None:
    """Its errors could make up a change as large as the margin; smaller ones are allowed for in the bounds."""
    gaps = dict.fromkeys(TierGroup, 0.0) | {TierGroup.ALL: POLICY.ok_margin * (1 if behind == "candidate" else -1)}
    smaller = {group: 0.999 * gap for group, gap in gaps.items()}

    (obstacle,) = found(judge_gaps=gaps, is_left_behind=False).obstacles

    assert f"people label a smaller part of the {behind}" in obstacle
    assert VerdictState.OK is found(judge_gaps=smaller, is_left_behind=False).state
    assert VerdictState.CLIFF is found().state
    assert VerdictState.CLIFF is not found(judge_gaps=smaller).state


@pytest.mark.parametrize(
    ("coverage", "said"),
    [
        ((None, 0.5), "The baseline's labels lag behind: 0.0 % of its matured requests are labelled, 50.0 %"),
        ((0.5, None), "The candidate's labels lag behind: 0.0 % of its matured requests are labelled, 50.0 %"),
        ((0.5, 0.5), "The baseline's labels lag behind: 50.0 % of its matured requests are labelled, 50.0 %"),
    ],
    ids=["a baseline without requests", "a candidate without requests", "arms that are alike"],
)
def test_an_arm_without_requests_has_no_labels(coverage: tuple[float | None, float | None], said: str) -> None:
    """What is not there is not labelled either."""
    gaps = {TierGroup.ALL: 0.5, TierGroup.EASIER: 0.0, TierGroup.HARD: 0.0}

    (obstacle,) = found(coverage_gaps=gaps, aggregate=compared(10, 10, coverage=coverage)).obstacles

    assert obstacle.startswith(said)


@pytest.mark.parametrize(("side", "missing"), [(FAILURE, "successes"), (SUCCESS, "failures")])
def test_labels_of_one_side_are_an_obstacle(side: str, missing: str) -> None:
    """Where every label says the same, what goes unlabelled is named, and nothing is ok."""
    old, new = (Stratum(Tier.EASY, "any", 0, True, n, 0, 0, 0.0, 0.0) for n in (20_000, 8_000))
    labels = Labelling(Cohort(Arm("old", [old]), Arm("new", [new]), ""), one_sided=side)

    findings = found(labels=labels, labelled=(500, 600), is_left_behind=False)

    assert "2.5 % of the baseline's requests and 7.5 % of the candidate's" in "".join(findings.obstacles)
    assert f"{missing} seem to go unlabelled" in "".join(findings.obstacles)
    assert VerdictState.WAITING == findings.state
    assert VerdictState.CLIFF is not found(labels=labels).state
    gaps = dict.fromkeys((TierGroup.ALL, TierGroup.EASIER, TierGroup.HARD), 1.0)
    assert 1 == len(found(labels=labels, labelled=(500, 600), coverage_gaps=gaps).obstacles)


def test_requests_that_nothing_is_compared_with_are_an_obstacle_once_they_could_exceed_the_margin() -> None:
    """A class that the candidate alone serves may fail as it likes, and no bound of the others would show it."""
    findings = found(matched=SimpleNamespace(alone=Counts(6, 3)), labelled=(200, 200), is_left_behind=False)

    assert VerdictState.WAITING == findings.state
    (obstacle,) = findings.obstacles
    assert obstacle.startswith("6 of the candidate's labelled requests (50.0 % of them fail) are of kinds that the")
    assert () == found(matched=SimpleNamespace(alone=Counts(5, 3)), labelled=(200, 200), is_left_behind=False).obstacles


def test_a_group_that_the_arms_do_not_share_is_an_obstacle_and_not_a_number_of_requests() -> None:
    """A candidate that serves easy requests only is never compared by the hard ones, however many come."""
    apart = {**dict.fromkeys(TierGroup, STEADY), TierGroup.HARD: None}

    (obstacle,) = found(changes=apart, hard_tier=compared(20, 0), is_left_behind=False).obstacles
    too_few_to_tell = found(changes=apart, hard_tier=compared(19, 0), is_left_behind=False).obstacles
    smaller_candidate = found(changes=apart, hard_tier=compared(20, 0), labelled=(200, 199), is_left_behind=False)

    assert obstacle.startswith("There is nothing to compare on the hard tier")
    assert not too_few_to_tell
    assert not smaller_candidate.obstacles


def test_an_arm_of_one_cluster_is_an_obstacle_that_names_it() -> None:
    """One conversation id for all requests of a version says nothing, however many come."""
    effects = {TierGroup.ALL: (3.0, 200.0)}
    (obstacle,) = found(design=effects, effective_clusters=(60.0, 1.0)).obstacles

    assert obstacle.startswith("The candidate's 200 labelled requests tell no more than 1 independent ones would")


def test_one_item_among_many_is_an_obstacle_where_it_alone_makes_an_arm_say_little() -> None:
    """An item of 15 % of the requests that nearly always fails: its share stays as it is, however many come."""
    (obstacle,) = found(
        design={TierGroup.ALL: (3.0, 200.0)}, labelled=(3_000, 3_000), effective_clusters=(400.0, 44.0)
    ).obstacles

    assert obstacle.startswith("The candidate's 3,000 labelled requests tell no more than 15 independent ones would")


def test_labels_that_never_come_are_an_obstacle_and_not_a_number_of_requests() -> None:
    """Old enough requests without any label in either arm; where there is no request yet, nothing is wrong."""
    unlabelled, nothing = (compared(0, 0, coverage=(covered, covered)) for covered in (0.0, None))

    (obstacle,) = found(labelled=(0, 0), aggregate=unlabelled).obstacles

    assert obstacle.startswith("No request of either version has a label")
    assert not found(labelled=(0, 0), aggregate=nothing).obstacles
    assert "No request of either" not in "".join(found(labelled=(0, 600), aggregate=unlabelled).obstacles)


def test_what_earlier_looks_ruled_out_stays_ok_beside_a_baseline_that_is_too_few_by_now() -> None:
    """An obstacle of the forecast, by the latest look alone, takes no `ok` back."""
    after = {"comparison": Comparison.BEFORE_AFTER, "labelled": (300, 3_000), "is_left_behind": False}
    wide = dict.fromkeys(TierGroup, Interval(0.0, -0.2, 0.2))

    assert VerdictState.OK is found(latest=wide, **after).state
    assert VerdictState.WAITING is found(latest=wide, changes=wide, **after).state
    assert found(latest=wide, changes=wide, **after).obstacles


def test_labels_that_ceased_are_an_obstacle_until_there_is_a_verdict() -> None:
    """More requests bring no `ok` while none of them has a label; what labels have shown stays."""
    wide = dict.fromkeys(TierGroup, Interval(0.0, -0.2, 0.2))
    arm = Arm("v", [Stratum(Tier.UNTIERED, "", 0, False, 99, 9 * (hour < 9), 0, 0.0, 0.0, hour) for hour in range(39)])
    ceased = {"labels": Labelling(Cohort(arm, arm, "")), "is_left_behind": False}

    waiting = found(changes=wide, **ceased)

    assert VerdictState.WAITING is waiting.state
    assert waiting.obstacles[0].startswith("No request of the last 30 hours has a label")
    assert VerdictState.OK is found(**ceased).state


def test_beside_an_alarm_nobody_asks_what_an_ok_would_take() -> None:
    """A baseline that is too few by now for any `ok` keeps no cliff and no regression from being called."""
    wide = dict.fromkeys(TierGroup, Interval(0.0, -0.2, 0.2))
    after = {"comparison": Comparison.BEFORE_AFTER, "labelled": (300, 3_000), "latest": wide}
    risen = {**wide, TierGroup.ALL: Interval(0.1, 0.05, 0.2)}

    assert ((), VerdictState.CLIFF) == ((shown := found(changes=wide, **after)).obstacles, shown.state)
    assert ((), VerdictState.REGRESSION) == ((shown := found(changes=risen, **after)).obstacles, shown.state)


def test_a_baseline_that_serves_no_more_takes_no_ok_back() -> None:
    """A ramp that reached all of the traffic: what both served side by side has decided."""
    alone = SimpleNamespace(alone=Counts(0, 0), hours_alone=11)

    assert VerdictState.OK is found(matched=alone, is_left_behind=False).state


def test_many_clusters_are_no_obstacle_while_they_are_few_requests() -> None:
    """Conversations of ten on the first day: more conversations come."""
    effects = {TierGroup.ALL: (1.0, 4.0)}

    assert not found(design=effects, effective_clusters=(60.0, 20.0)).obstacles


def test_few_clusters_are_an_obstacle_where_they_say_little_and_more_requests_should_have_told() -> None:
    """Few users whose requests are hardly alike say enough; before the minimum of labels, more may come yet."""
    labelled, few = POLICY.min_labelled_requests, {"effective_clusters": (math.inf, 19.9)}

    assert not found(design={TierGroup.ALL: (1.0, labelled / 100)}, **few).obstacles
    assert found(design={TierGroup.ALL: (1.0, labelled / 99)}, **few).obstacles
    assert not found(design={TierGroup.ALL: (1.0, 20.0)}, labelled=(labelled, labelled - 1), **few).obstacles
