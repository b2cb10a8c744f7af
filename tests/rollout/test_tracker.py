"""Rollouts found from traffic: started, superseded, rolled back, met again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.rollout.deployment import Traffic
from monitor.rollout.policy import Policy
from monitor.rollout.tracker import (
    EndReason,
    Role,
    Rollout,
    VersionActivity,
    baseline_since,
    candidate_since,
    find_rollouts,
    is_floating_alias,
    version_roles,
)

DAY = 86_400.0
HOUR = 3_600.0
Spell = tuple[str, float, float, int]
POLICY = Policy()


def activity(*spells: Spell, environment: str = "production") -> list[VersionActivity]:
    """Spells of versions as (name, first day, last day, requests), each version's in order."""
    traffic: dict[str, list[Traffic]] = {}
    for name, first, last, requests in spells:
        traffic.setdefault(name, []).append(Traffic(first * DAY, last * DAY, requests))
    return [
        VersionActivity(
            "agent",
            environment,
            name,
            served[0].first_started_at,
            served[-1].last_started_at,
            int(sum(spell.requests for spell in served)),
            served,
        )
        for name, served in traffic.items()
    ]


def started(events: Sequence[Rollout]) -> list[tuple[str, str]]:
    return [(e.baseline, e.candidate) for e in events if e.is_under_way]


def ended(events: Sequence[Rollout]) -> list[tuple[str, str, float, EndReason]]:
    return [
        (e.baseline, e.candidate, e.ended_at / DAY, EndReason(e.end_reason)) for e in events if e.ended_at is not None
    ]


def rollouts_after(events: Sequence[Rollout], before: Sequence[Rollout] = ()) -> list[Rollout]:
    """What a ledger would hold after *events*."""
    kept = {rollout.rollout_id: rollout for rollout in before}
    kept |= {event.rollout_id: event for event in events}
    return list(kept.values())


def test_first_version_alone_is_no_rollout() -> None:
    """One version is a baseline, not a rollout."""
    assert [] == list(find_rollouts(activity(("v1", 0, 10, 1000)), [], POLICY, now=10 * DAY))


def test_canary_above_the_share_starts_a_rollout_at_its_first_request() -> None:
    """A new version with enough requests and share is a candidate against the version seen first."""
    seen = activity(("v1", 0, 10, 1000), ("v2", 9, 10, 20))

    events = find_rollouts(seen, [], POLICY, now=10 * DAY)

    assert [("v1", "v2")] == started(events)
    assert 9 * DAY == events[0].started_at


def test_stray_requests_are_no_rollout() -> None:
    """A version with fewer requests than the policy's minimum is not a candidate."""
    seen = activity(("v1", 0, 10, 9000), ("v2", 9, 10, 19))

    assert [] == list(find_rollouts(seen, [], POLICY, now=10 * DAY))


def test_policy_may_ask_for_a_share() -> None:
    """A canary of any size is a rollout, unless the policy names the least share."""
    seen = activity(("v1", 0, 10, 90_000), ("v2", 9, 10, 45))
    at_least_1_percent = POLICY.model_copy(update={"candidate_min_share": 0.01})

    assert [("v1", "v2")] == started(find_rollouts(seen, [], POLICY, now=10 * DAY))
    assert [] == list(find_rollouts(seen, [], at_least_1_percent, now=10 * DAY))


def test_reference_runs_never_roll_out() -> None:
    """The reference environment teaches difficulty and has no rollouts."""
    seen = activity(("v1", 0, 10, 1000), ("v2", 9, 10, 900), environment="reference")

    assert [] == list(find_rollouts(seen, [], POLICY, now=10 * DAY))
    assert {} == version_roles(seen, [], POLICY)


def test_a_rollout_begins_with_the_first_request_however_late_that_comes() -> None:
    """Partitions are read one ahead of the other: what is read last may have started first."""
    (rollout,) = find_rollouts(activity(("v1", 0, 10, 1000), ("v2", 9, 10, 50)), [], POLICY, now=10 * DAY)
    seen = activity(("v1", 0, 10, 1000), ("v2", 8.9, 10, 80))

    (begun,) = find_rollouts(seen, [rollout], POLICY, now=10 * DAY)

    assert replace(rollout, started_at=8.9 * DAY) == begun
    assert [] == list(find_rollouts(seen, [begun], POLICY, now=10 * DAY))


