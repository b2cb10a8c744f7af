from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.rules import monitor_alerts, process_alerts, rollout_alerts
from tests.rules.conftest import groups_behind, rule_groups
from tests.rules.spec import (
    MERGED,
    PAGE,
    REPLICA,
    ROLLOUT_PAGE,
    AlertSpec,
    Values,
    policy,
    rollout,
    seconds,
    series,
    short_name,
)

pytestmark = pytest.mark.stack

SPECS = {spec.alert: spec for module in (rollout_alerts, process_alerts, monitor_alerts) for spec in module.ALERTS}
_RUNBOOKS = "https://example.invalid/cliffwatch/docs/runbooks"
_GRAFANA = "http://localhost:3000"

each_alert = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())


def _cases(choose: Callable[[AlertSpec], Mapping[str, Values]]) -> list[Any]:
    return [
        pytest.param(spec, overrides, id=f"{spec.alert}: {sentence}")
        for spec in SPECS.values()
        for sentence, overrides in choose(spec).items()
    ]


def _absent(spec: AlertSpec) -> Mapping[str, Values]:
    return {} if spec.is_about_absence else {f"without {short_name(name)}": {name: None} for name in spec.needs}


def _nan(spec: AlertSpec) -> Mapping[str, Values]:
    return {} if spec.is_about_absence else {f"with NaN in {short_name(name)}": {name: "NaN"} for name in spec.needs}


def test_every_alert_of_the_rules_has_a_spec_and_every_spec_an_alert() -> None:
    """No alert ships untested, and no test outlives its alert."""
    alerts = [rule["alert"] for group in rule_groups() for rule in group["rules"] if "alert" in rule]

    assert sorted(alerts) == sorted(SPECS)


@each_alert
def test_it_fires_with_its_labels_and_words(spec: AlertSpec, promtool: Callable[..., None]) -> None:
    """The whole text of an alert is what the spec says, and it is silent one evaluation before."""
    links = {
        "runbook_url": f"{_RUNBOOKS}/{spec.alert}.md",
        "dashboard_url": f"{_GRAFANA}/d/cliffwatch-{spec.dashboard}",
        "page_url": ROLLOUT_PAGE if "candidate" in spec.labels else PAGE,
    }
    merged = {} if spec.is_about_absence else MERGED
    not_known = {"could_still_be": "", "worst_classes": ""} if "verdict" in spec.annotations else {}
    annotations = {**not_known, **spec.annotations, **links}
    expected = {"exp_labels": {**spec.labels, **merged}, "exp_annotations": annotations}
    before = f"{seconds(spec.after) - seconds(spec.interval)}s"

    promtool(
        {**spec.needs, **spec.shows},
        interval=spec.interval,
        until=spec.after,
        alerts=[
            {"eval_time": before, "alertname": spec.alert, "exp_alerts": []},
            {"eval_time": spec.after, "alertname": spec.alert, "exp_alerts": [expected]},
        ],
    )


_OWN = "https://wiki.example/refunds?a=1&b=%20"
_OF_RUNBOOKS = {
    policy("class_runbook_info", capability="refunds", runbook_url=_OWN): "1",
    policy("class_runbook_info", capability="returns", runbook_url="https://wiki.example/returns"): "1",
}
_CLASS_FLOOR = {rollout("regression", scope="all"): None, rollout("regression", scope="floor:all:refunds"): "1"}
_HARD_CLASS_FLOOR = {
    rollout("floor_pass_ratio", capability=""): None,
    rollout("floor_pass_ratio", capability="refunds"): "0.5",
    rollout("capability_failure_ratio", capability="refunds", arm="candidate", bound="lower"): "0.625",
}


@pytest.mark.parametrize(
    ("alert", "overrides", "link"),
    [
        pytest.param("CapabilityClassRegression", {}, _OWN, id="a class got worse"),
        pytest.param("HardTierFloorBreached", _HARD_CLASS_FLOOR, _OWN, id="the floor of a class's hard requests"),
        pytest.param("HardTierFloorBreached", {}, "HardTierFloorBreached.md", id="the floor of the whole hard tier"),
        pytest.param("CandidateRegression", _CLASS_FLOOR, _OWN, id="the floor of all requests of a class"),
        pytest.param(
            "CandidateRegression",
            {rollout("regression", scope="floor:all:refunds"): "1"},
            "CandidateRegression.md",
            id="not it alone",
        ),
        pytest.param(
            "CandidateRegression",
            {**_CLASS_FLOOR, rollout("regression", scope="floor:easier"): "1"},
            "CandidateRegression.md",
            id="nor beside the floor of all classes",
        ),
        pytest.param(
            "CandidateRegression",
            {rollout("regression", scope="all"): None, rollout("regression", scope="floor:easier:search"): "1"},
            "CandidateRegression.md",
            id="the floor of a class without a runbook",
        ),
    ],
)
def test_an_alert_about_a_class_links_to_the_class_s_own_runbook(
    alert: str, overrides: Values, link: str, promtool: Callable[..., None]
) -> None:
    """Where the policy names one for it; a runbook of another class changes nothing."""
    spec = SPECS[alert]
    capability = {"capability": "refunds"} if overrides is _HARD_CLASS_FLOOR else {}
    url = link if link == _OWN else f"{_RUNBOOKS}/{link}"
    expected = {"exp_labels": {**spec.labels, **MERGED, **capability}, "exp_annotations": {"runbook_url": url}}

    promtool(
        {**spec.needs, **_OF_RUNBOOKS, **overrides},
        interval=spec.interval,
        until=spec.after,
        alerts=[{"eval_time": spec.after, "alertname": spec.alert, "exp_alerts": [expected]}],
        groups=[{**group, "rules": [_linking(rule) for rule in group["rules"]]} for group in groups_behind(alert)],
    )


