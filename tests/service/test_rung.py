"""The ladder: which rung gives a rollout its tiers, and on which requests it stands."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from monitor.clock import WallClock
from monitor.difficulty.calibrating import calibrate
from monitor.difficulty.calibration import Calibration
from monitor.difficulty.settings import DifficultySettings
from monitor.difficulty.tiers import Tier
from monitor.ledger.inspection import TierCoverage, inspect_ledger
from monitor.ledger.sql import SqlLedger
from monitor.rollout.cohort import ArmName, Comparison, TiersBy
from monitor.rollout.judging import judge
from monitor.rollout.policy import Policy
from monitor.rollout.tracker import EvidenceWindow, Rollout
from monitor.service.rung import Ladder, ReadBy
from tests.builders import NOON, a_batch, a_trace, failure, success, tagged
from tests.difficulty.made_up import features_of, history

DAY = 86_400.0
FAILS_EVERY = {"faq": 100, "booking": 10, "refund": 2}
ROLLOUT = Rollout("r1", "shop", "production", "old", "new", NOON, calibration_id="")


@pytest.fixture
def ledger() -> Iterator[SqlLedger]:
    ledger = SqlLedger("sqlite://")
    yield ledger
    ledger.close()


def serve(ledger: SqlLedger, version: str, *, since: float, until: float, declared: str | None = None) -> None:
    """Two hundred labelled requests of each class, evenly over the time; *declared* is the tier of refunds."""
    events = [
        replace(
            tagged(
                a_trace(
                    f"{version}-{since}-{capability}-{number}",
                    model_version=version,
                    capability=capability,
                    started_at=since + (until - since) * number / 200,
                    outcome=failure() if number % every == 0 else success(),
                )
            ),
            declared_tier=None if declared is None else declared if capability == "refund" else "easy",
        )
        for capability, every in FAILS_EVERY.items()
        for number in range(200)
    ]
    ledger.record(a_batch(*events))


def climb(
    ledger: SqlLedger,
    *,
    policy: Policy | None = None,
    calibration: Calibration | None = None,
    earlier: ReadBy | None = None,
    rollout: Rollout = ROLLOUT,
) -> ReadBy:
    chosen = policy or Policy()
    with ledger.arms(rollout, matured_before=NOON + DAY) as arms:
        return Ladder(
            arms=arms,
            policy=chosen,
            difficulty=DifficultySettings(),
            rollout=rollout,
            calibration=calibration,
            window=EvidenceWindow(NOON, NOON - chosen.baseline_days * DAY),
            class_tiers={} if earlier is None else earlier.class_tiers(),
        ).climb()


def requests_of(read: ReadBy) -> tuple[int, int]:
    return read.cohort.baseline.requests, read.cohort.candidate.requests


def test_without_references_classes_have_tiers_and_no_request_counts_twice(ledger: SqlLedger) -> None:
    """The baseline's labels before the start give the tiers; only its requests since then are compared."""
    serve(ledger, "old", since=NOON - DAY, until=NOON)
    serve(ledger, "old", since=NOON, until=NOON + DAY / 2)
    serve(ledger, "new", since=NOON, until=NOON + DAY / 2)

    read = climb(ledger)

    assert (TiersBy.CLASS, Comparison.CONCURRENT) == (read.cohort.tiers_by, read.cohort.comparison)
    assert {("faq", ""): Tier.EASY, ("booking", ""): Tier.MEDIUM, ("refund", ""): Tier.HARD} == read.view.class_tiers
    assert (600, 600) == requests_of(read)
    assert {Tier.HARD} == {each.tier for each in read.cohort.candidate.strata if each.capability == "refund"}


def test_after_a_cutover_the_earlier_half_of_the_baselines_days_teaches(ledger: SqlLedger) -> None:
    """Its later half stands in for the baseline, and no request is in both."""
    serve(ledger, "old", since=NOON - 14 * DAY, until=NOON - 7 * DAY)
    serve(ledger, "old", since=NOON - 7 * DAY, until=NOON)
    serve(ledger, "new", since=NOON, until=NOON + DAY / 2)

    read = climb(ledger)

    assert (TiersBy.CLASS, Comparison.BEFORE_AFTER) == (read.cohort.tiers_by, read.cohort.comparison)
    assert (600, 600) == requests_of(read)


def test_a_whole_week_of_the_baseline_stands_in_where_there_is_one(ledger: SqlLedger) -> None:
    """Half of nine days would lack a weekend, with which the candidate's first days may have to be compared."""
    serve(ledger, "old", since=NOON - 9 * DAY, until=NOON - 7 * DAY)
    serve(ledger, "old", since=NOON - 7 * DAY, until=NOON)
    serve(ledger, "new", since=NOON, until=NOON + DAY / 2)

    read = climb(ledger)

    assert (TiersBy.CLASS, NOON - 7 * DAY) == (read.cohort.tiers_by, read.window.baseline_since)
    assert (600, 600) == requests_of(read)


