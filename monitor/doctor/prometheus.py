"""Whether Prometheus sees the monitor, and has its rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from monitor.doctor.finding import Check, Finding


@dataclass(frozen=True, slots=True)
class PrometheusFacts:
    """
    What a Prometheus says.

    Attributes:
        url: Where it is.
        problem: Why it does not answer; empty where it does.
        targets: Problem of each scraped target that shows our metrics or is named for us; empty where it is up.
        alerts: Names of the alerts that it has rules for.
        failing: Rules of ours that fail, with their error.
    """

    url: str
    problem: str = ""
    targets: Mapping[str, str] | None = None
    alerts: Sequence[str] = ()
    failing: Sequence[str] = ()


_KNOWN_ALERT = "CapabilityCliff"


def judge_prometheus(facts: PrometheusFacts) -> Iterator[Finding]:
    """Target up, rules loaded and sound."""
    answer, scraped, rules = (Check("prometheus", name) for name in ("answer", "target", "rules"))
    if facts.problem:
        yield answer.unreachable(f"{facts.url} does not answer: {facts.problem}.", "Check --prometheus.")
        return
    if not facts.targets:
        advice = "Add a scrape job for it (deploy/prometheus.yml)."
        yield scraped.problem(f"{facts.url} scrapes no cliffwatch.", advice)
    for target, down in sorted((facts.targets or {}).items()):
        if down:
            yield scraped.problem(f"{target} is down: {down}.", "Check web.listen_address, and that the service runs.")
        else:
            yield scraped.ok(f"{target} is up.")
    if _KNOWN_ALERT not in facts.alerts:
        advice = "Add rules/cliffwatch.rules.yml to its rule_files and reload it."
        yield rules.problem(f"{facts.url} has no rule for {_KNOWN_ALERT}.", advice)
    elif facts.failing:
        yield rules.problem(f"Rules fail: {'; '.join(facts.failing)}.", "Look at its log.")
    else:
        yield rules.ok(f"{len(facts.alerts)} alerts have rules.")
