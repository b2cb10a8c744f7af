# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["openai", "httpx", "opentelemetry-instrumentation-genai-openai", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"]
# ///
"""OpenTelemetry's own instrumentation of the OpenAI client, with the newest conventions and content."""

import json

from openai import OpenAI
from opentelemetry import trace
from weather import ask_all, get_weather, instrument_all

instrument_all()
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
tools = [{"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}]
client = OpenAI(max_retries=0)


def chat(question: str) -> None:
    with trace.get_tracer("app").start_as_current_span("handle question"):
        messages = [{"role": "user", "content": question}]
        answer = client.chat.completions.create(model="gpt-4o-mini", messages=messages, tools=tools).choices[0].message
        call = answer.tool_calls[0]
        messages += [
            answer.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": call.id, "content": get_weather(**json.loads(call.function.arguments))},
        ]
        client.chat.completions.create(model="gpt-4o-mini", messages=messages, tools=tools)


ask_all(chat)
