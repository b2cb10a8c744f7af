"""Judgements of `cliffwatch doctor` on facts; no server is near."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from monitor.difficulty.tiers import Tier
from monitor.difficulty.trust import TierPromise, Trust
from monitor.doctor.finding import Check, Finding, Health, exit_code, next_step
from monitor.doctor.kafka import judge_group, judge_reach, judge_samples, judge_topics
from monitor.doctor.ledger import (
    judge_coverage,
    judge_labels,
    judge_ledger,
    judge_promises,
    judge_services,
    judge_tiers,
    judge_versions,
)
from monitor.doctor.prometheus import PrometheusFacts, judge_prometheus
from monitor.doctor.topic_sample import Dated, Sample
from monitor.ingest.cluster import GroupFacts, Reach, TopicFacts
from monitor.ingest.source import TopicPartition
from monitor.labels.delay import LabelDelay
from monitor.ledger.inspection import NO_LABELS, LabelFlow, LedgerFacts, SchemaVersion, TierCoverage
from monitor.rollout.policy import Policy
from monitor.rollout.tracker import VersionActivity

NOW = 1_795_500_000.0
HOUR, DAY = 3_600.0, 86_400.0
PART = TopicPartition("agent-traces", 0)
SAMPLE = Sample(
    "agent-traces",
    records=100,
    formats=["OTLP protobuf"],
    traces=400,
    outcomes=10,
    written_at=NOW - 5,
    clocks={"shop, production, m-1": [Dated(NOW - 5, -2.0, 0)]},
)
FAST = LabelDelay("judge", success=True, seconds=60.0, labels=500)
LATE = LabelDelay("judge", success=False, seconds=26 * HOUR, labels=100)
LABELS = LabelFlow(1_000, 600, {"judge": 600}, {"shop, production": [FAST]}, 0)
PINNED = Policy(maturity_seconds=HOUR)
LEDGER = LedgerFacts(SchemaVersion("0003", "0003"), free_bytes=50 * 10**9)
TRUST = Trust(
    is_trusted=True, reasons=(), auc=0.85, auc_lower=0.8, calibration_error=0.05, versions=12, known_share=0.9
)
CHECK = Check("a", "b")
SEEN = VersionActivity("shop", "production", "gpt-4-0613", NOW - DAY, NOW, 100, ())


def told(findings: Iterable[Finding]) -> list[tuple[str, str]]:
    """Health and the words that a test looks for."""
    return [(finding.health.value, f"{finding.sentence} {finding.advice}") for finding in findings]


def dated(*ahead: float) -> Sample:
    """A sample in which one of two producers dates its events so many seconds after they are written."""
    off = [Dated(NOW - 5, seconds, number % 2) for number, seconds in enumerate(ahead)]
    return replace(SAMPLE, clocks={**SAMPLE.clocks, "shop, m-1": off})


def assert_told(findings: Iterable[Finding], *expected: tuple[str, str]) -> None:
    """Those findings that are not ok, in order, each with some of its words; and advice with each."""
    odd = [finding for finding in findings if finding.health is not Health.OK]
    assert [health for health, _ in expected] == [finding.health.value for finding in odd]
    for finding, (_, words) in zip(odd, expected, strict=True):
        assert words in f"{finding.sentence} {finding.advice}"
        assert finding.advice or finding.health is Health.SKIPPED


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        pytest.param(Reach("kafka:9092", [], "name", "unknown"), "kafka:9092 does not resolve", id="a name"),
        pytest.param(Reach("k:1", ["::1"], "connection", "refused"), "k:1 accepts no connection", id="a port"),
        pytest.param(Reach("k:1", ["::1"], "tls", "self-signed"), "kafka.ssl_ca_file", id="TLS"),
    ],
)
def test_a_broker_out_of_reach_says_how_far_one_got(facts: Reach, words: str) -> None:
    """Name, connection and encryption are told apart, and each is exit 3."""
    findings = list(judge_reach([facts]))

    assert_told(findings, ("problem", words))
    assert 3 == exit_code(findings)


@pytest.mark.parametrize(
    ("facts", "health", "words"),
    [
        pytest.param(TopicFacts("t"), "problem", "There is no topic t", id="a topic that is not there"),
        pytest.param(TopicFacts("t", 3, [1]), "problem", "no leader for partitions 1", id="a partition without leader"),
        pytest.param(TopicFacts("t", 3, [], 60.0), "warning", "less than the 1 h", id="records that expire too soon"),
    ],
)
def test_a_topic_that_will_not_do_is_reported(facts: TopicFacts, health: str, words: str) -> None:
    """A topic that is whole and kept for long enough is ok, whether for ever or for a week."""
    assert_told(judge_topics([facts], maturity_seconds=HOUR), (health, words))
    assert_told(judge_topics([TopicFacts("t", 3), TopicFacts("u", 3, [], 7 * DAY)], maturity_seconds=HOUR))


@pytest.mark.parametrize(
    ("sample", "health", "words"),
    [
        pytest.param(Sample("t"), "warning", "t is empty", id="nothing there"),
        pytest.param(
            Sample("t", records=9, formats=["unreadable"], reasons={"not_json": 9}, looks_like="binary data"),
            "problem",
            "holds nothing that Cliffwatch reads (9 of 9 records: binary data)",
            id="another format",
        ),
        pytest.param(
            replace(SAMPLE, reasons={"too_deep": 5}), "warning", "5 of the last 100 records", id="some unreadable ones"
        ),
        pytest.param(replace(SAMPLE, unmapped=3), "warning", "traces.outcomes.evaluations", id="unknown evaluations"),
        pytest.param(replace(SAMPLE, written_at=NOW + 300), "problem", "5 min in the future", id="a clock before ours"),
        pytest.param(replace(SAMPLE, written_at=NOW - DAY), "warning", "24 h old", id="nobody writes any more"),
        pytest.param(
            dated(600), "warning", "shop, m-1: requests in agent-traces[0] are dated 10 min after", id="a clock"
        ),
        pytest.param(dated(-3 * DAY), "warning", "back-fill", id="a back-fill"),
    ],
)
def test_what_records_show_is_reported(sample: Sample, health: str, words: str) -> None:
    """Format, share of readable ones, and three clocks: ours, the brokers' and the agents'."""
    assert (health, True) in [(h, words in w) for h, w in told(judge_samples([sample], now=NOW))]
    assert_told(judge_samples([SAMPLE], now=NOW))


@pytest.mark.parametrize(
    ("ahead", "words"),
    [
        pytest.param((7_200, 7_190, 7_195), "looks like local time UTC+2 written as UTC", id="ahead"),
        pytest.param((-18_002, -18_090, -18_001), "looks like local time UTC-5 written as UTC", id="behind"),
        pytest.param((19_800, 19_799, 19_700), "looks like local time UTC+5:30 written as UTC", id="half an hour"),
        pytest.param((20_700, 20_699, 20_690), "looks like local time UTC+5:45 written as UTC", id="a quarter"),
        pytest.param((7_200, -1.0, 7_190, -3.0, 7_195), "local time UTC+2", id="one host of several"),
        pytest.param((7_200, 7_190), "Set the clocks of the agents by NTP", id="too few to tell"),
        pytest.param((7_200, 9_000, 300), "Set the clocks of the agents by NTP", id="not stable"),
        pytest.param((55_000, 54_999, 54_998), "Set the clocks of the agents by NTP", id="no zone is so far"),
    ],
)
def test_local_time_written_as_utc_is_recognised(ahead: tuple[float, ...], words: str) -> None:
    """By an offset of whole quarter hours that all events have which are off; the producer is named, others are not."""
    assert_told(judge_samples([dated(*ahead)], now=NOW), ("warning", words))


@pytest.mark.parametrize("ahead", [(-1, -30, 0), (-4_000, -9_000, -20_000), (-900, -901, -902)])
def test_late_events_alone_are_no_wrong_clock(ahead: tuple[float, ...]) -> None:
    """A queue before Kafka, or a backlog that is written at last."""
    assert_told(judge_samples([dated(*ahead)], now=NOW))


def test_who_writes_from_the_future_is_named() -> None:
    """The clock of a producer that also dates its records."""
    ahead = replace(SAMPLE, written_at=NOW + 7_200, clocks={**SAMPLE.clocks, "pay, m-2": [Dated(NOW + 7_200, -1.0, 0)]})

    assert_told(judge_samples([ahead], now=NOW), ("problem", "2 h in the future (pay, m-2)"))


@pytest.mark.parametrize(
    ("members", "ledger", "expected"),
    [
        pytest.param(2, {PART: 90}, [], id="a group at work"),
        pytest.param(0, {PART: 90}, [("warning", "The group cliffwatch has no members")], id="nobody there"),
        pytest.param(2, {PART: 5}, [("problem", "agent-traces[0] expired before")], id="records that expired"),
        pytest.param(2, {PART: 900}, [("problem", "beyond the end")], id="another cluster"),
        pytest.param(2, None, [("skipped", "cannot be read")], id="no ledger"),
    ],
)
def test_the_group_is_judged_by_the_ledgers_offsets(
    members: int, ledger: dict[TopicPartition, int] | None, expected: list[tuple[str, str]]
) -> None:
    """Kafka's own offsets are for lag tools; what counts is in the ledger."""
    group = GroupFacts("cliffwatch", "Stable", members)

    assert_told(judge_group(group, ledger, {PART: (10, 100)}), *expected)


