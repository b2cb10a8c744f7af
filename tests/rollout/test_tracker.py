"""Rollouts found from traffic: started, superseded, rolled back, met again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.rollout.policy import Policy
from monitor.rollout.tracker import (
    EndReason,
    Role,
    Rollout,
    RolloutEnded,
    RolloutEvent,
    RolloutStarted,
    VersionActivity,
    find_rollouts,
    is_floating_alias,
    version_roles,
)

DAY = 86_400.0
POLICY = Policy()


def activity(
    *versions: tuple[str, float, float, int],
    since: dict[str, dict[str, int]] | None = None,
    environment: str = "production",
) -> list[VersionActivity]:
    """Versions as (name, first day, last day, requests); *since* gives requests since a later version appeared."""
    return [
        VersionActivity(
            "agent", environment, name, first * DAY, last * DAY, requests, tuple((since or {}).get(name, {}).items())
        )
        for name, first, last, requests in versions
    ]


def started(events: Sequence[RolloutEvent]) -> list[tuple[str, str]]:
    return [(e.rollout.baseline, e.rollout.candidate) for e in events if isinstance(e, RolloutStarted)]


def ended(events: Sequence[RolloutEvent]) -> list[tuple[str, str, float, EndReason]]:
    return [
        (e.rollout.baseline, e.rollout.candidate, e.ended_at / DAY, e.reason)
        for e in events
        if isinstance(e, RolloutEnded)
    ]


def rollouts_after(events: Sequence[RolloutEvent], before: Sequence[Rollout] = ()) -> list[Rollout]:
    """What a ledger would hold after *events*."""
    kept = {rollout.rollout_id: rollout for rollout in before}
    kept |= {event.rollout.rollout_id: event.rollout for event in events}
    return list(kept.values())


def test_first_version_alone_is_no_rollout() -> None:
    """One version is a baseline, not a rollout."""
    assert [] == list(find_rollouts(activity(("v1", 0, 10, 1000)), [], POLICY, now=10 * DAY))


def test_canary_above_the_share_starts_a_rollout_at_its_first_request() -> None:
    """A new version with enough requests and share is a candidate against the version seen first."""
    seen = activity(("v1", 0, 10, 1000), ("v2", 9, 10, 20), since={"v1": {"v2": 100}})

    events = find_rollouts(seen, [], POLICY, now=10 * DAY)

    assert [("v1", "v2")] == started(events)
    assert 9 * DAY == events[0].rollout.started_at


@pytest.mark.parametrize(
    ("requests", "beside"),
    [pytest.param(19, 100, id="too few requests"), pytest.param(25, 2600, id="too small a share of traffic")],
)
def test_stray_version_is_no_rollout(requests: int, beside: int) -> None:
    """A version below the policy's count or share is not a candidate."""
    seen = activity(("v1", 0, 10, 9000), ("v2", 9, 10, requests), since={"v1": {"v2": beside}})

    assert [] == list(find_rollouts(seen, [], POLICY, now=10 * DAY))


def test_reference_runs_never_roll_out() -> None:
    """The reference environment teaches difficulty and has no rollouts."""
    seen = activity(("v1", 0, 10, 1000), ("v2", 9, 10, 900), since={"v1": {"v2": 0}}, environment="reference")

    assert [] == list(find_rollouts(seen, [], POLICY, now=10 * DAY))
    assert {} == version_roles(seen, [], POLICY)


def test_two_canaries_are_compared_with_the_same_baseline() -> None:
    """Candidates beside each other each have their own rollout."""
    seen = activity(
        ("v1", 0, 10, 1000),
        ("v2", 9.0, 10, 50),
        ("v3", 9.5, 10, 50),
        since={"v1": {"v2": 500, "v3": 400}, "v2": {"v3": 25}},
    )

    events = find_rollouts(seen, [], POLICY, now=10 * DAY)

    assert [("v1", "v2"), ("v1", "v3")] == started(events)
    assert [] == ended(events)


def test_successor_is_compared_with_the_version_that_it_replaces() -> None:
    """A candidate that took over becomes the baseline of the next, and its own rollout ends."""
    seen = activity(
        ("v1", 0, 5, 1000),
        ("v2", 5, 10, 1000),
        ("v3", 10, 11, 200),
        since={"v1": {"v2": 0, "v3": 0}, "v2": {"v3": 0}},
    )

    events = find_rollouts(seen, [], POLICY, now=11 * DAY)

    assert [("v1", "v2"), ("v2", "v3")] == started(events)
    assert [("v1", "v2", 10.0, EndReason.SUPERSEDED)] == ended(events)


def test_watch_ends_after_the_ramp_whenever_it_is_looked_at() -> None:
    """The end of a ramp is a time of its own, not the time of the look."""
    seen = activity(("v1", 0, 5, 1000), ("v2", 5, 99, 1000), since={"v1": {"v2": 0}})

    events = find_rollouts(seen, [], POLICY, now=100 * DAY)

    assert [("v1", "v2", 47.0, EndReason.RAMP_OVER)] == ended(events)


def test_canary_that_never_took_over_leaves_the_baseline_established() -> None:
    """After the ramp, a version with a small part of the traffic is not what later ones are compared with."""
    seen = activity(
        ("v1", 0, 70, 9000),
        ("v2", 5, 70, 500),
        ("v3", 69, 70, 100),
        since={"v1": {"v2": 8000, "v3": 100}, "v2": {"v3": 10}},
    )

    events = find_rollouts(seen, [], POLICY, now=70 * DAY)

    assert [("v1", "v2"), ("v1", "v3")] == started(events)


