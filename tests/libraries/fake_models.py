"""
Models that answer from a script, on loopback, and a collector that writes down the spans of whoever called them.

The words of OpenAI (chat and responses), Anthropic, Gemini and Ollama are spoken. A model that has tools on offer and
no result of one yet calls the first tool; a question with MODELFAIL is refused, and one with TOOLFAIL asks for the
weather in a city that the tool does not know.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

ANSWER = "It is sunny in Oslo."
INPUT_TOKENS, OUTPUT_TOKENS = 100, 20
DATED = {"gpt-4o-mini": "gpt-4o-mini-2024-07-18", "claude-sonnet-4-5": "claude-sonnet-4-5-20250929"}
_IDS = ("traceId", "spanId", "parentSpanId")


class FakeModels(ThreadingHTTPServer):
    """One server for all; *lines* are the OTLP exports that it was sent, as JSON."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lines: list[str] = []
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def environment(self) -> Mapping[str, str]:
        """Variables that lead the clients of models, and exporters, here."""
        return {
            "OPENAI_BASE_URL": f"{self.url}/v1",
            "OPENAI_API_BASE": f"{self.url}/v1",
            "OPENAI_API_KEY": "none",
            "ANTHROPIC_BASE_URL": self.url,
            "ANTHROPIC_API_KEY": "none",
            "GEMINI_BASE_URL": self.url,
            "GOOGLE_API_KEY": "none",
            "OLLAMA_HOST": self.url,
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.url,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_SERVICE_NAME": "weather-agent",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            "FAKE_MODELS": self.url,
        }


