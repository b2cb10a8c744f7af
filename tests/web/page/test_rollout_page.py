from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.difficulty.tiers import Tier
from monitor.ledger.ledger import RolloutRecord
from monitor.output.cases import TraceLinks
from monitor.rollout.cases import Case, CaseKind, Cases
from monitor.rollout.cohort import Runs, TiersBy
from monitor.rollout.evidence import Evidence
from monitor.rollout.oncall import Signature
from monitor.rollout.verdict import Interval, VerdictState
from monitor.web.page.pages import Page
from monitor.web.page.views import labels_per_second, listed
from tests.metrics.snapshots import A_LOAD, NO_REQUESTS, NOON, a_comparison, a_rate, a_record, a_snapshot, a_verdict
from tests.web.page.reading import Reader, words

HOUR = 3_600.0


def a_look(hours: float, labelled: int, state: VerdictState = VerdictState.WAITING) -> Evidence:
    change = Interval(0.25, 0.125, 0.375)
    return Evidence(NOON + hours * HOUR, state, labelled, change, change, None)


LOOKS = tuple(a_look(hour, 100 * hour) for hour in range(1, 11))


def a_case(name: str = "probe-17", **changes: object) -> Case:
    values = {
        "name": name,
        "kind": CaseKind.REQUEST,
        "signature": Signature(Tier.HARD, "search", "timeout"),
        "trace_id": "aaa",
        "started_at": NOON,
        "candidate": Runs(4, 3),
        "established": Runs(5, 1),
        "passed_trace_id": "bbb",
        "passed_by": "model-0",
    }
    return Case(**{**values, **changes})  # type: ignore[arg-type]


def page_of(record: RolloutRecord, evidence: Sequence[Evidence] = LOOKS, **more: object) -> str:
    return Page(a_snapshot(rollouts=[record])).rollout(record, evidence, **more)  # type: ignore[arg-type]


def test_every_section_has_a_heading_and_every_id_is_one() -> None:
    """A screen reader finds its way: what names a part of the page is on the page, once."""
    reader = Reader(page_of(a_record(a_verdict())))

    assert {1} == set(Counter(reader.ids).values())
    assert set(reader.references) <= set(reader.ids)
    assert 1 == reader.tags.count("h1")
    assert 7 <= reader.tags.count("h2")


def test_a_rollout_that_was_not_looked_at_has_a_page() -> None:
    """It says so instead of showing empty tables."""
    page = words(page_of(a_record(), evidence=()))

    assert "Not judged yet." in page
    assert "Failure rate by tier" not in page
    assert "Nothing to draw yet" in page


def test_what_is_not_known_is_said_so() -> None:
    """No tier, share, load or coverage is made up."""
    verdict = a_verdict(
        share=None,
        decomposition=None,
        on_call=None,
        hard_tier=a_comparison(NO_REQUESTS, NO_REQUESTS),
        aggregate=a_comparison(NO_REQUESTS, NO_REQUESTS),
        tiers_by=TiersBy.LEARNT,
    )

    page = page_of(a_record(verdict), evidence=())

    assert "frontier not known 0 labelled requests not known 0 labelled requests not known" in words(page)
    assert "not known yet" in words(page).lower()
    assert "rates and shares are corrected for doubtful tags" in page
    assert not re.search(r">[^<]*\b(nan|inf)\b", page, re.IGNORECASE)


def test_without_tiers_the_rows_of_tiers_give_way_to_one_sentence() -> None:
    """Six rows of "not known" would hide the one that is known."""
    page = words(page_of(a_record(a_verdict(hard_tier=a_comparison(NO_REQUESTS, NO_REQUESTS))), evidence=()))

    assert "No request has a tier: declare tiers, send a class with each request, or learn them" in page
    assert "frontier not known 0 labelled requests" not in page


