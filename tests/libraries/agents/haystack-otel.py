# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["haystack-ai", "openai", "opentelemetry-haystack", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"]
# ///
"""Haystack with its own tracer of OpenTelemetry, content included."""

import os

os.environ["HAYSTACK_CONTENT_TRACING_ENABLED"] = "true"
import haystack.tracing
from haystack import Pipeline
from haystack.components.agents import Agent
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.dataclasses import ChatMessage
from haystack.tools import create_tool_from_function
from haystack_integrations.tracing.opentelemetry import OpenTelemetryTracer
from opentelemetry import trace
from weather import ask_all, get_weather, provider

provider()
haystack.tracing.enable_tracing(OpenTelemetryTracer(trace.get_tracer("haystack")))
haystack.tracing.tracer.is_content_tracing_enabled = True


def ask(question: str) -> None:
    model = OpenAIChatGenerator(model="gpt-4o-mini", max_retries=0)
    pipeline = Pipeline()
    pipeline.add_component("agent", Agent(chat_generator=model, tools=[create_tool_from_function(get_weather)]))
    pipeline.run({"agent": {"messages": [ChatMessage.from_user(question)]}})


ask_all(ask)
