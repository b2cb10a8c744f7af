from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import yaml

from tests.rules.conftest import RULES
from tests.rules.rollout_alerts import ALERTS as ROLLOUT_ALERTS
from tests.rules.spec import REPLICA, AlertSpec, short_name

pytestmark = pytest.mark.stack

SPECS = {spec.alert: spec for spec in ROLLOUT_ALERTS}
_STEP_SECONDS = 15
_RUNBOOKS = "https://example.invalid/cliffwatch/docs/runbooks"
_GRAFANA = "http://localhost:3000"

each_alert = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())


def test_every_alert_of_the_rules_has_a_spec_and_every_spec_an_alert():
    """No alert ships untested, and no test outlives its alert."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    alerts = {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}

    assert alerts == SPECS.keys()


@each_alert
def test_it_fires_with_its_labels_and_words(spec: AlertSpec, promtool):
    """The whole text of an alert is what the spec says, and it is silent one evaluation before."""
    links = {
        "runbook_url": f"{_RUNBOOKS}/{spec.alert}.md",
        "dashboard_url": f"{_GRAFANA}/d/{spec.dashboard}",
    }
    expected = {"exp_labels": dict(spec.labels), "exp_annotations": {**spec.annotations, **links}}

    promtool(
        {**spec.needs, **spec.shows},
        alerts=[
            {"eval_time": _before(spec.after), "alertname": spec.alert, "exp_alerts": []},
            {"eval_time": spec.after, "alertname": spec.alert, "exp_alerts": [expected]},
        ],
    )


@each_alert
def test_two_replicas_raise_it_once(spec: AlertSpec, promtool):
    """Every replica exports the same counts; the second one, a moment late, adds nothing."""
    once = {**spec.needs, **spec.shows}
    twin = {_other_replica(name): values for name, values in once.items()}

    _assert_firing(promtool, spec, {**once, **twin}, {spec.after: 1, _after(spec.after): 1})


@each_alert
def test_it_resolves(spec: AlertSpec, promtool):
    """It ends when its cause has ended and keep_firing_for is over."""
    _assert_firing(promtool, spec, {**spec.needs, **spec.resolves}, {spec.after: 1, spec.resolved_at: 0})


def _cases(choose: Callable[[AlertSpec], Mapping[str, Mapping[str, str | None]]]) -> list[Any]:
    return [
        pytest.param(spec, overrides, id=f"{spec.alert}: {sentence}")
        for spec in SPECS.values()
        for sentence, overrides in choose(spec).items()
    ]


def _absences(spec: AlertSpec) -> Mapping[str, Mapping[str, str | None]]:
    return {f"without {short_name(name)}": {name: None} for name in spec.needs} if spec.absence_matters else {}


def _nans(spec: AlertSpec) -> Mapping[str, Mapping[str, str | None]]:
    return {f"with NaN in {short_name(name)}": {name: "NaN"} for name in spec.needs} if spec.absence_matters else {}


@pytest.mark.parametrize(("spec", "overrides"), _cases(lambda spec: spec.silent))
def test_it_is_silent(spec: AlertSpec, overrides, promtool):
    """Just below its threshold, with too little data and for other causes it does not fire."""
    _assert_firing(promtool, spec, {**spec.needs, **overrides}, {spec.after: 0, _after(spec.after): 0})


@pytest.mark.parametrize(("spec", "overrides"), [*_cases(_absences), *_cases(_nans)])
def test_it_does_not_fire_from_what_is_not_known(spec: AlertSpec, overrides, promtool):
    """A series that is absent or NaN is no cause."""
    _assert_firing(promtool, spec, {**spec.needs, **overrides}, {spec.after: 0, _after(spec.after): 0})


@pytest.mark.parametrize(("spec", "overrides"), _cases(lambda spec: spec.fires))
def test_it_fires(spec: AlertSpec, overrides, promtool):
    """On its threshold, and beside series that are none of its business, it fires."""
    _assert_firing(promtool, spec, {**spec.needs, **overrides}, {spec.after: 1})


def _assert_firing(
    promtool: Callable[..., None],
    spec: AlertSpec,
    overridden: Mapping[str, str | None],
    alerts_at: Mapping[str, int],
) -> None:
    """Exactly so many alerts of this name fire at each of these times."""
    series = {name: values for name, values in overridden.items() if values is not None}
    firing = f'count(ALERTS{{alertname="{spec.alert}", alertstate="firing"}}) or vector(0)'
    promtool(
        series,
        queries=[
            {"expr": firing, "eval_time": time, "exp_samples": [{"labels": "{}", "value": alerts}]}
            for time, alerts in alerts_at.items()
        ],
    )


def _other_replica(series: str) -> str:
    for label, value in REPLICA.items():
        series = series.replace(f'"{label}"', f'"{value}"')
    return series


def _before(time: str) -> str:
    return f"{_seconds(time) - _STEP_SECONDS}s"


def _after(time: str) -> str:
    return f"{_seconds(time) + 4 * _STEP_SECONDS}s"


def _seconds(time: str) -> int:
    return int(time[:-1]) * {"s": 1, "m": 60, "h": 3_600, "d": 86_400}[time[-1]]
