from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from monitor.difficulty.settings import DifficultySettings
from monitor.difficulty.tiers import Tier
from monitor.ledger.sql import SqlLedger
from monitor.rollout.cohort import TiersBy
from monitor.rollout.policy import Policy
from monitor.rollout.verdict import VerdictState
from monitor.service.review import Reviewer
from monitor.service.settings import ServiceSettings
from tests.builders import NOON, a_batch, a_trace, failure, success, tagged

DAY = 86_400.0
FAILS_EVERY = {"faq": 100, "booking": 10, "refund": 2}


@pytest.fixture
def ledger() -> Iterator[SqlLedger]:
    ledger = SqlLedger("sqlite://")
    yield ledger
    ledger.close()


@pytest.fixture
def reviewer(ledger: SqlLedger) -> Reviewer:
    return Reviewer(ledger, settings=ServiceSettings(), difficulty=DifficultySettings(), policy=Policy())


def serve(
    ledger: SqlLedger,
    model_version: str,
    *,
    environment: str = "production",
    started_at: float,
    fails_from: int,
    salt: int = 0,
) -> None:
    """Two hundred labelled requests of a version; those from *fails_from* on fail, but for a few."""
    events = []
    for item in range(200):
        is_odd = (item * 7 + salt) % 11 == 0
        starts = started_at + item * 37 % 200  # easy and hard ones by turns
        outcome = (failure if (item >= fails_from) != is_odd else success)(labelled_at=starts + 60)
        events.append(
            tagged(
                a_trace(
                    f"{environment}-{model_version}-{item}",
                    environment=environment,
                    model_version=model_version,
                    request_id=f"item-{item}",
                    started_at=starts,
                    outcome=outcome,
                )
            )
        )
    ledger.record(a_batch(*events))


def serve_history(ledger: SqlLedger, versions: int = 8) -> None:
    for number in range(versions):
        serve(
            ledger,
            f"old-{number}",
            environment="reference",
            started_at=NOON - (versions - number) * DAY,
            fails_from=150 - 5 * number,
            salt=number,
        )


def test_history_is_frozen_before_a_new_version_is_tagged(ledger: SqlLedger, reviewer: Reviewer) -> None:
    """A calibration is made of the reference history when the first live version appears."""
    serve_history(ledger)

    reviewer.freeze_before({"live-1"}, now=NOON)

    calibration = reviewer.calibration_in_force()
    assert calibration is not None
    assert 8 == calibration.trust.versions
    assert [1600] == [record.history_labels for record in ledger.calibrations()]


def test_live_versions_teach_nothing(ledger: SqlLedger, reviewer: Reviewer) -> None:
    """However much the baseline and the candidate do, the calibration that reads them stays the same."""
    serve_history(ledger)
    reviewer.freeze_before({"live-1"}, now=NOON)
    frozen = reviewer.calibration_in_force()
    assert frozen is not None
    before = frozen.to_json()

    for number, version in enumerate(("live-1", "live-2")):
        serve(ledger, version, started_at=NOON + number * DAY, fails_from=100)
        reviewer.freeze_before({version}, now=NOON + number * DAY)
    reviewer.review(now=NOON + 3 * DAY)

    after = reviewer.calibration_in_force()
    assert after is not None
    assert before == after.to_json()
    assert 1 == len(ledger.calibrations())


def test_a_version_that_is_live_teaches_not_even_by_its_reference_runs(ledger: SqlLedger, reviewer: Reviewer) -> None:
    """Reference runs of the very version that goes live are left out of what judges it."""
    serve_history(ledger)

    reviewer.freeze_before({"old-3"}, now=NOON)

    calibration = reviewer.calibration_in_force()
    assert calibration is not None
    assert 7 == calibration.trust.versions


def test_a_calibration_that_a_new_version_taught_is_replaced_before_it_goes_live(
    ledger: SqlLedger, reviewer: Reviewer
) -> None:
    """What learnt from reference runs of a version is not what judges it, however little the history grew since."""
    serve_history(ledger)
    draft = reviewer.draft(now=NOON)
    assert draft is not None
    reviewer.put_in_force(draft.calibration, history_labels=draft.history_labels, now=NOON)

    reviewer.freeze_before({"old-3"}, now=NOON)

    calibration = reviewer.calibration_in_force()
    assert calibration is not None
    assert (8, 7) == (draft.calibration.trust.versions, calibration.trust.versions)


