from __future__ import annotations

import json
from typing import Any

from monitor.output.rollouts import RolloutJson, rollout_json
from monitor.rollout.verdict import VerdictState
from tests.metrics.snapshots import NO_REQUESTS, a_comparison, a_record, a_verdict

RATE: Any = {"requests": int, "failures": int, "rate": float, "lower": float, "upper": float}
TIER: Any = {
    "baseline": RATE,
    "candidate": RATE,
    "change": {"estimate": float, "lower": float, "upper": float},
}
LOAD: Any = {"baseline": float, "candidate": float}
SHARE = ("baseline", "candidate", "change", "lower", "upper")
CONTRACT: Any = {
    **dict.fromkeys(["id", "service", "environment", "baseline", "candidate", "started_at", "verdict"], str),
    "ended_at": type(None),
    "end_reason": str,
    "changes": list,
    "reasons": list,
    "requests_to_verdict": int,
    "requests_needed": int,
    "share": dict.fromkeys([*SHARE, "expected_change", "excess", "excess_lower", "excess_upper"], float),
    "decomposition": dict.fromkeys(["traffic_mix", "easier_tiers", "hard_tiers"], float),
    "aggregate": TIER,
    "tiers": dict.fromkeys(["easy", "medium", "hard", "frontier"], TIER),
    "hard_tier": TIER,
    "floors": list,
    "on_call": {
        "total": LOAD,
        "tiers": dict.fromkeys(["easy", "medium", "hard", "frontier", "untiered"], LOAD),
        "signatures": list,
    },
}
"""The rollout object of `replay --output json`: its keys, and the type of each value."""


def shape(value: Any) -> Any:
    return {key: shape(below) for key, below in value.items()} if isinstance(value, dict) else type(value)


def a_full_report() -> RolloutJson:
    whole = a_comparison(change=a_verdict().share.change)
    verdict = a_verdict(tiers=dict.fromkeys(a_verdict().tiers, whole))
    return rollout_json(a_record(verdict))


def test_a_rollout_has_exactly_the_keys_of_the_contract() -> None:
    """People parse this; a key that goes or changes its type breaks them."""
    assert CONTRACT == shape(a_full_report())


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

    nothing = {"requests": 0, "failures": 0, "rate": None, "lower": None, "upper": None}
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


def test_history_floors_and_load_are_told_whole() -> None:
    """When the verdict changed, what the rollout is held to since when, and which incidents to expect."""
    record = a_record(a_verdict(), ended_at=1_790_000_060.0, end_reason="rolled_back")

    report = rollout_json(record)

    assert ("2026-09-21T14:14:20.000Z", "rolled_back") == (report["ended_at"], report["end_reason"])
    assert [{"at": "2026-09-21T14:13:20.000Z", "verdict": "waiting"}] == report["changes"]
    floor = {"capability": "search", "pass_rate": 0.375, "agreed_by": "", "agreed_on": ""}
    assert floor | {"seen_at": "2026-09-20T14:13:20.000Z"} == report["floors"][1]
    load = {"tier": "hard", "capability": "search", "failure_class": "timeout", "baseline": 60.0, "candidate": 40.0}
    assert report["on_call"] is not None
    assert [load] == report["on_call"]["signatures"]
    assert {"baseline": 70.0, "candidate": 44.0} == report["on_call"]["total"]


def test_times_are_iso_8601_in_utc() -> None:
    """The start is readable and has its zone."""
    assert rollout_json(a_record(started_at=1_790_000_000.25))["started_at"] == "2026-09-21T14:13:20.250Z"