@pytest.mark.parametrize(
    ("passes", "state", "told_as"),
    [
        pytest.param(0.75, VerdictState.OK, "✓ held", id="bounds above it"),
        pytest.param(0.5, VerdictState.OK, "? not shown", id="bounds around it"),
        pytest.param(0.25, VerdictState.REGRESSION, "✗ broken", id="bounds below it"),
        pytest.param(0.25, VerdictState.WAITING, "? below it, not judged", id="bounds below it in vain"),
        pytest.param(None, VerdictState.WAITING, "? not known", id="no rate"),
    ],
)
def test_a_floor_is_held_broken_or_not_shown(passes: float | None, state: VerdictState, told_as: str) -> None:
    """Bounds decide, and a bound that the verdict does not rest on breaks nothing."""
    candidate = NO_REQUESTS if passes is None else a_rate(100, round(100 * (1 - passes)))
    record = a_record(a_verdict(state=state, hard_tier=a_comparison(candidate=candidate), capabilities={}))

    page = words(page_of(record))

    row = page[page.index("all classes") :]
    assert told_as in row[: row.index("search")]


def test_what_is_still_needed_is_reported_with_the_time_it_takes() -> None:
    """At the rate of the last hours, not of the whole rollout."""
    record = a_record(a_verdict(state=VerdictState.WAITING, requests_needed=1_240))
    slow_start = [a_look(0, 0), *(a_look(100 + hour, 400 * hour) for hour in range(7))]

    page = words(page_of(record, slow_start))

    assert "Still needed: 1,240 more labelled requests of the candidate, about 3 hours at the current rate." in page


def test_no_labels_of_late_are_no_forecast() -> None:
    """Nothing is divided by nothing, and the reader is sent to look for the labels."""
    record = a_record(a_verdict(state=VerdictState.WAITING, requests_needed=9))

    page = words(page_of(record, [a_look(hour, 50) for hour in range(5)]))

    assert "9 more labelled requests of the candidate, and none arrived recently" in page


def test_one_look_tells_no_rate() -> None:
    """A rate needs two moments."""
    assert labels_per_second([]) is None
    assert labels_per_second([a_look(1, 100)]) is None
    assert labels_per_second([a_look(0, 0), a_look(100, 100)]) == pytest.approx(1 / HOUR)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        pytest.param(
            {"state": VerdictState.REGRESSION, "scope": ("all", "easier"), "regressed_capabilities": ("search",)},
            "Worse than before: all requests, the easier tiers, class search. What to do: stop the rollout and go back "
            "to model-1.",
            id="a regression",
        ),
        pytest.param(
            {"state": VerdictState.REGRESSION, "scope": ("floor:hard",), "regressed_capabilities": ()},
            "A floor that was agreed on is broken. What to do: stop",
            id="a broken floor",
        ),
        pytest.param(
            {"state": VerdictState.OK, "regressed_capabilities": ("search",)},
            "margins allow. But class search fails more often. What to do: send class search back to model-1",
            id="a class beside an ok",
        ),
        pytest.param(
            {"state": VerdictState.CLIFF, "regressed_capabilities": ()},
            "hard requests were left behind. What to do: hold the rollout where it is.",
            id="a cliff",
        ),
        pytest.param({"state": VerdictState.OK, "regressed_capabilities": ()}, "What to do: go on.", id="an all-clear"),
        pytest.param(
            {"state": VerdictState.WAITING, "regressed_capabilities": (), "obstacles": ("All labels are failures.",)},
            "not an all-clear. What to do: remove the obstacle: All labels are failures.",
            id="an obstacle",
        ),
        pytest.param(
            {"state": VerdictState.WAITING, "regressed_capabilities": ()},
            "What to do: keep the candidate's share of traffic as it is until the verdict comes.",
            id="too little so far",
        ),
    ],
)
def test_what_got_worse_and_what_to_do_come_first(changes: dict[str, object], told: str) -> None:
    """Whoever was woken reads which requests are worse, and the next step, before any number."""
    record = a_record(a_verdict(**changes))

    assert told in words(page_of(record))
    assert told in words(Page(a_snapshot(rollouts=[record])).overview()) or "What to do" in told


def test_a_rollout_that_has_ended_asks_for_nothing() -> None:
    """Its alarm is history."""
    record = a_record(a_verdict(), ended_at=NOON + HOUR, end_reason="rolled_back")

    assert "What to do: nothing: this rollout has ended (rolled back)." in words(page_of(record))