def test_a_few_days_of_the_baseline_are_halved_likewise(ledger: SqlLedger) -> None:
    """Who began to watch three days before the cutover has tiers too, and later looks keep where they were cut."""
    serve(ledger, "old", since=NOON - 3 * DAY, until=NOON - 1.5 * DAY)
    serve(ledger, "old", since=NOON - 1.5 * DAY, until=NOON)
    serve(ledger, "new", since=NOON, until=NOON + DAY / 2)

    first = climb(ledger)
    ledger.record(a_batch(tagged(a_trace("back-filled", model_version="old", started_at=NOON - 9 * DAY))))
    second = climb(ledger, earlier=first)

    assert (TiersBy.CLASS, Comparison.BEFORE_AFTER) == (first.cohort.tiers_by, first.cohort.comparison)
    assert (600, 600) == requests_of(first)
    assert (first.view, first.window) == (second.view, second.window)


def test_one_day_of_the_baseline_is_not_halved(ledger: SqlLedger) -> None:
    """Half a day says nothing of the other half."""
    serve(ledger, "old", since=NOON - DAY, until=NOON)
    serve(ledger, "new", since=NOON, until=NOON + DAY / 2)

    read = climb(ledger)

    assert {Tier.UNTIERED} == {each.tier for each in read.cohort.candidate.strata}


def test_class_tiers_that_were_used_stay_whatever_labels_come_late(ledger: SqlLedger) -> None:
    """A hundred late failures would make bookings hard at the next look; the rollout goes on with what it began."""
    for version, since in (("old", NOON - DAY), ("old", NOON), ("new", NOON)):
        serve(ledger, version, since=since, until=since + DAY / 2)
    first = climb(ledger)
    late = [
        tagged(a_trace(f"late-{n}", model_version="old", capability="booking", started_at=NOON - n, outcome=failure()))
        for n in range(1, 301)
    ]
    ledger.record(a_batch(*late))

    afresh, carried_on = climb(ledger), climb(ledger, earlier=first)

    assert (Tier.HARD, Tier.MEDIUM) == tuple(read.view.class_tiers["booking", ""] for read in (afresh, carried_on))
    assert first.view == carried_on.view


def test_a_new_service_without_earlier_labels_has_no_tiers(ledger: SqlLedger) -> None:
    """Nothing taught before the start: counts are there, tiers are not."""
    serve(ledger, "old", since=NOON, until=NOON + DAY / 2)
    serve(ledger, "new", since=NOON, until=NOON + DAY / 2)

    read = climb(ledger)

    assert {Tier.UNTIERED} == {each.tier for each in read.cohort.candidate.strata}
    assert (600, 600) == requests_of(read)


@pytest.mark.parametrize(
    ("tiers_by", "expected"),
    [
        pytest.param(("declared", "learnt", "class"), TiersBy.DECLARED, id="declared tiers come first"),
        pytest.param(("class", "declared"), TiersBy.CLASS, id="unless the policy puts another before them"),
        pytest.param(("none",), TiersBy.NONE, id="none are wanted"),
    ],
)
def test_the_policy_says_which_tiers_come_first(
    ledger: SqlLedger, tiers_by: tuple[str, ...], expected: TiersBy
) -> None:
    """Where several rungs give tiers, the first of the policy does."""
    serve(ledger, "old", since=NOON - DAY, until=NOON, declared="frontier")
    serve(ledger, "old", since=NOON, until=NOON + DAY / 2, declared="frontier")
    serve(ledger, "new", since=NOON, until=NOON + DAY / 2, declared="frontier")

    read = climb(ledger, policy=Policy.model_validate({"tiers_by": tiers_by}))

    assert expected is read.cohort.tiers_by
    assert (Tier.FRONTIER in {each.tier for each in read.cohort.candidate.strata}) is (expected is TiersBy.DECLARED)


def test_references_of_other_requests_do_not_speak_for_this_service(ledger: SqlLedger) -> None:
    """A calibration that is trusted on its history is not where it knows none of the live requests."""
    calibration = calibrate(history(), frozen_at=NOON, settings=DifficultySettings())
    assert calibration is not None
    assert calibration.trust.is_trusted
    serve(ledger, "old", since=NOON - DAY, until=NOON)
    serve(ledger, "old", since=NOON, until=NOON + DAY / 2)
    serve(ledger, "new", since=NOON, until=NOON + DAY / 2)

    by_class = climb(ledger, calibration=calibration)
    learnt = climb(ledger, calibration=calibration, policy=Policy.model_validate({"tiers_by": ["learnt"]}))

    assert TiersBy.CLASS is by_class.cohort.tiers_by
    assert learnt.calibration is not None
    assert "Only 0 % of the live requests are known: replay 60 more as probes." in learnt.calibration.trust.reasons


