from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.ledger.ledger import RolloutRecord
from monitor.metrics.snapshot import CalibrationStatus, HealthFact, LoopStatus, Snapshot
from monitor.rollout.policy import Policy
from monitor.rollout.verdict import VerdictState
from monitor.web.page.pages import Page
from tests.metrics.snapshots import NOON, a_live_trust, a_record, a_snapshot, a_trust, a_verdict
from tests.web.page.reading import Reader, words


def overview(snapshot: Snapshot) -> str:
    return words(Page(snapshot).overview())


def judged(state: VerdictState, **changes: object) -> RolloutRecord:
    return a_record(
        a_verdict(state=state, regressed_capabilities=()), service=f"the-{state}", rollout_id=state.value, **changes
    )


def test_the_worst_rollout_comes_first() -> None:
    """Whoever was woken sees what it is about, whatever started last."""
    records = [
        judged(state, started_at=NOON + hour)
        for hour, state in enumerate(
            (VerdictState.REGRESSION, VerdictState.CLIFF, VerdictState.WAITING, VerdictState.OK)
        )
    ]

    page = overview(a_snapshot(rollouts=records[::-1]))

    places = [page.index(f"the-{state}") for state in ("regression", "cliff", "waiting", "ok")]
    assert sorted(places) == places
    assert "2 rollouts to look at" in page


def test_a_verdict_is_stated_in_words_before_its_numbers() -> None:
    """What it means, then why, then how much."""
    page = overview(a_snapshot(rollouts=[a_record(a_verdict())]))

    meaning, reason, number = (
        page.index(told)
        for told in ("hard requests were left behind", "hard tier 60.0 % → 55.0 % failures", "13.6 % → 9.6 %")
    )
    assert meaning < reason < number


def test_silence_of_a_monitor_that_is_not_ready_is_no_all_clear() -> None:
    """That there is no alarm is only said by a monitor that looks."""
    records = [judged(VerdictState.OK)]

    assert "No alarm: 1 rollout watched" in overview(a_snapshot(rollouts=records))
    page = overview(a_snapshot(rollouts=records, is_ready=False))
    assert "No alarm: 1" not in page
    assert "No alarm, but the monitor cannot be trusted now" in page


def test_how_long_it_has_been_so_is_reported() -> None:
    """Nobody has to subtract times at night, and a monitor that reads nothing gives itself away."""
    record = RolloutRecord(a_record().rollout, a_verdict(), changes=((NOON + 7_200, "cliff"),))

    page = overview(a_snapshot(rollouts=[record], now=NOON + 10_800, loop=LoopStatus(last_commit_at=NOON)))

    assert "Cliff for 1 hour, candidate for 3 hours, since 2026-09-21" in page
    assert "last record written 3 hours ago" in page


def test_of_equal_rollouts_the_latest_comes_first() -> None:
    """The one that somebody was just woken for."""
    page = overview(a_snapshot(rollouts=[a_record(service="older"), a_record(service="newer", started_at=2e9)]))

    assert page.index("newer") < page.index("older")


def test_what_changed_since_yesterday_is_reported_and_no_more() -> None:
    """A change of the verdict an hour ago, and not one of the day before."""
    rollout = a_record(a_verdict()).rollout
    record = RolloutRecord(rollout, a_verdict(), changes=((NOON - 90_000, "waiting"), (NOON - 3_600, "cliff")))

    page = overview(a_snapshot(rollouts=[record], now=NOON))

    assert "waiting became cliff" in page
    assert "first verdict: waiting" not in page


def test_a_rollout_that_ended_is_no_alarm() -> None:
    """It is listed with its last verdict, below those that are watched."""
    page = overview(
        a_snapshot(rollouts=[judged(VerdictState.REGRESSION, ended_at=NOON + 50, end_reason="rolled_back")])
    )

    assert "No rollout under way" in page
    assert page.index("Ended rollouts") < page.rindex("the-regression") < page.index("rolled back", page.index("Ended"))