def test_lag_counts_from_the_beginning_where_the_ledger_knows_nothing() -> None:
    """A partition that nobody read yet waits as a whole."""
    lagging = judge_group(GroupFacts("g", "Stable", 1), {}, {PART: (10, 20_010)})

    assert_told(lagging, ("warning", "20,000 records wait"))


@pytest.mark.parametrize(
    ("facts", "health", "words"),
    [
        pytest.param(replace(LEDGER, schema=SchemaVersion("0001", "0003")), "warning", "0001", id="an older schema"),
        pytest.param(replace(LEDGER, write_problem="readonly database"), "problem", "readonly", id="no right to write"),
        pytest.param(replace(LEDGER, free_bytes=10**8), "warning", "0.1 GB", id="little room"),
        pytest.param(replace(LEDGER, free_bytes=0), "problem", "0.0 GB", id="no room"),
        pytest.param(replace(LEDGER, clock_skew_seconds=-90.0), "warning", "1.5 min from ours", id="another clock"),
    ],
)
def test_a_ledger_that_will_not_do_is_reported(facts: LedgerFacts, health: str, words: str) -> None:
    """And one that will do, or is still to be made, is ok."""
    assert_told(judge_ledger(facts), (health, words))
    assert_told(judge_ledger(LEDGER))
    assert_told(judge_ledger(replace(LEDGER, schema=SchemaVersion(None, "0003"), clock_skew_seconds=0.1)))


