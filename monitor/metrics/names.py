"""Every metric that Cliffwatch exports, as defined in metrics.toml; docs/metrics.md is generated from it too."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files


class MetricKind(StrEnum):
    """The Prometheus type of a metric."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """
    One exported metric.

    Attributes:
        name: Full name with unit and suffix, as in PromQL (for a histogram without `_bucket`).
        help: What it counts or measures, with unit and range.
        labels: Label names, in the order in which the collector gives their values.
    """

    name: str
    kind: MetricKind
    help: str
    labels: tuple[str, ...] = ()

    @property
    def family(self) -> str:
        """Name of the metric family: a counter's without `_total`."""
        return self.name.removesuffix("_total") if self.kind is MetricKind.COUNTER else self.name


_TABLE = tomllib.loads(files("monitor.metrics").joinpath("metrics.toml").read_text(encoding="utf-8"))
_BY_NAME = {
    name: Metric(name, MetricKind(entry["kind"]), entry["help"], tuple(entry.get("labels", ())))
    for name, entry in _TABLE.items()
}
METRICS = tuple(_BY_NAME.values())
"""Every metric, in the order of metrics.toml."""


def metric(name: str) -> Metric:
    """The metric `cliffwatch_`*name* of metrics.toml."""
    return _BY_NAME[f"cliffwatch_{name}"]
