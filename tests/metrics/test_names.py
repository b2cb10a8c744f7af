from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from docs.handbook import metric_reference
from monitor.metrics import collect
from monitor.metrics.names import METRICS, Metric, MetricKind

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"

OTHER_WORDS = {"model_version"}
"""Words with an underscore in collectors that name a label."""

CONTRACT = {
    "cliffwatch_requests_total": {"tier", "capability"},
    "cliffwatch_outcomes_total": {"tier", "capability", "outcome"},
    "cliffwatch_outcome_revisions_total": {"tier", "capability", "from", "to"},
    "cliffwatch_failures_by_class_total": {"tier", "failure_class"},
    "cliffwatch_request_duration_seconds": {"tier"},
    "cliffwatch_request_tokens_total": {"tier", "direction"},
    "cliffwatch_request_cost_dollars_total": {"tier"},
    "cliffwatch_tool_calls_total": {"tier"},
    "cliffwatch_budget_exceeded_total": {"tier"},
    "cliffwatch_model_version_info": {"role", "floating"},
}
"""Metrics of one model version, with their labels beside service, environment and model_version."""


def test_each_name_is_given_once() -> None:
    """No two metrics share a name."""
    names = [metric.name for metric in METRICS]

    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_names_follow_the_conventions(metric: Metric) -> None:
    """Every name has the prefix, counters alone end in _total, and every help text is a sentence."""
    assert metric.name.startswith("cliffwatch_")
    assert metric.name.endswith("_total") == (metric.kind is MetricKind.COUNTER)
    assert metric.help.endswith(".")
    assert "\n" not in metric.help
    assert len(set(metric.labels)) == len(metric.labels)


@pytest.mark.parametrize("name", CONTRACT)
def test_metrics_of_a_model_version_have_the_labels_of_the_contract(name: str) -> None:
    """Dashboards and rules of others rely on these labels."""
    labels = next(set(metric.labels) for metric in METRICS if metric.name == name)

    assert {"service", "environment", "model_version", *CONTRACT[name]} == labels


def test_collectors_name_every_metric_of_the_table_and_no_other() -> None:
    """A metric that nothing collects would be promised in vain, and a name that the table lacks would stop a scrape."""
    strings = {
        node.value
        for node in ast.walk(ast.parse(Path(collect.__file__).read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    known = {metric.name.removeprefix("cliffwatch_") for metric in METRICS}

    assert known == known & strings
    assert set() == {each for each in strings if re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)+", each)} - known - OTHER_WORDS


def test_the_document_is_what_the_code_says() -> None:
    """docs/metrics.md is rebuilt by `make generate`."""
    assert metric_reference.page() == DOCUMENT.read_text()