def test_a_second_attempt_begins_when_it_began() -> None:
    """What came before it under the same name is of the first."""
    first = Rollout("r-1", "agent", "production", "v1", "v2", 8 * DAY, 8.5 * DAY, end_reason="somebody ended it")
    second = Rollout("r-2", "agent", "production", "v1", "v2", 9 * DAY)
    seen = activity(("v1", 0, 10, 1000), ("v2", 8, 10, 80))

    assert [] == list(find_rollouts(seen, [first, second], POLICY, now=10 * DAY))


def test_two_canaries_are_compared_with_the_same_baseline() -> None:
    """Candidates beside each other each have their own rollout."""
    seen = activity(
        ("v1", 0, 10, 1000),
        ("v2", 9.0, 10, 50),
        ("v3", 9.5, 10, 50),
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
    )

    events = find_rollouts(seen, [], POLICY, now=11 * DAY)

    assert [("v1", "v2"), ("v2", "v3")] == started(events)
    assert [("v1", "v2", 10.0, EndReason.SUPERSEDED)] == ended(events)


@pytest.mark.parametrize(
    ("canary_until", "ends"),
    [
        pytest.param(9.5, [("v1", "v2", 9.75, EndReason.ROLLED_BACK)], id="a hotfix takes the canary's place"),
        pytest.param(10.0, [], id="a third version joins both"),
    ],
)
def test_a_canary_of_half_the_traffic_has_not_taken_over_by_chance(
    canary_until: float, ends: list[tuple[str, str, float, EndReason]]
) -> None:
    """It has served a few requests more than the version beside it, which goes on and stays the baseline."""
    per_day = 110
    seen = activity(
        ("v1", 0, 10, 1000), ("v2", 9, canary_until, round((canary_until - 9) * per_day)), ("v2.1", 9.5, 10, 50)
    )

    events = find_rollouts(seen, [], POLICY, now=10 * DAY)

    assert [("v1", "v2"), ("v1", "v2.1")] == [(each.baseline, each.candidate) for each in rollouts_after(events)]
    assert ends == [(*pair, pytest.approx(at, abs=0.01), why) for *pair, at, why in ended(events)]


def test_stragglers_of_the_old_version_leave_a_candidate_that_took_over_established() -> None:
    """Its successor is compared with it, though it went at once and a few requests still reach the old version."""
    seen = activity(("v1", 0, 5, 12_000), ("v1", 5, 30, 300), ("v2", 5, 20, 36_000), ("v3", 20, 30, 24_000))

    events = find_rollouts(seen, [], POLICY, now=30 * DAY)

    assert [("v1", "v2"), ("v2", "v3")] == [(each.baseline, each.candidate) for each in rollouts_after(events)]
    assert [("v1", "v2", 20.0, EndReason.SUPERSEDED)] == ended(events)


def test_watch_ends_after_the_ramp_whenever_it_is_looked_at() -> None:
    """The end of a ramp is a time of its own, not the time of the look."""
    seen = activity(("v1", 0, 5, 1000), ("v2", 5, 99, 1000))

    events = find_rollouts(seen, [], POLICY, now=100 * DAY)

    assert [("v1", "v2", 47.0, EndReason.RAMP_OVER)] == ended(events)


def test_canary_that_never_took_over_leaves_the_baseline_established() -> None:
    """After the ramp, a version with a small part of the traffic is not what later ones are compared with."""
    seen = activity(
        ("v1", 0, 70, 9000),
        ("v2", 5, 70, 500),
        ("v3", 69, 70, 100),
    )

    events = find_rollouts(seen, [], POLICY, now=70 * DAY)

    assert [("v1", "v2"), ("v1", "v3")] == started(events)


