from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from monitor.ledger.ledger import CounterKey, CounterName
from monitor.metrics.collect import families_of
from monitor.metrics.exposition import choose_format
from monitor.metrics.snapshot import Snapshot, TraceExemplar
from monitor.rollout.policy import Policy
from tests.metrics.client_library import theirs
from tests.metrics.snapshots import NOON, VERSION, a_snapshot

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
FAILURE = CounterKey(CounterName.OUTCOMES, capability="search", detail="failure", **VERSION)

WITH_EXEMPLARS = a_snapshot(
    counters={
        FAILURE: 2,
        CounterKey(CounterName.REQUESTS, service='quo"te', tier="back\\slash", capability="new\nline"): 1,
    },
    exemplars={FAILURE: TraceExemplar("4bf92f3577b34da6a3ce929d0e0e4736", NOON + 0.25)},
)


class AsCollector:
    """A snapshot as the client library wants it."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.collect = lambda: theirs(families_of(snapshot))


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "text/plain;version=0.0.4",
        "text/plain;version=1.0.0;escaping=allow-utf-8",
        OPENMETRICS,
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.5",
    ],
    ids=["no preference", "Prometheus text", "Prometheus 3 text", "OpenMetrics", "what Prometheus 3 sends"],
)
@pytest.mark.parametrize("snapshot", [a_snapshot(), WITH_EXEMPLARS], ids=["plain values", "quotes and exemplars"])
def test_the_bytes_are_those_of_the_client_library(accept: str, snapshot: Snapshot) -> None:
    """Our encoders are there for their speed alone."""
    registry = CollectorRegistry()
    registry.register(AsCollector(snapshot))
    encode_theirs, content_type = choose_encoder(accept)
    encode_ours, our_content_type = choose_format(accept)

    assert encode_theirs(registry) == encode_ours(families_of(snapshot))
    assert content_type == our_content_type


def test_openmetrics_can_be_parsed_back_with_its_exemplars() -> None:
    """A trace id leads from a failure count to the trace."""
    text = choose_format(OPENMETRICS)[0](families_of(WITH_EXEMPLARS)).decode()

    exemplars = {
        sample.name: (sample.exemplar.labels, sample.exemplar.value, float(sample.exemplar.timestamp))
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.exemplar
    }

    assert {
        "cliffwatch_outcomes_total": ({"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}, 1.0, NOON + 0.25),
    } == exemplars


def test_without_a_trace_there_is_no_exemplar() -> None:
    """Nothing is made up to fill the place."""
    text = choose_format(OPENMETRICS)[0](families_of(a_snapshot())).decode()

    assert " # {" not in text


def test_an_empty_scrape_is_still_openmetrics() -> None:
    """A parser accepts the first scrape of a fresh process."""
    text = choose_format(OPENMETRICS)[0](families_of(Snapshot(now=0.0, policy=Policy()))).decode()

    assert [family.name for family in text_string_to_metric_families(text)]
    assert text.endswith("# EOF\n")
