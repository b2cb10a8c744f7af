from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from grafana.dashboards import DASHBOARDS
from monitor.ledger.ledger import CounterKey, CounterName
from monitor.output.frontier import class_frontiers, live_counts, version_horizons
from monitor.trace.horizon import Horizon
from tests.grafana.queries import filled_in, panels
from tests.metrics.same_numbers import alert_words, expected_samples, page_words
from tests.programs import required_program
from tests.rules.conftest import RULES
from tests.stack.servers import PrometheusServer, free_port, wait_until
from tests.web.page.reading import words

pytestmark = pytest.mark.stack

CLIFF = {
    "service": "booking-agent",
    "environment": "production",
    "baseline": "gpt-3.5-turbo-0125",
    "candidate": "gpt-4-0125-preview",
    "capability": "relevance",
    "unit": "seconds",
    "__rate_interval": "1m",
}

QUIET = {
    "delta7d": "needs a week of samples",
    "delta1d": "needs a day of samples",
    "cliffwatch_consumer_lag_records": "the demo reads no Kafka",
    "cliffwatch_dead_letters": "the demo has no bad record",
    "cliffwatch_series_dropped": "the demo stays within the limits",
    "cliffwatch_policy_floor_pass_ratio": "the demo has no floors",
    "cliffwatch_rollout_floor_pass_ratio": "the demo has no floors",
    "cliffwatch_horizon_budgets": "the demo's requests have no budget",
    "cliffwatch_horizon_unlabelled": "the demo's requests all have an outcome",
    "cliffwatch_request_cost_hard_dollars_per_request": "the demo's outcomes have no cost",
}
"""Parts of names whose series the demo does not have, and why."""


_OUTCOME_LABELS = ("service", "environment", "model_version", "tier", "capability", "outcome")


@dataclass(frozen=True)
class Replayed:
    """The demo's rollouts as printed, where they are served, and a Prometheus that ran the shipped rules on them."""

    printed: dict[str, Any]
    address: str
    prometheus: PrometheusServer

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        return self.prometheus.query(filled_in(expression, CLIFF))

    def values(self, dashboard: str, title: str) -> dict[str, float]:
        """Value by legend, or by column and row label for a table, as the panel shows it."""
        (panel,) = (panel for panel in panels(dashboard) if panel["title"] == title)
        return {
            _legend(panel, target, labels): value
            for target in panel["targets"]
            for labels, value in self.query(target["expr"])
        }


def _legend(panel: dict[str, Any], target: dict[str, Any], labels: dict[str, str]) -> str:
    if panel["type"] == "table":
        column = panel["transformations"][1]["options"]["renameByName"][f"Value #{target['refId']}"]
        return " ".join([column, *labels.values()])
    legend: str = re.sub(r"\{\{(\w+)\}\}", lambda match: labels[match[1]], target["legendFormat"])
    return legend


@pytest.fixture(scope="module")
def replayed(
    tmp_path_factory: pytest.TempPathFactory, demo_printed: Callable[[], AbstractContextManager[Path]]
) -> Iterator[Replayed]:
    required_program("prometheus")
    folder = tmp_path_factory.mktemp("replayed")
    rules = folder / "fast.rules.yml"
    rules.write_text(re.sub(r"^    interval: .*\n", "", RULES.read_text(), flags=re.MULTILINE))
    address = f"127.0.0.1:{free_port()}"
    printed, log = folder / "printed.json", folder / "demo.log"
    with printed.open("w") as output, log.open("w") as errors:
        demo = subprocess.Popen(
            [
                *(Path(sys.executable).with_name("cliffwatch"), "demo"),
                *("--serve", "--output", "json", "--web.listen-address", address),
            ],
            stdout=output,
            stderr=errors,
        )
    try:
        with demo_printed() as for_all:
            wait_until(lambda: demo.poll() is not None or "Open http" in log.read_text(), 500, "the demo is served")
            assert demo.poll() is None, log.read_text()
            for_all.write_bytes(printed.read_bytes())
        with PrometheusServer(targets=[address], rule_files=[rules], interval="1s") as prometheus:
            wait_until(
                lambda: demo.poll() is not None or prometheus.query("ALERTS{alertstate='firing'}"),
                240,
                "the demo is served, scraped and alerted on",
            )
            assert demo.poll() is None, log.read_text()
            yield Replayed(json.loads(printed.read_text()), address, prometheus)
    finally:
        demo.terminate()
        demo.wait()