def test_a_new_version_that_taught_nothing_changes_nothing(ledger: SqlLedger, reviewer: Reviewer) -> None:
    """A version that was never seen leaves the calibration in force where it is."""
    serve_history(ledger)
    reviewer.freeze_before({"live-1"}, now=NOON)

    reviewer.freeze_before({"live-2"}, now=NOON + DAY)

    assert 1 == len(ledger.calibrations())


def test_a_calibration_that_is_only_kept_tags_nothing(ledger: SqlLedger, reviewer: Reviewer) -> None:
    """Until it is promoted, there is none in force."""
    serve_history(ledger)
    draft = reviewer.draft(now=NOON)
    assert draft is not None

    ledger.keep(draft.calibration, history_labels=draft.history_labels)

    assert reviewer.calibration_in_force() is None


def test_a_calibration_put_back_by_hand_stays(ledger: SqlLedger, reviewer: Reviewer) -> None:
    """An earlier calibration that was put in force again is not replaced until the history grows from there."""
    serve_history(ledger, versions=4)
    reviewer.review(now=NOON)
    first = reviewer.calibration_in_force()
    assert first is not None
    serve_history(ledger, versions=8)
    reviewer.review(now=NOON + DAY)

    reviewer.put_in_force(first, history_labels=reviewer.history_labels(), now=NOON + 2 * DAY)
    reviewer.review(now=NOON + 3 * DAY)

    assert first == reviewer.calibration_in_force()
    assert 2 == len(ledger.calibrations())


def test_only_a_rollout_with_trusted_tiers_holds_its_calibration(ledger: SqlLedger) -> None:
    """A rollout that began without a calibration, or with one that is not trusted, holds nothing back."""
    lenient = DifficultySettings(max_calibration_error=0.2)
    reviewer = Reviewer(ledger, settings=ServiceSettings(), difficulty=lenient, policy=Policy())
    serve(ledger, "live-1", started_at=NOON, fails_from=100)
    serve(ledger, "live-2", started_at=NOON + DAY, fails_from=100)
    reviewer.review(now=NOON + 2 * DAY)
    assert [] == reviewer.blocking_rollouts()
    serve_history(ledger)

    reviewer.review(now=NOON + 3 * DAY)

    assert ["live-2"] == [rollout.candidate for rollout in reviewer.blocking_rollouts()]


def serve_a_rollout(ledger: SqlLedger, reviewer: Reviewer) -> None:
    """A day of `live-1`, a history that teaches, and `live-2` from noon on; a review a day later finds the rollout."""
    serve(ledger, "live-1", started_at=NOON - DAY, fails_from=100)
    serve_history(ledger)
    reviewer.freeze_before({"live-2"}, now=NOON)
    serve(ledger, "live-2", started_at=NOON, fails_from=100, salt=5)
    reviewer.review(now=NOON + DAY)


def test_a_rollout_is_found_and_judged_under_the_calibration_that_it_began_with(
    ledger: SqlLedger, reviewer: Reviewer
) -> None:
    """A new version starts a rollout; both arms are read under one calibration, also those tagged before it."""
    serve_a_rollout(ledger, reviewer)

    (record,) = ledger.rollouts()
    calibration = reviewer.calibration_in_force()
    assert calibration is not None
    assert ("live-1", "live-2") == (record.rollout.baseline, record.rollout.candidate)
    assert calibration.calibration_id == record.rollout.calibration_id
    assert record.verdict is not None
    assert (200, 200) == (record.verdict.aggregate.baseline.requests, record.verdict.aggregate.candidate.requests)


def test_requests_that_come_late_are_judged_though_they_began_before_the_rollout_was_found(
    ledger: SqlLedger, reviewer: Reviewer
) -> None:
    """One partition lagged behind the others: no request of the candidate is lost to the verdict."""
    serve_a_rollout(ledger, reviewer)
    (found,) = ledger.rollouts()

    late = a_trace("late", model_version="live-2", started_at=NOON - 60.0, outcome=success(labelled_at=NOON))
    ledger.record(a_batch(tagged(late)))
    reviewer.review(now=NOON + DAY + 1.0)

    (record,) = ledger.rollouts()
    assert replace(found.rollout, started_at=NOON - 60.0) == record.rollout
    assert record.verdict is not None
    assert 201 == record.verdict.aggregate.candidate.requests


def test_without_history_the_verdict_waits(ledger: SqlLedger, reviewer: Reviewer) -> None:
    """Two live versions and nothing else: the rollout is known and nothing is claimed about it."""
    serve(ledger, "live-1", started_at=NOON, fails_from=100)
    serve(ledger, "live-2", started_at=NOON + DAY, fails_from=100)

    reviewer.review(now=NOON + 2 * DAY)

    (record,) = ledger.rollouts()
    assert record.verdict is not None
    assert VerdictState.WAITING == record.verdict.state
    assert "" == record.rollout.calibration_id


