from __future__ import annotations

import dataclasses
import math
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from monitor.ledger.ledger import DURATION_BUCKETS_SECONDS, CounterKey, CounterName
from monitor.metrics.collect import families_of
from monitor.metrics.exposition import encode_text
from monitor.metrics.names import METRICS
from monitor.metrics.snapshot import Snapshot
from monitor.rollout.policy import ClassRunbook, Policy
from monitor.rollout.verdict import VerdictState
from monitor.trace.model import DropReason
from tests.metrics.client_library import theirs
from tests.metrics.golden import GOLDEN, scrape
from tests.metrics.snapshots import (
    NO_REQUESTS,
    VERSION,
    a_comparison,
    a_live_trust,
    a_policy,
    a_record,
    a_snapshot,
    a_trust,
    a_verdict,
)
from tests.programs import required_program

Shown = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def shown(snapshot: Snapshot) -> Shown:
    """Every sample of a scrape, as Prometheus would parse it."""
    text = encode_text(families_of(snapshot)).decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    found = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}
    assert len(samples) == len(found), "a series came twice"
    return found


def value(found: Shown, name: str, **labels: str) -> float | None:
    return found.get((name, frozenset(labels.items())))


def names_in(found: Shown) -> set[str]:
    return {name for name, _ in found}


def test_a_scrape_is_the_golden_output() -> None:
    """The whole text is compared; `python -m tests.metrics.golden` writes it anew."""
    assert GOLDEN.read_text() == scrape()


@pytest.mark.stack
def test_promtool_finds_nothing_to_complain_about() -> None:
    """Names, types and help texts follow Prometheus' own conventions."""
    checked = subprocess.run(
        [required_program("promtool"), "check", "metrics"], input=scrape(), capture_output=True, text=True, check=False
    )

    assert (0, "", "") == (checked.returncode, checked.stdout, checked.stderr)


def test_every_metric_of_the_table_is_shown() -> None:
    """Nothing is named that no scrape can show; the snapshot has something of everything."""
    snapshot = a_snapshot()
    calibration = dataclasses.replace(snapshot.calibration, trust=a_trust(calibration_error=0.0625, reasons=("More.",)))
    runbook = ClassRunbook(capability="refunds", runbook_url="https://wiki.example/refunds")
    policy = snapshot.policy.model_copy(update={"class_runbooks": (runbook,)})
    solved = {("shop", "model-2", "refunds"): 7_000.0}
    families = families_of(
        dataclasses.replace(snapshot, calibration=calibration, policy=policy, frontier_solved=solved)
    )

    assert set(METRICS) == {family.metric for family in families}


def test_what_live_labels_say_against_a_calibration_leaves_its_own_trust_alone() -> None:
    """Doubt is shown beside the trust that verdicts rest on, with its reason."""
    snapshot = a_snapshot()
    live = a_live_trust(versions=3)
    calibration = dataclasses.replace(snapshot.calibration, live=live)
    found = shown(dataclasses.replace(snapshot, calibration=calibration))
    reason = "On labels of 3 live versions: An AUC too low."

    assert value(found, "cliffwatch_calibration_trusted", calibration="cal-1") == 1
    assert value(found, "cliffwatch_calibration_live_trusted", calibration="cal-1") == 0
    assert value(found, "cliffwatch_calibration_missing_info", calibration="cal-1", reason=reason) == 1


def test_the_first_scrape_shows_what_is_known_before_the_first_commit() -> None:
    """Counters without labels start at zero; all that is not known is missing."""
    found = shown(Snapshot(now=0.0, policy=Policy()))

    assert {
        "cliffwatch_dead_letters_total",
        "cliffwatch_ignored_total",
        "cliffwatch_series_dropped_total",
        "cliffwatch_duplicate_records_total",
        "cliffwatch_unknown_fields_total",
        "cliffwatch_batches_fenced_total",
        "cliffwatch_pauses_total",
        "cliffwatch_spans_waiting",
        "cliffwatch_ready",
        "cliffwatch_build_info",
    } == names_in(found)
    assert value(found, "cliffwatch_ready") == 0


def test_every_reason_of_a_dead_letter_is_shown_from_the_start() -> None:
    """A counter that appears with its first count has no increase for Prometheus."""
    found = shown(Snapshot(now=0.0, policy=Policy()))

    assert {reason.value: 0.0 for reason in DropReason} == {
        dict(labels)["reason"]: count for (name, labels), count in found.items() if name.startswith("cliffwatch_dead")
    }


