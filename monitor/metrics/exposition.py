"""
Builds metric families (sorted, without duplicates or NaN) and encodes them.

The output equals that of prometheus-client's encoders, in a third of the time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from prometheus_client.exposition import choose_encoder
from prometheus_client.utils import floatToGoString

from monitor.metrics.names import Metric, metric
from monitor.metrics.snapshot import TraceExemplar

Labels = tuple[str, ...]
"""Label values in the order of the metric's labels."""

_LONGEST_EXEMPLAR_ID = 128 - len("trace_id")  # OpenMetrics limits names and values of an exemplar's labels together


class SeriesShape:
    """
    Name and label names of a series, with a template that formats its label values.

    Args:
        name: Name of the series, suffix included.
        labels: Names of its labels, in the order in which values are given.
    """

    def __init__(self, name: str, labels: Labels) -> None:
        self.name = name
        self.labels = labels
        places = [f'{label}="{{{labels.index(label)}}}"' for label in sorted(labels)]
        self._write = f"{name}{{{{{','.join(places)}}}}}".format
        self._quotes = 2 * len(labels)

    def text(self, values: Labels) -> str:
        """The series in the text of both exposition formats, with labels sorted by name."""
        if not values:
            return self.name
        text = self._write(*values)
        if "\\" in text or "\n" in text or text.count('"') != self._quotes:
            return self._write(*map(escaped, values))
        return text


series_shape = lru_cache(maxsize=1_000)(SeriesShape)
"""Cached `SeriesShape`, one for each metric."""


class Row(NamedTuple):
    """One series with its value; only OpenMetrics shows the *exemplar*."""

    shape: SeriesShape
    labels: Labels
    value: float
    exemplar: TraceExemplar | None = None


@dataclass(frozen=True, slots=True)
class Family:
    """One metric with its series, in the order of the output."""

    metric: Metric
    rows: list[Row] = field(default_factory=list)


class Series:
    """
    The series of one metric, by label values.

    An unknown (None) or non-finite value adds no series; if a label set is set twice, the last value counts.
    """

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self._values: dict[Labels, float] = {}
        self._exemplars: dict[Labels, TraceExemplar] = {}

    def set(self, value: float | None, *labels: str) -> None:
        """Set the series with *labels* to *value*."""
        if value is not None and math.isfinite(value):
            self._values[labels] = value

    def add(self, value: float, labels: Labels, exemplar: TraceExemplar | None = None) -> None:
        """Add *value* to the series with *labels*; an *exemplar* whose trace ID is too long is left out."""
        self._values[labels] = self._values.get(labels, 0.0) + value
        if exemplar is not None and len(exemplar.trace_id) <= _LONGEST_EXEMPLAR_ID:
            self._exemplars[labels] = exemplar

    def families(self) -> Iterator[Family]:
        """The family with its series in label order; yields nothing if there is no series."""
        if self._values:
            family, shape = Family(self.metric), series_shape(self.metric.name, self.metric.labels)
            width = len(self.metric.labels)
            for labels, value in sorted(self._values.items()):
                if len(labels) != width:
                    raise ValueError(f"{self.metric.name} has {width} labels, not {len(labels)}")
                family.rows.append(Row(shape, labels, value, self._exemplars.get(labels)))
            yield family


Rows = Iterator[tuple[str, float | None, Labels]]
"""For each series: name of the metric in metrics.toml, value, and label values."""


def families(rows: Rows) -> Iterator[Family]:
    """The families of *rows*, in the order of their first rows; a family without a known value is left out."""
    by_name: dict[str, Series] = {}
    for name, value, labels in rows:
        by_name.setdefault(name, Series(metric(name))).set(value, *labels)
    for series in by_name.values():
        yield from series.families()


def escaped(text: str) -> str:
    """Escape *text* for use as a quoted label value."""
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


Encoder = Callable[[Iterable[Family]], bytes]

_NEVER = {"q=0", "q=0.0", "q=0.00", "q=0.000"}
_OPENMETRICS = "application/openmetrics-text"


def choose_format(accept: str) -> tuple[Encoder, str]:
    """Encoder and content type for an `Accept` header: OpenMetrics if it asks for it, else Prometheus text."""
    try:
        content_type = choose_encoder(accept)[1]
    except (ValueError, LookupError, TypeError, AttributeError):  # a malformed header
        content_type = choose_encoder("")[1]
    return (encode_openmetrics if content_type.startswith(_OPENMETRICS) else encode_text), content_type


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether an `Accept-Encoding` header asks for gzip."""
    choices = (choice.partition(";") for choice in accept_encoding.lower().replace(" ", "").split(","))
    return any(coding == "gzip" and quality not in _NEVER for coding, _, quality in choices)


def encode_text(families: Iterable[Family]) -> bytes:
    """Encode *families* in the Prometheus text format."""
    lines: list[str] = []
    for family in families:
        metric, text = family.metric, family.metric.help.replace("\\", r"\\").replace("\n", r"\n")
        lines.append(f"# HELP {metric.name} {text}\n# TYPE {metric.name} {metric.kind}\n")
        lines += [f"{shape.text(labels)} {_number(value)}\n" for shape, labels, value, _ in family.rows]
    return "".join(lines).encode()


def encode_openmetrics(families: Iterable[Family]) -> bytes:
    """Encode *families* in OpenMetrics 1.0, with exemplars."""
    lines: list[str] = []
    for family in families:
        name, metric = family.metric.family, family.metric
        lines.append(f"# HELP {name} {escaped(metric.help)}\n# TYPE {name} {metric.kind}\n")
        lines += [
            f"{shape.text(labels)} {_number(value)}{'' if exemplar is None else _exemplar(exemplar)}\n"
            for shape, labels, value, exemplar in family.rows
        ]
    lines.append("# EOF\n")
    return "".join(lines).encode()


_GO_EXPONENT_FROM = 1e6  # Go writes numbers from here on with an exponent, Python does not


def _number(value: float) -> str:
    if 0 <= value < _GO_EXPONENT_FROM:
        return repr(float(value))
    return str(floatToGoString(value))  # type: ignore[no-untyped-call]


def _exemplar(trace: TraceExemplar) -> str:
    return f' # {{trace_id="{escaped(trace.trace_id)}"}} 1.0 {trace.observed_at:.9f}'