def test_history_that_comes_late_still_helps_a_rollout_without_trusted_tiers(
    ledger: SqlLedger, reviewer: Reviewer
) -> None:
    """A rollout that began without a calibration is read under the first one that can be made."""
    serve(ledger, "live-1", started_at=NOON, fails_from=100)
    serve(ledger, "live-2", started_at=NOON + DAY, fails_from=100)
    reviewer.review(now=NOON + 2 * DAY)
    serve_history(ledger)

    reviewer.review(now=NOON + 3 * DAY)

    (record,) = ledger.rollouts()
    assert record.rollout.calibration_id == ledger.calibrations()[-1].calibration_id
    assert record.verdict is not None
    assert 200 == record.verdict.aggregate.candidate.requests


def test_a_rollout_ends_with_its_ramp(ledger: SqlLedger) -> None:
    """After the policy's ramp the watch is over and the rollout is judged no more."""
    policy = Policy(ramp_seconds=10 * DAY)
    reviewer = Reviewer(ledger, settings=ServiceSettings(), difficulty=DifficultySettings(), policy=policy)
    serve(ledger, "live-1", started_at=NOON, fails_from=100)
    serve(ledger, "live-2", started_at=NOON + DAY, fails_from=100)
    reviewer.review(now=NOON + 2 * DAY)

    reviewer.review(now=NOON + 20 * DAY)

    (record,) = ledger.rollouts()
    assert NOON + 11 * DAY == record.rollout.ended_at
    assert "ramp_over" == record.rollout.end_reason


def test_live_labels_are_asked_about_the_calibration_in_force(ledger: SqlLedger, reviewer: Reviewer) -> None:
    """Three live versions that fail what the history fails leave it standing; none before they have matured."""
    serve_history(ledger)
    for number in range(3):
        serve(ledger, f"live-{number}", started_at=NOON, fails_from=120, salt=number)
        reviewer.freeze_before({f"live-{number}"}, now=NOON)

    reviewer.review(now=NOON + 60)
    young = reviewer.live_trust
    reviewer.review(now=NOON + DAY)
    told = reviewer.live_trust

    assert young is not None
    assert told is not None
    assert (0, None) == (young.versions, young.is_trusted)
    assert (3, True) == (told.versions, told.is_trusted)
    assert [record.calibration_id for record in ledger.calibrations()] == [told.calibration_id]


def test_live_labels_that_speak_against_it_change_no_verdict(ledger: SqlLedger, reviewer: Reviewer) -> None:
    """Where easy and hard have changed places the calibration is doubted, and read under as before."""
    serve_history(ledger)
    reviewer.freeze_before({"live-0"}, now=NOON)
    for number in range(3):
        serve(ledger, f"live-{number}", started_at=NOON + 60 + number * 300, fails_from=200, salt=number)
    frozen = reviewer.calibration_in_force()

    reviewer.review(now=NOON + DAY)

    told = reviewer.live_trust
    assert frozen is not None
    assert told is not None
    assert told.is_trusted is False
    assert told.reasons[-1].startswith("On labels of 3 live versions: ")
    assert frozen == reviewer.calibration_in_force()
    assert {frozen.calibration_id} == {record.rollout.calibration_id for record in ledger.rollouts()}
    assert not any("live versions" in reason for r in ledger.rollouts() if r.verdict for reason in r.verdict.reasons)


def test_live_labels_are_looked_at_as_seldom_as_history(ledger: SqlLedger, reviewer: Reviewer) -> None:
    """Between two calibrations what was told stands, however many labels come in."""
    serve_history(ledger)
    reviewer.freeze_before({"live-0"}, now=NOON)
    serve(ledger, "live-0", started_at=NOON, fails_from=120)
    reviewer.review(now=NOON + DAY)
    before = reviewer.live_trust
    serve(ledger, "live-0", environment="probes", started_at=NOON, fails_from=20)

    reviewer.review(now=NOON + DAY + 60)
    soon = reviewer.live_trust
    reviewer.review(now=NOON + 2 * DAY)

    assert before is soon
    assert before != reviewer.live_trust


def test_without_a_calibration_there_is_nothing_to_doubt(ledger: SqlLedger, reviewer: Reviewer) -> None:
    """Live labels alone say nothing."""
    serve(ledger, "live-0", started_at=NOON, fails_from=120)

    reviewer.review(now=NOON + DAY)

    assert reviewer.live_trust is None


