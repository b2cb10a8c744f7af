"""Metric families as bytes: what prometheus-client's own encoders write, in less than half of their time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as PrometheusFamily
from prometheus_client.samples import Exemplar, Sample
from prometheus_client.utils import floatToGoString

Encoder = Callable[[Iterable[PrometheusFamily]], bytes]

_OPENMETRICS = "application/openmetrics-text"


def choose_format(accept: str) -> tuple[Encoder, str]:
    """Encoder and content type for an `Accept` header: OpenMetrics where it is asked for, else Prometheus text."""
    content_type = choose_encoder(accept)[1]
    return (encode_openmetrics if content_type.startswith(_OPENMETRICS) else encode_text), content_type


def encode_text(families: Iterable[PrometheusFamily]) -> bytes:
    """*families* (counters, gauges and histograms) in the Prometheus text format."""
    lines: list[str] = []
    for family in families:
        name = f"{family.name}_total" if family.type == "counter" else family.name
        text = family.documentation.replace("\\", r"\\").replace("\n", r"\n")
        lines.append(f"# HELP {name} {text}\n# TYPE {name} {family.type}\n")
        lines += [f"{series}\n" for series, _ in _series(family)]
    return "".join(lines).encode()


def encode_openmetrics(families: Iterable[PrometheusFamily]) -> bytes:
    """*families* (counters, gauges and histograms) in OpenMetrics 1.0, with exemplars."""
    lines: list[str] = []
    for family in families:
        lines.append(f"# HELP {family.name} {_escaped(family.documentation)}\n# TYPE {family.name} {family.type}\n")
        lines += [
            f"{series}\n" if sample.exemplar is None else f"{series} # {_exemplar(sample.exemplar)}\n"
            for series, sample in _series(family)
        ]
    lines.append("# EOF\n")
    return "".join(lines).encode()


def _series(family: PrometheusFamily) -> Iterator[tuple[str, Sample]]:
    for sample in family.samples:
        yield f"{sample.name}{_labels(sample.labels)} {_number(sample.value)}", sample


def _labels(labels: dict[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join([f'{name}="{_escaped(labels[name])}"' for name in sorted(labels)]) + "}"


def _escaped(text: str) -> str:
    if "\\" in text or "\n" in text or '"' in text:
        return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    return text


def _number(value: float) -> str:
    return str(floatToGoString(value))  # type: ignore[no-untyped-call]


def _exemplar(exemplar: Exemplar) -> str:
    written = f"{_labels(exemplar.labels)} {_number(exemplar.value)}"
    return written if exemplar.timestamp is None else f"{written} {exemplar.timestamp}"
