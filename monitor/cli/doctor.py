"""`cliffwatch doctor`: checks everything that the service needs, and says what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Annotated

import typer
from rich.text import Text

from monitor.cli import options
from monitor.cli.app import app, print_result
from monitor.cli.terminal.console import Console, print_line, waiting
from monitor.cli.wiring import ledger_url, opened_ledger, reviewer_of
from monitor.clock import WallClock
from monitor.config.model import Config
from monitor.doctor import ledger as ledger_checks
from monitor.doctor.finding import Check, Finding, Health, exit_code, next_step
from monitor.doctor.kafka import judge_group, judge_reach, judge_samples, judge_topics
from monitor.doctor.prometheus import ask_prometheus, judge_prometheus
from monitor.doctor.topic_sample import sample
from monitor.errors import DependencyUnreachable, LedgerInvalid, LedgerUnavailable
from monitor.ingest.cluster import Cluster, reach
from monitor.ingest.kafka_reader import KafkaReader
from monitor.ingest.source import TopicPartition
from monitor.labels.delay import slowest
from monitor.ledger.engine import is_missing
from monitor.ledger.inspection import NO_LABELS, LedgerFacts, inspect_ledger
from monitor.output.plain import Json, fields_of, plain
from monitor.service.pipeline import DecodeRules
from monitor.trace.model import REFERENCE_ENVIRONMENT

_Say = Callable[[str], None]

_STYLES = {Health.OK: "green", Health.WARNING: "yellow", Health.PROBLEM: "bold red", Health.SKIPPED: "dim"}
_WIDTH = len(Health.PROBLEM) + 2
_AREA_WIDTH = 12


@app.command()
def doctor(
    *, shared: options.Shared, prometheus: str = "", records: Annotated[int, typer.Option(min=1, max=10000)] = 100
) -> None:
    """
    Check broker, topics, formats, clocks, group, ledger, labels, versions, services and tiers, and say what to do next.

    It changes nothing: it joins no group, moves no offset and creates no table. Exit code 1: there is a problem, or no
    traffic was counted yet. 3: a dependency cannot be reached.

    Example: [bold]cliffwatch doctor --config.file monitor.yaml --prometheus http://127.0.0.1:9090[/]

    Args:
        prometheus (URL): Also check target and rules on this Prometheus.
        records: Number of newest records to read from each topic.
    """
    config = shared.config()
    console, findings = Console(), []
    with waiting("Looking") as say:
        for finding in _checks(config, shared.ledger, prometheus, records, say):
            findings.append(finding)
            if shared.output is options.OutputFormat.TABLE:
                _print_finding(console, finding)
    by_health = Counter(finding.health for finding in findings)
    tally = {health.value: by_health[health] for health in Health}
    result = {"checks": findings, "tally": tally, "next": next_step(findings)}
    counts = ", ".join(f"{count} {health}" for health, count in tally.items() if count)
    print_result(shared.output, result, print_line, f"{counts}\nNext: {result['next']}")
    raise typer.Exit(exit_code(findings))


def _print_finding(console: Console, finding: Finding) -> None:
    """Print the result, and the advice on a line of its own."""
    line = Text()
    line.append(finding.health.value.ljust(_WIDTH), _STYLES[finding.health])
    line.append(finding.area.ljust(_AREA_WIDTH), "dim").append(finding.sentence)
    console.print(line, soft_wrap=True, highlight=False)
    if finding.advice:
        console.print(Text(f"{' ' * (_WIDTH + _AREA_WIDTH)}→ {finding.advice}"), soft_wrap=True, highlight=False)


@plain.register
def _finding(finding: Finding) -> Json:
    fields = fields_of(finding)
    return {"finding": fields.pop("sentence"), "unreachable": fields.pop("is_unreachable"), **fields}


def _checks(config: Config, ledger: str | None, prometheus: str, records: int, say: _Say) -> Iterator[Finding]:
    url = ledger_url(config.ledger, ledger)
    say("Looking at ledger")
    facts, ledger_findings = _ledger_facts(url)
    say("Looking at brokers")
    yield from _kafka(config, facts, records, say)
    yield from ledger_findings
    say("Looking at labels and tiers")
    yield from _rows(config, url, facts)
    if prometheus:
        say("Looking at Prometheus")
        yield from judge_prometheus(ask_prometheus(prometheus))
    else:
        yield Check("prometheus", "answer").skipped("No Prometheus was named with --prometheus.")


def _kafka(config: Config, facts: LedgerFacts | None, records: int, say: _Say) -> Iterator[Finding]:
    kafka = config.kafka
    servers = list(reach(kafka))
    yield from judge_reach(servers)
    if all(server.failed for server in servers):
        yield from _skipped("No broker can be reached.")
        return
    login = Check("broker", "login")
    try:
        with closing(Cluster(kafka)) as cluster:
            yield login.ok(f"Brokers that answer: {cluster.brokers()}.")
            topics = cluster.topics(kafka.topics)
            group = cluster.group(kafka.group_id)
    except DependencyUnreachable as refused:
        sentence = f"The brokers accept a connection and refuse the client: {refused}"
        yield login.unreachable(sentence, "Compare kafka.security_protocol and sasl_* with the listener's.")
        yield from _skipped("The brokers refuse the client.")
        return
    yield from judge_topics(topics, maturity_seconds=_maturity(config, facts))
    existing = [topic.name for topic in topics if topic.partitions]
    rules, clock = DecodeRules(config.limits, config.traces), WallClock()
    ends: dict[TopicPartition, tuple[int, int]] = {}
    with closing(KafkaReader(kafka)) as reader:
        for topic in existing:
            say(f"Looking at records of {topic}")
            yield from judge_samples([sample(topic, reader.last(topic, records), rules)], now=clock.time())
            ends |= reader.offset_ranges(reader.partitions(topic))
    yield from judge_group(group, None if facts is None else facts.next_offsets or {}, ends)


def _maturity(config: Config, facts: LedgerFacts | None) -> float:
    """Age at which the requests of every service are judged, seconds."""
    delays = facts.labels.delays.values() if facts is not None and facts.labels is not None else ()
    return max(config.rollout.judged_after(slowest(of_service)) for of_service in (*delays, ()))


def _skipped(reason: str, areas: Sequence[str] = ("topics", "formats", "clocks", "group")) -> Iterator[Finding]:
    return (Check(area, area).skipped(reason) for area in areas)


def _ledger_facts(url: str) -> tuple[LedgerFacts | None, list[Finding]]:
    schema = Check("ledger", "schema")
    if is_missing(url):
        return None, [schema.skipped("It does not exist yet; `cliffwatch run` creates it.")]
    try:
        facts = inspect_ledger(url, WallClock())
    except LedgerUnavailable as away:
        return None, [Check("ledger", "answer").unreachable(str(away), "Check ledger.url, and that its database runs.")]
    except LedgerInvalid as wrong:
        return None, [schema.problem(str(wrong), "Check ledger.url, or restore a backup of the ledger.")]
    return facts, list(ledger_checks.judge_ledger(facts))


def _rows(config: Config, url: str, facts: LedgerFacts | None) -> Iterator[Finding]:
    if facts is None or facts.labels is None:
        if is_missing(url):
            yield from ledger_checks.judge_labels(NO_LABELS, config.rollout)
        yield from _skipped("The ledger cannot be read.", ("services", "versions", "tiers"))
        return
    yield from ledger_checks.judge_labels(facts.labels, config.rollout)
    with opened_ledger(config, url) as opened:
        activity = opened.activity()
        review = reviewer_of(config, opened)
        calibration = review.calibration_in_force()
        frozen = {record.calibration_id: record.history_labels for record in opened.calibrations()}
        labels = (0, 0) if calibration is None else (frozen[calibration.calibration_id], review.history_labels())
    yield from ledger_checks.judge_versions(activity)
    trust, enough = None if calibration is None else calibration.trust, config.difficulty.min_class_labels
    has_learnt = trust is not None and trust.is_trusted
    yield from ledger_checks.judge_services(facts.tiers, min_class_labels=enough, has_learnt=has_learnt)
    reference = {version.model_version for version in activity if version.environment == REFERENCE_ENVIRONMENT}
    yield from ledger_checks.judge_tiers(trust, reference_versions=len(reference), labels=labels)
    yield from ledger_checks.judge_coverage(facts.tiers)
    yield from ledger_checks.judge_promises(() if calibration is None else calibration.promises)
