"""What a Prometheus says of the monitor, asked over its HTTP interface."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import Request, urlopen

from monitor.doctor.prometheus import PrometheusFacts
from monitor.errors import UsageError

_TIMEOUT_SECONDS = 10.0
_OURS = "cliffwatch"
_OUR_SERIES = '{__name__=~"cliffwatch_.+"}'


def ask_prometheus(url: str) -> PrometheusFacts:
    """
    Targets and rules of the Prometheus at *url*.

    Raises:
        UsageError: *url* is none.
    """
    base = url.rstrip("/")
    if urlsplit(base).scheme not in {"http", "https"}:
        raise UsageError(f"--prometheus {url} is not a URL; write http://127.0.0.1:9090, for example.")
    try:
        active = _get(base, "/api/v1/targets?state=active")["activeTargets"]
        series = _get(base, f"/api/v1/query?{urlencode({'query': f'count by (job, instance) ({_OUR_SERIES})'})}")
        groups = _get(base, "/api/v1/rules")["groups"]
    except (URLError, OSError, ValueError, KeyError) as error:
        return PrometheusFacts(url, problem=str(getattr(error, "reason", error)))
    ours = {(found["metric"].get("job"), found["metric"].get("instance")) for found in series["result"]}
    rules = [rule for group in groups for rule in group["rules"]]
    failing = [rule for rule in rules if rule.get("lastError") and _OURS in str(rule.get("query", ""))]
    return PrometheusFacts(
        url,
        targets=dict(_targets(active, ours)),
        alerts=sorted(rule["name"] for rule in rules if rule["type"] == "alerting"),
        failing=[f"{rule['name']}: {rule['lastError']}" for rule in failing],
    )


def _targets(active: Any, ours: set[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for target in active:
        labels: Mapping[str, str] = target["labels"]
        if (labels.get("job"), labels.get("instance")) in ours or _OURS in labels.get("job", ""):
            yield target["scrapeUrl"], "" if target["health"] == "up" else target["lastError"] or target["health"]


def _get(base: str, path: str) -> Any:
    request = Request(base + path, headers={"Accept": "application/json"})  # noqa: S310  (http or https, as checked)
    with urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310
        return json.load(answer)["data"]