def _linking(rule: Mapping[str, Any]) -> Mapping[str, Any]:
    """*rule* with no words but its link."""
    if "alert" not in rule:
        return rule
    return {**rule, "annotations": {"runbook_url": rule["annotations"]["runbook_url"]}}


@each_alert
def test_two_replicas_raise_it_once(spec: AlertSpec, promtool: Callable[..., None]) -> None:
    """Every replica exports the same counts, and the second one adds nothing."""
    once = {**spec.needs, **spec.shows}
    twin = {_other_replica(name): values for name, values in once.items()}

    _assert_firing(promtool, spec, {**once, **twin}, {spec.after: 1})


@each_alert
def test_it_resolves(spec: AlertSpec, promtool: Callable[..., None]) -> None:
    """It ends when its cause has ended and keep_firing_for is over."""
    _assert_firing(promtool, spec, {**spec.needs, **spec.resolves}, {spec.after: 1, spec.resolved_at: 0})


_ROLLOUTS_ALERTS = ("CapabilityCliff", "CandidateRegression", "HardTierRegression", "HardTierFloorBreached")


@pytest.mark.parametrize("alert", [*_ROLLOUTS_ALERTS, "CapabilityClassRegression"])
def test_a_page_lasts_while_the_monitor_is_away(alert: str, promtool: Callable[..., None]) -> None:
    """What was shown before it went holds for half a day; what it says when it is back counts, and nothing is held."""
    spec = replace(SPECS[alert], interval="1m")
    once = {**spec.needs, **spec.shows}
    ready = series("cliffwatch_ready")
    back = "stale _x59"  # an hour
    away = {name: f"{value}x10 {back} {value}x100" for name, value in once.items()} | {ready: f"1x10 {back} 0x5 1x100"}
    gone = {name: f"{value}x10 stale" for name, value in once.items()}

    _assert_firing(promtool, spec, away, dict.fromkeys(("10m", "30m", "69m", "76m", "100m"), 1))
    _assert_firing(promtool, spec, {**gone, ready: f"1x10 {back} 0x5 1x100"}, {"69m": 1, "75m": 1, "95m": 0})
    slower = replace(spec, interval="2m")
    _assert_firing(promtool, slower, {**gone, ready: "1x10 stale"}, {"10h": 1, "12h": 1, "13h": 0})
    _assert_firing(promtool, spec, {**gone, ready: "1"}, {"20m": 1, "30m": 0})


@pytest.mark.parametrize(("spec", "overrides"), _cases(lambda spec: spec.silent))
def test_it_is_silent(spec: AlertSpec, overrides: Values, promtool: Callable[..., None]) -> None:
    """Just below its threshold, with too little data and for other causes it does not fire."""
    _assert_firing(promtool, spec, {**spec.needs, **overrides}, {spec.after: 0, _later(spec): 0})


@pytest.mark.parametrize(("spec", "overrides"), [*_cases(_absent), *_cases(_nan)])
def test_it_does_not_fire_from_what_is_not_known(
    spec: AlertSpec, overrides: Values, promtool: Callable[..., None]
) -> None:
    """A series that is absent or NaN is no cause."""
    _assert_firing(promtool, spec, {**spec.needs, **overrides}, {spec.after: 0, _later(spec): 0})


@pytest.mark.parametrize(("spec", "overrides"), _cases(lambda spec: spec.fires))
def test_it_fires(spec: AlertSpec, overrides: Values, promtool: Callable[..., None]) -> None:
    """On its threshold, and beside series that are none of its business, it fires."""
    _assert_firing(promtool, spec, {**spec.needs, **overrides}, {spec.after: 1})


def _assert_firing(promtool: Callable[..., None], spec: AlertSpec, given: Values, alerts_at: Mapping[str, int]) -> None:
    """
    Exactly so many alerts of this name fire at each of these times.

    Only the rules behind it are evaluated, since all of them take four times as long; beside all of them each alert is
    seen to fire with its labels and words.
    """
    firing = f'count(ALERTS{{alertname="{spec.alert}", alertstate="firing"}}) or vector(0)'
    promtool(
        given,
        interval=spec.interval,
        until=max(alerts_at, key=seconds),
        queries=[
            {"expr": firing, "eval_time": time, "exp_samples": [{"labels": "{}", "value": alerts}]}
            for time, alerts in alerts_at.items()
        ],
        groups=groups_behind(spec.alert),
    )


def _other_replica(name: str) -> str:
    for label, value in REPLICA.items():
        name = name.replace(f'"{label}"', f'"{value}"')
    return name


def _later(spec: AlertSpec) -> str:
    return f"{seconds(spec.after) + spec.looks_later * seconds(spec.interval)}s"
