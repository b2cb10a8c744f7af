"""What is said of an alert before it is tested: what it rests on, what silences it, its labels and its words."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass, field

_SCRAPED = {"job": "cliffwatch", "namespace": "agents", "instance": "10.0.0.1:9464", "pod": "cliffwatch-0"}
REPLICA = {"10.0.0.1:9464": "10.0.0.2:9464", "cliffwatch-0": "cliffwatch-1"}
"""What is different in the labels of the second replica."""

SERVICE = {"service": "shop", "environment": "production"}
ROLLOUT = {**SERVICE, "baseline": "m-1", "candidate": "m 2"}
MERGED = {"job": "cliffwatch", "namespace": "agents"}
"""Labels that a scrape adds and that outlive the merging of replicas."""

ROLLOUT_QUERY = "?var-service=shop&var-environment=production&var-baseline=m-1&var-candidate=m+2"
ROLLOUT_PAGE = "http://localhost:9464/rollouts?service=shop&environment=production&candidate=m+2"
PAGE = "http://localhost:9464/"
SERVICE_QUERY = "?var-service=shop&var-environment=production"
"""What a dashboard link chooses."""

_TELLING_LABELS = {
    *("arm", "bound", "tier", "component", "verdict", "scope", "capability", "model_version", "outcome"),
    *("tier_group", "kind"),
}

Values = Mapping[str, str | None]
"""Values by series, as promtool writes both; one number is a constant series, None takes the series away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertSpec:
    """
    One alert of the rules.

    Attributes:
        alert: Its name.
        needs: Series that it rests on, with values for which it fires; it is silent where one is absent or NaN.
        shows: Series that only its text shows.
        after: When it fires first, as a Prometheus duration; it is silent one evaluation before.
        labels: All of its labels but those that every series has (`MERGED`).
        annotations: All of its annotations but the links.
        dashboard: Name and query of its dashboard link.
        silent: By sentence, series that replace or join *needs* and for which it is silent.
        fires: By sentence, series that replace or join *needs* and for which it fires all the same.
        resolves: Series that replace some of *needs*; it fires at *after* and is silent at *resolved_at*.
        interval: Time between samples and between evaluations.
        looks_later: Evaluations after *after* at which it must still be silent in a case of *silent*.
        is_about_absence: True for an alert whose cause is that something is missing.
    """

    alert: str
    needs: Values
    shows: Values = field(default_factory=dict)
    after: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    dashboard: str
    silent: Mapping[str, Values] = field(default_factory=dict)
    fires: Mapping[str, Values] = field(default_factory=dict)
    resolves: Values
    resolved_at: str
    interval: str = "15s"
    looks_later: int = 4
    is_about_absence: bool = False


def series(name: str, *labels: dict[str, str], **more: str) -> str:
    """A series as promtool writes it, with the labels that a scrape adds."""
    merged = ChainMap(more, *labels, _SCRAPED)
    selector = ", ".join(f'{label}="{merged[label]}"' for label in sorted(merged))
    return f"{name}{{{selector}}}"


def rollout(name: str, **more: str) -> str:
    """A series of the rollout."""
    return series(f"cliffwatch_rollout_{name}", ROLLOUT, **more)


def policy(name: str, **more: str) -> str:
    """A threshold of the service."""
    return series(f"cliffwatch_policy_{name}", SERVICE, **more)


def seconds(duration: str) -> int:
    """A Prometheus duration of one unit, in seconds."""
    return int(duration[:-1]) * {"s": 1, "m": 60, "h": 3_600, "d": 86_400}[duration[-1]]


def short_name(series: str) -> str:
    """Name of a series with the labels that tell its siblings apart, for the name of a test."""
    name, _, labels = series.partition("{")
    telling = [label for label in labels.rstrip("}").split(", ") if label.split("=")[0] in _TELLING_LABELS]
    return " ".join([name, *telling])
