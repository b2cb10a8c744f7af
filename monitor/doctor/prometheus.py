"""Checks that Prometheus scrapes the monitor and has loaded its rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from monitor.doctor.finding import Check, Finding
from monitor.errors import UsageError, printable_url

_TIMEOUT_SECONDS = 10.0
_NAME = "cliffwatch"
_SERIES = '{__name__=~"cliffwatch_.+"}'


@dataclass(frozen=True, slots=True)
class PrometheusFacts:
    """
    Targets and rules of a Prometheus server.

    Attributes:
        url: Its address.
        problem: Why it does not answer; empty if it does.
        targets: Problem (empty if it is up) of each target that exports Cliffwatch metrics or has its name.
        alerts: Names of its alerting rules.
        failing: Cliffwatch rules that fail, with their error.
    """

    url: str
    problem: str = ""
    targets: Mapping[str, str] | None = None
    alerts: Sequence[str] = ()
    failing: Sequence[str] = ()


_KNOWN_ALERT = "CapabilityCliff"


def ask_prometheus(url: str) -> PrometheusFacts:
    """
    Ask the Prometheus at *url*, which may contain user and password, for its targets and rules.

    Raises:
        UsageError: *url* is not a URL.
    """
    try:
        with httpx.Client(base_url=url, timeout=_TIMEOUT_SECONDS, follow_redirects=True) as client:
            active = _get(client, "api/v1/targets", state="active")["activeTargets"]
            series = _get(client, "api/v1/query", query=f"count by (job, instance) ({_SERIES})")
            groups = _get(client, "api/v1/rules")["groups"]
    except (httpx.InvalidURL, httpx.UnsupportedProtocol):
        raise UsageError("--prometheus is not a URL; write http://127.0.0.1:9090, for example.") from None
    except (httpx.HTTPError, ValueError, KeyError) as error:
        return PrometheusFacts(printable_url(url), problem=str(error) or type(error).__name__)
    exporters = {(row["metric"].get("job"), row["metric"].get("instance")) for row in series["result"]}
    rules = [rule for group in groups for rule in group["rules"]]
    failing = [rule for rule in rules if rule.get("lastError") and _NAME in str(rule.get("query", ""))]
    return PrometheusFacts(
        printable_url(url),
        targets=dict(_targets(active, exporters)),
        alerts=sorted(rule["name"] for rule in rules if rule["type"] == "alerting"),
        failing=[f"{rule['name']}: {rule['lastError']}" for rule in failing],
    )


def _targets(active: Any, exporters: set[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for target in active:
        labels: Mapping[str, str] = target["labels"]
        if (labels.get("job"), labels.get("instance")) in exporters or _NAME in labels.get("job", ""):
            yield target["scrapeUrl"], "" if target["health"] == "up" else target["lastError"] or target["health"]


def _get(client: httpx.Client, path: str, **params: str) -> Any:
    answer = client.get(path, params=params)
    if answer.is_error:
        raise ValueError(f"HTTP {answer.status_code}")  # httpx's own message contains the URL, with its password
    return answer.json()["data"]


def judge_prometheus(facts: PrometheusFacts) -> Iterator[Finding]:
    """Whether the target is up, and the rules are loaded and work."""
    answer, scraped, rules = (Check("prometheus", name) for name in ("answer", "target", "rules"))
    if facts.problem:
        yield answer.unreachable(f"{facts.url} does not answer: {facts.problem}.", "Check --prometheus.")
        return
    if not facts.targets:
        advice = "Add a scrape job for it (deploy/prometheus.yml)."
        yield scraped.problem(f"{facts.url} scrapes no cliffwatch.", advice)
    for target, reason in sorted((facts.targets or {}).items()):
        down = scraped.problem(f"{target} is down: {reason}.", "Check web.listen_address, and that the service runs.")
        yield down if reason else scraped.ok(f"{target} is up.")
    if _KNOWN_ALERT not in facts.alerts:
        advice = "Add rules/cliffwatch.rules.yml to its rule_files and reload it."
        yield rules.problem(f"{facts.url} has no rule for {_KNOWN_ALERT}.", advice)
    elif facts.failing:
        yield rules.problem(f"Rules fail: {'; '.join(facts.failing)}.", "Look at its log.")
    else:
        yield rules.ok(f"{len(facts.alerts)} alerts have rules.")