def test_class_tiers_are_frozen_with_the_rollout(tmp_path: Path) -> None:
    """Another replica, after a restart and with labels that came late, reads the classes as the first look did."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    looks = []
    for late in (0, 600):
        ledger = SqlLedger(url)
        for version, since in (("old", NOON - DAY), ("old", NOON), ("new", NOON)):
            serve_classes(ledger, version, since=since)
        serve_classes(ledger, "old", since=NOON - DAY / 2, names=["booking"], requests=late, fails_every=1)
        review = Reviewer(ledger, settings=ServiceSettings(), difficulty=DifficultySettings(), policy=Policy())
        review.review(now=NOON + 2 * DAY)
        looks += [record.verdict for record in ledger.rollouts() if record.verdict is not None]
        ledger.close()

    first, second = looks
    assert (TiersBy.CLASS, TiersBy.CLASS) == (first.tiers_by, second.tiers_by)
    assert {NOON: {("faq", "", Tier.EASY), ("booking", "", Tier.MEDIUM), ("refund", "", Tier.HARD)}} == {
        until: set(rows) for until, rows in second.class_tiers.items()
    }
    assert first.class_tiers == second.class_tiers


def serve_classes(
    ledger: SqlLedger,
    version: str,
    *,
    since: float,
    names: Sequence[str] = ("faq", "booking", "refund"),
    requests: int = 200,
    fails_every: int | None = None,
) -> None:
    """So many labelled requests of each class within half a day."""
    events = []
    for name, number in product(names, range(requests)):
        starts = since + DAY / 2 * number / requests
        fails = number % (fails_every or FAILS_EVERY[name]) == 0
        trace = a_trace(
            f"{version}-{since}-{name}-{number}",
            model_version=version,
            capability=name,
            started_at=starts,
            outcome=(failure if fails else success)(labelled_at=starts + 60),
        )
        events.append(tagged(trace))
    ledger.record(a_batch(*events))


def serve_late(ledger: SqlLedger, model_version: str, *, started_at: float, failed_after: float) -> None:
    """A day of 400 requests, every fourth of which fails; successes are labelled at once, failures much later."""
    events = []
    for number in range(400):
        starts = started_at + number * DAY / 400
        outcome = success(labelled_at=starts) if number % 4 else failure(labelled_at=starts + failed_after)
        name = f"{model_version}-{number}"
        events.append(tagged(a_trace(name, model_version=model_version, started_at=starts, outcome=outcome)))
    ledger.record(a_batch(*events))


@pytest.mark.parametrize(
    ("failed_after", "pinned", "judged", "words"),
    [
        pytest.param(26 * 3_600, None, 200, "95 % of failures are labelled after 26 h (judge)", id="learnt"),
        pytest.param(26 * 3_600, 900.0, 400, "", id="pinned"),
        pytest.param(60, None, 400, "", id="labels that come at once"),
    ],
)
def test_a_request_is_judged_when_its_labels_have_come(
    ledger: SqlLedger, failed_after: float, pinned: float | None, judged: int, words: str
) -> None:
    """Failures that come after 26 hours are waited for, unless the policy pins another age."""
    policy = Policy(maturity_seconds=pinned)
    reviewer = Reviewer(ledger, settings=ServiceSettings(), difficulty=DifficultySettings(), policy=policy)
    serve_late(ledger, "live-1", started_at=NOON, failed_after=failed_after)
    serve_late(ledger, "live-2", started_at=NOON + 4 * DAY, failed_after=failed_after)

    reviewer.review(now=NOON + 4 * DAY + 12 * 3_600 + 26 * 3_600 - 1)

    (record,) = ledger.rollouts()
    assert record.verdict is not None
    late = [reason for reason in record.verdict.reasons if reason.startswith("Younger requests are not counted")]
    assert judged == record.verdict.aggregate.candidate.requests
    assert ([f"Younger requests are not counted yet: {words}."] if words else []) == late


def test_an_old_version_with_late_labels_delays_no_verdict(ledger: SqlLedger, reviewer: Reviewer) -> None:
    """Only the two versions that served last say how long labels take."""
    serve_late(ledger, "live-0", started_at=NOON, failed_after=8 * DAY)
    for number in (1, 2):
        serve_late(ledger, f"live-{number}", started_at=NOON + 10 * number * DAY, failed_after=60)

    assert 3_600 == reviewer.judged_after("shop", "production", now=NOON + 21 * DAY + 3_600)
