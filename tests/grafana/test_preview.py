from __future__ import annotations

import re
import time

import pytest
import yaml

from grafana.preview.__main__ import LongMemory
from grafana.preview.past import recorded, rules_by_level
from grafana.preview.remote_write import Series, push
from tests.programs import required_program
from tests.rules.conftest import RULES


def test_no_rule_is_evaluated_before_what_it_reads() -> None:
    """The levels hold every shipped rule once, each after the series that it names; one may read its own past."""
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    levels = list(rules_by_level(RULES))
    known: set[str] = set()

    for level in levels:
        later = {rule["record"] for rule in rules if "record" in rule} - known
        assert [] == [
            name
            for rule in level
            for name in later - {rule.get("record")}
            if re.search(rf"{name}(?![\w:])", rule["expr"])
        ]
        known |= {rule["record"] for rule in level if "record" in rule}

    assert len(rules) == sum(len(level) for level in levels)


def test_an_alert_of_the_past_has_the_labels_that_prometheus_gives_it() -> None:
    """ALERTS carries name and state, the rule's labels and those of what it found."""
    rule = {"alert": "Broken", "labels": {"severity": "critical"}}

    (series,) = recorded(rule, [{"metric": {"service": "shop"}, "values": [[60, "3"]]}])

    assert {
        "__name__": "ALERTS",
        "alertname": "Broken",
        "alertstate": "firing",
        "severity": "critical",
        "service": "shop",
    } == series.labels
    assert [(60, 3.0)] == series.samples


@pytest.mark.stack
def test_prometheus_remembers_what_it_is_given_of_the_past() -> None:
    """Samples of weeks ago are found where they were put, older ones of another series included."""
    required_program("prometheus")
    now = round(time.time())
    month, week = now - 30 * 86_400, now - 7 * 86_400

    with LongMemory(config_text="{}") as prometheus:
        first = push(prometheus.url, [Series({"__name__": "a", "b": "ü"}, [(week, -1.5), (now, 300.0)])])
        second = push(prometheus.url, [Series({"__name__": "older"}, [(month, 7.0)])])

        assert (2, 1) == (first, second)
        assert [({"__name__": "a", "b": "ü"}, -1.5)] == prometheus.query("a", at=week)
        assert [({"__name__": "older"}, 7.0)] == prometheus.query("older", at=month)
