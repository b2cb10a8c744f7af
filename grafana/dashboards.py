"""
The dashboards as code: `python -m grafana.dashboards` writes grafana/dashboards/*.json, which is what ships.

A panel shows recorded series of rules/ or exported metrics, never a second copy of a formula.
Every panel has a unit, a description, a minimum interval and a text for the quiet state.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from grafana_foundation_sdk.builders import bargauge, common, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.common import (
    BigValueGraphMode,
    BigValueTextMode,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    TooltipDisplayMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

FOLDER = Path(__file__).parent / "dashboards"
RUNBOOKS = "https://example.invalid/cliffwatch/docs/runbooks"

_PROMETHEUS = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
_SCRAPE_INTERVAL = "15s"
_BASELINE, _CANDIDATE, _NEUTRAL = "blue", "orange", "text"
_VERDICT_COLOURS = {"ok": "green", "waiting": "text", "cliff": "orange", "regression": "red"}
_NO_ROLLOUT = "no rollout chosen, or nothing known of it yet"

_Panel = TypeVar("_Panel", timeseries.Panel, stat.Panel, bargauge.Panel, table.Panel)


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a panel; *legend* names its series, with {{label}} for a label's value."""

    expr: str
    legend: str


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


def rollout() -> builder.Dashboard:
    """What the chosen rollout did: average and hard tier side by side, share, causes, verdict."""
    return (
        _dashboard("rollout", "Rollout", "What one rollout did to the average and to the hard tier, and why.")
        .with_row(builder.Row("Verdict"))
        .with_panel(_verdict(span=4))
        .with_panel(
            _stat(
                About(
                    title="Labelled requests still needed",
                    description="Labelled candidate requests until the next verdict; 0 where none are needed.",
                    unit="short",
                    span=4,
                    height=5,
                ),
                Query(_rollout("requests_needed"), "needed"),
            )
        )
        .with_panel(
            _stat(
                About(
                    title="Labelled requests",
                    description="Matured requests with an outcome, of each arm.",
                    unit="short",
                    span=5,
                    height=5,
                ),
                *_arms("labelled_requests"),
            )
        )
        .with_panel(
            _stat(
                About(
                    title="Hard-tier failures",
                    description="What the share of failures rests on; a share needs the policy's minimum in both arms.",
                    unit="short",
                    span=5,
                    height=5,
                ),
                *_arms("hard_failures"),
            )
        )
        .with_panel(
            _stat(
                About(
                    title="Hard tier's share of failures",
                    description="Before and after, at the baseline's traffic mix.",
                    unit="percentunit",
                    span=6,
                    height=5,
                ),
                *_arms("hard_share_ratio", bound="estimate"),
            )
        )
        .with_row(builder.Row("Average and hard tier, side by side"))
        .with_panel(
            _arms_over_time(
                About(
                    title="Failure rate, all requests",
                    description="Failures per labelled request of each arm. The bands are bounds that hold however "
                    "often they are looked at.",
                    unit="percentunit",
                    span=12,
                ),
                "aggregate_failure_ratio",
            )
        )
        .with_panel(
            _arms_over_time(
                About(
                    title="Failure rate, hard tier",
                    description="The same for requests tagged hard, corrected for noisy tags. An average that falls "
                    "beside a hard tier that does not is the capability cliff.",
                    unit="percentunit",
                    span=12,
                ),
                "failure_ratio",
                tier="hard",
            )
        )
        .with_row(builder.Row("The hard tier's share of failures"))
        .with_panel(
            _arms_over_time(
                About(
                    title="Share of failures, before and after",
                    description="The hard tier's part of all failures, at the baseline's traffic mix.",
                    unit="percentunit",
                    span=8,
                ),
                "hard_share_ratio",
            )
        )
        .with_panel(
            _band_over_time(
                About(
                    title="Change of the share, and what was to be expected",
                    description="Nearly every improvement raises the share. Dashed: the rise that a uniform gain in "
                    "ability would give, and the rise that the policy calls a jump.",
                    unit="percentunit",
                    span=8,
                ),
                "hard_share_change",
                Query(_rollout("expected_change"), "expected of a uniform gain"),
                Query(_policy("share_jump_ratio"), "policy: a jump"),
            )
        )
        .with_panel(
            _band_over_time(
                About(
                    title="Excess over the expected change",
                    description="What a uniform gain does not explain: a lower bound above 0 says that the hard tier "
                    "was left behind.",
                    unit="percentunit",
                    span=8,
                ),
                "hard_share_excess",
            )
        )
        .with_panel(
            _bars(
                About(
                    title="What moved the share",
                    description="Parts of the raw change; they add up to it. Traffic mix: more hard requests arrive. "
                    "Easier tiers: they fail less. Hard tiers: they fail more.",
                    unit="percentunit",
                    span=8,
                    height=9,
                ),
                Query(_rollout("hard_share_change_component"), "{{component}}"),
            )
        )
        .with_panel(
            _by_tier(
                About(
                    title="Failure rate by tier",
                    description="Estimates of both arms, and the change with its bounds.",
                    unit="percentunit",
                    span=16,
                    height=9,
                )
            )
        )
    )