def test_histogram_counts_are_cumulative_over_every_bucket() -> None:
    """The ledger counts a request in one bucket; Prometheus wants all buckets, each with those below it."""
    counters = {
        CounterKey(CounterName.DURATION_BUCKET, detail="0.1", **VERSION): 1,
        CounterKey(CounterName.DURATION_BUCKET, detail="30.0", **VERSION): 2,
        CounterKey(CounterName.DURATION_BUCKET, detail="+Inf", **VERSION): 4,
        CounterKey(CounterName.DURATION_MICROSECONDS, **VERSION): 1_500_000,
    }

    found = shown(Snapshot(now=0.0, policy=Policy(), counters=counters))

    name = "cliffwatch_request_duration_seconds"
    buckets = {
        bound: value(found, f"{name}_bucket", le=bound, **VERSION)
        for bound in [*map(str, DURATION_BUCKETS_SECONDS), "+Inf"]
    }
    assert {b: 1.0 if float(b) < 30 else 3.0 if b != "+Inf" else 7.0 for b in buckets} == buckets
    assert value(found, f"{name}_count", **VERSION) == 7
    assert value(found, f"{name}_sum", **VERSION) == 1.5


def test_exactly_one_verdict_is_one() -> None:
    """The state set has a series per verdict, so that an alert on one of them resolves."""
    found = shown(a_snapshot(rollouts=[a_record(a_verdict(state=VerdictState.OK))]))

    states = {dict(labels)["verdict"]: v for (name, labels), v in found.items() if name == "cliffwatch_rollout_verdict"}
    assert {"ok": 1.0, "cliff": 0.0, "regression": 0.0, "waiting": 0.0} == states


def test_a_rollout_before_its_first_look_is_waiting() -> None:
    """It has no numbers, and says so by leaving them out."""
    found = shown(Snapshot(now=0.0, policy=Policy(), rollouts=[a_record()]))

    labels = {"service": "shop", "environment": "production", "baseline": "model-1", "candidate": "model-2"}
    assert value(found, "cliffwatch_rollout_verdict", **labels, verdict="waiting") == 1
    assert {
        "cliffwatch_rollout_info",
        "cliffwatch_rollout_start_timestamp_seconds",
        "cliffwatch_rollout_verdict",
        "cliffwatch_rollout_floor_pass_ratio",
    } == {name for name in names_in(found) if "_rollout_" in name}


def test_a_verdict_without_shares_leaves_them_out() -> None:
    """What cannot be told yet is a missing series, not a zero."""
    nothing = a_comparison(NO_REQUESTS, NO_REQUESTS)
    verdict = a_verdict(
        share=None,
        decomposition=None,
        hard_tier=None,
        tiers={},
        aggregate=nothing,
        capabilities={},
        hard_capabilities={},
        requests_needed=200,
        on_call=None,
    )

    found = shown(Snapshot(now=0.0, policy=Policy(), rollouts=[a_record(verdict)]))

    assert {
        "cliffwatch_rollout_info",
        "cliffwatch_rollout_start_timestamp_seconds",
        "cliffwatch_rollout_verdict",
        "cliffwatch_rollout_regression",
        "cliffwatch_rollout_tiers_info",
        "cliffwatch_rollout_requests_needed",
        "cliffwatch_rollout_labelled_requests",
        "cliffwatch_rollout_floor_pass_ratio",
    } == {name for name in names_in(found) if "_rollout_" in name}


def test_an_ended_rollout_is_no_longer_shown() -> None:
    """Its alerts resolve; history has its series."""
    found = shown(Snapshot(now=0.0, policy=Policy(), rollouts=[a_record(a_verdict(), ended_at=1.0)]))

    assert not [name for name in names_in(found) if "_rollout_" in name]


def test_of_two_rollouts_of_the_same_versions_the_later_is_shown() -> None:
    """A version that is rolled out again after a rollback has the same labels as before."""
    again = [a_record(rollout_id="r2", started_at=200.0), a_record(rollout_id="r1", started_at=100.0)]

    found = shown(Snapshot(now=0.0, policy=Policy(), rollouts=again))

    starts = [v for (name, _), v in found.items() if name == "cliffwatch_rollout_start_timestamp_seconds"]
    assert [200.0] == starts


