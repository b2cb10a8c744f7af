from __future__ import annotations

import math

import pytest

from monitor.metrics.exposition import Series
from monitor.metrics.names import Metric, MetricKind
from monitor.metrics.snapshot import TraceExemplar
from tests.metrics.client_library import theirs

TRAFFIC = Metric("cliffwatch_traffic_ratio", MetricKind.GAUGE, "Share.", ("service", "tier"))


def samples(series: Series) -> list[tuple[dict[str, str], float]]:
    return [(sample.labels, sample.value) for family in theirs(series.families()) for sample in family.samples]


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf], ids=str)
def test_a_value_that_is_not_known_adds_no_series(value: float | None) -> None:
    """A missing series says "not known"; NaN or infinity would make every comparison silently false."""
    series = Series(TRAFFIC)

    series.set(value, "shop", "easy")

    assert list(series.families()) == []


def test_series_come_in_label_order() -> None:
    """The order does not depend on the order in which values were set."""
    series = Series(TRAFFIC)

    series.set(0.5, "shop", "hard")
    series.set(0.25, "shop", "easy")
    series.set(0.75, "desk", "hard")

    assert [
        ({"service": "desk", "tier": "hard"}, 0.75),
        ({"service": "shop", "tier": "easy"}, 0.25),
        ({"service": "shop", "tier": "hard"}, 0.5),
    ] == samples(series)


def test_a_label_set_is_shown_once() -> None:
    """Prometheus refuses a scrape in which a series comes twice; the last value stands."""
    series = Series(TRAFFIC)

    series.set(0.5, "shop", "hard")
    series.set(0.75, "shop", "hard")

    assert [({"service": "shop", "tier": "hard"}, 0.75)] == samples(series)


def test_counts_with_the_same_labels_add_up() -> None:
    """Counters that differ only in a label that the metric lacks are one series."""
    series = Series(TRAFFIC)

    series.add(2, ("shop", "hard"))
    series.add(3, ("shop", "hard"))

    assert [({"service": "shop", "tier": "hard"}, 5.0)] == samples(series)


def test_a_wrong_number_of_labels_is_an_error() -> None:
    """A label value that slipped into the place of another would be worse than no answer."""
    series = Series(TRAFFIC)
    series.set(1, "shop")

    with pytest.raises(ValueError, match="has 2 labels, not 1"):
        list(series.families())


def test_an_exemplar_whose_id_is_too_long_is_left_out() -> None:
    """OpenMetrics allows 128 characters for an exemplar's labels; a longer one would break the whole scrape."""
    long, too_long = TraceExemplar("t" * 120, 0.0), TraceExemplar("t" * 121, 0.0)
    series = Series(TRAFFIC)

    series.add(1, ("shop", "easy"), too_long)
    series.add(1, ("shop", "hard"), long)

    (family,) = series.families()
    assert [None, long] == [row.exemplar for row in family.rows]
