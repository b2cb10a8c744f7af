"""Brokers, topics, what is in them, and the group."""

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
_ZONE_SLACK_SECONDS = 120.0  # from the end of a run to when it is written
_FEWEST_OF_ZONE = 3  # events


_STEPS = {
    "name": ("does not resolve", "Correct the name in kafka.bootstrap_servers."),
    "connection": ("accepts no connection", "Check port and firewall, and the broker."),
    "tls": ("does not speak TLS", "Check kafka.security_protocol and kafka.ssl_ca_file."),
}


def judge_reach(servers: Iterable[Reach]) -> Iterator[Finding]:
    """Names, connections and TLS of the bootstrap servers."""
    for each in servers:
        if each.failed:
            what, advice = _STEPS[each.failed]
            yield Check("broker", each.failed).unreachable(f"{each.server} {what}: {each.problem}.", advice)
        else:
            addresses = ", ".join(each.addresses)
            yield Check("broker", "connection").ok(f"{each.server} ({addresses}) accepts connections.")


def judge_topics(topics: Iterable[TopicFacts], *, maturity_seconds: float) -> Iterator[Finding]:
    """Whether each topic is there, whole, and kept for long enough."""
    for each in topics:
        topic = Check("topics", each.name)
        if not each.partitions:
            yield topic.problem(f"There is no topic {each.name}.", "Create it, or take it out of kafka.topics.")
        elif each.leaderless:
            yield topic.problem(
                f"{each.name} has no leader for partitions {', '.join(map(str, each.leaderless))}.",
                "Bring back the brokers that hold them.",
            )
        elif each.retention_seconds is not None and each.retention_seconds < maturity_seconds:
            yield topic.warning(
                f"{each.name} keeps records for {duration(each.retention_seconds)}, less than the "
                f"{duration(maturity_seconds)} after which requests are judged.",
                "Raise retention.ms: what expires during an outage is lost.",
            )
        else:
            kept = "the brokers' default" if each.retention_seconds is None else duration(each.retention_seconds)
            yield topic.ok(f"{each.name} has {each.partitions} partitions and keeps records for {kept}.")


def judge_samples(samples: Iterable[Sample], *, now: float) -> Iterator[Finding]:
    """What the last records of each topic are, how many can be read, and what their times say."""
    for each in samples:
        yield _readability(each)
        yield from _left_out(each)
        yield from _times(each, now)


def _readability(each: Sample) -> Finding:
    formats = Check("formats", each.topic)
    if not each.records:
        return formats.warning(f"{each.topic} is empty.", "Check that your agents or the Collector write to it.")
    if not each.is_ours:
        return formats.problem(unreadable_words(each), "`cliffwatch init` shows which topics it can read.")
    if each.unreadable > _TOLERABLE_UNREADABLE * each.records:
        reasons = ", ".join(f"{count} {reason}" for reason, count in each.reasons.items())
        return formats.warning(
            f"{each.unreadable} of the last {each.records} records of {each.topic} cannot be read ({reasons}: "
            f"{each.looks_like}).",
            "Find out who writes them; docs/traces.md says what each reason means.",
        )
    if each.unmapped:
        return formats.warning(
            f"{each.unmapped} evaluations in {each.topic} say nothing about success.",
            "Give traces.outcomes.evaluations a rule for their scores.",
        )
    return formats.ok(
        f"{each.topic} holds {format_words(each)}: {each.traces} traces and {each.outcomes} outcomes in the last "
        f"{each.records} records."
    )


def _left_out(each: Sample) -> Iterator[Finding]:
    """Which libraries write the spans, and what they do not say."""
    for library in each.libraries:
        found = f"{each.topic} holds spans of {library.name}"
        if library.leaves_out:
            found += f", which {'may leave' if library.switch else 'leaves'} out: {library.leaves_out}"
        advice = f"If they are missing in `cliffwatch tail`: {library.switch}."
        yield Check("libraries", library.name).ok_if(not library.switch, f"{found}.", advice)


def _times(each: Sample, now: float) -> Iterator[Finding]:
    if each.written_at is None:
        return
    age, clocks, newest = now - each.written_at, Check("clocks", each.topic), f"The newest record of {each.topic} is"
    odd = [found for producer, dated in each.clocks.items() for found in _clock(clocks, producer, dated)]
    if age < -_FUTURE_SECONDS:
        last = {producer: max(at.written_at for at in dated) for producer, dated in each.clocks.items()}
        early = "; ".join(producer for producer, at in last.items() if at > now + _FUTURE_SECONDS) or "unreadable"
        advice = "Set the clocks of producers and brokers by NTP."
        yield clocks.problem(f"{newest} {duration(-age)} in the future ({early}).", advice)
        return
    if age > _OLD_SECONDS:
        yield clocks.warning(f"{newest} {duration(age)} old.", "Check that its producers still run.")
    elif not odd:
        yield clocks.ok(f"{newest} {duration(max(0.0, age))} old.")
    yield from odd[:_PRODUCERS_SHOWN]


def _clock(clocks: Check, producer: str, dated: Sequence[Dated]) -> Iterator[Finding]:
    """Whether the events of a producer are dated as they are written, hours off, or from another time."""
    early = [at for at in dated if at.ahead_seconds > _FUTURE_SECONDS]
    late = [at for at in dated if at.ahead_seconds < -_LEAST_ZONE_SECONDS + _ZONE_SLACK_SECONDS]
    for off, which in ((early, "after"), (late, "before")):
        where = _named({TopicPartition(clocks.check, at.partition) for at in off})
        by = median(at.ahead_seconds for at in off) if off else 0.0
        found = f"{producer}: requests in {where} are dated {duration(abs(by))} {which} they were written"
        if zone := _time_zone(by, off):
            yield clocks.warning(
                f"{found}, which looks like local time {zone} written as UTC.",
                "Write times in UTC, or with their offset (2026-11-29T14:00:00+02:00).",
            )
        elif early and off is early:
            yield clocks.warning(f"{found}.", "Set the clocks of the agents by NTP.")
        elif len(late) == len(dated) and by < -_EVENT_LAG_SECONDS:
            yield clocks.warning(f"{found}.", "Look for a queue before Kafka, unless this is a back-fill.")


def _time_zone(by: float, off: Sequence[Dated]) -> str:
    """The zone whose offset from UTC all of several events have; empty where there is none."""
    offset = round(by / _ZONE_STEP_SECONDS) * _ZONE_STEP_SECONDS
    is_stable = all(abs(at.ahead_seconds - offset) <= _ZONE_SLACK_SECONDS for at in off)
    if len(off) < _FEWEST_OF_ZONE or not is_stable or not _LEAST_ZONE_SECONDS <= abs(offset) <= _MOST_ZONE_SECONDS:
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
        ledger_offsets: Next offsets that the ledger holds, or None where it cannot be asked.
        ends: First and next offset of each partition that is read.
    """
    members, waiting = Check("group", "members"), Check("group", "lag")
    idle = members.warning(f"The group {group.name} has no members.", "Start `cliffwatch run`.")
    active = f"Members of the group {group.name}: {group.members} ({group.state})."
    yield members.ok(active) if group.members else idle
    if ledger_offsets is None:
        yield waiting.skipped("The ledger, which holds the offsets, cannot be read.")
        return
    yield from _gaps(ledger_offsets, ends)
    lag = sum(max(0, end - ledger_offsets.get(part, first)) for part, (first, end) in ends.items())
    advice = "Check again in a minute; if it grows, add replicas."
    yield waiting.ok_if(lag <= _LAGGING_RECORDS, f"{lag:,} records wait to be read.", advice)


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
