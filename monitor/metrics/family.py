"""One metric family on its way out: sorted, without a duplicate, without NaN."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from prometheus_client.core import Exemplar, Timestamp
from prometheus_client.metrics_core import Metric as PrometheusFamily
from prometheus_client.samples import Sample

from monitor.metrics.names import Metric, metric
from monitor.metrics.snapshot import TraceExemplar

Labels = tuple[str, ...]
"""Label values in the order of the metric's labels."""

_LONGEST_EXEMPLAR_ID = 128 - len("trace_id")  # OpenMetrics: names and values of an exemplar's labels together


class SeriesShape:
    """
    The name of a series and those of its labels, and how both are written with values.

    Args:
        name: Name of the series, suffix included.
        labels: Names of its labels, in the order in which values come.
    """

    def __init__(self, name: str, labels: Labels) -> None:
        self.name = name
        self.labels = labels
        places = [f'{label}="{{{labels.index(label)}}}"' for label in sorted(labels)]
        self._write = f"{name}{{{{{','.join(places)}}}}}".format
        self._quotes = 2 * len(labels)

    def text(self, values: Labels) -> str:
        """The series as both exposition formats write it, labels sorted by name."""
        if not values:
            return self.name
        text = self._write(*values)
        if "\\" in text or "\n" in text or text.count('"') != self._quotes:
            return self._write(*map(escaped, values))
        return text


@lru_cache(maxsize=1_000)
def series_shape(name: str, labels: Labels) -> SeriesShape:
    """The shape of a series, made once for each metric."""
    return SeriesShape(name, labels)


class Row(NamedTuple):
    """One series with its value; *exemplar* is what OpenMetrics may show beside it."""

    shape: SeriesShape
    labels: Labels
    value: float
    exemplar: Exemplar | None = None


class Family(PrometheusFamily):
    """
    The family of one metric as rows; samples, which cost more than all the rest of a scrape, are made when asked for.

    Attributes:
        rows: Its series in the order in which they are written.
    """

    def __init__(self, metric: Metric) -> None:
        self.rows: list[Row] = []
        super().__init__(metric.family, metric.help, metric.kind)

    @property
    def samples(self) -> list[Sample]:
        """The rows as the client library knows them."""
        return [
            Sample(row.shape.name, dict(zip(row.shape.labels, row.labels, strict=True)), row.value, None, row.exemplar)
            for row in self.rows
        ]

    @samples.setter
    def samples(self, samples: list[Sample]) -> None:
        if samples:
            raise TypeError("A family is filled through its rows.")


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

    def families(self) -> Iterator[Family]:
        """The family with its samples in label order; nothing where there is no series."""
        if self._values:
            family, shape = Family(self.metric), series_shape(self.metric.name, self.metric.labels)
            exemplars, width = self._exemplars, len(self.metric.labels)
            for labels, value in sorted(self._values.items()):
                if len(labels) != width:
                    raise ValueError(f"{self.metric.name} has {width} labels, not {len(labels)}")
                exemplar = exemplar_of(exemplars[labels]) if labels in exemplars else None
                family.rows.append(Row(shape, labels, value, exemplar))
            yield family


Rows = Iterator[tuple[str, float | None, Labels]]
"""Metric, as metrics.toml calls it, value and label values of one series after the other."""


def families(rows: Rows) -> Iterator[Family]:
    """The families of *rows*, in the order of their first rows; nothing where no value is known."""
    series: dict[str, Series] = {}
    for name, value, labels in rows:
        series.setdefault(name, Series(metric(name))).set(value, *labels)
    for each in series.values():
        yield from each.families()


def histogram_family(
    metric: Metric, buckets: Mapping[Labels, Mapping[str, int]], sums: Mapping[Labels, float], *, bounds: Sequence[str]
) -> Iterator[Family]:
    """
    A histogram family; nothing where there is no series.

    Args:
        metric: Its name, help and labels.
        buckets: Observations of each series by upper bound, each counted in one bucket only.
        sums: Sum of the observations of each series.
        bounds: Every upper bound, ascending, `+Inf` last.
    """
    family = Family(metric)
    bucket = series_shape(f"{metric.name}_bucket", (*metric.labels, "le"))
    count, total = (series_shape(f"{metric.name}_{part}", metric.labels) for part in ("count", "sum"))
    for labels in sorted(buckets):
        counted, seen = buckets[labels], 0
        for bound in bounds:
            seen += counted.get(bound, 0)
            family.rows.append(Row(bucket, (*labels, bound), seen))
        family.rows += (Row(count, labels, seen), Row(total, labels, sums.get(labels, 0.0)))
    if family.rows:
        yield family


def escaped(text: str) -> str:
    """*text* as a label value between quotes."""
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def exemplar_of(trace: TraceExemplar) -> Exemplar | None:
    """*trace* as OpenMetrics writes it; None where its id is too long to be written."""
    if len(trace.trace_id) > _LONGEST_EXEMPLAR_ID:
        return None
    seconds = math.floor(trace.observed_at)
    stamp = Timestamp(seconds, int((trace.observed_at - seconds) * 1e9))
    return Exemplar({"trace_id": trace.trace_id}, 1.0, stamp)