@contextmanager
def fake_models() -> Iterator[FakeModels]:
    with FakeModels() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeModels

    def do_POST(self) -> None:
        body = self._body()
        if self.path.endswith("/traces"):
            self.server.lines.append(_as_json(body, self.headers.get("Content-Type", "")))
            return self._send(200, b"{}" if "json" in self.headers.get("Content-Type", "") else b"")
        asked = json.loads(body or b"{}")
        self.server.asked.append(f"{self.path} {body.decode()}")
        if "MODELFAIL" in body.decode():
            error = {"message": "the request was refused", "type": "invalid_request_error", "code": 400}
            return self._send(400, json.dumps({"type": "error", "error": error}).encode())
        answer, events = _reply(self.path, asked, len(self.server.asked))
        if asked.get("stream") and events:
            return self._send(200, events, "text/event-stream")
        return self._send(200, json.dumps(answer).encode())

    def do_GET(self) -> None:
        self._send(200, json.dumps({"object": "list", "data": [{"id": name} for name in DATED]}).encode())

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            body = b"".join(parts)
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _send(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Silence."""


def _as_json(body: bytes, kind: str) -> str:
    if "json" in kind:
        return json.dumps(json.loads(body))
    document = MessageToDict(ExportTraceServiceRequest.FromString(body), use_integers_for_enums=True)
    _hexadecimal(document)
    return json.dumps(document)


def _hexadecimal(part: Any) -> None:
    """Ids as OTLP's JSON writes them; protobuf's has base64."""
    if isinstance(part, dict):
        for name in _IDS:
            if name in part:
                part[name] = base64.b64decode(part[name]).hex()
        part = list(part.values())
    for inner in part if isinstance(part, list) else ():
        _hexadecimal(inner)


def _reply(path: str, asked: Mapping[str, Any], number: int) -> tuple[Any, bytes]:
    named = re.search(r"/models/([^:]+):", path)
    model = str(asked.get("model") or (named[1] if named else "gpt-4o-mini"))
    served = DATED.get(model, model)
    call = _tool_call(asked)
    if path.endswith("/embeddings"):
        many = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
        data = [{"object": "embedding", "index": n, "embedding": [0.1] * 8} for n, _ in enumerate(many)]
        return {"object": "list", "model": served, "data": data, "usage": {"prompt_tokens": 5, "total_tokens": 5}}, b""
    if path.endswith("/responses"):
        return _openai_response(served, call, number), b""
    if path.endswith("/messages"):
        return _anthropic(served, call, number), b""
    if named:
        return _gemini(served, call), b""
    if path.startswith("/api/"):
        message = {"role": "assistant", "content": "" if call else ANSWER}
        if call:
            message["tool_calls"] = [{"function": {"name": call[0], "arguments": call[1]}}]
        return {
            "model": served, "created_at": "2026-11-28T00:00:00Z", "message": message, "done": True,
            "done_reason": "stop", "prompt_eval_count": INPUT_TOKENS, "eval_count": OUTPUT_TOKENS,
        }, b""  # fmt: skip
    return _openai_chat(served, call, number)


def _tool_call(asked: Mapping[str, Any]) -> tuple[str, dict[str, str]] | None:
    """Name and arguments of the tool to call, or None where there is none, or its result is in."""
    text = json.dumps(asked)
    tools = asked.get("tools") or []
    if not tools or re.search(_RESULT_OF_A_TOOL, text):
        return None
    first = tools[0]
    first = first.get("functionDeclarations", first.get("function_declarations", [first]))[0]
    name = first.get("function", first)["name"]
    properties = json.dumps(first)
    key = next((key for key in ("city", "location", "task", "query", "input") if f'"{key}"' in properties), None)
    return name, {} if key is None else {key: "nowhere" if "TOOLFAIL" in text else "Oslo"}


_RESULT_OF_A_TOOL = r'"tool_call_id"|"function_call_output"|"tool_result"|"functionResponse"|"role": "tool"'


def _openai_chat(model: str, call: tuple[str, Any] | None, number: int) -> tuple[Any, bytes]:
    message: dict[str, Any] = {"role": "assistant", "content": None if call else ANSWER}
    if call:
        function = {"name": call[0], "arguments": json.dumps(call[1])}
        message["tool_calls"] = [{"id": "call_1", "type": "function", "function": function}]
    reason = "tool_calls" if call else "stop"
    usage = {"prompt_tokens": INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS, "total_tokens": 120}
    base = {"id": f"chatcmpl-{number}", "created": 1_780_000_000, "model": model}
    whole = {
        **base, "object": "chat.completion", "usage": usage,
        "choices": [{"index": 0, "message": message, "finish_reason": reason, "logprobs": None}],
    }  # fmt: skip
    delta = dict(message)
    if call:
        delta["tool_calls"] = [{**message["tool_calls"][0], "index": 0}]
    chunks = [
        {**base, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]},
        {**base, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]},
        {**base, "object": "chat.completion.chunk", "choices": [], "usage": usage},
    ]
    return whole, "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks).encode() + b"data: [DONE]\n\n"


def _openai_response(model: str, call: tuple[str, Any] | None, number: int) -> Any:
    output: dict[str, Any] = {
        "id": "msg_1", "type": "message", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": ANSWER, "annotations": []}],
    }  # fmt: skip
    if call:
        output = {
            "id": "fc_1", "type": "function_call", "call_id": "call_1", "name": call[0],
            "arguments": json.dumps(call[1]), "status": "completed",
        }  # fmt: skip
    return {
        "id": f"resp_{number}", "object": "response", "created_at": 1_780_000_000, "status": "completed",
        "model": model, "output": [output], "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
        "error": None,
        "usage": {
            "input_tokens": INPUT_TOKENS, "input_tokens_details": {"cached_tokens": 0}, "total_tokens": 120,
            "output_tokens": OUTPUT_TOKENS, "output_tokens_details": {"reasoning_tokens": 0},
        },
    }  # fmt: skip


def _anthropic(model: str, call: tuple[str, Any] | None, number: int) -> Any:
    content: dict[str, Any] = {"type": "text", "text": ANSWER}
    if call:
        content = {"type": "tool_use", "id": "toolu_1", "name": call[0], "input": call[1]}
    return {
        "id": f"msg_{number}", "type": "message", "role": "assistant", "model": model, "content": [content],
        "stop_reason": "tool_use" if call else "end_turn", "stop_sequence": None,
        "usage": {"input_tokens": INPUT_TOKENS, "output_tokens": OUTPUT_TOKENS},
    }  # fmt: skip


def _gemini(model: str, call: tuple[str, Any] | None) -> Any:
    part = {"functionCall": {"name": call[0], "args": call[1]}} if call else {"text": ANSWER}
    return {
        "candidates": [{"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {
            "promptTokenCount": INPUT_TOKENS, "candidatesTokenCount": OUTPUT_TOKENS, "totalTokenCount": 120,
        },
        "modelVersion": f"{model}-001",
    }  # fmt: skip
