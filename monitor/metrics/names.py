"""Every metric that Cliffwatch exports: metrics.toml says what it is, and docs/metrics.md is generated from it."""

from __future__ import annotations

import sys
import tomllib
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files


class MetricKind(StrEnum):
    """The type of a metric, as Prometheus names it."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """
    One exported metric.

    Attributes:
        name: Full name, unit and suffix included, as PromQL writes it (a histogram's without `_bucket`).
        help: What it counts or measures, with unit and range.
        labels: Label names in the order in which the collector gives their values.
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
    """The metric that metrics.toml calls *name* after its prefix `cliffwatch_`."""
    return _BY_NAME[f"cliffwatch_{name}"]


def metrics_reference() -> str:
    """docs/metrics.md: a Markdown table of every metric."""
    rows = (
        f"| `{metric.name}` | {metric.kind} | {', '.join(map('`{}`'.format, metric.labels))} | {metric.help} |\n"
        for metric in sorted(METRICS, key=lambda metric: metric.name)
    )
    return (
        "<!-- Generated from monitor/metrics/names.py by `make generate`; do not edit. -->\n"
        "# Metrics\n\n"
        "What `/metrics` shows is the last committed state of the ledger: counters never reset, every replica shows "
        "the same, and what is not known is a missing series, never NaN.\n\n"
        "| metric | type | labels | meaning |\n|---|---|---|---|\n" + "".join(rows)
    )


if __name__ == "__main__":
    sys.stdout.write(metrics_reference())
