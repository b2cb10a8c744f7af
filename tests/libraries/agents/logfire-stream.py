# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["logfire", "openai", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"]
# ///
"""Logfire's instrumentation of a streamed answer: a span of the call, and a record of what the stream brought."""

import logfire
from openai import OpenAI
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from weather import ask_all

logfire.configure(
    send_to_logfire=False,
    console=False,
    service_name="weather-agent",
    additional_span_processors=[BatchSpanProcessor(OTLPSpanExporter())],
)
logfire.instrument_openai()
client = OpenAI(max_retries=0)


def chat(question: str) -> None:
    with logfire.span("handle {question=}", question=question):
        messages = [{"role": "user", "content": question}]
        for _ in client.chat.completions.create(model="gpt-4o-mini", messages=messages, stream=True):
            pass


ask_all(chat)
logfire.force_flush()
