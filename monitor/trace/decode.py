"""Decodes the bytes of a record to traces, outcomes and spans, or gives the reason why it cannot."""

from __future__ import annotations

import re
import zlib
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Sequence
from typing import Any

from backports import zstd
from msgspec.structs import replace

from monitor.trace.langfuse_score import evaluations_of
from monitor.trace.model import DropReason, Ignored, InvalidRecord, OutcomeEvent, Trace
from monitor.trace.native import is_deeper_than, is_native, read_document, read_plain
from monitor.trace.otlp_json import decode_otlp_json, is_otlp_json
from monitor.trace.otlp_protobuf import decode_protobuf, is_otlp_protobuf
from monitor.trace.reader import Decoded, DecodeOptions, Reader
from monitor.trace.settings import Limits
from monitor.trace.values import read_json

_NATIVE_KEY = b'"schema"'

DEFAULT_OPTIONS = DecodeOptions()


def decode(value: bytes | None, limits: Limits, options: DecodeOptions = DEFAULT_OPTIONS) -> Decoded:
    """
    Decodes the payload *value* of one record; the format is recognised by the content.

    Args:
        value: A native event, an OTLP request in protobuf or JSON, or Langfuse scores; plain, gzip or zstd.
        limits: Sizes above which a record is refused.
        options: How spans and evaluations are read.

    Raises:
        InvalidRecord: the record can never be processed; sizes are checked before anything is parsed.
    """
    if not value:
        raise InvalidRecord(DropReason.EMPTY, "the record has no payload")
    if len(value) > limits.max_record_bytes:
        raise InvalidRecord(DropReason.TOO_LARGE, f"{len(value)} bytes, at most {limits.max_record_bytes} are read")
    decoded = _decode(value, limits, options)
    return decoded if decoded.traces or decoded.outcomes or decoded.spans or decoded.ignored else _SILENT


_SILENT = Decoded(ignored={Ignored.RECORD_SILENT: 1})


def _decode(value: bytes, limits: Limits, options: DecodeOptions) -> Decoded:
    if value.startswith((b"{", b"[")):  # only JSON begins like this
        return _decode_json(value, limits, options)
    plain = inflated(value, limits.max_decompressed_bytes)
    if not plain:
        raise InvalidRecord(DropReason.EMPTY, "the record has no payload")
    # The first byte of OTLP protobuf is the tag of a resource, a line feed. A JSON text may begin with one too.
    if plain.startswith(b"\n") and (_JSON.match(plain) is None or is_otlp_protobuf(plain)):
        return decode_protobuf(plain, limits, options)
    return _decode_json(plain.removeprefix(BOM_UTF8), limits, options)


_JSON = re.compile(rb"\s*[{\[]")


def _decode_json(value: bytes, limits: Limits, options: DecodeOptions) -> Decoded:
    # Every native event has this key, and inside a text its quotes would be escaped.
    if _NATIVE_KEY in value and (event := read_plain(value, limits.max_depth)) is not None:
        return _decoded_event(event, limits)
    if is_deeper_than(limits.max_depth, value):
        raise InvalidRecord(DropReason.TOO_DEEP, f"nested deeper than {limits.max_depth}")
    return _read(parsed_documents(value), limits, options)


def _read(document: Any, limits: Limits, options: DecodeOptions) -> Decoded:
    if isinstance(document, str) and document.lstrip()[:1] in {"{", "["}:  # JSON encoded twice
        return _decode_json(document.encode(), limits, options)
    if is_native(document):
        return _decoded_event(read_document(document), limits)
    if is_otlp_json(document):
        return decode_otlp_json(document, limits, options)
    parts = document if isinstance(document, list) else ()
    are_scores = not any(is_native(part) or is_otlp_json(part) for part in parts)
    evaluations = evaluations_of(document) if are_scores else None
    if evaluations is None and parts:
        return _together([_read(part, limits, options) for part in parts[: limits.max_spans + 1]], limits)
    if evaluations is None:
        raise InvalidRecord(DropReason.SCHEMA_UNKNOWN, "neither a native event, nor OTLP, nor scores")
    reader = Reader(options, limits, read_value=str)
    for evaluation in evaluations:
        reader.add_evaluation(evaluation)
    return reader.read()


