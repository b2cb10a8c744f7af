from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.rules.spec import SERVICE, Values, rollout, series

pytestmark = pytest.mark.stack

_VERSION = {**SERVICE, "model_version": "m-1"}


def _outcomes(outcome: str, *, tier: str = "hard", capability: str = "refunds") -> str:
    return series("cliffwatch_outcomes_total", _VERSION, tier=tier, capability=capability, outcome=outcome)


def _requests(tier: str) -> str:
    return series("cliffwatch_requests_total", _VERSION, tier=tier, capability="refunds")


def _bucket(bound: str) -> str:
    return series("cliffwatch_request_duration_seconds_bucket", _VERSION, tier="hard", le=bound)


_COST = series("cliffwatch_request_cost_dollars_total", _VERSION, tier="hard")
_HARD_RATE = rollout("hard_tier_failure_ratio", arm="candidate", bound="estimate")


def _length(outcome: str, longer_than: str = "16") -> str:
    return series("cliffwatch_horizon_requests", _VERSION, unit="steps", longer_than=longer_than, outcome=outcome)


_LENGTH = ("version_length:cliffwatch_horizon", _length)
_HARD = ("version:cliffwatch_outcomes_hard", _outcomes)
_CLASS = ("version_capability:cliffwatch_outcomes_hard", _outcomes)


@pytest.mark.parametrize("of", [_LENGTH, _HARD, _CLASS], ids=["a length", "hard requests", "a class"])
@pytest.mark.parametrize(
    ("passed", "failed", "share"),
    [
        pytest.param("15", "15", 0.5, id="half of thirty passed"),
        pytest.param("15", "14", None, id="twenty-nine make no rate"),
        pytest.param("0", "30", 0.0, id="none of thirty passed"),
        pytest.param(None, "30", 0.0, id="none passed, ever"),
    ],
)
def test_a_rate_of_success_has_its_minimum_count(
    of: tuple[str, Callable[[str], str]],
    passed: str | None,
    failed: str,
    share: float | None,
    promtool: Callable[..., None],
) -> None:
    """No rate rests on fewer than thirty labelled requests, and none is ever NaN."""
    name, series_of = of
    given = {series_of("failure"): failed} | ({} if passed is None else {series_of("success"): passed})

    _assert_recorded(promtool, given, f"max({name}:share_success)", share, until="2m", interval="1m")


@pytest.mark.parametrize("of", [_LENGTH, _CLASS], ids=["a length", "a class"])
@pytest.mark.parametrize(
    ("counts", "bound", "millionths"),
    [
        pytest.param(("97", "3"), "lower", 927288.0, id="lower"),
        pytest.param(("97", "3"), "upper", 987948.0, id="upper"),
        pytest.param(("15", "14"), "lower", None, id="twenty-nine have no lower"),
        pytest.param(("15", "14"), "upper", None, id="twenty-nine have no upper"),
    ],
)
def test_bounds_of_success_are_wilsons(
    of: tuple[str, Callable[[str], str]],
    counts: tuple[str, str],
    bound: str,
    millionths: float | None,
    promtool: Callable[..., None],
) -> None:
    """Of at least thirty labelled requests, as of 97 in a hundred that passed."""
    name, series_of = of
    given = dict(zip(map(series_of, ("success", "failure")), counts, strict=True))
    recorded = f"max(round(1e6 * {name}:share_success_{bound}))"

    _assert_recorded(promtool, given, recorded, millionths, until="2m", interval="1m")


@pytest.mark.parametrize(
    ("given", "recorded", "value"),
    [
        pytest.param(
            {_length("success"): "15", _length("failure"): "15", _length("unlabelled"): "40"},
            "version_length:cliffwatch_horizon:share_success",
            0.5,
            id="half of the labelled runs of a length passed",
        ),
        pytest.param(
            {_length("success"): "15", _length("failure"): "14", _length("success", "32"): "9"},
            "version_length:cliffwatch_horizon:share_success",
            None,
            id="twenty-nine labelled runs of a length make no rate",
        ),
        pytest.param(
            {_outcomes("success"): "15", _outcomes("failure", tier="frontier"): "15"},
            "version_capability:cliffwatch_outcomes_hard:share_success",
            0.5,
            id="frontier requests of a class are hard ones",
        ),
        pytest.param(
            {_outcomes("success", tier="easy"): "30", _outcomes("failure"): "10"},
            "version:cliffwatch_outcomes:share_success",
            0.75,
            id="the average is over all tiers",
        ),
        pytest.param(
            {_COST: "15", _requests("hard"): "20", _requests("frontier"): "10", _requests("easy"): "100"},
            "version:cliffwatch_request_cost_hard_dollars_per_request:ratio",
            0.5,
            id="cost is per hard request, frontier included",
        ),
        pytest.param(
            {_COST: "15", _requests("hard"): "29"},
            "version:cliffwatch_request_cost_hard_dollars_per_request:ratio",
            None,
            id="twenty-nine hard requests make no cost",
        ),
        pytest.param(
            {_bucket("1"): "0", _bucket("2"): "40", _bucket("+Inf"): "40"},
            "version:cliffwatch_request_duration_hard_seconds:p95",
            1.95,
            id="the percentile lies within its bucket",
        ),
        pytest.param(
            {_bucket("1"): "0", _bucket("2"): "0", _bucket("+Inf"): "0"},
            "version:cliffwatch_request_duration_hard_seconds:p95",
            None,
            id="no request has no percentile, and no NaN",
        ),
    ],
)
def test_a_quotient_has_its_minimum_count(
    given: Values, recorded: str, value: float | None, promtool: Callable[..., None]
) -> None:
    """No rate, cost or percentile rests on fewer than thirty requests, and none is ever NaN."""
    _assert_recorded(promtool, given, f"max({recorded})", value, until="2m", interval="1m")


def test_the_load_to_expect_is_the_days_hard_requests_times_the_arms_rate(promtool: Callable[..., None]) -> None:
    """96 hard requests came in the last day, and the candidate fails a quarter of hard requests."""
    given = {
        _requests("hard"): "0+4x100",
        _requests("easy"): "0+50x100",
        _HARD_RATE: "0.25",
        rollout("hard_tier_failure_ratio", arm="candidate", bound="lower"): "0.125",
    }

    _assert_recorded(
        promtool,
        given,
        'max(rollout:cliffwatch_hard_failures_expected:delta1d{arm="candidate", candidate="m 2"})',
        24.0,
        until="30h",
        interval="1h",
    )


def _assert_recorded(
    promtool: Callable[..., None], given: Values, expr: str, value: float | None, **timing: Any
) -> None:
    samples = [] if value is None else [{"labels": "{}", "value": value}]
    promtool(given, queries=[{"expr": expr, "eval_time": timing["until"], "exp_samples": samples}], **timing)
