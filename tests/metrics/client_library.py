"""Our families as the client library of Prometheus knows them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from prometheus_client.core import Exemplar, Timestamp
from prometheus_client.metrics_core import Metric

from monitor.metrics.exposition import Family
from monitor.metrics.snapshot import TraceExemplar


def theirs(families: Iterable[Family]) -> Iterator[Metric]:
    """*families* with samples instead of rows."""
    for family in families:
        shown = Metric(family.metric.family, family.metric.help, family.metric.kind)
        for shape, labels, value, exemplar in family.rows:
            named = dict(zip(shape.labels, labels, strict=True))
            shown.add_sample(shape.name, named, value, exemplar=None if exemplar is None else _exemplar(exemplar))
        yield shown


def _exemplar(trace: TraceExemplar) -> Exemplar:
    seconds = math.floor(trace.observed_at)
    stamp = Timestamp(seconds, int((trace.observed_at - seconds) * 1e9))
    return Exemplar({"trace_id": trace.trace_id}, 1.0, stamp)