@given(st.lists(st.sampled_from(VerdictState), min_size=1, max_size=300))
def test_the_table_of_evidence_is_short_and_leaves_no_change_out(states: list[VerdictState]) -> None:
    """The first look, the last, and every look that changed the verdict."""
    looks = [a_look(hour, hour, state) for hour, state in enumerate(states)]
    changes = {later.at for earlier, later in pairwise(looks) if earlier.state != later.state}

    shown = listed(looks)

    assert (looks[0], looks[-1]) == (shown[0], shown[-1])
    assert changes <= {look.at for look in shown}
    assert len(shown) <= len(changes) + 26


def test_evidence_that_cannot_be_read_leaves_the_rest_of_the_page() -> None:
    """The verdict is shown while the ledger is away."""
    page = words(page_of(a_record(a_verdict()), evidence=(), problem="The ledger does not answer."))

    assert "not known : The ledger does not answer." in page
    assert "Failure rate by tier" in page


def test_the_load_on_call_says_what_is_new_and_what_it_weighs() -> None:
    """New failures are marked, and weighted failures stand beside the plain ones where severities are set."""
    page = words(page_of(a_record(a_verdict()), evidence=()))
    unweighted = replace(A_LOAD, weighted=None)

    assert "hard / search / timeout ✗ open" in page
    assert "all, weighted by severity the verdict counts every failure once 3000.0 2000.0" in page
    assert "weighted" not in words(page_of(a_record(a_verdict(on_call=unweighted)), evidence=()))


def test_cases_are_grouped_and_lead_to_their_traces() -> None:
    """The failed run beside one that passed, each where traces are looked at."""
    record = a_record(a_verdict())
    links = TraceLinks("https://traces.example/{trace_id}?v={model_version}")

    page = Page(a_snapshot(rollouts=[record])).cases(record, Cases(7, [a_case()]), links, can_show_more=True)

    assert {"https://traces.example/aaa?v=model-2", "https://traces.example/bbb?v=model-0", "?many"} <= set(
        Reader(page).links
    )
    said = words(page)
    for told_as in (
        "7 cases of shop",
        "1 are shown",
        "hard / search / timeout ✗ open",
        "fails 3 of 4",
        "passed 4 of 5",
    ):
        assert told_as in said


def test_the_worst_cases_lead_to_their_traces_from_the_rollout() -> None:
    """Whoever was woken sees the first few with both traces, and the way to all of them."""
    cases, links = Cases(7, [a_case()]), TraceLinks("https://traces.example/{trace_id}")

    page = page_of(a_record(a_verdict()), worst=(cases, links))

    assert {"https://traces.example/aaa", "https://traces.example/bbb"} <= set(Reader(page).links)
    assert "Worst cases: hard / search / timeout: failed 3 of 4, aaa ; passed 4 of 5 before, bbb" in words(page)
    assert "All 7 cases: requests that passed before and fail now" in words(page)
    assert "Worst cases" not in words(page_of(a_record(a_verdict()), worst=(Cases(0, []), links)))


def test_without_cases_the_page_says_so() -> None:
    """None is an answer, and no table is shown for it."""
    record = a_record(a_verdict())

    page = Page(a_snapshot(rollouts=[record])).cases(record, Cases(0, []), TraceLinks(), can_show_more=True)

    assert "None: no request" in words(page)
    assert "table" not in Reader(page).tags


@pytest.mark.slow
@settings(max_examples=20)  # each draws eight pictures
@given(st.text(), st.text())
def test_nothing_from_outside_becomes_markup(name: str, sentence: str) -> None:
    """Names, reasons, classes and cases of any kind add no tag to either page."""
    quiet = [Reader(page).tags for page in _pages("name", "sentence")]

    hostile = [Reader(page).tags for page in _pages(f'</svg><script>"{name}', f"<img src=x onerror='{sentence}'>&")]

    assert quiet == hostile


def _pages(name: str, sentence: str) -> list[str]:
    verdict = a_verdict(reasons=(sentence,), capabilities={name: a_comparison()}, regressed_capabilities=(name,))
    record = a_record(verdict, baseline=name, candidate=name, service=name, environment=name, end_reason=sentence)
    page = Page(a_snapshot(rollouts=[record]))
    cases = Cases(1, [a_case(name, trace_id=name, signature=Signature(Tier.HARD, name, name))])
    return [
        page.rollout(record, LOOKS, (cases, TraceLinks())),
        page.cases(record, cases, TraceLinks(), can_show_more=True),
    ]
