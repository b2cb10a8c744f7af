# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["strands-agents[openai]", "openinference-instrumentation-strands-agents", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"]
# ///
"""Strands with OpenInference's processor."""

import os

from openinference.instrumentation.strands_agents import StrandsAgentsToOpenInferenceProcessor
from strands import Agent, tool
from strands.models.openai import OpenAIModel
from weather import ask_all, get_weather

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

made = TracerProvider()
made.add_span_processor(StrandsAgentsToOpenInferenceProcessor())
made.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(made)


def ask(question: str) -> None:
    model = OpenAIModel(
        client_args={"api_key": "none", "base_url": os.environ["OPENAI_BASE_URL"], "max_retries": 0},
        model_id="gpt-4o-mini",
    )
    Agent(name="weather", model=model, tools=[tool(get_weather)], callback_handler=None)(question)


ask_all(ask)