def test_rollback_and_return_are_two_rollouts() -> None:
    """A candidate that falls silent was rolled back; when it comes back it is a new rollout with another id."""
    rolled_back = activity(("v1", 0, 10, 1000), ("v2", 8, 9, 50))
    first = find_rollouts(rolled_back, [], POLICY, now=10 * DAY)
    kept = rollouts_after(first)
    returned = activity(("v1", 0, 12, 1200), ("v2", 8, 9, 50), ("v2", 12, 12, 1))

    second = find_rollouts(returned, kept, POLICY, now=12 * DAY)

    assert [("v1", "v2", 9.25, EndReason.ROLLED_BACK)] == ended(first)
    assert [("v1", "v2")] == started(second)
    assert 12 * DAY == second[0].started_at
    assert kept[0].rollout_id != second[0].rollout_id


def test_silence_of_both_arms_is_no_rollback() -> None:
    """A quiet night ends nothing."""
    seen = activity(("v1", 0, 9, 1000), ("v2", 8, 9, 50))

    assert [] == ended(find_rollouts(seen, [], POLICY, now=12 * DAY))


def test_return_to_a_retired_version_is_a_rollout_of_it() -> None:
    """An established version that falls silent while its predecessor serves again was replaced by it."""
    cutover = activity(("v1", 0, 5, 1000), ("v2", 5, 60, 1000))
    kept = rollouts_after(find_rollouts(cutover, [], POLICY, now=60 * DAY))
    undone = activity(("v1", 0, 5, 1000), ("v2", 5, 61, 1000), ("v1", 61, 62, 100))

    events = find_rollouts(undone, kept, POLICY, now=62 * DAY)

    assert [("v2", "v1")] == started(events)


def test_nothing_is_found_twice() -> None:
    """What was written down is not found again."""
    seen = activity(
        ("v1", 0, 5, 1000),
        ("v2", 5, 10, 1000),
        ("v3", 10, 11, 200),
    )
    kept = rollouts_after(find_rollouts(seen, [], POLICY, now=11 * DAY))

    assert [] == list(find_rollouts(seen, kept, POLICY, now=11 * DAY))


def hours(name: str, first: int, last: int, per_hour: int, *, open_from: int = 0, open_to: int = 24) -> list[Spell]:
    """A spell for each hour from *first* until *last* that is within opening hours; one request each five minutes."""
    return [
        (name, hour / 24, (hour + 11 / 12) / 24, per_hour)
        for hour in range(first, last)
        if open_from <= hour % 24 < open_to
    ]


def test_silence_of_the_whole_service_ends_nothing() -> None:
    """Every morning the baseline is first by hours, after nights and a weekend in which nobody served."""
    week = [
        spell
        for day in (0, 1, 2, 3, 4, 7, 8)
        for spell in (
            *hours("v1", day * 24 + 8, day * 24 + 20, 30),
            *(hours("v2", day * 24 + 11, day * 24 + 18, 3) if day else ()),
        )
    ]
    events: list[Rollout] = []
    for hour in range(24, 9 * 24):
        seen = activity(*(spell for spell in week if spell[1] * 24 <= hour))
        events += find_rollouts(seen, rollouts_after(events), POLICY, now=hour * HOUR)

    assert [("v1", "v2")] == started(events)
    assert [] == ended(events)


@pytest.mark.parametrize(("missed", "rolled_back"), [(14, False), (15, True)])
def test_half_of_few_requests_are_missed_by_chance(missed: int, *, rolled_back: bool) -> None:
    """One request an hour, half of them the candidate's: ten in a row are the other's once in a thousand times."""
    turns = [(f"v{1 + hour % 2}", hour) for hour in range(100, 200)] + [
        ("v1", hour) for hour in range(200, 200 + missed)
    ]
    spells = sorted([("v1", hour) for hour in range(100)] + turns, key=lambda turn: turn[1])

    events = find_rollouts(activity(*((name, h / 24, h / 24, 1) for name, h in spells)), [], POLICY, now=20 * DAY)

    assert rolled_back == bool(ended(events))


