"""Announced rollouts are checked as the stream is."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from monitor.errors import UsageError
from monitor.rollout.policy import Policy
from monitor.rollout.rollout_request import MOST_UNDER_WAY, RolloutRequest, checked_reason, requested_rollout
from monitor.rollout.tracker import Rollout, VersionActivity, find_rollouts

NOW = 1_000.0
SERVING = [VersionActivity("shop", "production", "model-1", 0.0, 990.0, requests=500)]


def announce(rollouts: list[Rollout] | None = None, activity: Any = SERVING, **names: Any) -> Rollout:
    words = {"service": "shop", "candidate": "model-2"} | names
    return requested_rollout(RolloutRequest(**words), activity, rollouts or [], Policy(), now=NOW)


def test_the_established_version_is_the_baseline_where_nobody_names_one() -> None:
    """A deploy hook has to know what it rolls out, and not what was there."""
    rollout = announce()

    assert ("shop", "production", "model-1", "model-2", NOW) == (
        rollout.service,
        rollout.environment,
        rollout.baseline,
        rollout.candidate,
        rollout.started_at,
    )


def test_an_announcement_may_come_before_any_request() -> None:
    """A service that nobody has met can be announced with both versions."""
    assert "model-0" == announce(activity=[], baseline="model-0").baseline


def test_announcing_again_changes_nothing() -> None:
    """A hook that is retried finds the rollout that it made."""
    rollout = announce()

    assert rollout == announce([rollout])


def test_a_rollout_that_the_stream_found_first_is_that_rollout() -> None:
    """Whoever comes first, there is one rollout of the same versions."""
    met = VersionActivity("shop", "production", "model-2", 500.0, 990.0, requests=100)
    (event,) = find_rollouts([*SERVING, met], [], Policy(), now=NOW)
    assert event.is_under_way

    assert event == announce([event], [*SERVING, met])


def test_the_stream_finds_no_second_one_beside_an_requested_rollout() -> None:
    """Its candidate serves, and the rollout under way is the one that was announced; it starts with its requests."""
    met, announced = VersionActivity("shop", "production", "model-2", 500.0, 990.0, requests=100), announce()
    begun = dataclasses.replace(announced, started_at=500.0)

    assert [begun] == find_rollouts([*SERVING, met], [announced], Policy(), now=NOW)
    assert [] == find_rollouts([*SERVING, met], [begun], Policy(), now=NOW)


def test_requests_that_came_before_the_announcement_count() -> None:
    """A candidate that serves already began with its first request, so floors changed since do not count."""
    met = VersionActivity("shop", "production", "model-2", 500.0, 990.0, requests=5)

    assert 500.0 == announce(activity=[*SERVING, met]).started_at


def test_a_rollout_after_its_end_is_another_one() -> None:
    """It has an id of its own and starts now."""
    first = announce()
    ended = dataclasses.replace(first, ended_at=900.0, end_reason="rolled_back")
    met = VersionActivity("shop", "production", "model-2", 500.0, 800.0, requests=100)

    again = announce([ended], [*SERVING, met])

    assert first.rollout_id != again.rollout_id
    assert NOW == again.started_at


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        pytest.param({"candidate": "model-1"}, "both model-1", id="nothing changes"),
        pytest.param(
            {"candidate": 'x"} 1\nevil{a="'}, "candidate cannot be used", id="a name that could break a label"
        ),
        pytest.param({"candidate": "x" * 129}, "candidate cannot be used", id="a name that is too long"),
        pytest.param({"service": ""}, "service cannot be used", id="a name without letters"),
        pytest.param({"baseline": "a b"}, "baseline cannot be used", id="a name with a space"),
        pytest.param({"candidate": "unresolved"}, "version is unknown", id="no version as the candidate"),
        pytest.param({"baseline": "unresolved"}, "version is unknown", id="no version as the baseline"),
        pytest.param({"environment": "reference"}, "serves no users", id="the history"),
        pytest.param({"environment": "probes"}, "serves no users", id="the probe panel"),
        pytest.param({"service": "unknown"}, "no established version", id="a service that nobody has met"),
    ],
)
def test_what_makes_no_sense_is_refused(names: dict[str, str], problem: str) -> None:
    """In a sentence that says what is wrong."""
    with pytest.raises(UsageError, match=problem):
        announce(**names)


def test_one_candidate_stands_against_one_baseline() -> None:
    """Another baseline for a candidate under way is a mistake of somebody."""
    rollout = announce()

    with pytest.raises(UsageError, match=f"end {rollout.rollout_id} first"):
        announce([rollout], baseline="model-0")


def test_rollouts_under_way_are_bounded_in_number() -> None:
    """Whoever may announce cannot fill the metrics."""
    many = [announce(candidate=f"model-{number}") for number in range(2, 2 + MOST_UNDER_WAY)]

    with pytest.raises(UsageError, match="end some of them first"):
        announce(many, candidate="one-too-many")


@pytest.mark.parametrize("reason", ["", " \n ", "x" * 201, "a\x00b"])
def test_a_reason_is_a_line_that_can_be_shown(reason: str) -> None:
    """It is kept and shown, so it is short and printable."""
    with pytest.raises(UsageError):
        checked_reason(reason)

    assert "rolled back by hand" == checked_reason(" rolled back\n by hand ")


def test_another_content_under_the_same_name_starts_anew() -> None:
    """A hook that is retried says the same content; a hotfix says another, and has only its own evidence."""
    first = announce(stands_for="sha256:1")

    retried = announce([first], stands_for="sha256:1")
    hotfix = announce([first], stands_for="sha256:2")

    assert first == retried
    assert first.rollout_id != hotfix.rollout_id
    assert NOW == hotfix.started_at


@pytest.mark.parametrize(
    ("started_at", "is_the_same"),
    [pytest.param(NOW - 60, True, id="a minute before"), pytest.param(NOW - 40_000, False, id="half a day before")],
)
def test_a_rollout_of_unknown_content_is_what_a_hook_speaks_of_soon_after(started_at: float, is_the_same: bool) -> None:  # noqa: FBT001 - a column of the table
    """The stream may find a canary a moment before its hook; what has served for longer was something else."""
    found = dataclasses.replace(announce(), started_at=started_at)

    assert is_the_same == (found == announce([found], stands_for="sha256:1"))