@pytest.mark.parametrize("dashboard", DASHBOARDS)
def test_every_panel_shows_the_rollout(dashboard: str, replayed: Replayed) -> None:
    """Each query finds its series and no NaN; those that cannot in a demo are listed with their reason."""
    queries = {(panel["title"], target["expr"]) for panel in panels(dashboard) for target in panel["targets"]}

    values = {query: [value for _, value in replayed.query(query[1])] for query in queries}

    assert set() == {query for query in queries if not values[query] and not any(name in query[1] for name in QUIET)}
    assert [] == [query for query in queries if any(math.isnan(value) for value in values[query])]


def test_the_rollout_dashboard_says_what_the_verdict_says(replayed: Replayed) -> None:
    """The numbers on the panels are the numbers that the command prints."""
    (verdict,) = (each for each in replayed.printed["rollouts"] if each["service"] == CLIFF["service"])
    share, aggregate = verdict["share"], verdict["aggregate"]

    assert {verdict["verdict"]: 1} == replayed.values("rollout", "Verdict")
    assert {"needed": verdict["requests_needed"]} == replayed.values("rollout", "Labelled requests still needed")
    moved = {cause: 100 * change for cause, change in verdict["decomposition"].items()}
    assert moved == pytest.approx(replayed.values("rollout", "What moved the share"))
    assert {arm: share[arm] for arm in ("baseline", "candidate")} == pytest.approx(
        replayed.values("rollout", "Hard tier's share of failures")
    )
    assert {arm: aggregate[arm]["requests"] for arm in ("baseline", "candidate")} == replayed.values(
        "rollout", "Labelled requests"
    )
    shown = replayed.values("rollout", "Excess over the expected change")
    excess = (100 * share["excess"], 100 * share["excess_lower"])
    assert excess == pytest.approx((shown["change"], shown["change lower"]))
    shown = replayed.values("rollout", "Failure rate by tier")
    assert {
        f"{column} {tier}": value
        for tier, rates in verdict["tiers"].items()
        for column, value in (
            ("baseline", rates["baseline"]["rate"]),
            ("candidate", rates["candidate"]["rate"]),
            ("change", 100 * rates["change"]["estimate"]),
            ("at least", 100 * rates["change"]["lower"]),
            ("at most", 100 * rates["change"]["upper"]),
        )
    } == pytest.approx(shown)


def test_the_canary_dashboard_says_what_the_verdict_says(replayed: Replayed) -> None:
    """Tier by tier, both arms with their bounds."""
    (verdict,) = (each for each in replayed.printed["rollouts"] if each["service"] == CLIFF["service"])

    for tier, rates in verdict["tiers"].items():
        expected = {
            arm if bound == "rate" else f"{arm} {bound}": rates[arm][bound]
            for arm in ("baseline", "candidate")
            for bound in ("lower", "rate", "upper")
        }
        assert expected == pytest.approx(replayed.values("canary", f"{tier.capitalize()} requests"))


def test_the_frontier_dashboard_counts_what_the_verdict_counts(replayed: Replayed) -> None:
    """Pass rates of both versions are those of the labelled requests behind the verdict."""
    (verdict,) = (each for each in replayed.printed["rollouts"] if each["service"] == CLIFF["service"])
    shown = replayed.values("frontier", "Model versions")

    for arm in ("baseline", "candidate"):
        counts, version = verdict["aggregate"][arm], verdict[arm]
        hard = [verdict["tiers"][tier][arm] for tier in ("hard", "frontier")]
        labelled, failures = (sum(tier[key] for tier in hard) for key in ("requests", "failures"))

        assert 1 - counts["failures"] / counts["requests"] == pytest.approx(shown[f"average pass rate {version}"])
        assert labelled == shown[f"labelled hard requests {version}"]
        assert 1 - failures / labelled == pytest.approx(shown[f"hard pass rate {version}"])


