"""Samples a few records of a topic: their format, attribute names and contents."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from pydantic_core import from_json

from monitor.ingest.source import Record
from monitor.service.pipeline import DecodeRules
from monitor.trace.decode import decode, inflated, parsed_documents
from monitor.trace.langfuse_score import evaluations_of
from monitor.trace.model import REFERENCE_ENVIRONMENT, DropReason, Ignored, InvalidRecord, Trace
from monitor.trace.otlp_json import is_otlp_json
from monitor.trace.otlp_protobuf import is_otlp_protobuf
from monitor.trace.reader import Decoded
from monitor.trace.semconv import ATTRIBUTES, Field, Library, library_of
from monitor.trace.span import PRODUCTION, UNKNOWN_SERVICE, Span

_SCHEMA_REGISTRY_MAGIC = b"\x00"
_SCHEMA_REGISTRY_HEAD_BYTES = 5
_KEYS_SHOWN = 5
_CLIENT_HEADERS = {"client.id", "client_id", "client-id", "x-client-id", "host.name", "producer"}
_CLIENT_BYTES = 64
_COMPRESSIONS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_TELLTALES = {row.name.encode(): row.convention for row in ATTRIBUTES if row.fact in {Field.KIND, Field.PROVIDER}}


class Format(StrEnum):
    """The format of a record."""

    NATIVE = "native events"
    OTLP_PROTOBUF = "OTLP protobuf"
    OTLP_JSON = "OTLP JSON"
    LANGFUSE_SCORES = "Langfuse scores"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Glimpse:
    """
    One record of a sample.

    Attributes:
        format: Its format.
        looks_like: For an unreadable record, what it seems to be; empty for others.
        compression: Compression of the payload; empty if it is not compressed.
        conventions: Conventions of its attribute names.
        libraries: Libraries that wrote its spans.
        decoded: Its decoded contents; empty if it is unreadable.
        reason: Why it is unreadable, or None.
    """

    format: Format
    looks_like: str = ""
    compression: str = ""
    conventions: frozenset[str] = frozenset()
    libraries: frozenset[Library] = frozenset()
    decoded: Decoded = field(default_factory=Decoded)
    reason: DropReason | None = None

    @property
    def words(self) -> str:
        """Its format and compression."""
        return f"{self.format}, {self.compression}" if self.compression else self.format.value


class Dated(NamedTuple):
    """
    Times of a record and of one producer's last event in it.

    Attributes:
        written_at: When the record was written, Unix seconds.
        ahead_seconds: How much later than that the event is dated; negative if earlier.
    """

    written_at: float
    ahead_seconds: float
    partition: int


@dataclass(frozen=True, slots=True)
class Sample:
    """
    Some records of one topic.

    Attributes:
        topic: Their topic.
        formats: Their formats with compression, the most frequent first.
        conventions: Conventions of their attribute names.
        libraries: Libraries that wrote the spans.
        reasons: Unreadable records by reason.
        looks_like: What most unreadable records seem to be.
        traces: Number of whole traces and of trace IDs among the spans.
        outcomes: Number of outcomes, within traces or on their own.
        unmapped: Evaluations that no rule maps to success or failure.
        versions: Model versions by service.
        written_at: When the newest record was written, Unix seconds, or None.
        clocks: Times of the records of each producer.
    """

    topic: str
    records: int = 0
    formats: Sequence[str] = ()
    conventions: Sequence[str] = ()
    libraries: Sequence[Library] = ()
    reasons: Mapping[str, int] = field(default_factory=dict)
    looks_like: str = ""
    traces: int = 0
    outcomes: int = 0
    unmapped: int = 0
    versions: Mapping[str, Sequence[str]] = field(default_factory=dict)
    written_at: float | None = None
    clocks: Mapping[str, Sequence[Dated]] = field(default_factory=dict)

    @property
    def unreadable(self) -> int:
        return sum(self.reasons.values())

    @property
    def is_readable(self) -> bool:
        """Whether the topic has traces or outcomes, and at most half of its records are unreadable."""
        return self.traces + self.outcomes + self.unmapped > 0 and 2 * self.unreadable <= self.records


def sample(topic: str, records: Iterable[Record], rules: DecodeRules) -> Sample:
    """Decode *records* of *topic* and summarise them."""
    sampled = list(records)
    glimpses = [glimpse(record, rules) for record in sampled]
    decoded = [each.decoded for each in glimpses]
    native = [trace for contents in decoded for trace in contents.traces]
    spans = [span for contents in decoded for span in contents.spans]
    versions: dict[str, set[str]] = defaultdict(set)
    events: list[Trace | Span] = [*native, *spans]
    for event in events:
        if version := _version_of(event):
            versions[event.service or UNKNOWN_SERVICE].add(version)
    unreadable = Counter(each.looks_like for each in glimpses if each.looks_like)
    return Sample(
        topic=topic,
        records=len(glimpses),
        formats=[words for words, _ in Counter(each.words for each in glimpses).most_common()],
        conventions=sorted({name for each in glimpses for name in each.conventions}),
        libraries=sorted({library for each in glimpses for library in each.libraries}),
        reasons=dict(Counter(each.reason.value for each in glimpses if each.reason is not None).most_common()),
        looks_like=unreadable.most_common(1)[0][0] if unreadable else "",
        traces=len(native) + len({span.trace_id for span in spans}),
        outcomes=sum(len(d.outcomes) for d in decoded) + sum(trace.outcome is not None for trace in native),
        unmapped=sum(contents.ignored.get(Ignored.EVALUATION_UNMAPPED, 0) for contents in decoded),
        versions={service: sorted(names) for service, names in sorted(versions.items())},
        written_at=max((record.timestamp for record in sampled if record.timestamp is not None), default=None),
        clocks=_clocks(zip(sampled, decoded, strict=True)),
    )


def _clocks(records: Iterable[tuple[Record, Decoded]]) -> Mapping[str, Sequence[Dated]]:
    """
    The last event of each record, by producer (service, environment, version and client).

    Reference history is left out: it may be of any age.
    """
    clocks: dict[str, list[Dated]] = defaultdict(list)
    for record, decoded in records:
        if (written_at := record.timestamp) is None:
            continue
        events: list[Trace | Span] = [*decoded.traces, *decoded.spans]
        ends, versions = dict[str, float](), dict[str, str]()
        for event in (event for event in events if event.environment != REFERENCE_ENVIRONMENT):
            producer = f"{event.service or UNKNOWN_SERVICE}, {event.environment or PRODUCTION}"
            ends[producer] = max(event.ended_at or event.started_at, ends.get(producer, 0.0))
            if version := _version_of(event):
                versions[producer] = f", {version}"
        clients = [value for name, value in record.headers if name.lower() in _CLIENT_HEADERS and value]
        client = f", client {clients[0][:_CLIENT_BYTES].decode(errors='replace')}" if clients else ""
        for producer, end in ends.items():
            dated = Dated(written_at, end - written_at, record.position.partition)
            clocks[producer + versions.get(producer, "") + client].append(dated)
    return clocks


def _version_of(event: Trace | Span) -> str | None:
    models = () if isinstance(event, Trace) else (event.response_model, event.request_model)
    return next(filter(None, (event.model_version, *models)), None)


def glimpse(record: Record, rules: DecodeRules) -> Glimpse:
    """Decode one record, and guess what it is if that fails."""
    value = record.value or b""
    compression = next((name for magic, name in _COMPRESSIONS.items() if value.startswith(magic)), "")
    try:
        decoded = decode(record.value, rules.limits, rules.options)
        plain = inflated(value, rules.limits.max_decompressed_bytes)
    except InvalidRecord as invalid:
        return Glimpse(Format.UNREADABLE, _seems(value, invalid), compression, reason=invalid.reason)
    scopes = [name.decode() for name in _SCOPE_NAME.findall(plain)] if decoded.spans else []
    return Glimpse(
        _format_of(plain),
        compression=compression,
        conventions=frozenset(owner for name, owner in _TELLTALES.items() if name in plain),
        libraries=frozenset(filter(None, map(library_of, scopes))),
        decoded=decoded,
    )


# Names of scopes in a payload: in quotes in JSON, after tag and length in protobuf.
_SCOPE_NAME = re.compile(rb'(?:"scope"\s*:\s*\{\s*"name"\s*:\s*"|\x0a.\x0a[\x02-\x7f])([A-Za-z][\w./-]{1,126})')


def _format_of(plain: bytes) -> Format:
    """The format of a payload that was decoded."""
    if is_otlp_protobuf(plain):
        return Format.OTLP_PROTOBUF
    try:
        document = parsed_documents(plain)
    except InvalidRecord:
        return Format.OTLP_PROTOBUF
    if is_otlp_json(document[0] if isinstance(document, list) and document else document):
        return Format.OTLP_JSON
    return Format.NATIVE if evaluations_of(document) is None else Format.LANGFUSE_SCORES


def _seems(value: bytes, invalid: InvalidRecord) -> str:
    if not value:
        return "nothing (a tombstone)"
    if value.startswith(_SCHEMA_REGISTRY_MAGIC) and len(value) > _SCHEMA_REGISTRY_HEAD_BYTES:
        return "Avro or protobuf behind a schema registry (it begins with a zero byte and a schema id)"
    try:
        document = from_json(value)
    except ValueError:
        try:
            value.decode()
        except UnicodeDecodeError:
            return f"binary data ({invalid.detail or invalid.reason})"
        return f"text that is not JSON ({invalid.detail or invalid.reason})"
    if isinstance(document, dict):
        return f"JSON of another kind, with the keys {', '.join(sorted(document)[:_KEYS_SHOWN]) or 'none'}"
    return "JSON that is not an object"
