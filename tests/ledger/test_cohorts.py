from __future__ import annotations

import dataclasses
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from monitor.difficulty.features import RequestFeatures
from monitor.difficulty.tiers import Tier
from monitor.labels.source_verdicts import PatternCount
from monitor.ledger import cohorts
from monitor.ledger.sql import SqlLedger
from monitor.rollout.cohort import LEARNT, ClusterSums, Comparison, Mix, SharedClusterSums, Stratum, TierGroup
from monitor.rollout.oncall import Signature
from monitor.rollout.tracker import EvidenceWindow
from monitor.trace.model import OutcomeEvent
from tests.builders import (
    NOON,
    a_batch,
    a_trace,
    an_outcome,
    failure,
    success,
    tagged,
)
from tests.ledger.naive_counts import naive_evidence
from tests.ledgers import EASY, HARD, ROLLOUT, SHARED_LEDGER, STORIES, a_calibration, an_event, problems


def test_a_cohort_holds_matured_requests_by_cell(ledger: SqlLedger) -> None:
    """Requests younger than the maturity window are not in it; unlabelled ones are, as requests."""
    ledger.record(
        a_batch(
            tagged(a_trace("t1", outcome=failure()), HARD),
            tagged(a_trace("t2", outcome=success()), HARD),
            tagged(a_trace("t3"), HARD),
            tagged(a_trace("t4", outcome=failure(), started_at=NOON + 100), HARD),
            tagged(a_trace("t5", outcome=success(), model_version="model-2"), EASY),
        )
    )

    cohort = ledger.cohort(ROLLOUT, matured_before=NOON + 50)

    hour = int(NOON // 3_600)
    (old,), (new,) = cohort.baseline.strata, cohort.candidate.strata
    assert Stratum(Tier.HARD, "search", 9, True, 3, 2, 1, 4.5, 0.75, hour) == structs.replace(old, by_pattern=())
    assert Stratum(Tier.EASY, "search", 1, False, 1, 1, 0, -3.0, 0.5, hour) == structs.replace(new, by_pattern=())
    assert {("", 1, 0), ("--f-", 1, 1), ("--p-", 1, 0)} == {
        (each.pattern, each.requests, each.failures) for each in old.by_pattern
    }


def test_verdicts_of_several_sources_are_kept_beside_each_other(ledger: SqlLedger) -> None:
    """In any order and batch: what the check, the judge and a person said, with the weight of who looked."""
    ended, judged = success(source="status", labelled_at=NOON + 1), failure(source="judge", labelled_at=NOON + 2)
    person = structs.replace(success(source="human", labelled_at=NOON + 3), sampling_probability=0.25)
    verdicts = (ended, judged, person, structs.replace(judged, success=True, labelled_at=NOON + 1.5))
    orders = list(permutations(verdicts))
    for number, order in enumerate(orders):
        ledger.record(a_batch(an_outcome(f"t{number}", order[0])))
        ledger.record(a_batch(tagged(a_trace(f"t{number}", outcome=order[1]), HARD)))
        ledger.record(a_batch(*(an_outcome(f"t{number}", each) for each in order[2:])))

    (stratum,) = ledger.cohort(ROLLOUT, matured_before=NOON + 50).baseline.strata

    runs = len(orders)
    assert [PatternCount("p-fp", runs, runs, 0, runs, runs, 4 * runs, 16 * runs)] == list(stratum.by_pattern)
    assert [] == problems(ledger)


def test_failures_are_reported_by_whole_signature(ledger: SqlLedger) -> None:
    """Of matured requests of both arms, by tier, capability and failure class."""
    ledger.record(
        a_batch(
            tagged(a_trace("t1", outcome=failure("timeout")), HARD),
            tagged(a_trace("t2", outcome=failure("timeout")), HARD),
            tagged(a_trace("t3", outcome=failure(None), capability="pay"), EASY),
            tagged(a_trace("t4", outcome=success()), HARD),
            tagged(a_trace("t5", outcome=failure(), started_at=NOON + 100), HARD),
            tagged(a_trace("t6", outcome=failure(), model_version="model-2"), HARD),
        )
    )

    with ledger.arms(ROLLOUT, matured_before=NOON + 50) as arms:
        _, (baseline, candidate) = arms.cohort(EvidenceWindow(ROLLOUT.started_at, 0.0), LEARNT)

    assert {Signature(Tier.HARD, "search", "timeout"): 2, Signature(Tier.EASY, "pay", ""): 1} == baseline
    assert {Signature(Tier.HARD, "search", "wrong_tool"): 1} == candidate


def test_both_arms_are_tagged_anew_under_one_calibration(ledger: SqlLedger) -> None:
    """Requests that another calibration tagged get the tag of this one; counters keep the tier they counted."""
    matured_before = NOON + 7_200
    calibration = a_calibration()
    ledger.record(
        a_batch(
            tagged(a_trace("t1", request_id="i3")),
            tagged(a_trace("t2", model_version="model-2", request_id="i4")),
            tagged(a_trace("t3", model_version="bystander", request_id="i4")),
        )
    )
    before = ledger.counters()
    rollout = dataclasses.replace(ROLLOUT, calibration_id=calibration.calibration_id)

    assert 0 == ledger.cohort(rollout, matured_before=matured_before).baseline.requests
    assert 2 == ledger.retag(rollout, calibration)
    assert 0 == ledger.retag(rollout, calibration)

    cohort = ledger.cohort(rollout, matured_before=matured_before)
    (stratum,) = cohort.baseline.strata
    tag = calibration.tag(RequestFeatures("search", item="i3"))
    assert (tag.tier, tag.bin, tag.is_known) == (stratum.tier, stratum.bin, stratum.is_known)
    assert tag.difficulty_logit == pytest.approx(stratum.logit_sum)
    assert 1 == cohort.candidate.requests
    assert before == ledger.counters()
    assert [] == problems(ledger)


@pytest.mark.slow
@settings(max_examples=30, deadline=None, suppress_health_check=SHARED_LEDGER)
@given(data=st.data())
def test_evidence_is_that_of_a_naive_ledger(ledger: SqlLedger, data: st.DataObject) -> None:
    """However late its verdicts come, each request is in the cells of every look with what is known of it then."""
    run = f"evidence-{next(STORIES)}"
    events = data.draw(st.lists(an_event(run), max_size=25))
    rollout = dataclasses.replace(ROLLOUT, service=run, started_at=0.0, calibration_id="c1")
    tags = [event for event in events if isinstance(event, OutcomeEvent) or event.tag.calibration_id == "c1"]

    known = 0
    for look in sorted(data.draw(st.sets(st.integers(0, len(tags)), max_size=3)) | {len(tags)}):
        ledger.record(a_batch(*tags[known:look]))
        known = look

        cohort = ledger.cohort(rollout, matured_before=NOON + data.draw(st.sampled_from([7_201.0, 86_400.0])))
        for arm in (cohort.baseline, cohort.candidate):
            mine = {
                (each.block, each.tier, each.capability): [each.requests, each.labelled, each.failures]
                for each in arm.strata
            }
            assert naive_evidence(tags[:look], arm.model_version) == mine


def test_an_arm_tells_its_clusters_and_those_that_both_serve(ledger: SqlLedger) -> None:
    """Squares and products over clusters; a request without one is one of its own, an unlabelled one is none."""
    rollout = dataclasses.replace(ROLLOUT, started_at=NOON - 10)
    served = [
        ("model-1", 7, failure()),
        ("model-1", 7, failure()),
        ("model-1", 7, success()),
        ("model-1", 8, success()),
        ("model-1", None, failure()),
        ("model-1", 8, None),
        ("model-2", 7, success()),
        ("model-2", 7, failure()),
    ]
    ledger.record(
        a_batch(
            *(
                structs.replace(
                    tagged(a_trace(f"t{number}", model_version=version, outcome=outcome), HARD), cluster=cluster
                )
                for number, (version, cluster, outcome) in enumerate(served)
            )
        )
    )

    cohort = ledger.cohort(rollout, matured_before=NOON + 1)

    groups = (TierGroup.ALL, TierGroup.HARD)
    assert [ClusterSums(group, 3, 5, 3, 11, 7, 5) for group in groups] == list(cohort.baseline.clusters)
    assert [ClusterSums(group, 1, 2, 1, 4, 2, 1) for group in groups] == list(cohort.candidate.clusters)
    mix = Mix((6 / 5, 4 / 5, 3 / 5), (3, 2, 2, 1))
    assert [SharedClusterSums(group, 6, 4, 3, 2, [mix]) for group in groups] == list(cohort.shared_clusters)


def test_requests_that_come_once_are_alike_by_prompt_family_or_tools(ledger: SqlLedger) -> None:
    """What both arms served: a conversation, then with it a family of prompts, then with both a set of tools."""
    alike = [(1, "p0", "t0"), (None, "p1", "t1"), (None, "p2", "t1"), (None, None, None)]
    asked = {"model-1": alike, "model-2": [*alike[:2], (None, "p3", "t1"), (None, "p3", None)]}
    events = []
    for version, kinds in asked.items():
        for number, (cluster, family, tools) in enumerate(kinds):
            event = tagged(a_trace(f"{version}{number}", model_version=version, outcome=failure()), HARD)
            features = RequestFeatures("search", prompt_family=family, tool_set=tools)
            mine = -number - (100 if version == "model-1" else 200)
            events.append(structs.replace(event, features=features, cluster=cluster or mine))
    ledger.record(a_batch(*events))

    cohort = ledger.cohort(dataclasses.replace(ROLLOUT, started_at=NOON - 10), matured_before=NOON + 1)

    shared = next(sums for sums in cohort.shared_clusters if sums.group is TierGroup.ALL)
    assert [Mix((n / 2,) * 3, (n,) * 4) for n in (1, 2, 3)] == list(shared.mixes)


@pytest.mark.parametrize("earlier", [0, 1_500], ids=["as old as the rollout", "older than the rollout"])
def test_a_large_cluster_is_counted_whatever_part_of_the_clusters_is_read(
    ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch, earlier: int
) -> None:
    """Of 100 conversations of three a quarter is read and stands for all; the one of 100 that fail is always read."""
    monkeypatch.setattr(cohorts, "_CLUSTERED_READ", (400 + earlier) // 4)
    monkeypatch.setattr(cohorts, "_LEAST_STEP", 4)
    ledger.record(a_batch(*(tagged(a_trace(f"e{number}", started_at=NOON - 100), HARD) for number in range(earlier))))
    largest, last = 2**63 - 1, 2**63 // 100
    clusters = [largest] * 100 + [number // 3 * last for number in range(300)]
    ledger.record(
        a_batch(
            *(
                structs.replace(
                    tagged(
                        a_trace(
                            f"t{number}",
                            outcome=failure() if cluster == largest else success(),
                            started_at=NOON + number,
                        ),
                        HARD,
                    ),
                    cluster=cluster,
                )
                for number, cluster in enumerate(clusters)
            )
        )
    )

    cohort = ledger.cohort(dataclasses.replace(ROLLOUT, started_at=NOON - 10), matured_before=NOON + 400)

    read = 26  # of the 100 conversations: those with a hash in the first quarter
    everything = next(sums for sums in cohort.baseline.clusters if sums.group is TierGroup.ALL)
    assert (
        ClusterSums(TierGroup.ALL, 1 + 4 * read, 100 + 12 * read, 100, 100**2 + 36 * read, 100**2, 100**2) == everything
    )


def test_evidence_begins_with_the_attempt(ledger: SqlLedger) -> None:
    """What a name served before, in the same hour or earlier ones, belongs to another attempt."""
    starts = [NOON - 7_200, NOON - 10, NOON + 10, NOON + 3_700]
    ledger.record(
        a_batch(
            *(
                tagged(a_trace(f"{version}{start}", model_version=version, started_at=start), HARD)
                for version in ("model-1", "model-2")
                for start in starts
            )
        )
    )

    cohort = ledger.cohort(dataclasses.replace(ROLLOUT, started_at=NOON), matured_before=NOON + 7_200)

    assert (2, 2) == (cohort.baseline.requests, cohort.candidate.requests)
    assert Comparison.CONCURRENT is cohort.comparison


def test_days_before_a_cutover_stand_in_for_the_baseline(ledger: SqlLedger) -> None:
    """Where the baseline serves no more, its requests since the window began are what the candidate is held to."""
    days = [tagged(a_trace(f"o{n}", started_at=NOON - n * 86_400), HARD) for n in range(1, 20)]
    new = [tagged(a_trace(f"n{n}", model_version="model-2", started_at=NOON + n), HARD) for n in range(5)]
    ledger.record(a_batch(*days, *new))
    window = EvidenceWindow(NOON, NOON - 14 * 86_400)

    cohort = ledger.cohort(dataclasses.replace(ROLLOUT, started_at=NOON), matured_before=NOON + 7_200, window=window)

    assert Comparison.BEFORE_AFTER is cohort.comparison
    assert (14, 5) == (cohort.baseline.requests, cohort.candidate.requests)


@pytest.mark.parametrize(
    ("served_until", "is_decided", "comparison", "requests"),
    [
        pytest.param(60, False, Comparison.CONCURRENT, 600, id="both serve"),
        pytest.param(20, False, Comparison.BEFORE_AFTER, 320, id="the candidate went on alone"),
        pytest.param(20, True, Comparison.CONCURRENT, 200, id="decided side by side"),
    ],
)
def test_once_a_candidate_serves_alone_the_days_before_stand_in(
    ledger: SqlLedger, *, served_until: int, is_decided: bool, comparison: Comparison, requests: int
) -> None:
    """Twenty hours side by side do not decide, and nothing more comes to compare with; ten requests an hour each."""
    old = [tagged(a_trace(f"o{n}", started_at=NOON + n * 360), HARD) for n in range(-120, served_until * 10)]
    new = [tagged(a_trace(f"n{n}", model_version="model-2", started_at=NOON + n * 360), HARD) for n in range(600)]
    ledger.record(a_batch(*old, *new))
    window = EvidenceWindow(NOON, NOON - 14 * 86_400, is_decided)

    cohort = ledger.cohort(dataclasses.replace(ROLLOUT, started_at=NOON), matured_before=NOON + 216_000, window=window)

    assert (comparison, requests) == (cohort.comparison, cohort.baseline.requests)


def test_a_probe_counts_once_however_often_it_is_replayed(ledger: SqlLedger) -> None:
    """The first labelled run of each probe stands for it."""
    rollout = dataclasses.replace(ROLLOUT, environment="probes", started_at=NOON)
    runs = [
        tagged(
            a_trace(
                f"{version}{n}",
                environment="probes",
                model_version=version,
                request_id=f"i{n % 3}",
                started_at=NOON + n,
                outcome=outcome,
            ),
            HARD,
        )
        for version in ("model-1", "model-2")
        for n, outcome in enumerate([None, failure(), success(), success(), success(), failure()])
    ]
    ledger.record(a_batch(*runs))

    cohort = ledger.cohort(rollout, matured_before=NOON + 7_200)

    assert (3, 3, 1) == (cohort.candidate.requests, cohort.candidate.labelled, cohort.candidate.failures)