def _together(parts: Sequence[Decoded], limits: Limits) -> Decoded:
    """The contents of several documents in one record; if one cannot be read, none is."""
    if max(len(parts), sum(len(part.spans) for part in parts)) > limits.max_spans:
        raise InvalidRecord(DropReason.TOO_MANY_SPANS, f"at most {limits.max_spans} are read")
    return Decoded(
        traces=[trace for part in parts for trace in part.traces],
        outcomes=[outcome for part in parts for outcome in part.outcomes],
        spans=[span for part in parts for span in part.spans],
        ignored=sum((Counter(part.ignored) for part in parts), Counter[Ignored]()),
    )


def _decoded_event(event: Trace | OutcomeEvent, limits: Limits) -> Decoded:
    if not isinstance(event, Trace):
        return Decoded(outcomes=(event,))
    text = event.request.text
    if text is not None and len(text) > limits.max_text_chars:
        event = replace(event, request=replace(event.request, text=text[: limits.max_text_chars]))
    return Decoded(traces=(event,))


_MOST_LINES = 100_000  # the shortest line has three bytes, and its object takes a hundred times as much


def parsed_documents(value: bytes) -> Any:
    """The JSON document in *value*, or a list of those on its lines."""
    try:
        # NaN counts as absent in OTLP, as it does in protobuf, where it is allowed.
        return read_json(value)
    except ValueError as error:
        message = str(error)  # names a position, and never repeats the input
        if "trailing characters" in message and 0 < value.count(b"\n") <= _MOST_LINES:  # a document on each line
            return [parsed_documents(line) for line in value.split(b"\n") if line.strip()]
        if "recursion limit" in message:
            raise InvalidRecord(DropReason.TOO_DEEP, message) from None
        raise InvalidRecord(DropReason.NOT_UTF8 if "unicode" in message else DropReason.NOT_JSON, message) from None


_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_GZIP_WINDOW = 16 + zlib.MAX_WBITS
_ZSTD_OPTIONS: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 23}  # 8 MiB, as RFC 8878 recommends


_FRAME = re.compile(rb"\0.{4}\0?(?=[\n{\[])", re.DOTALL)
"""The prefix of a schema registry's serialiser: zero, the id of the schema and, for protobuf, the message index."""


def inflated(value: bytes, max_bytes: int) -> bytes:
    """
    *value* without gzip, zstd or the prefix of a schema registry; the Kafka client undoes Kafka's own compression.

    Raises:
        InvalidRecord: damaged, or larger than *max_bytes* when decompressed; decompression stops soon after that.
    """
    unfolding: Any
    if value.startswith(_GZIP_MAGIC):
        name, unfolding = "gzip", zlib.decompressobj(_GZIP_WINDOW)
    elif value.startswith(_ZSTD_MAGIC):
        name, unfolding = "zstd", zstd.ZstdDecompressor(options=_ZSTD_OPTIONS)
    else:
        return value[framed.end() :] if (framed := _FRAME.match(value)) else value
    try:
        unfolded: bytes = unfolding.decompress(value, max_bytes + 1)
    except (zlib.error, zstd.ZstdError):
        raise InvalidRecord(DropReason.NOT_COMPRESSED, f"begins like {name} and is damaged") from None
    if len(unfolded) > max_bytes:
        raise InvalidRecord(DropReason.TOO_LARGE, f"decompresses to more than {max_bytes} bytes")
    if not unfolding.eof or unfolding.unused_data:
        raise InvalidRecord(DropReason.NOT_COMPRESSED, f"{name} breaks off, or more follows it")
    return unfolded
