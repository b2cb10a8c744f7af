"""Whether Prometheus sees the monitor, and has its rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from monitor.doctor.finding import Finding, ok, problem, unreachable

AREA = "prometheus"


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
    if facts.problem:
        yield unreachable(AREA, "answer", f"{facts.url} does not answer: {facts.problem}.", "Check --prometheus.")
        return
    if not facts.targets:
        yield problem(
            AREA, "target", f"{facts.url} scrapes no cliffwatch.", "Add a scrape job for it (deploy/prometheus.yml)."
        )
    for target, down in sorted((facts.targets or {}).items()):
        if down:
            yield problem(
                AREA, "target", f"{target} is down: {down}.", "Check web.listen_address, and that the service runs."
            )
        else:
            yield ok(AREA, "target", f"{target} is up.")
    if _KNOWN_ALERT not in facts.alerts:
        yield problem(
            AREA,
            "rules",
            f"{facts.url} has no rule for {_KNOWN_ALERT}.",
            "Add rules/cliffwatch.rules.yml to its rule_files and reload it.",
        )
    elif facts.failing:
        yield problem(AREA, "rules", f"Rules fail: {'; '.join(facts.failing)}.", "Look at its log.")
    else:
        yield ok(AREA, "rules", f"{len(facts.alerts)} alerts have rules.")