def test_the_frontier_dashboard_names_the_version_that_the_command_names(replayed: Replayed) -> None:
    """The best version of a class, with its bounds: what `cliffwatch frontier` makes of the same counters."""
    scraped = replayed.query('cliffwatch_outcomes_total{service="$service", environment="$environment"}')
    counters = {
        CounterKey(CounterName.OUTCOMES, *(labels[name] for name in _OUTCOME_LABELS)): int(value)
        for labels, value in scraped
    }
    counts = live_counts(counters, CLIFF["service"], CLIFF["environment"])
    of_class = {each.capability: each for each in class_frontiers(counts, {}, min_requests=30)}[CLIFF["capability"]]

    best = of_class.versions[0]

    assert {
        f"{column} {CLIFF['capability']} {of_class.best}": value
        for column, value in {
            "hard pass rate": best.pass_rate.estimate,
            "at least": best.pass_rate.lower,
            "at most": best.pass_rate.upper,
            "labelled hard requests": best.requests,
        }.items()
    } == pytest.approx(replayed.values("frontier", "Best version of each class"))


def test_the_frontier_dashboard_shows_success_by_horizon_as_the_command_does(replayed: Replayed) -> None:
    """Each length of each version: requests, pass rate and bounds, computed here from the scraped counts."""
    scraped = replayed.query('cliffwatch_horizon_requests{service="$service", environment="$environment"}')
    counters = {
        CounterKey(
            CounterName.HORIZON,
            *(labels[name] for name in ("service", "environment", "model_version")),
            detail=" ".join(labels[name] for name in ("unit", "longer_than", "outcome")),
        ): int(value)
        for labels, value in scraped
    }
    of = (counters, CLIFF["service"], CLIFF["environment"], Horizon.SECONDS)
    expected = {}
    for version in version_horizons(*of, min_requests=30):
        for each in version.lengths:
            row = f"{'unknown' if each.longer_than is None else each.longer_than} {version.model_version}"
            expected[f"labelled requests {row}"] = each.labelled
            if each.pass_rate is not None:
                expected |= {
                    f"pass rate {row}": each.pass_rate.estimate,
                    f"at least {row}": each.pass_rate.lower,
                    f"at most {row}": each.pass_rate.upper,
                }

    shown = replayed.values("frontier", "Success by horizon")

    assert len(expected) > 20
    assert expected == pytest.approx({name: value for name, value in shown.items() if not name.startswith("unl")})


def test_every_surface_shows_the_same_numbers(replayed: Replayed) -> None:
    """What is printed is what the HTTP interface, the scrape, the status page and the alert say, digit by digit."""

    def get(path: str) -> httpx.Response:
        return httpx.get(f"http://{replayed.address}{path}", trust_env=False)

    scraped = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(get("/metrics").text)
        for sample in family.samples
    }
    assert replayed.printed["rollouts"] == get("/api/v1/rollouts").json()
    for rollout in replayed.printed["rollouts"]:
        named = {(name, rollout[name]) for name in ("service", "environment", "baseline", "candidate")}
        expected = {(name, labels | named): value for (name, labels), value in expected_samples(rollout).items()}
        assert expected == {key: scraped[key] for key in expected}
        page = words(get(f"/rollouts/{rollout['id']}").text)
        assert set() == {word for word in page_words(rollout) if word not in page}


def test_the_alert_says_the_numbers_of_the_verdict(replayed: Replayed) -> None:
    """Rounded for a pager, and in the order of the sentence."""
    (verdict,) = (each for each in replayed.printed["rollouts"] if each["service"] == CLIFF["service"])

    alert = wait_until(
        lambda: next(
            (each for each in replayed.prometheus.alerts() if each["labels"]["alertname"] == "CapabilityCliff"), None
        ),
        60,
        "the cliff is paged",
    )

    said = re.findall(r"[-+\d.]+(?:%| points)", alert["annotations"]["description"])
    assert alert_words(verdict) == said


def test_the_shipped_rules_call_the_real_cliff_a_cliff(replayed: Replayed) -> None:
    """A cliff raises alerts with its cause, and so does a regression; an ordinary gain and a null raise none."""
    wait_until(lambda: len(replayed.prometheus.alerts()) >= 4, what="all alerts fire")
    alerts = {
        (alert["labels"]["service"], alert["labels"]["alertname"]): alert for alert in replayed.prometheus.alerts()
    }
    cliff = {name: alert for (service, name), alert in alerts.items() if service == CLIFF["service"]}

    assert {"CapabilityCliff", "HardTierFailureShareJump"} == cliff.keys()
    assert {CLIFF["service"], "support-agent"} == {service for service, _ in alerts}
    for alert in cliff.values():
        rollout = {name: alert["labels"][name] for name in ("service", "environment", "baseline", "candidate")}
        assert rollout == {name: CLIFF[name] for name in rollout}
        assert alert["annotations"]["cause"].startswith("easier tiers +")
