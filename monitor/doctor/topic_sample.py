"""What a handful of records of a topic turn out to be: format, attribute names, contents."""

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
    """What a record is written in."""

    NATIVE = "native events"
    OTLP_PROTOBUF = "OTLP protobuf"
    OTLP_JSON = "OTLP JSON"
    LANGFUSE_SCORES = "Langfuse scores"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Glimpse:
    """
    One record that was looked at.

    Attributes:
        format: What it is written in.
        looks_like: What an unreadable one seems to be, in words; empty for the others.
        compression: How the payload itself was packed; empty where it was not.
        conventions: Whose attribute names it uses.
        libraries: Which libraries wrote its spans.
        decoded: What it says; nothing where it is unreadable.
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
        """What it is written in, and how it was packed."""
        return f"{self.format}, {self.compression}" if self.compression else self.format.value


class Dated(NamedTuple):
    """
    A record, and the last event in it of one producer.

    Attributes:
        written_at: Unix seconds.
        ahead_seconds: How long after that the event is dated; negative before.
    """

    written_at: float
    ahead_seconds: float
    partition: int


@dataclass(frozen=True, slots=True)
class Sample:
    """
    What some records of one topic turned out to be.

    Attributes:
        topic: Where they are from.
        formats: Records by what they are written in and how they are packed, in words; the most frequent first.
        conventions: Whose attribute names they use.
        libraries: Which libraries wrote the spans.
        reasons: Unreadable records by reason.
        looks_like: What most unreadable ones seem to be.
        traces: Whole traces, and distinct trace ids among the spans.
        outcomes: Verdicts, whether with a trace or apart from it.
        unmapped: Evaluations of which no rule says whether they are a success.
        versions: Model versions by service.
        written_at: When the newest record was written, Unix seconds, or None.
        clocks: What each producer's records say of the time.
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
    def is_ours(self) -> bool:
        """Whether the topic holds what Cliffwatch reads."""
        return self.traces + self.outcomes + self.unmapped > 0 and 2 * self.unreadable <= self.records


def sample(topic: str, records: Iterable[Record], rules: DecodeRules) -> Sample:
    """What *records* of *topic* are, by their content."""
    looked_at = list(records)
    seen = [glimpse(record, rules) for record in looked_at]
    decoded = [each.decoded for each in seen]
    native = [trace for each in decoded for trace in each.traces]
    spans = [span for each in decoded for span in each.spans]
    versions: dict[str, set[str]] = defaultdict(set)
    events: list[Trace | Span] = [*native, *spans]
    for event in events:
        if version := _version_of(event):
            versions[event.service or UNKNOWN_SERVICE].add(version)
    odd = Counter(each.looks_like for each in seen if each.looks_like)
    return Sample(
        topic=topic,
        records=len(seen),
        formats=[words for words, _ in Counter(each.words for each in seen).most_common()],
        conventions=sorted({name for each in seen for name in each.conventions}),
        libraries=sorted({library for each in seen for library in each.libraries}),
        reasons=dict(Counter(each.reason.value for each in seen if each.reason is not None).most_common()),
        looks_like=odd.most_common(1)[0][0] if odd else "",
        traces=len(native) + len({span.trace_id for span in spans}),
        outcomes=sum(len(each.outcomes) for each in decoded) + sum(trace.outcome is not None for trace in native),
        unmapped=sum(each.ignored.get(Ignored.EVALUATION_UNMAPPED, 0) for each in decoded),
        versions={service: sorted(names) for service, names in sorted(versions.items())},
        written_at=max((each.timestamp for each in looked_at if each.timestamp is not None), default=None),
        clocks=_clocks(zip(looked_at, decoded, strict=True)),
    )


def _clocks(records: Iterable[tuple[Record, Decoded]]) -> Mapping[str, Sequence[Dated]]:
    """
    By service, environment, version and what else names the client, the last event of each record.

    References are history: of any age, and of no clock that matters.
    """
    clocks: dict[str, list[Dated]] = defaultdict(list)
    for record, decoded in records:
        if (written_at := record.timestamp) is None:
            continue
        events: list[Trace | Span] = [*decoded.traces, *decoded.spans]
        ends, versions = dict[str, float](), dict[str, str]()
        for event in (each for each in events if each.environment != REFERENCE_ENVIRONMENT):
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
    """What one record is."""
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


# Of a payload: in JSON in quotes, in protobuf after tag and length.
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
