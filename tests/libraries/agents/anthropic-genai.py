# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["anthropic", "opentelemetry-instrumentation-genai-anthropic", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"]
# ///
"""The client of Anthropic with OpenTelemetry's own instrumentation, in a loop of the application's own."""

import anthropic

from opentelemetry import trace
from weather import ask_all, get_weather, instrument_all

instrument_all()

TOOL = {
    "name": "get_weather",
    "description": "The weather in a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
client = anthropic.Anthropic(max_retries=0)


def ask(question: str) -> None:
    with trace.get_tracer("app").start_as_current_span("handle question"):
        messages = [{"role": "user", "content": question}]
        answer = client.messages.create(model="claude-sonnet-4-5", max_tokens=100, messages=messages, tools=[TOOL])
        call = answer.content[0]
        messages += [
            {"role": "assistant", "content": [call.model_dump()]},
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": call.id, "content": get_weather(**call.input)}],
            },
        ]
        client.messages.create(model="claude-sonnet-4-5", max_tokens=100, messages=messages, tools=[TOOL])


ask_all(ask)