def test_a_baseline_whose_share_fell_is_missed_by_its_new_share() -> None:
    """After a hundred hours alone, half of the traffic skips it for ten hours now and then."""
    turns = [f"v{1 + hour % 2}" for hour in range(40)]
    names = ["v1"] * 100 + ["v2"] * 10 + turns + ["v2"] * 10 + turns

    events = find_rollouts(
        activity(*sorted((name, h / 24, h / 24, 1) for h, name in enumerate(names))), [], POLICY, now=9 * DAY
    )

    assert [("v1", "v2")] == started(events)
    assert [] == ended(events)


def test_tiny_canary_is_not_rolled_back_by_chance() -> None:
    """At half a percent, eight hours without a request say nothing."""
    canary = [("v2", 2 + each / 3, 2 + each / 3, 1) for each in range(30)]
    seen = activity(*hours("v1", 0, 13 * 24, 25), *canary)

    events = find_rollouts(seen, [], POLICY, now=13 * DAY)

    assert [("v1", "v2")] == started(events)
    assert [] == ended(events)


def test_name_that_comes_back_is_judged_as_new_however_often() -> None:
    """Blue, green, blue, green: each return after the end of a deployment is a rollout against what served since."""
    names = ["blue", "green", "blue", "green"]
    seen = activity(
        *(
            spell
            for turn, name in enumerate(names)
            for spell in (
                *(hours(name, turn * 48 - 12, turn * 48, 3) if turn else ()),
                *hours(name, turn * 48, (turn + 1) * 48, 30),
            )
        )
    )

    events = find_rollouts(seen, [], POLICY, now=8 * DAY)

    assert [("blue", "green"), ("green", "blue"), ("blue", "green")] == started(events)
    assert [EndReason.SUPERSEDED] * 2 == [reason for *_, reason in ended(events)]
    assert [36 * HOUR, 84 * HOUR, 132 * HOUR] == [e.started_at for e in events if e.is_under_way]


def test_looks_on_the_way_find_what_one_look_at_the_end_finds() -> None:
    """Blue, green, blue told hour by hour."""
    story = [
        *hours("blue", 0, 24, 30),
        *hours("blue", 24, 36, 27),
        *hours("green", 24, 36, 3),
        *hours("green", 36, 72, 30),
        *hours("green", 72, 96, 27),
        *hours("blue", 72, 96, 3),
        *hours("blue", 96, 120, 30),
    ]
    events: list[Rollout] = []
    for hour in range(1, 121):
        seen = activity(*(spell for spell in story if spell[1] * 24 < hour))
        events += find_rollouts(seen, rollouts_after(events), POLICY, now=hour * HOUR)

    at_the_end = find_rollouts(activity(*story), [], POLICY, now=5 * DAY)

    assert [("blue", "green"), ("green", "blue")] == started(events) == started(at_the_end)
    assert ended(events) == ended(at_the_end)


def test_hotfix_beside_a_failed_canary_is_a_rollout_of_its_own() -> None:
    """The first canary is rolled back once its silence shows; the hotfix is compared with the same baseline."""
    seen = activity(*hours("v1", 0, 60, 27), *hours("v2", 24, 30, 8), *hours("v2.1", 30, 60, 8))

    events = find_rollouts(seen, [], POLICY, now=60 * HOUR)

    assert [("v1", "v2"), ("v1", "v2.1")] == started(events)
    assert [("v1", "v2", EndReason.ROLLED_BACK)] == [(old, new, reason) for old, new, _, reason in ended(events)]


def test_return_to_the_baseline_within_hours_is_a_rollback() -> None:
    """After a short cutover the baseline serves again: its deployment has not ended, the candidate's has."""
    seen = activity(*hours("v1", 0, 48, 30), *hours("v2", 48, 51, 30), *hours("v1", 51, 72, 30))

    events = find_rollouts(seen, [], POLICY, now=72 * HOUR)

    assert [("v1", "v2")] == started(events)
    assert [EndReason.ROLLED_BACK] == [reason for *_, reason in ended(events)]
    assert Role.RETIRED == version_roles(seen, rollouts_after(events), POLICY)["agent", "production", "v2"]


