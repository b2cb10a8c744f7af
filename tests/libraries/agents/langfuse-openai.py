# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["langfuse", "openai", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"]
# ///
"""Langfuse's wrapper of the OpenAI client, under functions that are observed."""

import json
import os

os.environ.update(LANGFUSE_PUBLIC_KEY="pk", LANGFUSE_SECRET_KEY="sk", LANGFUSE_HOST=os.environ["FAKE_MODELS"])
from weather import ask_all, get_weather, provider

made = provider()
from langfuse import Langfuse, observe, propagate_attributes
from langfuse.openai import OpenAI

Langfuse(tracer_provider=made)
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
tools = [{"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}]
client = OpenAI(max_retries=0)
tool = observe(get_weather, as_type="tool")


@observe(as_type="agent")
def weather(question: str) -> str:
    with propagate_attributes(session_id="s-1", user_id="u-1", tags=["canary"]):
        messages = [{"role": "user", "content": question}]
        answer = client.chat.completions.create(model="gpt-4o-mini", messages=messages, tools=tools).choices[0].message
        call = answer.tool_calls[0]
        messages += [
            answer,
            {"role": "tool", "tool_call_id": call.id, "content": tool(**json.loads(call.function.arguments))},
        ]
        return (
            client.chat.completions.create(model="gpt-4o-mini", messages=messages, tools=tools)
            .choices[0]
            .message.content
        )


ask_all(weather)
