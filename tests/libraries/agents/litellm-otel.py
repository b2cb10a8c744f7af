# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["litellm", "opentelemetry-api", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"]
# ///
"""LiteLLM's own OpenTelemetry callback, in a loop of the application's own."""

import json
import os

os.environ.update(OTEL_EXPORTER="otlp_http", OTEL_ENDPOINT=f"{os.environ['FAKE_MODELS']}/v1/traces")
import litellm
from opentelemetry import trace
from weather import ask_all, get_weather, provider

provider()
litellm.callbacks = ["otel"]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
tools = [{"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}]


def chat(question: str) -> None:
    with trace.get_tracer("app").start_as_current_span("handle question"):
        messages = [{"role": "user", "content": question}]
        answer = (
            litellm.completion(model="openai/gpt-4o-mini", messages=messages, tools=tools, num_retries=0)
            .choices[0]
            .message
        )
        call = answer.tool_calls[0]
        try:
            result = get_weather(**json.loads(call.function.arguments))
        except ValueError as error:
            result = f"failed: {error}"
        messages += [answer, {"role": "tool", "tool_call_id": call.id, "content": result}]
        litellm.completion(model="openai/gpt-4o-mini", messages=messages, tools=tools)


ask_all(chat)
import time

time.sleep(6)
