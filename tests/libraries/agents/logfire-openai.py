# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["logfire", "openai", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"]
# ///
"""Logfire's instrumentation of the OpenAI client, in a loop of the application's own."""

import json

import logfire
from openai import OpenAI
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from weather import ask_all, get_weather

logfire.configure(
    send_to_logfire=False,
    console=False,
    service_name="weather-agent",
    additional_span_processors=[BatchSpanProcessor(OTLPSpanExporter())],
)
logfire.instrument_openai()
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
tools = [{"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}]
client = OpenAI(max_retries=0)


def chat(question: str) -> None:
    with logfire.span("handle {question=}", question=question):
        messages = [{"role": "user", "content": question}]
        answer = client.chat.completions.create(model="gpt-4o-mini", messages=messages, tools=tools).choices[0].message
        call = answer.tool_calls[0]
        messages += [
            answer.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": call.id, "content": get_weather(**json.loads(call.function.arguments))},
        ]
        client.chat.completions.create(model="gpt-4o-mini", messages=messages, tools=tools)


ask_all(chat)
logfire.force_flush()
