# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["lmnr", "openai", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"]
# ///
"""Laminar around the OpenAI client."""

import json
import os

import sys

sys.argv[0] = "weather-agent"
from lmnr import Laminar, observe
from weather import ask_all, get_weather, provider

made = provider()
Laminar.initialize(
    project_api_key="none",
    base_url=os.environ["FAKE_MODELS"],
    base_http_url=os.environ["FAKE_MODELS"],
    force_http=True,
    disable_batch=True,
)
from openai import OpenAI

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
tools = [{"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}]
client = OpenAI(max_retries=0)
tool = observe(span_type="TOOL")(get_weather)


@observe()
def weather(question: str) -> str:
    messages = [{"role": "user", "content": question}]
    answer = client.chat.completions.create(model="gpt-4o-mini", messages=messages, tools=tools).choices[0].message
    call = answer.tool_calls[0]
    messages += [
        answer.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": tool(**json.loads(call.function.arguments))},
    ]
    return (
        client.chat.completions.create(model="gpt-4o-mini", messages=messages, tools=tools).choices[0].message.content
    )


ask_all(weather)
Laminar.flush()