DASHBOARDS: Mapping[str, Callable[[], builder.Dashboard]] = {"rollout": rollout}
"""Builder of each dashboard by the name of its file; its uid is that name after `cliffwatch-`."""


# What dashboards have in common.


def _dashboard(name: str, title: str, description: str) -> builder.Dashboard:
    """An empty dashboard with the variables that choose a rollout, and links to the others."""
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
        .time("now-24h", "now")
        .refresh("30s")
        .timezone("browser")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .links([others, runbooks])
        .with_variable(builder.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )
    chosen: list[str] = []
    for label in ("service", "environment", "candidate", "baseline"):
        selector = ", ".join(f'{name}="${name}"' for name in chosen)
        query = f"label_values(cliffwatch_rollout_info{{{selector}}}, {label})"
        dashboard = dashboard.with_variable(
            builder.QueryVariable(label)
            .label(label.capitalize())
            .datasource(_PROMETHEUS)
            .query(query)
            .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(model.VariableSort.ALPHABETICAL_ASC)
        )
        chosen.append(label)
    return dashboard


# Queries.


def _rollout(metric: str, **labels: str) -> str:
    """The recorded series of *metric* for the chosen rollout."""
    return f"rollout:cliffwatch_rollout_{metric}:max{_selector(_ROLLOUT_LABELS, labels)}"


def _policy(metric: str, **labels: str) -> str:
    """The recorded threshold *metric* for the chosen service and environment."""
    return f"service:cliffwatch_policy_{metric}:max{_selector(_SERVICE_LABELS, labels)}"


_SERVICE_LABELS = ("service", "environment")
_ROLLOUT_LABELS = (*_SERVICE_LABELS, "baseline", "candidate")


def _selector(chosen: Sequence[str], labels: Mapping[str, str]) -> str:
    pairs = {**{label: f"${label}" for label in chosen}, **labels}
    return "{" + ", ".join(f'{label}="{value}"' for label, value in pairs.items()) + "}"


def _arms(metric: str, **labels: str) -> tuple[Query, Query]:
    baseline, candidate = (_rollout(metric, arm=arm, **labels) for arm in ("baseline", "candidate"))
    return Query(baseline, "baseline"), Query(candidate, "candidate")


# Panels.


def _described(panel: _Panel, about: About, queries: Sequence[Query]) -> _Panel:
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
    for reference, query in zip("ABCDEFGHIJ", queries, strict=False):
        panel = panel.with_target(prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(reference))
    return panel


def _verdict(*, span: int) -> stat.Panel:
    about = About(
        title="Verdict",
        description="ok, cliff (the hard tier was left behind), regression (the hard tier got worse or broke its "
        "floor) or waiting (not enough labelled requests yet).",
        unit="none",
        span=span,
        height=5,
    )
    panel = _stat(about, Query(f"{_rollout('verdict')} == 1", "{{verdict}}")).text_mode(BigValueTextMode.NAME)
    for verdict, colour in _VERDICT_COLOURS.items():
        panel = panel.override_by_name(verdict, [_fixed(colour)])
    return panel