@pytest.mark.parametrize(
    ("of_candidate", "tiers_by"),
    [
        pytest.param("hard", TiersBy.DECLARED, id="the candidate alone gets hard requests"),
        pytest.param("easy", TiersBy.CLASS, id="neither arm does"),
    ],
)
def test_declared_tiers_serve_if_either_arm_has_hard_and_easier_ones(
    ledger: SqlLedger, of_candidate: str, tiers_by: TiersBy
) -> None:
    """What the baseline lacks is a change of the traffic; tiers that are all alike tell nothing."""
    serve(ledger, "old", since=NOON - DAY, until=NOON, declared="easy")
    serve(ledger, "old", since=NOON, until=NOON + DAY / 2, declared="easy")
    serve(ledger, "new", since=NOON, until=NOON + DAY / 2, declared=of_candidate)

    assert tiers_by == climb(ledger).cohort.tiers_by


def test_one_hard_request_of_the_candidate_alone_declares_no_tiers(ledger: SqlLedger) -> None:
    """The baseline may lack one by chance, and of so few no verdict could ever be `ok`."""
    serve(ledger, "old", since=NOON - DAY, until=NOON, declared="easy")
    serve(ledger, "old", since=NOON, until=NOON + DAY / 2, declared="easy")
    serve(ledger, "new", since=NOON, until=NOON + DAY / 2, declared="easy")
    stray = tagged(a_trace("stray", model_version="new", started_at=NOON + 60, outcome=success()))
    ledger.record(a_batch(replace(stray, declared_tier="hard")))

    assert TiersBy.CLASS == climb(ledger).cohort.tiers_by


@pytest.mark.parametrize(
    ("of_baseline", "of_candidate", "undeclared"),
    [
        pytest.param(None, "hard", ArmName.BASELINE, id="the candidate alone declares tiers"),
        pytest.param("hard", None, ArmName.CANDIDATE, id="the baseline alone does"),
        pytest.param("hard", "hard", None, id="both do"),
        pytest.param(None, None, None, id="neither does, so no reason mentions tiers"),
    ],
)
def test_tiers_that_one_arm_does_not_declare_are_named(
    ledger: SqlLedger, of_baseline: str | None, of_candidate: str | None, undeclared: ArmName | None
) -> None:
    """Whoever declares tiers in a new version alone learns why they are not used."""
    serve(ledger, "old", since=NOON, until=NOON + DAY / 2, declared=of_baseline)
    serve(ledger, "new", since=NOON, until=NOON + DAY / 2, declared=of_candidate)

    read = climb(ledger)
    verdict = judge(read.cohort, read.calibration, Policy(), previous=None)

    assert undeclared is read.cohort.undeclared
    told = f"Fewer than half of the {undeclared}'s requests declare a tier, so declared tiers are not used."
    assert (undeclared is not None) == (told in verdict.reasons)


def test_what_declared_tiers_cover_is_counted_by_service(tmp_path: Path) -> None:
    """All requests, those with a declared tier, and those that have a learnt one as well."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    ledger = SqlLedger(url)
    serve(ledger, "old", since=NOON - DAY, until=NOON, declared="hard")
    serve(ledger, "new", since=NOON, until=NOON + DAY)
    ledger.close()

    facts = inspect_ledger(url, WallClock())

    (covered,) = facts.tiers
    assert TierCoverage("shop", requests=1_200, known=0, declared=600, both=0, agreeing=0) == covered._replace(
        labels={}
    )
    assert 1_200 == sum(covered.labels.values())


def test_tags_of_known_requests_do_not_serve_an_arm_whose_requests_are_unknown(ledger: SqlLedger) -> None:
    """Half of all requests are known, and none of the candidate's: what is learnt does not read this rollout."""
    calibration = calibrate(history(), frozen_at=NOON, settings=DifficultySettings())
    assert calibration is not None
    for version, name in (("old", "item"), ("new", "other")):
        events = []
        for number in range(150):
            features = replace(features_of(number), item=f"{name}-{number}")
            trace = a_trace(
                f"{version}-{number}",
                model_version=version,
                capability=features.capability,
                request_id=features.item,
                started_at=NOON + number,
                outcome=failure() if number > 100 else success(),
            )
            events.append(tagged(trace, calibration.tag(features)))
        ledger.record(a_batch(*events))

    read = climb(
        ledger,
        policy=Policy.model_validate({"tiers_by": ["learnt"]}),
        calibration=calibration,
        rollout=dataclasses.replace(ROLLOUT, calibration_id=calibration.calibration_id),
    )

    assert read.calibration is not None
    assert ("Only 0 % of the live requests are known: replay 15 more as probes.",) == read.calibration.trust.reasons
