# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["agno", "openai", "opentelemetry-instrumentation-genai-agno", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"]
# ///
"""Agno with OpenTelemetry's own instrumentation."""

from agno.agent import Agent
from agno.models.openai import OpenAIChat
from weather import ask_all, get_weather, instrument_all

instrument_all()
agent = Agent(name="weather", model=OpenAIChat(id="gpt-4o-mini", max_retries=0), tools=[get_weather])
ask_all(agent.run)