@pytest.mark.parametrize(
    ("labels", "health", "words"),
    [
        pytest.param(NO_LABELS, "problem", "No request was counted", id="no traffic"),
        pytest.param(LabelFlow(1_000, 0, {}, {}, 0), "problem", "0% of 1,000 requests", id="no labels"),
        pytest.param(replace(LABELS, labelled=60), "warning", "more of the traffic", id="few labels"),
        pytest.param(replace(LABELS, sources={"status": 600}), "warning", "silent failure", id="nothing but status"),
        pytest.param(
            replace(LABELS, delays={"shop, production": [FAST, LATE]}),
            "warning",
            "shop, production: 95 % of failures are labelled after 26 h (judge); 95 % of successes are labelled after "
            "1 min (judge). Requests are judged after 1 h.",
            id="late labels",
        ),
        pytest.param(replace(LABELS, without_trace=100), "warning", "never came", id="outcomes without traces"),
    ],
)
def test_how_labels_flow_is_reported(labels: LabelFlow, health: str, words: str) -> None:
    """Coverage, source, delay and orphans."""
    assert_told(judge_labels(labels, PINNED), (health, words))
    assert_told(judge_labels(LABELS, PINNED))


def test_late_labels_are_fine_where_requests_are_judged_as_late() -> None:
    """Unless the config pins the maturity, it follows what was learnt."""
    late = replace(LABELS, delays={"shop, production": [FAST, LATE], "empty, production": []})

    (delay,) = [finding for finding in judge_labels(late, Policy()) if finding.check == "delay"]

    assert ("ok", True) == (delay.health.value, delay.sentence.endswith("Requests are judged after 26 h."))


def test_a_floating_alias_is_reported_and_reference_history_is_not() -> None:
    """What the past was called does no harm."""
    floating = replace(SEEN, model_version="gpt-4-latest")

    assert_told(judge_versions([SEEN, floating]), ("warning", "gpt-4-latest"))
    assert_told(judge_versions([SEEN, replace(floating, environment="reference")]))


def test_tiers_without_history_or_trust_are_reported_with_the_reason() -> None:
    """What is missing is what the trust gate says."""
    doubted = replace(TRUST, is_trusted=False, reasons=("2 more reference versions needed.",))
    half = replace(TRUST, hard_rate_reasons=("3 more reference versions needed for the hard tier's failure rate.",))

    assert_told(judge_tiers(None, reference_versions=1), ("warning", "history has 1 versions"))
    assert_told(judge_tiers(doubted, reference_versions=1), ("warning", "2 more reference versions needed"))
    assert_told(judge_tiers(half, reference_versions=3), ("warning", "hard tier's own rate"))
    grown = judge_tiers(TRUST, reference_versions=12, labels=(500, 3_000))
    assert_told(grown, ("warning", "learnt from 500 labels; by now the history holds 3,000"))
    assert_told(judge_tiers(TRUST, reference_versions=12, labels=(500, 600)))


