# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["anthropic", "openinference-instrumentation-anthropic", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"]
# ///
"""The client of Anthropic with OpenInference, inside a function of the application."""

import anthropic
from openinference.instrumentation.anthropic import AnthropicInstrumentor
from weather import ask_all, provider

AnthropicInstrumentor().instrument(tracer_provider=provider())
TOOL = {
    "name": "get_weather",
    "description": "The weather in a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}


def ask(question: str) -> None:
    anthropic.Anthropic().messages.create(
        model="claude-sonnet-4-5", max_tokens=100, messages=[{"role": "user", "content": question}], tools=[TOOL]
    )


ask_all(ask)