def test_coverage_of_a_baseline_with_two_candidates_is_shown_for_both() -> None:
    """The model version alone would name the same series twice."""
    rollouts = [a_record(a_verdict()), a_record(a_verdict(), rollout_id="r2", candidate="model-3")]

    found = shown(Snapshot(now=0.0, policy=Policy(), rollouts=rollouts))

    candidates = {
        dict(labels)["candidate"]
        for name, labels in found
        if name == "cliffwatch_label_coverage_ratio" and dict(labels)["model_version"] == "model-1"
    }
    assert {"model-2", "model-3"} == candidates


def test_every_number_of_the_policy_is_exported() -> None:
    """Rules compare with gauges, so a threshold that is not exported would be a second truth."""
    policy = a_policy(floors=())
    in_base_units = policy.model_copy(update={"baseline_days": policy.baseline_days * 86_400})
    words = {"class_runbooks", "floors", "severities", "tiers_by", "watched_capabilities"}
    numbers = {name: float(value) for name, value in in_base_units if name not in words}
    objectives = {tier: numbers.pop(f"{tier}_objective") for tier in ("easy", "medium", "hard")}

    everything = families_of(Snapshot(now=0.0, policy=policy, rollouts=[a_record()]))
    families = [family for family in theirs(everything) if family.name.startswith("cliffwatch_policy_")]

    (shown_objectives,) = [family for family in families if "objective" in family.name]
    thresholds = [family for family in families if family is not shown_objectives]
    assert sorted(numbers.values()) == sorted(family.samples[0].value for family in thresholds)
    agreed = {sample.labels["tier"]: sample.value for sample in shown_objectives.samples}
    assert {tier: value for tier, value in objectives.items() if value} == agreed


def test_runbooks_of_classes_and_fallen_frontier_probes_are_exported() -> None:
    """For every service that is judged, and for the version that passed."""
    runbook = ClassRunbook(capability="refunds", runbook_url="https://wiki.example/refunds")
    policy = a_policy(class_runbooks=(runbook,))

    found = shown(
        Snapshot(
            now=0.0, policy=policy, rollouts=[a_record()], frontier_solved={("shop", "model-2", "refunds"): 7_000.0}
        )
    )

    where = {"service": "shop", "environment": "production", "capability": "refunds"}
    assert 1 == value(found, "cliffwatch_policy_class_runbook_info", **where, runbook_url=runbook.runbook_url)
    solved = where | {"environment": "probes", "model_version": "model-2"}
    assert 7_000.0 == value(found, "cliffwatch_frontier_probe_solved_timestamp_seconds", **solved)


def test_reference_history_has_no_policy() -> None:
    """It never has a rollout, so nothing is compared with it."""
    found = shown(a_snapshot())

    assert "reference" not in {dict(labels)["environment"] for name, labels in found if "_policy_" in name}


def _counts() -> st.SearchStrategy[dict[CounterKey, int]]:
    word = st.sampled_from(["", "a", "b", 'quo"te', "back\\slash", "new\nline", "ä"])
    keys: st.SearchStrategy[Any] = st.builds(
        CounterKey, st.sampled_from(CounterName), word, word, word, word, word, st.sampled_from(["x", "a>b", "t/0"])
    )
    return st.dictionaries(keys, st.integers(0, 10**15), max_size=20)


@given(_counts())
def test_every_count_is_in_the_scrape_once(counters: dict[CounterKey, int]) -> None:
    """Whatever the labels, requests add up to what the ledger holds, and nothing is NaN."""
    found = shown(Snapshot(now=0.0, policy=Policy(), counters=counters))

    for name, metric in [
        (CounterName.REQUESTS, "cliffwatch_requests_total"),
        (CounterName.OUTCOMES, "cliffwatch_outcomes_total"),
        (CounterName.RECORDS, "cliffwatch_records_consumed_total"),
        (CounterName.DUPLICATES, "cliffwatch_duplicate_records_total"),
    ]:
        expected = sum(count for key, count in counters.items() if key.name is name)
        assert expected == sum(v for (found_name, _), v in found.items() if found_name == metric)
    assert all(math.isfinite(number) for number in found.values())
