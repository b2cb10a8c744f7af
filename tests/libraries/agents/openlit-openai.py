# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = ["openlit", "openai", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http", "setuptools<81"]
# ///
"""OpenLIT's instrumentation of the OpenAI client, in a function with its decorator that returns nothing."""

import json

import openlit
from openai import OpenAI
from opentelemetry import trace
from weather import ask_all, get_weather

openlit.init(application_name="weather-agent", disable_metrics=True)
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
tools = [{"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}]
client = OpenAI(max_retries=0)


@openlit.trace
def chat(question: str) -> None:
    messages = [{"role": "user", "content": question}]
    answer = client.chat.completions.create(model="gpt-4o-mini", messages=messages, tools=tools).choices[0].message
    call = answer.tool_calls[0]
    messages += [
        answer.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": get_weather(**json.loads(call.function.arguments))},
    ]
    client.chat.completions.create(model="gpt-4o-mini", messages=messages, tools=tools)


ask_all(chat)
trace.get_tracer_provider().force_flush()
