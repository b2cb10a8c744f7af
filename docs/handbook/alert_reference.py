"""The reference of alerts: what the shipped rules file says of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from docs.handbook.markdown import ROOT

RULES = ROOT / "rules" / "cliffwatch.rules.yml"

_HEAD = """# Alert rules

Every alert and every recorded series of [`rules/cliffwatch.rules.yml`](../../rules/cliffwatch.rules.yml), as Prometheus loads them.
[Alerts](../alerts.md) says in words when each fires and which labels it has.

"""


def page() -> str:
    """The page, in Markdown."""
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    alerts = [_alert(rule) for rule in rules if "alert" in rule]
    recorded = [f"### {rule['record']}\n\n{_promql(rule['expr'])}" for rule in rules if "record" in rule]
    return f"{_HEAD}## Alerts\n\n{''.join(alerts)}## Recorded series\n\n{''.join(recorded)}"


def _alert(rule: Mapping[str, Any]) -> str:
    name, labels, annotations = rule["alert"], rule["labels"], rule["annotations"]
    lasting = f"for {rule['for']}" if "for" in rule else "at once"
    kept = f", kept firing for {rule['keep_firing_for']}" if "keep_firing_for" in rule else ""
    return (
        f"### {name}\n\n{annotations['summary']}\n\n"
        f"Severity {labels['severity']}, signature `{labels['signature']}`; fires when it holds {lasting}{kept}. "
        f"[Runbook](../runbooks/{name}.md).\n\n{_promql(rule['expr'])}"
    )


def _promql(expression: str) -> str:
    return f"```promql\n{expression.rstrip()}\n```\n\n"