def test_rollback_and_return_are_two_rollouts() -> None:
    """A candidate that falls silent was rolled back; when it comes back it is a new rollout with another id."""
    rolled_back = activity(("v1", 0, 10, 1000), ("v2", 8, 9, 50), since={"v1": {"v2": 300}})
    first = find_rollouts(rolled_back, [], POLICY, now=10 * DAY)
    kept = rollouts_after(first)
    returned = activity(("v1", 0, 12, 1200), ("v2", 8, 12, 60), since={"v1": {"v2": 500}})

    second = find_rollouts(returned, kept, POLICY, now=12 * DAY)

    assert [("v1", "v2", 9.25, EndReason.ROLLED_BACK)] == ended(first)
    assert [("v1", "v2")] == started(second)
    assert 12 * DAY == second[0].rollout.started_at
    assert kept[0].rollout_id != second[0].rollout.rollout_id


def test_silence_of_both_arms_is_no_rollback() -> None:
    """A quiet night ends nothing."""
    seen = activity(("v1", 0, 9, 1000), ("v2", 8, 9, 50), since={"v1": {"v2": 300}})

    assert [] == ended(find_rollouts(seen, [], POLICY, now=12 * DAY))


def test_return_to_a_retired_version_is_a_rollout_of_it() -> None:
    """An established version that falls silent while its predecessor serves again was replaced by it."""
    cutover = activity(("v1", 0, 5, 1000), ("v2", 5, 60, 1000), since={"v1": {"v2": 0}})
    kept = rollouts_after(find_rollouts(cutover, [], POLICY, now=60 * DAY))
    undone = activity(("v1", 0, 62, 1100), ("v2", 5, 61, 1000), since={"v1": {"v2": 100}})

    events = find_rollouts(undone, kept, POLICY, now=62 * DAY)

    assert [("v2", "v1")] == started(events)


def test_nothing_is_found_twice() -> None:
    """What was written down is not found again."""
    seen = activity(
        ("v1", 0, 5, 1000),
        ("v2", 5, 10, 1000),
        ("v3", 10, 11, 200),
        since={"v1": {"v2": 0, "v3": 0}, "v2": {"v3": 0}},
    )
    kept = rollouts_after(find_rollouts(seen, [], POLICY, now=11 * DAY))

    assert [] == list(find_rollouts(seen, kept, POLICY, now=11 * DAY))


@given(st.permutations(range(4)), st.floats(0, 200))
def test_order_of_rows_does_not_matter(order: Sequence[int], later: float) -> None:
    """Every replica finds the same rollouts, in whatever order the rows come and whenever it looks first."""
    seen = activity(
        ("v1", 0, 5, 1000),
        ("v2", 5, 10, 1000),
        ("v3", 10, 30, 200),
        ("v4", 20, 30, 200),
        since={"v1": {"v2": 0, "v3": 0, "v4": 0}, "v2": {"v3": 0, "v4": 0}, "v3": {"v4": 150}},
    )
    once = find_rollouts(seen, [], POLICY, now=(30 + later) * DAY)

    assert once == find_rollouts([seen[i] for i in order], [], POLICY, now=(30 + later) * DAY)


def test_roles_follow_the_rollouts() -> None:
    """What was replaced is retired, what is watched is a candidate, what it is compared with is the baseline."""
    seen = activity(
        ("v1", 0, 5, 1000),
        ("v2", 5, 11, 1000),
        ("v3", 10, 11, 200),
        ("v4", 10.9, 11, 1),
        since={"v1": {"v2": 0, "v3": 0}, "v2": {"v3": 300, "v4": 9}, "v3": {"v4": 9}},
    )
    kept = rollouts_after(find_rollouts(seen, [], POLICY, now=11 * DAY))

    roles = version_roles(seen, kept, POLICY)

    expected = {"v1": Role.RETIRED, "v2": Role.BASELINE, "v3": Role.CANDIDATE, "v4": Role.CANDIDATE}
    assert expected == {name: role for (_, _, name), role in roles.items()}


def test_rollout_ended_by_a_person_confirms_its_candidate() -> None:
    """Words of a person are an end like the ramp's, unless they say rolled back."""
    seen = activity(("v1", 0, 5, 1000), ("v2", 5, 10, 1000), since={"v1": {"v2": 0}})
    rollout = rollouts_after(find_rollouts(seen, [], POLICY, now=10 * DAY))[0]
    by_hand = replace(rollout, ended_at=9 * DAY, end_reason="looked fine")

    roles = version_roles(seen, [by_hand], POLICY)

    assert Role.BASELINE == roles["agent", "production", "v2"]


@pytest.mark.parametrize(
    ("name", "floating"),
    [
        ("gpt-4o", True),
        ("gpt-4o-2024-08-06", False),
        ("gpt-4-0613", False),
        ("gpt-4-0125-preview", False),
        ("gpt-4-vision-preview", True),
        ("gpt-3.5-turbo-0125-FC", False),
        ("claude-3-5-sonnet-20241022", False),
        ("claude-3-5-sonnet-latest", True),
        ("claude-sonnet-4-5", True),
        ("gemini-1.5-pro-002", False),
        ("gemini-1.5-pro", True),
        ("anthropic.claude-3-5-sonnet-20241022-v2:0", False),
        ("Meta-Llama-3-70B-Instruct", False),
        ("mistral-large-2407", False),
        ("support-agent-v12", False),
        ("support-agent-2.3.1", False),
        ("support-agent@3f2c1ab", False),
        ("support-agent:stable", True),
        ("support-agent", True),
    ],
)
def test_alias_is_told_from_a_pinned_version(name: str, floating: bool) -> None:  # noqa: FBT001 - a column of the table
    """A name is pinned by a date, a revision, a release, a digest or the size of open weights."""
    assert floating == is_floating_alias(name)