def test_an_empty_monitor_says_what_to_do_next() -> None:
    """Before the first record the page is a page, not an error, and teaches."""
    page = overview(Snapshot(now=0.0, policy=Policy()))

    assert "No agent trace has been read yet." in page
    assert "cliffwatch doctor" in page
    assert "cliffwatch calibrate FILE..." in page
    assert "monitor not ready : still starting" in page
    assert "1970" not in page


def test_traffic_without_a_rollout_says_when_there_will_be_one() -> None:
    """In the numbers of the policy in force."""
    page = overview(a_snapshot(rollouts=()))

    assert "Every service keeps its model version." in page
    assert "has 10 requests and 25.0 % of the traffic" in page


@pytest.mark.parametrize(
    ("calibration", "told"),
    [
        pytest.param(None, "no learnt tiers", id="without a calibration"),
        pytest.param(
            CalibrationStatus("c", NOON, a_trust(is_trusted=False, reasons=("Too few versions.",))),
            "Too few versions.",
            id="with one that is not trusted, and why",
        ),
        pytest.param(CalibrationStatus("c", NOON, a_trust()), "Live labels: not checked yet.", id="with a young one"),
        pytest.param(
            CalibrationStatus("c", NOON, a_trust(), a_live_trust(versions=9)),
            "tiers trusted, but doubted by live labels",
            id="with one that live labels speak against",
        ),
    ],
)
def test_trust_in_the_tiers_is_reported(calibration: CalibrationStatus | None, told: str) -> None:
    """A verdict is worth as much as the tiers that it stands on."""
    assert told in overview(a_snapshot(calibration=calibration))


def test_the_health_of_the_monitor_is_reported() -> None:
    """Lag per partition, records that could not be read by reason, and every check."""
    page = overview(a_snapshot(health=(HealthFact("ledger", is_ok=False, sentence="The ledger is gone."),)))

    for told in (
        "agent-traces/0 17",
        "not json 2",
        "ledger : The ledger is gone.",
        "Records read: 29",
        "floating alias",
    ):
        assert told in page


def test_every_rollout_leads_to_its_own_page() -> None:
    """By a relative way, which holds below any path that a proxy serves the monitor under."""
    page = Page(a_snapshot(rollouts=[a_record(a_verdict(), rollout_id="a/b")])).overview()

    assert "./rollouts/a%2Fb" in Reader(page).links


def test_what_is_not_known_is_no_number() -> None:
    """A verdict that could tell nothing shows neither zero nor NaN."""
    verdict = a_verdict(
        state=VerdictState.WAITING, share=None, decomposition=None, hard_tier=None, on_call=None, requests_needed=1_240
    )

    page = overview(a_snapshot(rollouts=[a_record(verdict)]))

    assert "hard requests not judged: no tiers" in page
    assert "1,240 more labelled requests" in page
    assert not re.search(r"\bnan\b", page, re.IGNORECASE)


def test_a_class_that_got_worse_is_named_whatever_the_verdict() -> None:
    """It raised an alert, and whoever follows its link finds it on the first page."""
    verdict = a_verdict(state=VerdictState.WAITING, regressed_capabilities=("search",))

    page = overview(a_snapshot(rollouts=[a_record(verdict)]))

    assert "class search fails more often: 60.0 % → 55.0 %" in page
    assert "1 rollout to look at" in page


@pytest.mark.slow
@given(st.text(), st.text())
def test_nothing_from_outside_becomes_markup(name: str, sentence: str) -> None:
    """Names and reasons of any kind add no tag, whatever they contain."""
    quiet = Page(_snapshot_with("name", "sentence")).overview()

    hostile = Page(_snapshot_with(f'</th><script>"{name}', f"<img src=x onerror='{sentence}'>&")).overview()

    assert Reader(quiet).tags == Reader(hostile).tags


def _snapshot_with(name: str, sentence: str) -> Snapshot:
    record = a_record(a_verdict(reasons=(sentence,)), service=name, environment=name, baseline=name, candidate=name)
    return a_snapshot(rollouts=[record], health=(HealthFact(name, is_ok=False, sentence=sentence),))
