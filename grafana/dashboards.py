"""
The dashboards as code: `python -m grafana.dashboards` writes grafana/dashboards/*.json, which is what ships.

A panel shows recorded series of rules/ or exported metrics, never a second copy of a formula.
Every panel has a unit, a description, a minimum interval and a text for the quiet state.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from grafana_foundation_sdk.builders import bargauge, common, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.common import (
    BarGaugeDisplayMode,
    BarGaugeValueMode,
    BigValueGraphMode,
    BigValueTextMode,
    GraphDrawStyle,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    LineInterpolation,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

FOLDER = Path(__file__).parent / "dashboards"
RUNBOOKS = "https://example.invalid/cliffwatch/docs/runbooks"

_PROMETHEUS = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
_SCRAPE_INTERVAL = "15s"
_LEAST_COLUMN_PIXELS = 60
_POINTS = "suffix: points"  # a change of a ratio: "+3 %" could be points, or a part of what it was
_DECIMALS = {"currencyUSD": 4, "s": 1, _POINTS: 1}
_BY = re.compile(r"by \(([\w, ]+)\)")
_REFERENCES = "ABCDEFGHIJ"
_ARMS = ("baseline", "candidate")
_BOUNDS = ("lower", "estimate", "upper")
_TIERS = ("all", "easy", "medium", "hard", "frontier")
_ARM_COLOURS = {"baseline": "blue", "candidate": "orange"}
_VERDICT_COLOURS = {"ok": "green", "waiting": "text", "cliff": "orange", "regression": "red"}
_NO_ROLLOUT = "no rollout yet: a new model version starts one by itself"
_NO_TIERS = "no tiers: declare them, send a class with each request, or learn them"
_NO_HARD_COUNTS = "no tiers declared or learnt (Rollout and Canary also show tiers by class)"
_NO_CALIBRATION = "no calibration: nothing was learnt from other models"

_NO_LABELS: Mapping[str, str] = {}
_NO_WIDTHS: Mapping[str, int] = {}
_SERVICE = {"service": "$service", "environment": "$environment"}
_ROLLOUT = {**_SERVICE, "baseline": "$baseline", "candidate": "$candidate"}
_VERSIONS = {"model_version": "~${baseline:regex}|${candidate:regex}"}

_FIRING = 'ALERTS{alertstate="firing", signature!="", service=~`${service:regex}|`}'
"""Alerts of the chosen service, and of the monitor itself, which has none."""

_AnyPanel: TypeAlias = timeseries.Panel | stat.Panel | bargauge.Panel | table.Panel
_Panel = TypeVar("_Panel", timeseries.Panel, stat.Panel, bargauge.Panel, table.Panel)


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a panel; *legend* names its series, with {{label}} for a label's value."""

    expr: str
    legend: str
    has_exemplars: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What every panel says of itself; *span* counts columns of 24."""

    title: str
    description: str
    unit: str
    span: int
    height: int = 8
    empty: str = _NO_ROLLOUT


def main() -> None:
    """Write every dashboard."""
    for name, build in DASHBOARDS.items():
        (FOLDER / f"{name}.json").write_text(render(build()))


def render(dashboard: builder.Dashboard) -> str:
    """The JSON of *dashboard* as it is shipped: sorted keys, panels numbered, annotations filled in."""
    document = json.loads(JSONEncoder().encode(dashboard.build()))
    for number, panel in enumerate(document["panels"], start=1):
        panel["id"] = number
    document["id"] = None
    document["annotations"] = {"list": [_ROLLOUT_ANNOTATION]}
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


# Written out because the library's annotations have neither a text nor a time of their own.
_ROLLOUT_ANNOTATION = {
    "name": "Rollouts",
    "datasource": {"type": "prometheus", "uid": "${datasource}"},
    "enable": True,
    "expr": "1000 * rollout:cliffwatch_rollout_start_timestamp_seconds:max"
    '{service="$service", environment="$environment"}',
    "iconColor": "purple",
    "step": "5m",
    "tagKeys": "service,environment",
    "textFormat": "{{baseline}} to {{candidate}}",
    "titleFormat": "Rollout",
    "useValueForTime": True,
}


# The dashboards.


def rollout() -> builder.Dashboard:
    """What the chosen rollout did: average and hard tier side by side, share, causes, verdict."""
    return _dashboard(
        "rollout",
        "Rollout",
        "How one rollout changed the average and the hard tier, and why.",
        rows={
            "Verdict": [
                _verdict(span=4),
                _stat(
                    About(
                        title="Labelled requests still needed",
                        description="Labelled candidate requests until the next verdict; 0 where none are needed.",
                        unit="locale",
                        span=4,
                        height=5,
                    ),
                    Query(_rollout("requests_needed"), "needed"),
                ),
                _stat(
                    About(
                        title="Labelled requests",
                        description="Matured requests of each arm that have an outcome.",
                        unit="locale",
                        span=5,
                        height=5,
                    ),
                    *_arms("labelled_requests"),
                ),
                _stat(
                    About(
                        title="Hard-tier failures",
                        description="Failures behind the share; both arms need the policy's minimum.",
                        unit="locale",
                        span=5,
                        height=5,
                        empty=_NO_TIERS,
                    ),
                    *_arms("hard_failures"),
                ),
                _stat(
                    About(
                        title="Hard tier's share of failures",
                        description="Before and after, at the baseline's traffic mix.",
                        unit="percentunit",
                        span=6,
                        height=5,
                        empty=_NO_TIERS,
                    ),
                    *_arms("hard_share_ratio", bound="estimate"),
                ),
            ],
            "Average, classes and hard tier, side by side": [
                _arms_over_time(
                    About(
                        title="Failure rate, all requests",
                        description="Failures per labelled request of each arm. The bands are bounds that hold "
                        "however often you look.",
                        unit="percentunit",
                        span=8,
                    ),
                    "aggregate_failure_ratio",
                ),
                _classes(
                    About(
                        title="Failure rate by class",
                        description="All requests of each capability class, both arms. Worse: the class is shown "
                        "to fail more often. Needs no tiers.",
                        unit="percentunit",
                        span=8,
                        empty="no classes: send a capability with each request",
                    ),
                    name_pixels=205,
                ),
                _arms_over_time(
                    About(
                        title="Failure rate, hard tier",
                        description="The same for hard and frontier requests together, corrected for noisy tags. "
                        "An average that falls beside a hard tier that does not is the capability cliff.",
                        unit="percentunit",
                        span=8,
                        empty=_NO_TIERS,
                    ),
                    "hard_tier_failure_ratio",
                ),
            ],
            "The hard tier's share of failures": [
                _arms_over_time(
                    About(
                        title="Share of failures, before and after",
                        description="The hard tier's share of all failures, at the baseline's traffic mix.",
                        unit="percentunit",
                        span=8,
                        empty=_NO_TIERS,
                    ),
                    "hard_share_ratio",
                ),
                _band_over_time(
                    About(
                        title="Change of the share, and what was to be expected",
                        description="Nearly every improvement raises the share. Dashed: the rise that a uniform gain "
                        "in ability would give, and the rise that the policy calls a jump.",
                        unit=_POINTS,
                        span=8,
                        empty=_NO_TIERS,
                    ),
                    "hard_share_change",
                    Query(_in_points(_rollout("expected_change")), "expected of a uniform gain"),
                    Query(
                        f"{_in_points(_policy('share_jump_ratio'))} and on (service, environment) "
                        f"{_rollout('expected_change')}",
                        "policy: a jump",
                    ),
                ),
                _band_over_time(
                    About(
                        title="Excess over the expected change",
                        description="The part that a uniform gain does not explain. If its lower bound is above 0, "
                        "the hard tier was left behind.",
                        unit=_POINTS,
                        span=8,
                        empty=_NO_TIERS,
                    ),
                    "hard_share_excess",
                ),
            ],
            "Causes, tiers and floors": [
                _stat(
                    About(
                        title="What moved the share",
                        description="Parts of the raw change in points; they add up to it. Traffic mix: more hard "
                        "requests arrive. Easier tiers: they fail less. Hard tiers: they fail more.",
                        unit=_POINTS,
                        span=6,
                        empty=_NO_TIERS,
                    ),
                    Query(_in_points(_rollout("hard_share_change_component")), "{{component}}"),
                )
                .orientation(VizOrientation.HORIZONTAL)
                .decimals(1)
                .text(common.VizTextDisplayOptions().title_size(16).value_size(32))
                .override_by_name("traffic_mix", [_property("displayName", "traffic mix")])
                .override_by_name("easier_tiers", [_property("displayName", "easier tiers")])
                .override_by_name("hard_tiers", [_property("displayName", "hard tiers")]),
                _table(
                    About(
                        title="Failure rate by tier",
                        description="Estimates of both arms, and the change in points with its bounds.",
                        unit="percentunit",
                        span=10,
                        empty=_NO_TIERS,
                    ),
                    {
                        "baseline": _by("tier", _rollout("failure_ratio", arm="baseline", bound="estimate")),
                        "candidate": _by("tier", _rollout("failure_ratio", arm="candidate", bound="estimate")),
                        "change": _in_points(_by("tier", _rollout("failure_change", bound="estimate"))),
                        "at least": _in_points(_by("tier", _rollout("failure_change", bound="lower"))),
                        "at most": _in_points(_by("tier", _rollout("failure_change", bound="upper"))),
                    },
                    units=dict.fromkeys(("change", "at least", "at most"), _POINTS),
                    sorted_by="baseline",
                    ascending=True,
                ),
                _with_references(
                    About(
                        title="Hard-tier pass rate and its floor",
                        description="The upper bound of the candidate's pass rate. If it is below the dashed floor, "
                        "which was agreed beforehand, the floor is broken.",
                        unit="percentunit",
                        span=8,
                        empty="no floor of the hard tier is agreed, or no tiers",
                    ),
                    [Query(_recorded("rollout", "rollout_hard_tier_pass_ratio:upper", _ROLLOUT), "at most")],
                    [Query(_rollout("floor_pass_ratio", capability=""), "floor")],
                )
                .min(0)
                .max(1),
            ],
        },
    )


def canary() -> builder.Dashboard:
    """Both arms side by side, tier by tier and class by class, on one time axis."""
    return _dashboard(
        "canary",
        "Canary",
        "Both arms side by side per tier and capability class, on one time axis.",
        variables=[_capability('cliffwatch_rollout_capability_failure_ratio{service="$service"}')],
        rows={
            "Evidence": [
                _verdict(span=4, height=7),
                _time_series(
                    About(
                        title="Labelled requests of each arm",
                        description="Matured requests with an outcome. A canary's arm grows more slowly.",
                        unit="locale",
                        span=10,
                        height=7,
                    ),
                    *_arms("labelled_requests"),
                    colours=_ARM_COLOURS,
                ),
                _table(
                    About(
                        title="Label coverage",
                        description="Share of labelled requests among matured ones, of all requests and by tier. A "
                        "difference between the arms could hide a change of that size, so it widens the bounds.",
                        unit="percentunit",
                        span=10,
                        height=7,
                    ),
                    {arm: " or ".join(_by("tier", _coverage(arm, tier)) for tier in _TIERS) for arm in _ARMS},
                ),
            ],
            "All requests and classes": [
                _arms_over_time(
                    About(
                        title="All requests",
                        description="Failures per labelled request of each arm, with bounds. Needs no tiers.",
                        unit="percentunit",
                        span=12,
                        height=7,
                    ),
                    "aggregate_failure_ratio",
                ),
                _classes(
                    About(
                        title="All requests by class",
                        description="Estimates of both arms over all tiers. Worse: the class is shown to fail more "
                        "often.",
                        unit="percentunit",
                        span=12,
                        height=7,
                        empty="no classes: send a capability with each request",
                    ),
                    name_pixels=370,
                ),
            ],
            "Failure rate by tier": [
                _arms_over_time(
                    About(
                        title=f"{tier.capitalize()} requests",
                        description=f"Failures per labelled {tier} request of each arm, corrected for noisy tags, "
                        "with bounds.",
                        unit="percentunit",
                        span=12,
                        height=7,
                        empty=f"no {tier} request yet, or no tiers: declare them, send a class with each request, or "
                        "learn them",
                    ),
                    "failure_ratio",
                    tier=tier,
                )
                for tier in _TIERS[1:]
            ],
            "Hard requests by capability class": [
                _arms_over_time(
                    About(
                        title="Hard $capability requests",
                        description="Failures per labelled hard-tier request of the chosen capability class, with "
                        "bounds.",
                        unit="percentunit",
                        span=12,
                        empty="no hard request in this class, or no class: send a capability with each request",
                    ),
                    "capability_failure_ratio",
                    capability="$capability",
                ),
                _table(
                    About(
                        title="Hard requests by class",
                        description="Estimates of both arms. n counts labelled requests with declared or learnt "
                        "tiers; with few, a rate says little.",
                        unit="percentunit",
                        span=12,
                        empty=_NO_TIERS,
                    ),
                    {
                        "baseline": _by(
                            "capability", _rollout("capability_failure_ratio", arm="baseline", bound="estimate")
                        ),
                        "candidate": _by(
                            "capability", _rollout("capability_failure_ratio", arm="candidate", bound="estimate")
                        ),
                        "n before": _labelled_hard("$baseline"),
                        "n now": _labelled_hard("$candidate"),
                    },
                    units={"n before": "locale", "n now": "locale"},
                    widths={"capability": 210},
                    sorted_by="n now",
                ),
            ],
        },
    )


def hard_tier() -> builder.Dashboard:
    """Failures of the hard tier, and its distance from the average over weeks."""
    hard = {"tier": "~hard|frontier"}
    return _dashboard(
        "hard-tier",
        "Hard tier",
        "Failures of the hard tier, and its distance from the average over weeks.",
        days=30,
        rows={
            "Average and hard tier over weeks": [
                _time_series(
                    About(
                        title="Weekly failure rate",
                        description="Failures per labelled request of the last seven days, all versions together; "
                        "missing while a week has fewer labelled requests than the policy's minimum.",
                        unit="percentunit",
                        span=12,
                        empty=f"not a week of enough labelled requests yet, or {_NO_HARD_COUNTS}",
                    ),
                    Query(_recorded("service", "outcomes_hard:share_failure_delta7d", _SERVICE), "hard and frontier"),
                    Query(_recorded("service", "outcomes:share_failure_delta7d", _SERVICE), "all requests"),
                ),
                _time_series(
                    About(
                        title="Gap between hard tier and average",
                        description="Difference of the two weekly failure rates. HardTierGapWidening compares it "
                        "with the gap three weeks earlier.",
                        unit="percentunit",
                        span=12,
                        empty=f"not a week of enough labelled requests yet, or {_NO_HARD_COUNTS}",
                    ),
                    Query(_recorded("service", "hard_gap:delta7d", _SERVICE), "gap"),
                ),
            ],
            "What fails": [
                _table(
                    About(
                        title="Hard-tier failures by class of failure",
                        description="All failures of hard and frontier requests so far, of both arms' model versions.",
                        unit="locale",
                        span=10,
                        height=9,
                        empty=f"no hard failure yet, or {_NO_HARD_COUNTS}",
                    ),
                    {
                        arm: _by(
                            "failure_class",
                            _recorded(
                                "version_tier", "failures_by_class:max", _SERVICE, {"model_version": f"${arm}", **hard}
                            ),
                            how="sum",
                        )
                        for arm in _ARMS
                    },
                    widths={"failure_class": 330},
                    sorted_by="candidate",
                ),
                _table(
                    About(
                        title="Hard-tier pass rate by capability class",
                        description="All labelled hard and frontier requests so far; no rate below 30 of them.",
                        unit="percentunit",
                        span=14,
                        height=9,
                        empty=f"no class has 30 labelled hard requests, or {_NO_HARD_COUNTS}",
                    ),
                    {
                        "pass rate": _by(
                            "capability, model_version",
                            _recorded("version_capability", "outcomes_hard:share_success", _SERVICE, _VERSIONS),
                        ),
                        "labelled": _by(
                            "capability, model_version",
                            _recorded("version_capability", "outcomes_hard:sum", _SERVICE, _VERSIONS),
                        ),
                    },
                    units={"labelled": "locale"},
                    widths={"capability": 250},
                    sorted_by="labelled",
                ),
            ],
            "Cases": [
                _time_series(
                    About(
                        title="New hard-tier failures",
                        description="The dots are trace ids of single cases (exemplars). Only the exported counter "
                        "has exemplars, so this panel reads it instead of a recorded series.",
                        unit="short",
                        span=24,
                        empty=f"no hard failure in this time, or {_NO_HARD_COUNTS}",
                    ),
                    Query(
                        "sum by (capability) (max without (instance, pod) (increase(cliffwatch_outcomes_total"
                        f"{_selector({**_SERVICE, **_VERSIONS, **hard, 'outcome': 'failure'})}[$__rate_interval])))",
                        "{{capability}}",
                        has_exemplars=True,
                    ),
                )
                .draw_style(GraphDrawStyle.BARS)
                .stacking(common.StackingConfig().mode(StackingMode.NORMAL))
                .fill_opacity(80)
                .line_width(0),
            ],
        },
    )


def frontier() -> builder.Dashboard:
    """Model versions side by side: hard-tier pass rate against cost and latency."""
    of_class = {**_SERVICE, "capability": "~${capability:regex}"}
    of_unit = {**_SERVICE, "unit": "$unit"}
    return _dashboard(
        "frontier",
        "Frontier",
        "Model versions side by side. The best choice is seldom the version with the best average.",
        chooses_rollout=False,
        days=30,
        variables=[
            _capability('cliffwatch_outcomes_total{service="$service", environment="$environment"}', many=True),
            _query_variable(
                "unit",
                'label_values(cliffwatch_horizon_requests{service="$service", environment="$environment"}, unit)',
            ),
        ],
        rows={
            "Which model for the hard requests": [
                _table(
                    About(
                        title="Model versions",
                        description="Pass rate of hard and frontier requests and of all, dollars per hard request, and "
                        "seconds within which 95 % of hard requests end. No figure below 30 requests.",
                        unit="percentunit",
                        span=24,
                        height=9,
                        empty=f"no model version has 30 labelled hard requests, or {_NO_HARD_COUNTS}",
                    ),
                    {
                        "hard pass rate": _by(
                            "model_version", _recorded("version", "outcomes_hard:share_success", _SERVICE)
                        ),
                        "average pass rate": _by(
                            "model_version", _recorded("version", "outcomes:share_success", _SERVICE)
                        ),
                        "cost of a hard request": _by(
                            "model_version",
                            _recorded("version", "request_cost_hard_dollars_per_request:ratio", _SERVICE),
                        ),
                        "95 % of hard requests within": _by(
                            "model_version", _recorded("version", "request_duration_hard_seconds:p95", _SERVICE)
                        ),
                        "labelled hard requests": _by(
                            "model_version", _recorded("version", "outcomes_hard:sum", _SERVICE)
                        ),
                    },
                    units={
                        "cost of a hard request": "currencyUSD",
                        "95 % of hard requests within": "s",
                        "labelled hard requests": "short",
                    },
                    sorted_by="hard pass rate",
                ),
            ],
            "By capability class": [
                _table(
                    About(
                        title="Best version of each class",
                        description="The highest pass rate of hard and frontier requests, with bounds of 90 %. A "
                        "version in the chart below whose bar reaches these bounds may be just as good. "
                        "`cliffwatch frontier` prints the same.",
                        unit="percentunit",
                        span=24,
                        height=8,
                        empty=f"no class has 30 labelled hard requests, or {_NO_HARD_COUNTS}",
                    ),
                    {
                        "hard pass rate": _best(of_class, "share_success"),
                        "at least": _best(of_class, "share_success_lower"),
                        "at most": _best(of_class, "share_success_upper"),
                        "labelled hard requests": _best(of_class, "sum"),
                    },
                    units={"labelled hard requests": "short"},
                    sorted_by="hard pass rate",
                ),
                _bars(
                    About(
                        title="Hard-tier pass rate by class and model version",
                        description="Labelled hard and frontier requests of the chosen classes.",
                        unit="percentunit",
                        span=12,
                        height=12,
                        empty=f"no class has 30 labelled hard requests, or {_NO_HARD_COUNTS}",
                    ),
                    Query(
                        _by(
                            "capability, model_version",
                            _recorded("version_capability", "outcomes_hard:share_success", of_class),
                        ),
                        "{{capability}}, {{model_version}}",
                    ),
                    largest=1.0,
                ),
                _time_series(
                    About(
                        title="Hard-tier pass rate over time",
                        description="Covers all labelled hard and frontier requests up to that time, by model version.",
                        unit="percentunit",
                        span=12,
                        height=12,
                        empty=f"no model version has 30 labelled hard requests, or {_NO_HARD_COUNTS}",
                    ),
                    Query(
                        _by("model_version", _recorded("version", "outcomes_hard:share_success", _SERVICE)),
                        "{{model_version}}",
                    ),
                ),
            ],
            "By length": [
                _table(
                    About(
                        title="Success by horizon",
                        description="Pass rate of all requests by length, in the chosen unit. A row covers requests "
                        "longer than its own number, up to the number of the next row; `budgets here` marks the "
                        "budget. `cliffwatch frontier SERVICE --by` prints the same.",
                        unit="percentunit",
                        span=24,
                        height=14,
                        empty="no request has a length yet",
                    ),
                    {
                        name: _by(
                            "longer_than, model_version", _recorded("version_length", f"horizon{series}", of_unit)
                        )
                        for name, series in {
                            "pass rate": ":share_success",
                            "at least": ":share_success_lower",
                            "at most": ":share_success_upper",
                            "labelled requests": "_labelled:sum",
                            "unlabelled requests": "_unlabelled:sum",
                            "budgets here": "_budgets:max",
                        }.items()
                    },
                    units=dict.fromkeys(
                        ("longer_than", "labelled requests", "unlabelled requests", "budgets here"), "locale"
                    ),
                    sorted_by="longer_than",
                    ascending=True,
                    numbers=["longer_than"],
                ),
            ],
        },
    )


def on_call() -> builder.Dashboard:
    """What people on call have to expect: load, ramp, signatures."""
    return _dashboard(
        "on-call",
        "On-call",
        "What people on call should expect from a rollout: load, ramp and the signatures of its incidents.",
        days=7,
        rows={
            "Now": [
                _verdict(span=4),
                _stat(
                    About(
                        title="Ramp",
                        description="How long the rollout has been under way, and how long Cliffwatch watches it.",
                        unit="s",
                        span=6,
                        height=5,
                    ),
                    Query(_recorded("rollout", "rollout_age_seconds:max", _ROLLOUT), "under way"),
                    Query(_policy("ramp_seconds"), "watched for"),
                ),
                _stat(
                    About(
                        title="Hard-tier failures to expect a day",
                        description="Yesterday's hard and frontier requests times each arm's hard-tier failure "
                        "rate: the failures to expect if one arm served all of them.",
                        unit="short",
                        span=7,
                        height=5,
                        empty=f"not a day of traffic yet, or {_NO_HARD_COUNTS}",
                    ),
                    *(
                        Query(_recorded("rollout", "hard_failures_expected:delta1d", _ROLLOUT, {"arm": arm}), arm)
                        for arm in _ARMS
                    ),
                ),
                _stat(
                    About(
                        title="Hard requests a day",
                        description="Hard and frontier requests of the last 24 hours, over all model versions.",
                        unit="short",
                        span=7,
                        height=5,
                        empty=f"not a day of traffic yet, or {_NO_HARD_COUNTS}",
                    ),
                    Query(_recorded("service", "requests_hard:delta1d", _SERVICE), "requests"),
                ),
            ],
            "Alerts by signature": [
                _time_series(
                    About(
                        title="Firing alerts by signature",
                        description="A signature names the kind of incident, and so who should handle it.",
                        unit="short",
                        span=10,
                        empty="no alert fires",
                    ),
                    Query(
                        _by("signature", _FIRING, how="count"),
                        "{{signature}}",
                    ),
                )
                .stacking(common.StackingConfig().mode(StackingMode.NORMAL))
                .line_interpolation(LineInterpolation.STEP_AFTER)
                .fill_opacity(60)
                .line_width(0)
                .decimals(0),
                _table(
                    About(
                        title="Firing now",
                        description="Alerts of this service and of the monitor itself.",
                        unit="none",
                        span=14,
                        empty="no alert fires",
                    ),
                    {"": _by("alertname, severity, signature, capability, candidate", _FIRING)},
                    widths={"alertname": 230, "severity": 80},
                ),
            ],
            "What was agreed, and what runs": [
                _table(
                    About(
                        title="Floors",
                        description="Agreed floors of the hard tier's pass rate, for one class or for all classes "
                        "together.",
                        unit="percentunit",
                        span=12,
                        empty="no floor is agreed",
                    ),
                    {"floor": _named_where_empty("capability", "all", _policy("floor_pass_ratio"))},
                ),
                _table(
                    About(
                        title="Model versions",
                        description="Every version of this service, its role, and whether it is an alias that its "
                        "provider may move.",
                        unit="none",
                        span=12,
                        empty="no model version was seen yet",
                    ),
                    {
                        "": _by(
                            "model_version, role, floating",
                            _recorded("version", "model_version_info:max", _SERVICE),
                        )
                    },
                ).override_by_name("floating", [_property("displayName", "alias"), *_YES_OR_NO]),
            ],
        },
    )


def monitor() -> builder.Dashboard:
    """Whether the monitor itself can be believed."""
    return _dashboard(
        "monitor",
        "Monitor",
        "Whether you can believe Cliffwatch itself: lag, throughput, dead letters, labels, calibration.",
        rows={
            "Alive": [
                _monitor_stat("Replicas ready", "Replicas that take part.", "short", "monitor:cliffwatch_ready:sum"),
                _monitor_stat(
                    "Since the last commit",
                    "Age of the last batch that was written to the ledger.",
                    "s",
                    "time() - monitor:cliffwatch_last_commit_timestamp_seconds:max",
                ),
                _monitor_stat(
                    "Records waiting",
                    "Records between the ledger's offsets and the ends of all partitions.",
                    "short",
                    "monitor:cliffwatch_consumer_lag_records:sum",
                ),
                _monitor_stat(
                    "Tiers trusted",
                    "1 if the calibration in force is trusted.",
                    "none",
                    "max(calibration:cliffwatch_calibration_trusted:max)",
                ),
                _monitor_stat(
                    "AUC of the difficulty",
                    "How well difficulty orders requests on held-out labels; 0.5 is chance.",
                    "none",
                    "max(calibration:cliffwatch_calibration_auc:max)",
                ),
                _monitor_stat(
                    "Versions learnt",
                    "Model versions that the calibration in force learnt from; verdicts on the hard rate need six.",
                    "short",
                    "max(calibration:cliffwatch_calibration_versions:max)",
                ),
                _monitor_stat(
                    "Requests known",
                    "Share of requests that at least two of these versions have served, or similar ones.",
                    "percentunit",
                    "max(calibration:cliffwatch_calibration_known_ratio:max)",
                ),
                _monitor_stat(
                    "Age of the calibration",
                    "Since it was frozen.",
                    "s",
                    "min(calibration:cliffwatch_calibration_age_seconds:max)",
                ),
            ],
            "Flow": [
                _time_series(
                    About(
                        title="Records read per second",
                        description="Records of any kind, by topic.",
                        unit="short",
                        span=12,
                        empty="nothing was read yet",
                    ),
                    Query("topic:cliffwatch_records_consumed:rate5m", "{{topic}}"),
                ),
                _time_series(
                    About(
                        title="Records waiting by topic",
                        description="More than ten minutes of work raises a ticket; growth without commits pages "
                        "someone.",
                        unit="short",
                        span=12,
                        empty="the ends of the partitions are unknown",
                    ),
                    Query("topic:cliffwatch_consumer_lag_records:sum", "{{topic}}"),
                ),
            ],
            "Losses": [
                _time_series(
                    About(
                        title="Dead letters in 15 minutes",
                        description="Records that can never be processed, by reason.",
                        unit="short",
                        span=12,
                        empty="no dead letter yet",
                    ),
                    Query("reason:cliffwatch_dead_letters:increase15m > 0", "{{reason}}"),
                ),
                _bars(
                    About(
                        title="Label values beyond their limit",
                        description="Counted as `other`; by label.",
                        unit="short",
                        span=6,
                        empty="no label value is over its limit",
                    ),
                    Query("reason:cliffwatch_series_dropped:max", "{{reason}}"),
                ),
                _table(
                    About(
                        title="Checks",
                        description="Whether a check of the monitor itself passes on every replica.",
                        unit="none",
                        span=6,
                        empty="no check has run yet",
                    ),
                    {"passes": _by("check", "monitor:cliffwatch_health:min", how="min")},
                ).override_by_name("passes", _YES_OR_NO),
            ],
            "Labels and tiers": [
                _time_series(
                    About(
                        title="Label coverage",
                        description="Labelled share of each arm's matured requests; dashed: of hard requests. A "
                        "difference between the arms widens the bounds of every comparison.",
                        unit="percentunit",
                        span=12,
                    ),
                    *(Query(_coverage(arm, "all"), arm) for arm in _ARMS),
                    *(Query(_coverage(arm, "hard"), f"{arm}, hard") for arm in _ARMS),
                    colours={f"{arm}{of}": colour for of in ("", ", hard") for arm, colour in _ARM_COLOURS.items()},
                )
                .override_by_regexp("/hard/", [_dashed()])
                .min(0)
                .max(1),
                _bars(
                    About(
                        title="Share of traffic by tier",
                        description="All requests of the candidate so far; untiered means that too little is known "
                        "of them.",
                        unit="percentunit",
                        span=12,
                        empty=_NO_TIERS,
                    ),
                    Query(
                        _by(
                            "tier",
                            _recorded(
                                "version_tier", "tier_traffic_ratio:max", _SERVICE, {"model_version": "$candidate"}
                            ),
                        ),
                        "{{tier}}",
                    ),
                    largest=1.0,
                ),
            ],
        },
    )


DASHBOARDS: Mapping[str, Callable[[], builder.Dashboard]] = {
    "rollout": rollout,
    "canary": canary,
    "hard-tier": hard_tier,
    "frontier": frontier,
    "on-call": on_call,
    "monitor": monitor,
}
"""Builder of each dashboard by the name of its file; its uid is that name after `cliffwatch-`."""


# What dashboards have in common.


def _dashboard(
    name: str,
    title: str,
    description: str,
    *,
    rows: Mapping[str, Sequence[_AnyPanel]],
    days: int = 1,
    chooses_rollout: bool = True,
    variables: Sequence[builder.QueryVariable] = (),
) -> builder.Dashboard:
    """A dashboard over the last *days*, with the variables that choose a rollout and links to the others."""
    others = (
        builder.DashboardLink("Cliffwatch dashboards")
        .type(model.DashboardLinkType.DASHBOARDS)
        .tags(["cliffwatch"])
        .as_dropdown(as_dropdown=True)
        .include_vars(include_vars=True)
        .keep_time(keep_time=True)
    )
    runbooks = builder.DashboardLink("Runbooks").type(model.DashboardLinkType.LINK).url(f"{RUNBOOKS}/README.md")
    dashboard = (
        builder.Dashboard(f"Cliffwatch / {title}")
        .uid(f"cliffwatch-{name}")
        .description(description)
        .tags(["cliffwatch"])
        .time(f"now-{days}d", "now")
        .refresh("30s")
        .timezone("browser")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .links([others, runbooks])
        .with_variable(builder.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )
    chosen: dict[str, str] = {}
    metric = "cliffwatch_rollout_info" if chooses_rollout else "cliffwatch_model_version_info"
    for label in ("service", "environment", *(("candidate", "baseline") if chooses_rollout else ())):
        query = f"label_values({metric}{_selector(chosen)}, {label})"
        dashboard = dashboard.with_variable(_query_variable(label, query))
        chosen[label] = f"${label}"
    for variable in variables:
        dashboard = dashboard.with_variable(variable)
    for row, panels in rows.items():
        dashboard = dashboard.with_row(builder.Row(row))
        for panel in panels:
            dashboard = dashboard.with_panel(panel)
    return dashboard


def _query_variable(label: str, query: str) -> builder.QueryVariable:
    return (
        builder.QueryVariable(label)
        .label(label.capitalize())
        .datasource(_PROMETHEUS)
        .query(query)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
    )


def _capability(series: str, *, many: bool = False) -> builder.QueryVariable:
    variable = _query_variable("capability", f"label_values({series}, capability)")
    return variable.multi(multi=True).include_all(include_all=True).all_value(".*") if many else variable


# Queries.


def _rollout(metric: str, **labels: str) -> str:
    """The recorded series of *metric* for the chosen rollout."""
    return _recorded("rollout", f"rollout_{metric}:max", _ROLLOUT, labels)


def _policy(metric: str, **labels: str) -> str:
    """The recorded threshold *metric* for the chosen service and environment."""
    return _recorded("service", f"policy_{metric}:max", _SERVICE, labels)


def _recorded(level: str, name: str, chosen: Mapping[str, str], labels: Mapping[str, str] = _NO_LABELS) -> str:
    return f"{level}:cliffwatch_{name}{_selector({**chosen, **labels})}"


def _selector(labels: Mapping[str, str]) -> str:
    """
    Labels in braces; a value that begins with ~ is a regular expression.

    Its quotes are backticks, in which PromQL knows no escapes: Grafana puts a backslash before the dot of a version.
    """
    matchers = (
        f"{label}=~`{value[1:]}`" if value.startswith("~") else f'{label}="{value}"' for label, value in labels.items()
    )
    return f"{{{', '.join(matchers)}}}"


def _by(labels: str, expr: str, *, how: str = "max") -> str:
    """*expr* with no other labels than *labels*, so that a table has a column for each of these and no more."""
    return f"{how} by ({labels}) ({expr})"


def _named_where_empty(label: str, name: str, expr: str) -> str:
    """*expr* by *label*, which is *name* in a series that does not have it."""
    return f'label_replace({_by(label, expr)}, "{label}", "{name}", "{label}", "")'


def _labelled_hard(version: str) -> str:
    """Labelled hard and frontier requests of one model version, by capability class."""
    return _by("capability", _recorded("version_capability", "outcomes_hard:sum", _SERVICE, {"model_version": version}))


def _best(chosen: Mapping[str, str], operations: str) -> str:
    """A recorded figure of hard requests, by capability class, of the model version with the best pass rate alone."""
    by = "capability, model_version"
    rate, shown = (
        _by(by, _recorded("version_capability", f"outcomes_hard:{each}", chosen))
        for each in ("share_success", operations)
    )
    return f"{shown} and on ({by}) topk by (capability) (1, {rate})"


def _coverage(arm: str, tier: str) -> str:
    return _recorded("rollout", "label_coverage_ratio:max", _ROLLOUT, {"arm": arm, "tier": tier})


def _arms(metric: str, **labels: str) -> list[Query]:
    return [Query(_rollout(metric, arm=arm, **labels), arm) for arm in _ARMS]


# Panels.


def _described(panel: _Panel, about: About, queries: Sequence[Query], *, only_now: bool = False) -> _Panel:
    """*panel* with what all have; *only_now* for one that shows no past, where a series that has ended is no answer."""
    panel = (
        panel.title(about.title)
        .description(about.description)
        .unit(about.unit)
        .no_value(about.empty)
        .interval(_SCRAPE_INTERVAL)
        .span(about.span)
        .height(about.height)
        .datasource(_PROMETHEUS)
    )
    for reference, query in zip(_REFERENCES, queries, strict=False):
        target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(reference)
        target = target.instant() if only_now else target
        panel = panel.with_target(target.exemplar(exemplar=True) if query.has_exemplars else target)
    return panel


def _verdict(*, span: int, height: int = 5) -> stat.Panel:
    about = About(
        title="Verdict",
        description="ok (no worse than the margins allow), cliff (the hard tier was left behind), regression (all "
        "requests, the easier tiers, the hard tier or a class fail more often, or a floor is broken) or waiting "
        "(nothing is proven yet).",
        unit="none",
        span=span,
        height=height,
    )
    panel = _stat(about, Query(f"{_rollout('verdict')} == 1", "{{verdict}}")).text_mode(BigValueTextMode.NAME)
    for verdict, colour in _VERDICT_COLOURS.items():
        panel = panel.override_by_name(verdict, [_fixed(colour)])
    return panel


def _monitor_stat(title: str, description: str, unit: str, expr: str) -> stat.Panel:
    empty = _NO_CALIBRATION if "calibration" in expr else "unknown: no sample of Cliffwatch yet"
    about = About(title=title, description=description, unit=unit, span=3, height=5, empty=empty)
    return _stat(about, Query(expr, title.lower()))


def _stat(about: About, *queries: Query) -> stat.Panel:
    panel = _described(stat.Panel(), about, queries, only_now=True).graph_mode(BigValueGraphMode.NONE)
    panel = panel.reduce_options(_last()).color_scheme(_neutral("text"))
    for arm, colour in _ARM_COLOURS.items():
        panel = panel.override_by_name(arm, [_fixed(colour)])
    return panel


def _bars(about: About, *queries: Query, largest: float | None = None) -> bargauge.Panel:
    panel = (
        _described(bargauge.Panel(), about, queries, only_now=True)
        .orientation(VizOrientation.HORIZONTAL)
        .display_mode(BarGaugeDisplayMode.BASIC)
        .value_mode(BarGaugeValueMode.TEXT)
        .text(common.VizTextDisplayOptions().title_size(13).value_size(16))
        .reduce_options(_last())
        .color_scheme(_neutral("super-light-blue"))
        .min(0)
    )
    return panel if largest is None else panel.max(largest)


def _time_series(about: About, *queries: Query, colours: Mapping[str, str] = _NO_LABELS) -> timeseries.Panel:
    panel = (
        _described(timeseries.Panel(), about, queries)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(show_legend=True)
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.NONE))
        .thresholds_style(common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.OFF))
        .line_width(2)
        .fill_opacity(0)
    )
    for name, colour in colours.items():
        panel = panel.override_by_name(name, [_fixed(colour)])
    return panel


def _with_references(about: About, queries: Sequence[Query], references: Sequence[Query]) -> timeseries.Panel:
    """Lines, and *references* to compare them with, dashed."""
    panel = _time_series(about, *queries, *references)
    for reference in references:
        panel = panel.override_by_name(reference.legend, [_dashed()])
    return panel


def _arms_over_time(about: About, metric: str, **labels: str) -> timeseries.Panel:
    """Both arms as lines, their bounds as bands."""
    queries = [
        Query(_rollout(metric, arm=arm, bound=bound, **labels), arm if bound == "estimate" else f"{arm} {bound}")
        for arm in _ARMS
        for bound in _BOUNDS
    ]
    panel = _time_series(about, *queries).min(0)
    for arm, colour in _ARM_COLOURS.items():
        panel = _banded(panel, arm, colour)
    return panel


def _band_over_time(about: About, metric: str, *references: Query) -> timeseries.Panel:
    """One change as a line with its bounds as a band, and reference lines, dashed."""
    queries = [
        Query(_in_points(_rollout(metric, bound=bound)), "change" if bound == "estimate" else f"change {bound}")
        for bound in _BOUNDS
    ]
    # While little is known, the bounds are wider than a share can change.
    panel = _with_references(about, queries, references).min(-100).max(100)
    return _banded(panel, "change", _ARM_COLOURS["candidate"])


def _in_points(expr: str) -> str:
    """A ratio as a number of percentage points, for a panel or column in `_POINTS`."""
    return f"100 * {expr}"


def _banded(panel: timeseries.Panel, name: str, colour: str) -> timeseries.Panel:
    edge = [_fixed(colour), _property("custom.lineWidth", 0), _property("custom.hideFrom", _NOT_IN_LEGEND)]
    band = [_property("custom.fillBelowTo", f"{name} lower"), _property("custom.fillOpacity", 15)]
    return (
        panel.override_by_name(name, [_fixed(colour)])
        .override_by_name(f"{name} lower", edge)
        .override_by_name(f"{name} upper", [*edge, *band])
    )


def _table(
    about: About,
    columns: Mapping[str, str],
    *,
    units: Mapping[str, str] = _NO_LABELS,
    widths: Mapping[str, int] = _NO_WIDTHS,
    sorted_by: str | None = None,
    ascending: bool = False,
    numbers: Sequence[str] = (),
) -> table.Panel:
    """
    One row per set of labels, one column per query; a query without a name has rows but no column. Labels come first.

    Args:
        about: What the panel says of itself.
        columns: Query by the title of its column.
        units: Of the columns whose unit is not the panel's.
        widths: Pixels of the columns that need more or less than their part.
        sorted_by: A column's title.
        ascending: Whether the smallest comes first.
        numbers: Labels that hold numbers, which are sorted and aligned as such.
    """
    panel = _described(table.Panel(), about, ()).min_width(_LEAST_COLUMN_PIXELS)
    # The text for the quiet state is the panel's, not that of a cell in which nothing is known.
    panel = panel.override_by_field_type("string", [_property("noValue", "")])
    panel = panel.override_by_field_type("number", [_property("noValue", "-")])
    panel = panel.decimals(1) if about.unit == "percentunit" else panel
    renamed = {}
    for reference, (name, expr) in zip(_REFERENCES, columns.items(), strict=False):
        query = prometheus.Dataquery().expr(expr).instant().format(PromQueryFormat.TABLE).ref_id(reference)
        panel = panel.with_target(query)
        renamed["Value" if len(columns) == 1 else f"Value #{reference}"] = name
    for name, unit in units.items():
        panel = panel.override_by_name(name, [_property("unit", unit), _property("decimals", _DECIMALS.get(unit, 0))])
    for name, width in widths.items():
        panel = panel.override_by_name(name, [_property("custom.width", width)])
    if sorted_by is not None:
        panel = panel.sort_by([common.TableSortByFieldState().display_name(sorted_by).desc(desc=not ascending)])
    excluded = ["Time", *(value for value, name in renamed.items() if not name)]
    ordered = [*_BY.findall(next(iter(columns.values())))[0].split(", "), *renamed]
    organize = {
        "excludeByName": dict.fromkeys(excluded, True),
        "indexByName": {name: number for number, name in enumerate(ordered)},
        "renameByName": {value: name for value, name in renamed.items() if name},
    }
    read = [{"targetField": label, "destinationType": "number"} for label in numbers]
    for name, options in {
        "merge": {},
        "organize": organize,
        **({"convertFieldType": {"fields": {}, "conversions": read}} if read else {}),
    }.items():
        panel = panel.with_transformation(model.DataTransformerConfig(id_val=name, options=options))
    return panel


_NOT_IN_LEGEND = {"legend": True, "tooltip": False, "viz": False}


def _classes(about: About, *, name_pixels: int) -> table.Panel:
    """Both arms by capability class, the largest failure rate of the candidate first."""
    columns = {arm: _by("capability", _rollout("class_failure_ratio", arm=arm, bound="estimate")) for arm in _ARMS}
    columns |= {"worse": _by("capability", _rollout("capability_regressed"))}
    widths = {"capability": name_pixels, "baseline": 80, "candidate": 95, "worse": 60}
    panel = _table(about, columns, units={"worse": "none"}, widths=widths, sorted_by="candidate")
    return panel.override_by_name("worse", _YES_OR_NO)


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"])


def _neutral(colour: str) -> builder.FieldColor:
    """A number is no judgement: only verdicts and arms have colours of their own."""
    return builder.FieldColor().mode(model.FieldColorModeId.FIXED).fixed_color(colour)


def _fixed(colour: str) -> model.DynamicConfigValue:
    return _property("color", {"mode": "fixed", "fixedColor": colour})


def _dashed() -> model.DynamicConfigValue:
    return _property("custom.lineStyle", {"dash": [8, 8], "fill": "dash"})


def _property(name: str, value: Any) -> model.DynamicConfigValue:
    return model.DynamicConfigValue(id_val=name, value=value)


_ANSWERS = {"0": {"text": "no"}, "1": {"text": "yes"}, "false": {"text": "no"}, "true": {"text": "yes"}}
_YES_OR_NO = [_property("mappings", [{"type": "value", "options": _ANSWERS}])]


if __name__ == "__main__":
    main()
