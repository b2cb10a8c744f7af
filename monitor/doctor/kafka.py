"""Checks of brokers, topics, their records, and the consumer group."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median

from monitor.doctor.finding import Check, Finding
from monitor.doctor.first_config import format_words, unreadable_words
from monitor.doctor.topic_sample import Dated, Sample
from monitor.ingest.cluster import GroupFacts, Reach, TopicFacts
from monitor.ingest.source import TopicPartition
from monitor.rollout.wording import duration

_FUTURE_SECONDS = 60.0
_OLD_SECONDS = 3_600.0
_EVENT_LAG_SECONDS = 86_400.0
_TOLERABLE_UNREADABLE = 0.02
_LAGGING_RECORDS = 10_000
_PRODUCERS_SHOWN = 5
_ZONE_STEP_SECONDS, _LEAST_ZONE_SECONDS, _MOST_ZONE_SECONDS = 900, 3_600, 14 * 3_600
_ZONE_SLACK_SECONDS = 120.0  # delay between the end of a run and its record
_FEWEST_OF_ZONE = 3  # events


_STEPS = {
    "name": ("does not resolve", "Correct the name in kafka.bootstrap_servers."),
    "connection": ("accepts no connection", "Check port and firewall, and the broker."),
    "tls": ("does not speak TLS", "Check kafka.security_protocol and kafka.ssl_ca_file."),
}


def judge_reach(servers: Iterable[Reach]) -> Iterator[Finding]:
    """Names, connections and TLS of the bootstrap servers."""
    for server in servers:
        if server.failed:
            problem, advice = _STEPS[server.failed]
            yield Check("broker", server.failed).unreachable(f"{server.server} {problem}: {server.problem}.", advice)
        else:
            addresses = ", ".join(server.addresses)
            yield Check("broker", "connection").ok(f"{server.server} ({addresses}) accepts connections.")


def judge_topics(topics: Iterable[TopicFacts], *, maturity_seconds: float) -> Iterator[Finding]:
    """Whether each topic exists, has leaders, and keeps records for long enough."""
    for topic in topics:
        check = Check("topics", topic.name)
        if not topic.partitions:
            yield check.problem(f"There is no topic {topic.name}.", "Create it, or take it out of kafka.topics.")
        elif topic.leaderless:
            yield check.problem(
                f"{topic.name} has no leader for partitions {', '.join(map(str, topic.leaderless))}.",
                "Bring back the brokers that hold them.",
            )
        elif topic.retention_seconds is not None and topic.retention_seconds < maturity_seconds:
            yield check.warning(
                f"{topic.name} keeps records for {duration(topic.retention_seconds)}, less than the "
                f"{duration(maturity_seconds)} after which requests are judged.",
                "Raise retention.ms: what expires during an outage is lost.",
            )
        else:
            period = "the brokers' default" if topic.retention_seconds is None else duration(topic.retention_seconds)
            yield check.ok(f"{topic.name} has {topic.partitions} partitions and keeps records for {period}.")


def judge_samples(samples: Iterable[Sample], *, now: float) -> Iterator[Finding]:
    """Formats and readability of the last records of each topic, and the clocks of their producers."""
    for sample in samples:
        yield _readability(sample)
        yield from _libraries(sample)
        yield from _times(sample, now)


def _readability(sample: Sample) -> Finding:
    formats = Check("formats", sample.topic)
    if not sample.records:
        return formats.warning(f"{sample.topic} is empty.", "Check that your agents or the Collector write to it.")
    if not sample.is_readable:
        return formats.problem(unreadable_words(sample), "`cliffwatch init` shows which topics it can read.")
    if sample.unreadable > _TOLERABLE_UNREADABLE * sample.records:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sample.reasons.items())
        return formats.warning(
            f"{sample.unreadable} of the last {sample.records} records of {sample.topic} cannot be read ({reasons}: "
            f"{sample.looks_like}).",
            "Find out who writes them; docs/traces.md says what each reason means.",
        )
    if sample.unmapped:
        return formats.warning(
            f"{sample.unmapped} evaluations in {sample.topic} say nothing about success.",
            "Give traces.outcomes.evaluations a rule for their scores.",
        )
    return formats.ok(
        f"{sample.topic} holds {format_words(sample)}: {sample.traces} traces and {sample.outcomes} outcomes in the "
        f"last {sample.records} records."
    )


def _libraries(sample: Sample) -> Iterator[Finding]:
    """The libraries that write the spans, and what they leave out."""
    for library in sample.libraries:
        sentence = f"{sample.topic} holds spans of {library.name}"
        if library.leaves_out:
            sentence += f", which {'may leave' if library.switch else 'leaves'} out: {library.leaves_out}"
        advice = f"If they are missing in `cliffwatch tail`: {library.switch}."
        yield Check("libraries", library.name).ok_if(not library.switch, f"{sentence}.", advice)


def _times(sample: Sample, now: float) -> Iterator[Finding]:
    if sample.written_at is None:
        return
    age, clocks = now - sample.written_at, Check("clocks", sample.topic)
    newest = f"The newest record of {sample.topic} is"
    skewed = [finding for producer, dated in sample.clocks.items() for finding in _clock(clocks, producer, dated)]
    if age < -_FUTURE_SECONDS:
        last = {producer: max(at.written_at for at in dated) for producer, dated in sample.clocks.items()}
        early = "; ".join(producer for producer, at in last.items() if at > now + _FUTURE_SECONDS) or "unreadable"
        advice = "Set the clocks of producers and brokers by NTP."
        yield clocks.problem(f"{newest} {duration(-age)} in the future ({early}).", advice)
        return
    if age > _OLD_SECONDS:
        yield clocks.warning(f"{newest} {duration(age)} old.", "Check that its producers still run.")
    elif not skewed:
        yield clocks.ok(f"{newest} {duration(max(0.0, age))} old.")
    yield from skewed[:_PRODUCERS_SHOWN]


def _clock(clocks: Check, producer: str, dated: Sequence[Dated]) -> Iterator[Finding]:
    """Warnings if a producer's event times are ahead of its records, hours off, or far in the past."""
    early = [at for at in dated if at.ahead_seconds > _FUTURE_SECONDS]
    late = [at for at in dated if at.ahead_seconds < -_LEAST_ZONE_SECONDS + _ZONE_SLACK_SECONDS]
    for skewed, direction in ((early, "after"), (late, "before")):
        where = _named({TopicPartition(clocks.check, at.partition) for at in skewed})
        skew = median(at.ahead_seconds for at in skewed) if skewed else 0.0
        sentence = f"{producer}: requests in {where} are dated {duration(abs(skew))} {direction} they were written"
        if zone := _time_zone(skew, skewed):
            yield clocks.warning(
                f"{sentence}, which looks like local time {zone} written as UTC.",
                "Write times in UTC, or with their offset (2026-11-29T14:00:00+02:00).",
            )
        elif early and skewed is early:
            yield clocks.warning(f"{sentence}.", "Set the clocks of the agents by NTP.")
        elif len(late) == len(dated) and skew < -_EVENT_LAG_SECONDS:
            yield clocks.warning(f"{sentence}.", "Look for a queue before Kafka, unless this is a back-fill.")