def test_requests_after_an_operators_rollback_are_a_new_attempt_once_they_are_enough() -> None:
    """Stragglers of what was rolled back start nothing; as many as any version needs are a retry."""
    canary = activity(*hours("v1", 0, 72, 27), *hours("v2", 48, 54, 12))
    kept = rollouts_after(find_rollouts(canary, [], POLICY, now=54 * HOUR))
    by_hand = [replace(kept[0], ended_at=54 * HOUR, end_reason="rolled_back")]
    stragglers = activity(*hours("v1", 0, 72, 27), *hours("v2", 48, 54, 12), *hours("v2", 54, 55, 12))
    retry = activity(*hours("v1", 0, 58, 27), *hours("v2", 48, 54, 12), *hours("v2", 54, 58, 12))

    assert [] == list(find_rollouts(stragglers, by_hand, POLICY, now=58 * HOUR))
    (event,) = find_rollouts(retry, by_hand, POLICY, now=58 * HOUR)
    assert 54 * HOUR == event.started_at


def test_ramp_without_a_verdict_is_watched_beyond_the_calendar() -> None:
    """Six weeks end the watch over a candidate beside its baseline only once it has a verdict."""
    seen = activity(("v1", 0, 70, 90_000), ("v2", 5, 70, 900))
    kept = rollouts_after(find_rollouts(seen, [], POLICY, now=70 * DAY))

    decided = find_rollouts(seen, kept, POLICY, now=70 * DAY, decided={kept[0].rollout_id: 60 * DAY})

    assert kept[0].ended_at is None
    assert [("v1", "v2", 60.0, EndReason.RAMP_OVER)] == ended(decided)


def test_ramp_that_grows_is_watched_whatever_was_said_of_it() -> None:
    """A verdict at one percent does not end the watch over a candidate that is on its way to all of the traffic."""
    seen = activity(("v1", 0, 60, 90_000), ("v2", 5, 52, 500), ("v2", 52, 60, 2_000))
    kept = rollouts_after(find_rollouts(seen, [], POLICY, now=60 * DAY))

    events = find_rollouts(seen, kept, POLICY, now=60 * DAY, decided={kept[0].rollout_id: 20 * DAY})

    assert [] == list(events)


@pytest.mark.parametrize(
    ("later", "is_over"), [pytest.param(200, True, id="steady"), pytest.param(600, False, id="grows")]
)
def test_a_short_ramp_ends_with_its_verdict_unless_it_grows(later: int, *, is_over: bool) -> None:
    """In its first week, a candidate has no week before to have grown since: the halves of its time tell."""
    short = POLICY.model_copy(update={"ramp_seconds": DAY})
    seen = activity(("v1", 0, 9, 9_000), ("v2", 5, 7, 200), ("v2", 7, 9, later))
    kept = rollouts_after(find_rollouts(seen, [], short, now=9 * DAY))

    events = find_rollouts(seen, kept, short, now=9 * DAY, decided={kept[0].rollout_id: 6 * DAY})

    assert is_over == (["v2"] == [each.candidate for each in events if each.end_reason == EndReason.RAMP_OVER])


def test_service_that_was_given_up_is_forgotten_after_another_ramp() -> None:
    """A rollout of a service that has been silent for as long as the ramp is over."""
    seen = activity(("v1", 0, 10, 9000), ("v2", 5, 10, 900))

    assert [("v1", "v2", 52.0, EndReason.RAMP_OVER)] == ended(find_rollouts(seen, [], POLICY, now=60 * DAY))


def test_silence_between_probes_ends_nothing() -> None:
    """A panel that is replayed nightly on the baseline does not roll back a candidate that was probed once."""
    nightly = [("v1", day, day + 1 / 48, 300) for day in range(30)]
    seen = activity(*nightly, ("v2", 10.5, 10.52, 300), environment="probes")

    events = find_rollouts(seen, [], POLICY, now=30 * DAY)

    assert [("v1", "v2")] == started(events)
    assert [] == ended(events)


