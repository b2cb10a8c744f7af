# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["openai", "opentelemetry-instrumentation-openai", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"]
# ///
"""The client of OpenAI with OpenLLMetry: a loop of the application's own, and the Responses interface."""

import json

from openai import OpenAI
from opentelemetry import trace
from opentelemetry.instrumentation.openai import OpenAIInstrumentor
from weather import ask_all, get_weather, provider

provider()
OpenAIInstrumentor().instrument()
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
client = OpenAI(max_retries=0)


def chat(question: str) -> None:
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}]
    with trace.get_tracer("app").start_as_current_span("handle question"):
        messages = [{"role": "system", "content": "You are terse."}, {"role": "user", "content": question}]
        answer = client.chat.completions.create(model="gpt-4o-mini", messages=messages, tools=tools).choices[0].message
        call = answer.tool_calls[0]
        result = get_weather(**json.loads(call.function.arguments))
        messages += [answer, {"role": "tool", "tool_call_id": call.id, "content": result}]
        client.chat.completions.create(model="gpt-4o-mini", messages=messages, tools=tools)


def respond(question: str) -> None:
    client.responses.create(model="gpt-4o-mini", input=question, instructions="You are terse.")


ask_all(chat)
ask_all(respond)
