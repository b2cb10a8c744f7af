"""One metric family on its way out: sorted, without a duplicate, without NaN."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from prometheus_client.core import Exemplar, Timestamp
from prometheus_client.metrics_core import Metric as PrometheusFamily
from prometheus_client.samples import Sample

from monitor.metrics.names import Metric
from monitor.metrics.snapshot import TraceExemplar

Labels = tuple[str, ...]
"""Label values in the order of the metric's labels."""

_LONGEST_EXEMPLAR_ID = 128 - len("trace_id")  # OpenMetrics: names and values of an exemplar's labels together


class Series:
    """
    The series of one metric, by label values.

    A value that is not known (None) or not finite adds no series; a label set that comes twice keeps the last value.
    """

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self._values: dict[Labels, float] = {}
        self._exemplars: dict[Labels, TraceExemplar] = {}

    def set(self, value: float | None, *labels: str) -> None:
        """Let the series with *labels* have *value*."""
        if value is not None and math.isfinite(value):
            self._values[labels] = value

    def add(self, value: float, labels: Labels, exemplar: TraceExemplar | None = None) -> None:
        """Count *value* into the series with *labels*."""
        self._values[labels] = self._values.get(labels, 0.0) + value
        if exemplar is not None:
            self._exemplars[labels] = exemplar

    def families(self) -> Iterator[PrometheusFamily]:
        """The family with its samples in label order; nothing where there is no series."""
        if self._values:
            family = empty_family(self.metric)
            family.samples = [
                Sample(
                    self.metric.name,
                    dict(zip(self.metric.labels, labels, strict=True)),
                    self._values[labels],
                    None,
                    exemplar_of(self._exemplars.get(labels)),
                )
                for labels in sorted(self._values)
            ]
            yield family


def histogram_family(
    metric: Metric,
    buckets: Mapping[Labels, Mapping[str, int]],
    sums: Mapping[Labels, float],
    *,
    bounds: Sequence[str],
    exemplars: Mapping[tuple[Labels, str], TraceExemplar],
) -> Iterator[PrometheusFamily]:
    """
    A histogram family; nothing where there is no series.

    Args:
        metric: Its name, help and labels.
        buckets: Observations of each series by upper bound, each counted in one bucket only.
        sums: Sum of the observations of each series.
        bounds: Every upper bound, ascending, `+Inf` last.
        exemplars: A trace for some series and bound.
    """
    family = empty_family(metric)
    for labels in sorted(buckets):
        named = dict(zip(metric.labels, labels, strict=True))
        seen = 0
        for bound in bounds:
            seen += buckets[labels].get(bound, 0)
            exemplar = exemplar_of(exemplars.get((labels, bound)))
            family.samples.append(Sample(f"{metric.name}_bucket", {**named, "le": bound}, seen, None, exemplar))
        family.samples.append(Sample(f"{metric.name}_count", named, seen))
        family.samples.append(Sample(f"{metric.name}_sum", named, sums.get(labels, 0.0)))
    if family.samples:
        yield family


def empty_family(metric: Metric) -> PrometheusFamily:
    """The family of *metric* without a sample."""
    return PrometheusFamily(metric.family, metric.help, metric.kind)


def exemplar_of(trace: TraceExemplar | None) -> Exemplar | None:
    """*trace* as OpenMetrics writes it; None where its id is too long to be written."""
    if trace is None or len(trace.trace_id) > _LONGEST_EXEMPLAR_ID:
        return None
    seconds = math.floor(trace.observed_at)
    stamp = Timestamp(seconds, int((trace.observed_at - seconds) * 1e9))
    return Exemplar({"trace_id": trace.trace_id}, trace.value, stamp)
