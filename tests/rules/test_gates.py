"""The queries of docs/gates.md: one sample whatever happens, and the right one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import yaml

from docs.handbook.markdown import blocks
from monitor.metrics.names import METRICS
from tests.rules.conftest import RULES
from tests.rules.spec import REPLICA, series

PAGE = RULES.parents[1] / "docs" / "gates.md"
BOOKING = {"service": "booking-agent", "environment": "production", "candidate": "gpt-4-0125-preview"}
ROLLOUT = {**BOOKING, "baseline": "gpt-3.5-turbo-0125"}
READY = series("cliffwatch_ready")
STOPS, PASSES, NOT_KNOWN = 1, 0, 2


WHILE_SHIFTING, BEFORE_PROMOTION = (block.text for block in blocks(PAGE, "promql"))


def verdict(state: str, **labels: str) -> dict[str, str]:
    """A monitor that is ready, with every state of one rollout."""
    states = ("ok", "cliff", "regression", "waiting")
    return {READY: "1"} | {
        series("cliffwatch_rollout_verdict", {**ROLLOUT, **labels}, verdict=each): str(int(each == state))
        for each in states
    }


def two_replicas(values: Mapping[str, str]) -> dict[str, str]:
    twins = dict(values)
    for name, value in values.items():
        twin = name
        for label, other in REPLICA.items():
            twin = twin.replace(f'"{label}"', f'"{other}"')
        twins[twin] = value
    return twins


@pytest.mark.stack
@pytest.mark.parametrize(
    ("world", "shifting", "promotion"),
    [
        pytest.param(verdict("ok"), PASSES, PASSES, id="ok"),
        pytest.param(verdict("cliff"), STOPS, STOPS, id="cliff"),
        pytest.param(verdict("regression"), STOPS, STOPS, id="regression"),
        pytest.param(verdict("waiting"), PASSES, NOT_KNOWN, id="waiting"),
        pytest.param({READY: "1"}, PASSES, NOT_KNOWN, id="no rollout"),
        pytest.param({READY: "0"}, NOT_KNOWN, NOT_KNOWN, id="a monitor that is not ready"),
        pytest.param({}, NOT_KNOWN, NOT_KNOWN, id="no monitor"),
        pytest.param({READY: "NaN"}, NOT_KNOWN, NOT_KNOWN, id="a monitor out of its mind"),
        pytest.param(verdict("cliff", candidate="another"), PASSES, NOT_KNOWN, id="another candidate's cliff"),
        pytest.param(verdict("cliff", service="another"), PASSES, NOT_KNOWN, id="another service's cliff"),
        pytest.param(two_replicas(verdict("cliff")), STOPS, STOPS, id="two replicas"),
        pytest.param(
            {**verdict("ok"), **verdict("regression", baseline="an older one")}, STOPS, STOPS, id="two baselines"
        ),
    ],
)
def test_a_gate_gives_one_sample_whatever_happens(
    world: Mapping[str, str], shifting: int, promotion: int, promtool: Callable[..., None]
) -> None:
    """Without labels, never NaN, and not known is told apart from fine."""
    promtool(
        world,
        interval="15s",
        until="1m",
        queries=[
            {"expr": query, "eval_time": "1m", "exp_samples": [{"labels": "{}", "value": value}]}
            for query, value in ((WHILE_SHIFTING, shifting), (BEFORE_PROMOTION, promotion))
        ],
    )


def test_the_manifests_hold_the_tested_queries() -> None:
    """With the names filled in, each is one of the two queries of the page."""
    manifests = [document for block in blocks(PAGE, "yaml") for document in yaml.safe_load_all(block.text)]

    queries = [_filled_in(query) for manifest in manifests for query in _queries(manifest)]

    assert [WHILE_SHIFTING, BEFORE_PROMOTION, WHILE_SHIFTING] == queries


def test_the_page_names_metrics_that_exist() -> None:
    """Every word that looks like a metric is one."""
    names = {metric.name for metric in METRICS}

    assert set(re.findall(r"\bcliffwatch_\w+", PAGE.read_text())) <= names


def _queries(manifest: Mapping[str, Any]) -> list[str]:
    spec = manifest["spec"]
    if "query" in spec:
        return [spec["query"]]
    return [metric["provider"]["prometheus"]["query"] for metric in spec["metrics"]]


def _filled_in(query: str) -> str:
    for name, value in BOOKING.items():
        query = re.sub(rf"\{{\{{ ?(args|variables)\.{name} ?\}}\}}", value, query)
    return query
