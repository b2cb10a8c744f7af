# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["agno", "openai", "opentelemetry-instrumentation-agno", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"]
# ///
"""Agno with OpenLLMetry."""

from agno.agent import Agent
from agno.models.openai import OpenAIChat
from opentelemetry.instrumentation.agno import AgnoInstrumentor
from weather import ask_all, get_weather, provider

provider()
AgnoInstrumentor().instrument()
agent = Agent(name="weather", model=OpenAIChat(id="gpt-4o-mini", max_retries=0), tools=[get_weather])
ask_all(agent.run)