def _stat(about: About, *queries: Query) -> stat.Panel:
    panel = _described(stat.Panel(), about, queries).graph_mode(BigValueGraphMode.NONE).reduce_options(_last())
    return panel.override_by_name("baseline", [_fixed(_BASELINE)]).override_by_name("candidate", [_fixed(_CANDIDATE)])


def _bars(about: About, *queries: Query) -> bargauge.Panel:
    panel = _described(bargauge.Panel(), about, queries)
    return panel.orientation(VizOrientation.HORIZONTAL).reduce_options(_last())


def _time_series(about: About, *queries: Query) -> timeseries.Panel:
    return (
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


def _arms_over_time(about: About, metric: str, **labels: str) -> timeseries.Panel:
    """Both arms as lines, their bounds as bands."""
    queries = [
        Query(_rollout(metric, arm=arm, bound=bound, **labels), arm if bound == "estimate" else f"{arm} {bound}")
        for arm in ("baseline", "candidate")
        for bound in ("lower", "estimate", "upper")
    ]
    panel = _time_series(about, *queries)
    for arm, colour in (("baseline", _BASELINE), ("candidate", _CANDIDATE)):
        panel = _banded(panel, arm, colour)
    return panel


def _band_over_time(about: About, metric: str, *references: Query) -> timeseries.Panel:
    """One change as a line with its bounds as a band, and reference lines, dashed."""
    queries = [
        Query(_rollout(metric, bound="lower"), "change lower"),
        Query(_rollout(metric, bound="estimate"), "change"),
        Query(_rollout(metric, bound="upper"), "change upper"),
    ]
    panel = _banded(_time_series(about, *queries, *references), "change", _CANDIDATE)
    for reference in references:
        panel = panel.override_by_name(reference.legend, [_dashed()])
    return panel


def _banded(panel: timeseries.Panel, name: str, colour: str) -> timeseries.Panel:
    edge = [_fixed(colour), _property("custom.lineWidth", 0), _property("custom.hideFrom", _NOT_IN_LEGEND)]
    band = [_property("custom.fillBelowTo", f"{name} lower"), _property("custom.fillOpacity", 15)]
    return (
        panel.override_by_name(name, [_fixed(colour)])
        .override_by_name(f"{name} lower", edge)
        .override_by_name(f"{name} upper", [*edge, *band])
    )


def _by_tier(about: About) -> table.Panel:
    columns = {
        "baseline": _rollout("failure_ratio", arm="baseline", bound="estimate"),
        "candidate": _rollout("failure_ratio", arm="candidate", bound="estimate"),
        "change": _rollout("failure_change", bound="estimate"),
        "at least": _rollout("failure_change", bound="lower"),
        "at most": _rollout("failure_change", bound="upper"),
    }
    return _table(about, {name: f"max by (tier) ({expr})" for name, expr in columns.items()})


def _table(about: About, columns: Mapping[str, str]) -> table.Panel:
    """One row per set of labels, one column per query."""
    panel = _described(table.Panel(), about, ())
    renamed = {}
    for reference, (name, expr) in zip("ABCDEFGHIJ", columns.items(), strict=False):
        query = prometheus.Dataquery().expr(expr).instant().format(PromQueryFormat.TABLE).ref_id(reference)
        panel = panel.with_target(query)
        renamed[f"Value #{reference}"] = name
    organize = {"excludeByName": {"Time": True}, "renameByName": renamed}
    return panel.with_transformation(model.DataTransformerConfig(id_val="merge", options={})).with_transformation(
        model.DataTransformerConfig(id_val="organize", options=organize)
    )


_NOT_IN_LEGEND = {"legend": True, "tooltip": False, "viz": False}


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"])


def _fixed(colour: str) -> model.DynamicConfigValue:
    return _property("color", {"mode": "fixed", "fixedColor": colour})


def _dashed() -> model.DynamicConfigValue:
    return _property("custom.lineStyle", {"dash": [8, 8], "fill": "dash"})


def _property(name: str, value: Any) -> model.DynamicConfigValue:
    return model.DynamicConfigValue(id_val=name, value=value)


if __name__ == "__main__":
    main()