def _time_zone(skew: float, skewed: Sequence[Dated]) -> str:
    """The time zone whose UTC offset explains the skew of all events, if there are several; else empty."""
    offset = round(skew / _ZONE_STEP_SECONDS) * _ZONE_STEP_SECONDS
    is_stable = all(abs(at.ahead_seconds - offset) <= _ZONE_SLACK_SECONDS for at in skewed)
    if len(skewed) < _FEWEST_OF_ZONE or not is_stable or not _LEAST_ZONE_SECONDS <= abs(offset) <= _MOST_ZONE_SECONDS:
        return ""
    hours, minutes = divmod(abs(offset) // 60, 60)
    return f"UTC{'+' if offset > 0 else '-'}{hours}" + (f":{minutes:02}" if minutes else "")


def judge_group(
    group: GroupFacts,
    ledger_offsets: Mapping[TopicPartition, int] | None,
    ends: Mapping[TopicPartition, tuple[int, int]],
) -> Iterator[Finding]:
    """
    Whether the group is active, how far behind it is, and whether the ledger's offsets still exist.

    Args:
        group: The group.
        ledger_offsets: Next offsets in the ledger, or None if it cannot be read.
        ends: First and next offset of each partition that is read.
    """
    members, lagging = Check("group", "members"), Check("group", "lag")
    idle = members.warning(f"The group {group.name} has no members.", "Start `cliffwatch run`.")
    active = f"Members of the group {group.name}: {group.members} ({group.state})."
    yield members.ok(active) if group.members else idle
    if ledger_offsets is None:
        yield lagging.skipped("The ledger, which holds the offsets, cannot be read.")
        return
    yield from _gaps(ledger_offsets, ends)
    lag = sum(max(0, end - ledger_offsets.get(part, first)) for part, (first, end) in ends.items())
    advice = "Check again in a minute; if it grows, add replicas."
    yield lagging.ok_if(lag <= _LAGGING_RECORDS, f"{lag:,} records wait to be read.", advice)


def _gaps(
    ledger_offsets: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, tuple[int, int]]
) -> Iterator[Finding]:
    known = {part: ledger_offsets[part] for part in ends if part in ledger_offsets}
    offsets = Check("group", "offsets")
    lost = _named(part for part, at in known.items() if at < ends[part][0])
    beyond = _named(part for part, at in known.items() if at > ends[part][1])
    if lost:
        yield offsets.problem(
            f"Records of {lost} expired before they were read.",
            "They are lost; raise retention.ms, and start the service before records expire.",
        )
    if beyond:
        yield offsets.problem(
            f"The ledger's offset is beyond the end of {beyond}: another cluster, or a topic that was created again.",
            "Check that kafka.bootstrap_servers and ledger.url belong together.",
        )
    if not lost and not beyond:
        yield offsets.ok("The ledger's offsets lie within the topics.")


def _named(partitions: Iterable[TopicPartition]) -> str:
    return ", ".join(f"{topic}[{number}]" for topic, number in sorted(partitions)[:5])
