"""What must not change the answer: how spans are written and ordered, and what other programs add to a trace."""

from __future__ import annotations

import base64
import gzip
import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from tests.trace.test_captures import CAPTURES, runs_in

FILES = (
    "adk-n", "agno", "anthropic-genai", "case-07-vercel-ai-sdk", "case-11-user-abort", "haystack-otel",
    "langfuse-openai", "ms-maf", "openai-agents", "openai-genai", "pydantic-ai-fallback", "strands-oi",
)  # fmt: skip
"""Captures of each convention: runs with tools, with failures, and several agents to a trace."""

Document = dict[str, Any]
Leaf = tuple[Document, Document]
"""A span and its resource."""


def leaves(documents: Iterable[Document]) -> Iterator[Leaf]:
    for part in (part for document in documents for part in document["resourceSpans"]):
        for span in (span for scope in part["scopeSpans"] for span in scope["spans"]):
            yield span, part.get("resource", {})


def a_record(*held: Leaf) -> Document:
    return {"resourceSpans": [{"resource": of, "scopeSpans": [{"spans": [span]}]} for span, of in held]}


def attributes(pairs: Mapping[str, str | int]) -> list[Document]:
    kinds = {int: "intValue", str: "stringValue"}
    return [{"key": name, "value": {kinds[type(value)]: value}} for name, value in pairs.items()]


def shuffled(documents: list[Document]) -> list[Document]:
    """One span to a record, in any order, each twice."""
    records = [a_record(leaf) for leaf in leaves(documents)] * 2
    random.Random(7).shuffle(records)
    return records


def in_one_record(documents: list[Document]) -> list[Document]:
    """All spans together, between resources and scopes that hold nothing."""
    of_all = [{**part, "scopeSpans": [{}, *part["scopeSpans"]]} for each in documents for part in each["resourceSpans"]]
    return [{"resourceSpans": [{}, *of_all, {"resource": {}, "scopeSpans": []}]}]


def as_in_2021(documents: list[Document]) -> list[Document]:
    """Scopes under the name that they had before 2022."""
    for part in (part for document in documents for part in document["resourceSpans"]):
        part["instrumentationLibrarySpans"] = part.pop("scopeSpans")
    return documents


def other_spelling(documents: list[Document]) -> list[Document]:
    """Ids in capitals, times as numbers, attributes backwards, whole numbers in doubles."""
    for span, resource in leaves(documents):
        for name in ("traceId", "spanId", "parentSpanId"):
            span[name] = span.get(name, "").upper()
        for name in ("startTimeUnixNano", "endTimeUnixNano"):
            span[name] = int(span[name])
        for holder in (span, resource):
            holder.get("attributes", []).reverse()
        for value in (pair["value"] for pair in span.get("attributes", [])):
            if "intValue" in value:
                value["doubleValue"] = float(value.pop("intValue"))
    return documents


def behind_a_server(documents: list[Document]) -> list[Document]:
    """Each trace below a span of a web server that answered well, in another service."""
    roots: dict[str, list[Document]] = {}
    for span, _ in leaves(documents):
        if not span.get("parentSpanId"):
            roots.setdefault(span["traceId"], []).append(span)
    made = []
    for number, (trace_id, (root, *others)) in enumerate(roots.items()):
        if others:  # several roots are several runs, which one root above them would join
            continue
        root["parentSpanId"] = f"{0xC0FFEE00 + number:016x}"
        told = {"http.request.method": "POST", "http.route": "/chat", "http.response.status_code": 200}
        times = {name: root[name] for name in ("startTimeUnixNano", "endTimeUnixNano")}
        served = {"traceId": trace_id, "spanId": root["parentSpanId"], "name": "POST /chat", "kind": 2}
        made.append(
            ({**served, **times, "attributes": attributes(told)}, {"attributes": attributes({"service.name": "edge"})})
        )
    return [*documents, a_record(*made)]


def with_clients(documents: list[Document]) -> list[Document]:
    """An HTTP request below each span, the first of which failed and was sent again."""
    made = []
    for number, (span, resource) in enumerate(leaves(documents)):
        told = {"http.request.method": "POST", "server.address": "api.example.com", "http.response.status_code": 503}
        place = {"traceId": span["traceId"], "spanId": f"{0xC0FFEE00 + number:016x}", "parentSpanId": span["spanId"]}
        times = {name: span[name] for name in ("startTimeUnixNano", "endTimeUnixNano")}
        made.append(
            ({**place, **times, "name": "POST", "attributes": attributes(told), "status": {"code": 2}}, resource)
        )
    return [*documents, a_record(*made)]


def written(documents: Iterable[Document]) -> Iterator[bytes]:
    """Each document as JSON."""
    return (json.dumps(document).encode() for document in documents)


def as_protobuf(documents: list[Document]) -> Iterator[bytes]:
    for span, _ in leaves(documents):
        for holder in (span, *span.get("links", [])):
            for name in {"traceId", "spanId", "parentSpanId"} & holder.keys():
                holder[name] = base64.b64encode(bytes.fromhex(holder[name])).decode()
    for document in documents:
        yield json_format.ParseDict(document, TracesData(), ignore_unknown_fields=True).SerializeToString()


def as_protobuf_writes_json(documents: list[Document]) -> Iterator[bytes]:
    """Ids in base64 and names such as `start_time_unix_nano`, over several lines, as gzip."""
    for record in as_protobuf(documents):
        text = json_format.MessageToJson(TracesData.FromString(record), preserving_proto_field_name=True)
        yield gzip.compress(text.encode())


def capture(name: str) -> list[Document]:
    return [json.loads(line) for line in gzip.decompress((CAPTURES / f"{name}.jsonl.gz").read_bytes()).splitlines()]


def answer(records: Iterable[bytes]) -> list[tuple[str, ...]]:
    return sorted(tuple(run.values()) for run in runs_in(records, ""))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("change", [shuffled, in_one_record, as_in_2021, other_spelling, behind_a_server, with_clients])
def test_answer_is_the_same(change: Callable[[list[Document]], list[Document]], name: str) -> None:
    """However spans are written and sent, and whatever a web server and HTTP clients write beside them."""
    assert answer(written(capture(name))) == answer(written(change(capture(name))))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("write", [as_protobuf, as_protobuf_writes_json])
def test_answer_is_the_same_in_every_format(write: Callable[[list[Document]], Iterator[bytes]], name: str) -> None:
    """Protobuf, and the JSON that general libraries make of it."""
    assert answer(written(capture(name))) == answer(write(capture(name)))
