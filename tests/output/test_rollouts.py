from __future__ import annotations

import json
from dataclasses import fields, replace

from monitor.output.rollouts import rollout_json, story
from monitor.rollout.verdict import Verdict, VerdictState
from tests.metrics.snapshots import NO_REQUESTS, NOON, a_comparison, a_record, a_verdict


def test_every_field_of_a_verdict_is_printed() -> None:
    """A field that the verdict gains needs no further work; its state is called `verdict`."""
    printed = rollout_json(a_record(a_verdict()))

    assert {field.name for field in fields(Verdict)} - {"state"} <= printed.keys()
    assert "cliff" == printed["verdict"]


def test_numbers_are_not_rounded() -> None:
    """Every reader shows the same numbers, so none is rounded on the way."""
    verdict = a_verdict()

    report = json.loads(json.dumps(rollout_json(a_record(verdict))))

    assert (verdict.aggregate.candidate.rate.estimate, 1140, 109) == (
        report["aggregate"]["candidate"]["rate"],
        report["aggregate"]["candidate"]["requests"],
        report["aggregate"]["candidate"]["failures"],
    )
    assert (0.25, 0.125, 0.375) == tuple(report["share"][key] for key in ("change", "lower", "upper"))
    assert (0.1875, 0.0625, 0.3125) == tuple(report["share"][key] for key in ("excess", "excess_lower", "excess_upper"))


def test_what_is_not_known_is_null() -> None:
    """A tier that nobody met has counts and no rate."""
    tier = rollout_json(a_record(a_verdict()))["tiers"]["frontier"]

    nothing = {"requests": 0, "failures": 0, "rate": None, "lower": None, "upper": None, "coverage": None}
    assert {"baseline": nothing, "candidate": nothing, "change": None} == tier


def test_tiers_come_easiest_first() -> None:
    """The order is that of the tiers, whatever order the verdict has."""
    tiers = a_verdict().tiers
    backwards = a_verdict(tiers=dict(reversed(tiers.items())))

    assert ["easy", "medium", "hard", "frontier"] == list(rollout_json(a_record(backwards))["tiers"])


def test_a_rollout_that_was_not_looked_at_is_waiting() -> None:
    """It has a verdict in words, and no numbers."""
    report = rollout_json(a_record())

    assert ("waiting", ["not looked at yet"]) == (report["verdict"], report["reasons"])
    assert (None, None, None, {}) == (
        report["share"],
        report["decomposition"],
        report["aggregate"],
        report["tiers"],
    )


def test_a_verdict_without_shares_has_none() -> None:
    """Shares cannot be told before both arms have failures."""
    waiting = a_verdict(
        state=VerdictState.WAITING,
        share=None,
        decomposition=None,
        aggregate=a_comparison(NO_REQUESTS, NO_REQUESTS),
        requests_needed=200,
    )

    report = rollout_json(a_record(waiting))

    assert (None, None, 200) == (report["share"], report["decomposition"], report["requests_needed"])


def test_history_floors_and_load_are_reported_whole() -> None:
    """When the verdict changed, what the rollout is held to since when, and which incidents to expect."""
    record = a_record(a_verdict(), ended_at=1_790_000_060.0, end_reason="rolled_back")

    report = rollout_json(record)

    assert ("2026-09-21T14:14:20.000Z", "rolled_back") == (report["ended_at"], report["end_reason"])
    assert [{"at": "2026-09-21T14:13:20.000Z", "verdict": "waiting"}] == report["changes"]
    floor = {"service": "shop", "environment": "production", "tier": "hard", "capability": "search"}
    floor |= {"pass_rate": 0.375, "agreed_by": "", "agreed_on": ""}
    assert floor | {"seen_at": "2026-09-20T14:13:20.000Z"} == report["floors"][1]
    load = {"tier": "hard", "capability": "search", "failure_class": "timeout", "baseline": 60.0, "candidate": 40.0}
    assert report["on_call"] is not None
    assert [load | {"state": "open"}] == report["on_call"]["signatures"]
    assert {"baseline": 70.0, "candidate": 44.0} == report["on_call"]["total"]


def test_times_are_iso_8601_in_utc() -> None:
    """The start is readable and has its zone."""
    assert rollout_json(a_record(started_at=1_790_000_000.25))["started_at"] == "2026-09-21T14:13:20.250Z"


def test_a_rollback_a_retry_and_an_end_by_hand_are_reported() -> None:
    """In the order in which they happened, in words; a version that was rolled back starts again."""
    first = a_record(ended_at=NOON + 50, end_reason="rolled_back")
    first = replace(first, changes=((NOON + 10, "waiting"), (NOON + 20, "regression")))
    again = a_record(rollout_id="r2", started_at=NOON + 90, ended_at=NOON + 99, end_reason="bad answers in refunds")
    other = a_record(rollout_id="r3", started_at=NOON + 95, candidate="model-3")

    told = [[what for _, what in story(each, [first, again, other])] for each in (first, again, other)]

    assert ["started", "first verdict: waiting", "waiting became regression", "ended: rolled back"] == told[0]
    assert ["started again; the earlier attempt does not count", "ended: bad answers in refunds"] == told[1]
    assert ["started"] == told[2]