def test_evidence_of_an_attempt_begins_after_the_one_before() -> None:
    """What a name stood for earlier says nothing, whether it is now the candidate or the baseline."""
    story = [
        *hours("blue", 0, 36, 30),
        *hours("green", 24, 96, 30),
        *hours("blue", 72, 120, 60),
        *hours("green", 110, 120, 3),
    ]
    rollouts = rollouts_after(find_rollouts(activity(*story), [], POLICY, now=5 * DAY))

    first, back, again = rollouts

    assert [-math.inf, 24 * HOUR, 72 * HOUR] == [baseline_since(each, rollouts) for each in (first, back, again)]
    assert [-math.inf, 72 * HOUR, 110 * HOUR] == [candidate_since(each, rollouts) for each in (first, back, again)]


@given(st.permutations(range(4)), st.floats(0, 200))
def test_order_of_rows_does_not_matter(order: Sequence[int], later: float) -> None:
    """Every replica finds the same rollouts, in whatever order the rows come and whenever it looks first."""
    seen = activity(
        ("v1", 0, 5, 1000),
        ("v2", 5, 10, 1000),
        ("v3", 10, 30, 200),
        ("v4", 20, 30, 200),
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
    )
    kept = rollouts_after(find_rollouts(seen, [], POLICY, now=11 * DAY))

    roles = version_roles(seen, kept, POLICY)

    expected = {"v1": Role.RETIRED, "v2": Role.BASELINE, "v3": Role.CANDIDATE, "v4": Role.CANDIDATE}
    assert expected == {name: role for (_, _, name), role in roles.items()}


def test_rollout_ended_by_a_person_confirms_its_candidate() -> None:
    """Words of a person are an end like the ramp's, unless they say rolled back."""
    seen = activity(("v1", 0, 5, 1000), ("v2", 5, 10, 1000))
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
def test_alias_is_distinguished_from_a_pinned_version(name: str, floating: bool) -> None:  # noqa: FBT001 - a column of the table
    """A name is pinned by a date, a revision, a release, a digest or the size of open weights."""
    assert floating == is_floating_alias(name)


@pytest.mark.parametrize(
    ("late_hours", "reasons"),
    [
        pytest.param(0.0, [EndReason.ROLLED_BACK], id="it serves no more"),
        pytest.param(7.0, [], id="its requests arrive seven hours late"),
    ],
)
def test_silence_of_a_version_that_arrives_late_is_counted_from_its_arrival(
    late_hours: float, reasons: list[EndReason]
) -> None:
    """The latest request of the candidate started seven hours ago."""
    seen = activity(("v1", 0, 10, 10_000), ("v2", 9, 10 - 7 / 24, 500))
    seen = [replace(each, late_seconds=late_hours * HOUR * (each.model_version == "v2")) for each in seen]

    events = find_rollouts(seen, [], POLICY, now=10 * DAY)

    assert [("v1", "v2")] == started(events[:1])
    assert reasons == [end[3] for end in ended(events)]


@pytest.mark.parametrize(
    ("before", "baseline"),
    [pytest.param(0.0, "v2", id="both at once"), pytest.param(1.0, "v1", id="one after the other")],
)
def test_of_versions_that_a_ledger_meets_at_once_the_one_that_serves_most_is_the_baseline(
    before: float, baseline: str
) -> None:
    """A ledger that starts in the middle of a canary may see a request of the canary first."""
    seen = activity(("v1", 0, 3, 300), ("v2", before + 0.001, before + 3, 2_700))

    events = find_rollouts(seen, [], POLICY, now=4 * DAY)

    assert [baseline] == [rollout.baseline for rollout in events[:1]]


def test_arms_that_a_ledger_meets_at_once_are_each_compared_with_the_same_baseline() -> None:
    """Three versions share the traffic from the first seconds on: none has taken over from another."""
    seen = activity(("v1", 0.0, 3, 1_000), ("v2", 0.0001, 3, 1_050), ("v3", 0.0002, 3, 1_100))

    events = find_rollouts(seen, [], POLICY, now=4 * DAY)

    assert [("v1", "v2"), ("v1", "v3")] == started(events)
    assert [] == ended(events)