@pytest.mark.parametrize(
    ("counts", "health", "words"),
    [
        pytest.param((1_000, 500, 900, 400, 380), "warning", "shop: 90% of the requests have a declared", id="no rule"),
        pytest.param((1_000, 500, 1_000, 400, 200), "warning", "50% of 400 with a learnt tier too", id="they differ"),
        pytest.param((1_000, 500, 1_000, 400, 380), None, "", id="all declared, and alike"),
        pytest.param((1_000, 500, 0, 0, 0), None, "", id="nothing is declared"),
    ],
)
def test_declared_tiers_are_compared_with_the_traffic_and_with_learnt_ones(
    counts: tuple[int, int, int, int, int], health: str | None, words: str
) -> None:
    """What no rule fits, and how far declared and learnt tiers agree, by service."""
    told = judge_coverage([TierCoverage("shop", *counts)])

    assert_told(told, *([] if health is None else [(health, words)]))


@pytest.mark.parametrize(
    ("labels", "declared", "health", "words"),
    [
        pytest.param({}, 0, "problem", "shop: 1,000 requests, 0% with an outcome", id="no outcomes"),
        pytest.param({"unclassified": 500}, 0, "warning", "50% with an outcome. Verdicts today: all", id="no classes"),
        pytest.param({"unclassified": 500}, 0, "warning", "one line of code", id="what classes cost"),
        pytest.param({"refunds": 99, "orders": 20}, 0, "warning", "all requests, 2 classes. Wait for 100", id="young"),
        pytest.param(
            {"refunds": 100, "orders": 20}, 0, None, "all requests, 2 classes, tiers by class.", id="by class"
        ),
        pytest.param({"refunds": 200}, 900, None, "tiers declared and by class.", id="declared"),
    ],
)
def test_each_service_is_told_what_it_gets_and_the_cheapest_step(
    labels: dict[str, int], declared: int, health: str | None, words: str
) -> None:
    """By rungs: all requests, classes, tiers; and what the next one costs."""
    coverage = TierCoverage("shop", 1_000, 0, declared, 0, 0, labels)

    (finding,) = judge_services([coverage], min_class_labels=100, has_learnt=True)

    assert (health or "ok") == finding.health.value
    assert words in f"{finding.sentence} {finding.advice}"


def test_the_next_step_is_one_and_the_most_urgent() -> None:
    """What is out of reach, then a problem, then a warning; in the order of the checks."""
    fine, odd = CHECK.ok("Fine."), CHECK.warning("Odd.", "Look.")
    wrong, away = CHECK.problem("Wrong.", "Repair."), CHECK.unreachable("Away.", "Connect.")

    assert ["Connect.", "Repair.", "Look."] == [
        next_step(findings) for findings in ([odd, wrong, away], [odd, wrong, fine], [fine, odd, odd])
    ]
    assert next_step([fine]).startswith("Nothing;")


def test_a_tier_that_breaks_its_promise_is_named_with_the_counts() -> None:
    """Ten of 100 easy requests failed where at most 2 % are promised; 3 of 100 may be chance."""
    broken, kept = (TierPromise(Tier.EASY, 100, failures, 0.0, 0.02) for failures in (10, 3))

    words = "fails 10 of 100 requests tagged easy; the tier promises 0% to 2%"
    assert_told(judge_promises([broken]), ("warning", words))
    assert_told(judge_promises([kept]))
    assert_told(judge_promises(()))


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        pytest.param(PrometheusFacts("p", problem="refused"), ["p does not answer"], id="nobody there"),
        pytest.param(PrometheusFacts("p", alerts=["CapabilityCliff"]), ["scrapes no cliffwatch"], id="no target"),
        pytest.param(
            PrometheusFacts("p", targets={"http://c/metrics": "refused"}),
            ["http://c/metrics is down", "no rule for CapabilityCliff"],
            id="a target that is down, and no rules",
        ),
        pytest.param(
            PrometheusFacts("p", targets={"c": ""}, alerts=["CapabilityCliff"], failing=["a: many-to-many"]),
            ["many-to-many"],
            id="a rule that fails",
        ),
    ],
)
def test_what_prometheus_lacks_is_reported(facts: PrometheusFacts, words: list[str]) -> None:
    """Target, rules, and whether they work."""
    assert_told(judge_prometheus(facts), *(("problem", word) for word in words))
    assert_told(judge_prometheus(PrometheusFacts("p", targets={"c": ""}, alerts=["CapabilityCliff"])))


def test_the_exit_code_tells_out_of_reach_from_wrong() -> None:
    """3 before 1 before 0; a warning is none of them."""
    fine, odd = CHECK.ok("."), CHECK.warning(".", ".")

    assert 0 == exit_code([fine, odd])
    assert 1 == exit_code([fine, CHECK.problem(".", ".")])
    assert 3 == exit_code([CHECK.unreachable(".", "."), CHECK.problem(".", ".")])
