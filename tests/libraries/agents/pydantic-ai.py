# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["pydantic-ai-slim[openai]", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"]
# ///
"""Pydantic AI with its own instrumentation."""

from pydantic_ai import Agent
from pydantic_ai.models.instrumented import InstrumentationSettings
from weather import ask_all, get_weather, provider

Agent.instrument_all(InstrumentationSettings(tracer_provider=provider()))
agent = Agent("openai-chat:gpt-4o-mini", name="weather", tools=[get_weather])
ask_all(agent.run)
